"""The syntax tree of an answer, and what is refused before any arithmetic."""

from fractions import Fraction
from typing import NamedTuple

MAX_TOKENS = 1_500
"""Longer formulas are not read."""
MAX_DEPTH = 60
"""Brackets, fractions, roots and powers inside one another."""
MAX_ITEMS = 300
"""Entries of a list, set, tuple or matrix."""
MAX_DIGITS = 1_000
"""Digits of one number as written."""


class ReadError(ValueError):
    """The text is no formula that this parser knows."""


class LimitError(ReadError):
    """The text is larger than the limits above allow."""


class Node(NamedTuple):
    """One operation with its operands.

    Kinds: `num` (value: Fraction), `symbol` (value: name), `text` (value: words), `add`, `mul`, `div`, `pow`, `neg`,
    `plus_minus` (value: +1 or -1, the sign of its first reading), `call` (value: function name), `base` (value: digits; part:
    base), `list` (value: the two brackets, "" for none), `union`, `intersection`, `minus_set`, `matrix` (value: number of columns),
    `relation` (value: the signs, one fewer than parts), `ratio`, `percent`, `degree`, `opaque` (value: name; integrals, sums, limits).
    """

    kind: str
    value: object = None
    parts: "tuple[Node, ...]" = ()


def number(value: int | Fraction) -> Node:
    """Give a number's node."""
    return Node("num", Fraction(value))


def symbols_of(node: Node) -> set[str]:
    """Give the names of all symbols below a node."""
    if node.kind == "symbol":
        return {str(node.value)}
    found: set[str] = set()
    for part in node.parts:
        found |= symbols_of(part)
    return found
