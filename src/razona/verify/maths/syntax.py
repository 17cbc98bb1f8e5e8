"""The syntax tree of an answer, and what is refused before any arithmetic."""

from collections.abc import Callable
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
NUMBERS = frozenset(("e", "i", "pi"))
"""Symbols that are numbers."""
CONSTANTS = NUMBERS | {"infinity"}
"""Symbols that stand for no unknown."""


class ReadError(ValueError):
    """The text is no formula that this parser knows."""


class LimitError(ReadError):
    """The text is larger than the limits above allow."""


class Node(NamedTuple):
    """One operation with its operands.

    Kinds: `num` (value: Fraction), `symbol` (value: name), `add`, `mul` (value: the name of the function where it is
    `f(x)`), `div`, `pow`, `neg`, `plus_minus` (value: +1 or -1, the sign of its first reading), `call` (value: function
    name), `base` (value: digits; part: base), `list` (value: the two brackets, "" for none), `union`, `intersection`,
    `minus_set`, `matrix` (value: "det" or "", and the number of columns), `relation` (value: the signs, one fewer than
    parts), `ratio`, `percent`, `degree`, `opaque` (value: name; integrals, sums, limits).
    """

    kind: str
    value: object = None
    parts: "tuple[Node, ...]" = ()


def number(value: int | Fraction) -> Node:
    """Give a number's node."""
    return Node("num", Fraction(value))


def fraction_of(node: Node) -> Fraction:
    """Give the value of a `num`."""
    assert isinstance(node.value, Fraction), node
    return node.value


def signs_of(node: Node) -> tuple[str, ...]:
    """Give the signs of a `relation`."""
    assert isinstance(node.value, tuple), node
    return node.value


def columns_of(node: Node) -> int:
    """Give the number of columns of a `matrix`."""
    assert isinstance(node.value, tuple), node
    return node.value[1]


def is_whole(node: Node) -> bool:
    """Say whether a node is a whole number as written."""
    return node.kind == "num" and fraction_of(node).denominator == 1


def is_bare_list(node: Node) -> bool:
    """Say whether a node is a list without brackets, `1, 2`."""
    return node.kind == "list" and node.value == ""


def changed(node: Node, change: "Callable[[Node], Node]") -> Node:
    """Give the node with every part changed."""
    return Node(node.kind, node.value, tuple(map(change, node.parts))) if node.parts else node


def symbols_of(node: Node) -> set[str]:
    """Give the names of all symbols below a node."""
    if node.kind == "symbol":
        return {str(node.value)}
    found: set[str] = set()
    for part in node.parts:
        found |= symbols_of(part)
    return found
