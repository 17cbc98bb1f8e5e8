"""Sets of real numbers: intervals, points and their unions, and what an inequality in one unknown leaves."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from razona.verify.maths.chains import is_name
from razona.verify.maths.exact import exact
from razona.verify.maths.numeric import NoValue, float_value
from razona.verify.maths.syntax import CONSTANTS, Node, changed, is_bare_list, number, signs_of, symbols_of
from razona.verify.settings import Settings

Equal = Callable[[Node, Node, Settings], bool]
"""`compare.equal`, handed down: what holds sets and relations compares their parts with it."""
INFINITY = float("inf")
_FLOAT_STEP = Fraction(1, 10**12)
_ORDERS: dict[str, Callable[[float, float], bool]] = {
    "<": lambda one, other: one < other,
    r"\le": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    r"\ge": lambda one, other: one >= other,
    r"\ne": lambda one, other: one != other,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A real interval or, where both ends are one number, a point."""

    low: float
    high: float
    has_low: bool
    has_high: bool

    def holds(self, value: float) -> bool:
        """Say whether the number lies in it."""
        above = value > self.low or (self.has_low and value == self.low)
        return above and (value < self.high or (self.has_high and value == self.high))


def intervals_of(node: Node) -> list[Interval] | None:
    """Give a set of real numbers as its intervals and points; None where it is none."""
    if node.kind == "union":
        parts = [intervals_of(part) for part in node.parts]
        found = [interval for part in parts if part is not None for interval in part]
        return None if None in parts else found
    if node.kind != "list":
        return None
    brackets = str(node.value)
    try:
        ends = [_real(part) for part in node.parts]
    except NoValue:
        return None
    if brackets.startswith("\\"):
        return [Interval(low=value, high=value, has_low=True, has_high=True) for value in ends]
    if len(ends) != 2 or len(brackets) != 2:
        return None
    return [Interval(low=ends[0], high=ends[1], has_low=brackets[0] == "[", has_high=brackets[1] == "]")]


def unknowns_of(node: Node) -> set[str]:
    """Give the names of the symbols that are no constants."""
    return symbols_of(node) - CONSTANTS


def _real(node: Node) -> float:
    """Give the real value of a formula without unknowns, which may be infinite.

    Raises:
        NoValue: it has none.
    """
    if node.kind == "neg" and node.parts[0].value == "infinity":
        return -INFINITY
    if node.value == "infinity":
        return INFINITY
    if unknowns_of(node):
        raise NoValue("a symbol")
    value = complex(float_value(node, 0))
    if abs(value.imag) > 1e-12:
        raise NoValue("not real")
    return value.real


def equal_as_sets(target: Node, answer: Node, settings: Settings, equal: Equal) -> bool:
    """Compare unions of intervals: the same parts in any order, else the same members."""
    if not settings.relation_as_set and _is_of_relations(target) != _is_of_relations(answer):
        return False
    if _is_of_relations(target) and is_bare_list(answer):  # `x < 1 or x > 2` as `x < 1, x > 2`
        answer = Node(target.kind, None, answer.parts)
    elif _is_of_relations(answer) and is_bare_list(target):
        target = Node(answer.kind, None, target.parts)
    if target.parts and target.kind == answer.kind and len(target.parts) == len(answer.parts):
        rest = list(answer.parts)
        for part in target.parts:
            match = next((index for index, other in enumerate(rest) if equal(part, other, settings)), None)
            if match is None:
                break
            rest.pop(match)
        else:
            return target.kind != "minus_set" or equal(target.parts[0], answer.parts[0], settings)
    return same_solutions(target, answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Membership:
    """Which numbers belong."""

    holds: Callable[[float], bool]
    ends: tuple[float, ...]
    name: str = ""
    """The unknown; empty for a set."""


def same_solutions(target: Node, answer: Node) -> bool:
    """Say whether two sets, or relations in one unknown, hold the same reals: at the ends, beside, between, far out."""
    left, right = _membership(target), _membership(answer)
    if left is None or right is None or (left.name and right.name and left.name != right.name):
        return False
    ends = sorted({end for end in left.ends + right.ends if abs(end) != INFINITY})
    if not ends or _has_close_ends(target, answer):
        return False
    try:
        return all(left.holds(value) == right.holds(value) for value in _tested_points(ends))
    except NoValue:
        return False


def _has_close_ends(target: Node, answer: Node) -> bool:
    """Say whether two rational values differ by less than floats tell apart, as in `x > 3` and `x > 3 + 1e-20`."""
    values, others = _rationals(target), _rationals(answer)
    return any(one != other and abs(one - other) <= _FLOAT_STEP * abs(one) for one in values for other in others)


def _rationals(node: Node) -> set[Fraction]:
    value = exact(node)
    if value is not None:
        return {value}
    return {value for part in node.parts for value in _rationals(part)}


def _tested_points(ends: list[float]) -> list[float]:
    points = [ends[0] - 1e3, ends[-1] + 1e3, ends[0] - 0.37, ends[-1] + 0.37, -1e6, 1e6]
    points += [-9.87 + 0.4321 * k for k in range(46)]
    for end in ends:
        beside = 1e-6 * max(1, abs(end))
        points += [end, end - beside, end + beside]
    return points + [(low + high) / 2 for low, high in pairwise(ends)]


def _is_of_relations(node: Node) -> bool:
    return node.kind in ("union", "intersection") and all(part.kind == "relation" for part in node.parts)


def _membership(node: Node) -> _Membership | None:
    if node.kind == "relation":
        return _relation_membership(node)
    if node.kind == "minus_set":
        whole, hole = _membership(node.parts[0]), _membership(node.parts[1])
        if whole is None or hole is None:
            return None
        return _Membership(
            holds=lambda value: whole.holds(value) and not hole.holds(value), ends=whole.ends + hole.ends
        )
    if node.kind == "symbol" and node.value == r"\R":
        return _Membership(holds=lambda value: True, ends=(0.0,))
    if _is_of_relations(node):
        return _joined([_membership(part) for part in node.parts], any if node.kind == "union" else all)
    intervals = intervals_of(node)
    if intervals is None:
        return None
    ends = tuple(end for interval in intervals for end in (interval.low, interval.high))
    return _Membership(holds=lambda value: any(interval.holds(value) for interval in intervals), ends=ends)


def _joined(parts: "list[_Membership | None]", join: Callable[[Iterable[object]], bool]) -> _Membership | None:
    """Give what holds where any of several sets holds, or all of them."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or len({part.name for part in known}) > 1:
        return None
    ends = tuple(end for part in known for end in part.ends)
    return _Membership(holds=lambda value: join(part.holds(value) for part in known), ends=ends, name=known[0].name)


def _relation_membership(node: Node) -> _Membership | None:
    signs = signs_of(node)
    if signs == (r"\in",) and is_name(node.parts[0]):
        inner = _membership(node.parts[1])
        return None if inner is None else _Membership(holds=inner.holds, ends=inner.ends, name=_name_of(node.parts[0]))
    if not set(signs) <= set(_ORDERS):
        return None
    with_unknown = [part for part in node.parts if unknowns_of(part)]
    if len(with_unknown) == 1 and is_name(with_unknown[0]) and with_unknown[0].kind != "call":
        unknown: Node | None = with_unknown[0]
        name = _name_of(with_unknown[0])
    elif len(unknowns_of(node)) == 1:
        unknown, name = None, unknowns_of(node).pop()
    else:
        return None
    try:
        ends = tuple(_real(part) for part in node.parts if not unknowns_of(part))
    except NoValue:
        return None

    def holds(value: float) -> bool:
        values = [value if part is unknown else _real(_substituted(part, name, value)) for part in node.parts]
        return all(_ORDERS[sign](*pair) for sign, pair in zip(signs, pairwise(values), strict=True))

    return _Membership(holds=holds, ends=ends, name=name)


def _name_of(node: Node) -> str:
    return str(node.value) if node.kind == "symbol" else repr(node)


def _substituted(node: Node, name: str, value: float) -> Node:
    if node.kind == "symbol" and node.value == name:
        return number(Fraction(value))
    return changed(node, lambda part: _substituted(part, name, value))
