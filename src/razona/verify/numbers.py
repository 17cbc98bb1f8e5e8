"""Numbers as people and models write them, read exactly."""

import re
from fractions import Fraction

MAX_DIGITS = 400
"""Longer numbers are not read: a completion must not be able to buy time with digits."""
_DECIMAL = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)?(?:\.[0-9]+)?"
_NUMBER = re.compile(rf"([+-]?)({_DECIMAL})(?:/([0-9]+))?")


def parse_number(text: str) -> Fraction | None:
    """Give the exact value of a whole text such as `34`, `-1,234.50`, `$12` or `3/4`; None if it is not a number.

    Commas count only as thousands separators in their places: `1,234` is 1234 and `1,23` is no number.
    A final full stop, a leading `$` and surrounding `$...$` or spaces are dropped. ASCII digits only.

    >>> parse_number("1,234.5")
    Fraction(2469, 2)
    """
    text = text.strip().strip("$").strip().removesuffix(".").replace("\N{MINUS SIGN}", "-")
    if len(text) > MAX_DIGITS:
        return None
    match = _NUMBER.fullmatch(text)
    if match is None or not match[2]:
        return None
    divisor = int(match[3]) if match[3] else 1
    if divisor == 0:
        return None
    value = Fraction(match[2].replace(",", "")) / divisor
    return -value if match[1] == "-" else value
