"""The arithmetic a completion shows: how many steps, and are they true? For figures only; no reward reads it."""

import re
from dataclasses import dataclass
from fractions import Fraction

_NUMBER = r"[0-9]{1,12}(?:\.[0-9]{1,6})?"
_EQUATION = re.compile(
    r"(?<![0-9.])(?<![0-9)][-+*/])(?<![0-9)] [-+*/] )"  # `4 + 5 = 12` is no step of its own in `3 + 4 + 5 = 12`
    rf"({_NUMBER}) ?([-+*/]) ?({_NUMBER}) ?= ?(-?{_NUMBER})"
)
_ORDER = re.compile(rf"(?<![0-9.])({_NUMBER}(?: ?[<>] ?{_NUMBER})+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """The worked steps of one completion."""

    count: int
    """Equations such as `3 + 4 = 7` and orderings such as `3 < 4 < 9`."""
    true: int
    """Those of them that hold, by exact arithmetic."""


def _holds(left: Fraction, sign: str, right: Fraction, result: Fraction) -> bool:
    if sign == "/":
        return right != 0 and left == result * right
    return {"+": left + right, "-": left - right, "*": left * right}[sign] == result


def read_steps(text: str) -> StepReport:
    """Count the worked steps of a text, and those that are true.

    Covers sums, differences, products and quotients of two numbers, and chains of `<` or `>`. Does not cover
    words ("Bob is a knave"), LaTeX, or steps with more than one operation on the left.

    >>> read_steps("12 + 5 = 17. 17 - 8 = 8.")
    StepReport(count=2, true=1)
    """
    count = true = 0
    for match in _EQUATION.finditer(text):
        count += 1
        true += _holds(Fraction(match[1]), match[2], Fraction(match[3]), Fraction(match[4]))
    for match in _ORDER.finditer(text):
        parts = re.split(r" ?([<>]) ?", match[1])
        count += 1
        pairs = zip(parts[0:-2:2], parts[1:-1:2], parts[2::2], strict=True)
        true += all(Fraction(a) < Fraction(b) if sign == "<" else Fraction(a) > Fraction(b) for a, sign, b in pairs)
    return StepReport(count=count, true=true)
