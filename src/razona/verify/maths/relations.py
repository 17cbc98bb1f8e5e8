"""Equations, inequalities and sets of real numbers."""

from collections.abc import Callable
from dataclasses import dataclass

from razona.verify.maths.numeric import NoValue, float_value
from razona.verify.maths.syntax import Node, symbols_of
from razona.verify.settings import Settings

Equal = Callable[[Node, Node, Settings], bool]
FLIPPED = {
    "=": "=",
    r"\ne": r"\ne",
    "<": ">",
    ">": "<",
    r"\le": r"\ge",
    r"\ge": r"\le",
    r"\approx": r"\approx",
    r"\equiv": r"\equiv",
}
CONSTANTS = {"e", "i", "pi", "infinity"}
_TOLERANCE = 1e-8
_FUNCTIONS_ARE_NO_NAMES = frozenset("sin cos tan cot sec csc log ln exp sqrt factorial binomial root".split())


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


def is_relation_like(node: Node) -> bool:
    """Say whether the node is compared by its structure rather than by one value."""
    return (
        node.value == r"\R"
        or node.kind in ("list", "union", "intersection", "minus_set", "matrix")
        or (
            node.kind in ("add", "mul", "neg")
            and any(part.kind == "matrix" or is_relation_like(part) and part.kind != "list" for part in node.parts)
        )
    )


def is_name(node: Node) -> bool:
    """Say whether a node only names something: `x`, `AB`, `f(x)`, `|AB|`, `S_1 : S`, `NO/BO`, `(x, y)`; not `2x` nor `a + 3z`."""
    if node.kind == "symbol":
        return node.value not in ("i", "pi", "infinity")
    if node.kind == "mul":
        if isinstance(node.value, str):  # f(x), f(2), f(x + 1)
            return True
        return all(is_name(part) for part in node.parts)
    if node.kind in ("div", "ratio"):
        return all(is_name(part) for part in node.parts)
    if node.kind == "call":
        return node.value not in _FUNCTIONS_ARE_NO_NAMES and all(is_name(part) for part in node.parts)
    if node.kind == "list":
        return bool(node.parts) and all(is_name(part) for part in node.parts)
    return node.kind == "opaque" and node.value == "subscript"


def _head(node: Node) -> object:
    """The `f` of `f(x)`; None for anything else."""
    return node.value if node.kind == "mul" and isinstance(node.value, str) else None


def equal_relations(target: Node, answer: Node, settings: Settings, equal: Equal) -> bool:
    """Compare where at least one side is a relation."""
    if target.kind != "relation" or answer.kind != "relation":
        return settings.relation_as_set and _same_solutions(target, answer)
    if not settings.relation_as_set and r"\in" in target.value and r"\in" not in answer.value:  # type: ignore[operator]
        return False
    left, right = _normal(target), _normal(answer)
    if left.value == right.value and len(left.parts) == len(right.parts):
        if all(equal(one, other, settings) for one, other in zip(left.parts, right.parts, strict=True)):
            return True
        if (
            left.value == ("=",)
            and equal(left.parts[0], right.parts[1], settings)
            and equal(left.parts[1], right.parts[0], settings)
        ):
            return True
        if len(left.parts) == 2 and _proportional(left, right):
            return True
        if left.value == ("=",) and _head(left.parts[0]) is not None and _head(left.parts[0]) == _head(right.parts[0]):
            bound = [part for part in (left.parts[0].parts[1], right.parts[0].parts[1]) if part.kind == "symbol"]
            return (
                len(bound) == 2
                and not (symbols_of(left.parts[1]) | symbols_of(right.parts[1])) - CONSTANTS
                and equal(left.parts[1], right.parts[1], settings)
            )
        if (
            len(left.parts) > 2
            and set(left.value) <= {"="}
            and is_name(left.parts[0])
            and left.parts[0] == right.parts[0]
        ):  # type: ignore[arg-type]
            return equal(left.parts[-1], right.parts[-1], settings)
    if set(target.value) | set(answer.value) <= {"=", r"\approx"}:  # type: ignore[arg-type]
        return _equal_chains(target, answer, settings, equal)
    return _same_solutions(target, answer)


def _equal_chains(target: Node, answer: Node, settings: Settings, equal: Equal) -> bool:
    """Equations with more than two members: the same name at the front, and the same result at the end."""
    if (
        len(target.parts) == 2
        and len(answer.parts) == 2
        or not (is_name(target.parts[0]) and target.parts[0] == answer.parts[0])
    ):
        return False
    from razona.verify.maths.compare import _drop_name

    left, right = _drop_name(target), _drop_name(answer)
    return left.kind != "relation" and right.kind != "relation" and equal(left, right, settings)


def _normal(node: Node) -> Node:
    """Give a relation with `>` and `\\ge` turned round."""
    signs = node.value
    assert isinstance(signs, tuple)
    if signs and all(sign in (">", r"\ge") for sign in signs):
        return Node("relation", tuple(FLIPPED[sign] for sign in reversed(signs)), node.parts[::-1])
    return node


def _proportional(left: Node, right: Node) -> bool:
    """`a = b` and `c = d` are one equation if (a - b) / (c - d) is one number; for `<` it must be positive."""
    sign = left.value[0]  # type: ignore[index]
    if sign not in ("=", r"\ne", "<", r"\le"):
        return False
    if symbols_of(left) - CONSTANTS != symbols_of(right) - CONSTANTS or not symbols_of(left) - CONSTANTS:
        return False
    ratios: list[complex] = []
    for point in (0, 1, 2, 4, 5):
        try:
            first = float_value(left.parts[0], point) - float_value(left.parts[1], point)
            second = float_value(right.parts[0], point) - float_value(right.parts[1], point)
        except NoValue:
            continue
        if abs(second) < 1e-9 or abs(first) < 1e-9:
            if abs(first) < 1e-9 and abs(second) < 1e-9:
                continue
            return False
        ratios.append(first / second)
    if len(ratios) < 3 or any(abs(ratio - ratios[0]) > _TOLERANCE * abs(ratios[0]) for ratio in ratios):
        return False
    return sign in ("=", r"\ne") or complex(ratios[0]).real > 0


def interval_parts(node: Node) -> list[Interval] | None:
    """Give a set of real numbers as its intervals and points; None where it is none."""
    if node.kind == "union":
        found: list[Interval] = []
        for part in node.parts:
            intervals = interval_parts(part)
            if intervals is None:
                return None
            found += intervals
        return found
    if node.kind != "list":
        return None
    brackets = str(node.value)
    try:
        if brackets.startswith("\\"):
            values = [_real(part) for part in node.parts]
            return [Interval(low=value, high=value, has_low=True, has_high=True) for value in values]
        if len(node.parts) != 2 or len(brackets) != 2:
            return None
        low, high = _real(node.parts[0]), _real(node.parts[1])
    except NoValue:
        return None
    return [Interval(low=low, high=high, has_low=brackets[0] == "[", has_high=brackets[1] == "]")]


def _real(node: Node) -> float:
    if node.kind == "neg" and node.parts[0].value == "infinity":
        return float("-inf")
    if node.value == "infinity":
        return float("inf")
    if symbols_of(node) - CONSTANTS:
        raise NoValue("a symbol")
    value = complex(float_value(node, 0))
    if abs(value.imag) > 1e-12:
        raise NoValue("not real")
    return value.real


def equal_as_sets(target: Node, answer: Node, settings: Settings, equal: Equal) -> bool:
    """Compare unions of intervals: the same parts in any order, else the same members."""
    if target.kind == answer.kind and len(target.parts) == len(answer.parts):
        rest = list(answer.parts)
        for part in target.parts:
            match = next((index for index, other in enumerate(rest) if equal(part, other, settings)), None)
            if match is None:
                break
            rest.pop(match)
        else:
            return target.kind != "minus_set" or equal(target.parts[0], answer.parts[0], settings)
    return _same_solutions(target, answer)


def _same_solutions(target: Node, answer: Node) -> bool:
    """Compare a relation in one unknown and a set of reals, or two of them, at every end, beside it, between, and far out."""
    tests = [_membership(target), _membership(answer)]
    if tests[0] is None or tests[1] is None:
        return False
    if tests[0].name and tests[1].name and tests[0].name != tests[1].name:
        return False
    ends = sorted({end for test in tests for end in test.ends if abs(end) != float("inf")})  # type: ignore[union-attr]
    if not ends:
        return False
    points = [
        ends[0] - 1e3,
        ends[-1] + 1e3,
        ends[0] - 0.37,
        ends[-1] + 0.37,
        -1e6,
        1e6,
        *(-9.87 + 0.4321 * k for k in range(46)),
    ]
    for end in ends:
        points += [end, end - 1e-6 * max(1, abs(end)), end + 1e-6 * max(1, abs(end))]
    points += [(low + high) / 2 for low, high in zip(ends, ends[1:], strict=False)]
    try:
        return all(tests[0].holds(value) == tests[1].holds(value) for value in points)
    except NoValue:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Membership:
    holds: Callable[[float], bool]
    ends: tuple[float, ...]
    name: str
    """The unknown; empty for a set."""


def _membership(node: Node) -> _Membership | None:
    if node.kind == "relation":
        return _relation_membership(node)
    if node.kind == "minus_set":
        whole, hole = _membership(node.parts[0]), _membership(node.parts[1])
        if whole is None or hole is None:
            return None
        return _Membership(
            holds=lambda value: whole.holds(value) and not hole.holds(value), ends=whole.ends + hole.ends, name=""
        )
    if node.kind == "symbol" and node.value == r"\R":
        return _Membership(holds=lambda value: True, ends=(0.0,), name="")
    intervals = interval_parts(node)
    if intervals is None:
        return None
    ends = tuple(end for interval in intervals for end in (interval.low, interval.high))
    return _Membership(holds=lambda value: any(interval.holds(value) for interval in intervals), ends=ends, name="")


def _relation_membership(node: Node) -> _Membership | None:
    signs = node.value
    assert isinstance(signs, tuple)
    names = symbols_of(node) - CONSTANTS
    if signs == (r"\in",) and is_name(node.parts[0]):
        inner = _membership(node.parts[1])
        return None if inner is None else _Membership(holds=inner.holds, ends=inner.ends, name=_name_of(node.parts[0]))
    if not set(signs) <= {"<", r"\le", ">", r"\ge", r"\ne"}:
        return None
    unknowns = [part for part in node.parts if symbols_of(part) - CONSTANTS]
    if len(unknowns) == 1 and is_name(unknowns[0]) and unknowns[0].kind != "call":
        unknown: Node | None = unknowns[0]
        name = _name_of(unknowns[0])
    elif len(names) == 1:
        unknown, name = None, next(iter(names))
    else:
        return None
    try:
        ends = tuple(_real(part) for part in node.parts if not symbols_of(part) - CONSTANTS)
    except NoValue:
        return None

    def holds(value: float) -> bool:
        values = [value if part is unknown else _evaluate(part, name, value) for part in node.parts]
        return all(_HOLDS[sign](one, other) for one, sign, other in zip(values, signs, values[1:], strict=False))

    return _Membership(holds=holds, ends=ends, name=name)


def _name_of(node: Node) -> str:
    return str(node.value) if node.kind == "symbol" else repr(node)


_HOLDS: dict[str, Callable[[float, float], bool]] = {
    "<": lambda one, other: one < other,
    r"\le": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    r"\ge": lambda one, other: one >= other,
    r"\ne": lambda one, other: one != other,
}


def _evaluate(node: Node, name: str, value: float) -> float:
    if node.kind == "symbol" and node.value == name:
        return value
    return _real(_substitute(node, name, value))


def _substitute(node: Node, name: str, value: float) -> Node:
    if node.kind == "symbol" and node.value == name:
        from fractions import Fraction

        return Node("num", Fraction(value))
    return (
        Node(node.kind, node.value, tuple(_substitute(part, name, value) for part in node.parts))
        if node.parts
        else node
    )
