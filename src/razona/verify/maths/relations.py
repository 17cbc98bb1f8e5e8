"""Equations, inequalities and chains of them."""

from razona.verify.maths.chains import drop_name, is_name
from razona.verify.maths.numeric import NoValue, float_value
from razona.verify.maths.precise import Precise, agree, context, precise_value
from razona.verify.maths.sets import Equal, same_solutions, unknowns_of
from razona.verify.maths.syntax import Node, signs_of
from razona.verify.maths.values import digits_needed
from razona.verify.settings import Settings

_TURNED = {">": "<", r"\ge": r"\le"}
_POINTS = (0, 1, 2, 4, 5)
_PRECISE_POINTS = (0, 1)
_MIN_POINTS = 3
_TOLERANCE = 1e-8
_ZERO = 1e-9


def equal_relations(target: Node, answer: Node, settings: Settings, equal: Equal) -> bool:
    """Compare where at least one side is a relation."""
    if target.kind != "relation" or answer.kind != "relation":
        return settings.relation_as_set and same_solutions(target, answer)
    if not settings.relation_as_set and r"\in" in signs_of(target) and r"\in" not in signs_of(answer):
        return False
    left, right = _turned(target), _turned(answer)
    if left.value == right.value:
        found = _equal_members(left, right, settings, equal)
        if found is not None:
            return found
    if set(signs_of(target) + signs_of(answer)) <= {"=", r"\approx"}:
        return _equal_chains(target, answer, settings, equal)
    return same_solutions(target, answer)


def _equal_members(left: Node, right: Node, settings: Settings, equal: Equal) -> bool | None:
    """Compare relations with the same signs, member by member; None where that does not decide."""
    if all(equal(one, other, settings) for one, other in zip(left.parts, right.parts, strict=True)):
        return True
    first, other_first = left.parts[0], right.parts[0]
    last, other_last = left.parts[-1], right.parts[-1]
    is_equation = left.value == ("=",)
    if is_equation and equal(first, other_last, settings) and equal(last, other_first, settings):
        return True
    if len(left.parts) == 2 and _are_proportional(left, right):
        return True
    if is_equation and _head(first) is not None and _head(first) == _head(other_first):  # f(x) = 3 is f(t) = 3
        are_bound = first.parts[1].kind == other_first.parts[1].kind == "symbol"
        return are_bound and not unknowns_of(last) and not unknowns_of(other_last) and equal(last, other_last, settings)
    if len(left.parts) > 2 and set(signs_of(left)) == {"="} and is_name(first) and first == other_first:
        return equal(last, other_last, settings)
    return None


def _head(node: Node) -> str | None:
    """The `f` of `f(x)`; None for anything else."""
    return node.value if node.kind == "mul" and isinstance(node.value, str) else None


def _equal_chains(target: Node, answer: Node, settings: Settings, equal: Equal) -> bool:
    """Equations with more than two members: the same name at the front, and the same result at the end."""
    is_chain = max(len(target.parts), len(answer.parts)) > 2
    if not is_chain or not is_name(target.parts[0]) or target.parts[0] != answer.parts[0]:
        return False
    left, right = drop_name(target), drop_name(answer)
    return left.kind != "relation" and right.kind != "relation" and equal(left, right, settings)


def _turned(node: Node) -> Node:
    r"""Give a relation of `>` and `\ge` turned round; any other as it is."""
    signs = signs_of(node)
    if not set(signs) <= set(_TURNED):
        return node
    return Node("relation", tuple(_TURNED[sign] for sign in reversed(signs)), node.parts[::-1])


def _are_proportional(left: Node, right: Node) -> bool:
    """`a = b` and `c = d` are one equation if (a - b) / (c - d) is one number; for `<` it must be positive."""
    sign = signs_of(left)[0]
    if sign not in ("=", r"\ne", "<", r"\le"):
        return False
    if unknowns_of(left) != unknowns_of(right) or not unknowns_of(left):
        return False
    ratios: list[complex] = []
    for point in _POINTS:
        try:
            first, second = _difference(left, point), _difference(right, point)
        except NoValue:
            continue
        are_zero = abs(first) < _ZERO, abs(second) < _ZERO
        if all(are_zero):
            continue
        if any(are_zero):
            return False
        ratios.append(first / second)
    if len(ratios) < _MIN_POINTS or any(abs(ratio - ratios[0]) > _TOLERANCE * abs(ratios[0]) for ratio in ratios):
        return False
    if not _have_one_ratio(left, right):
        return False
    return sign in ("=", r"\ne") or complex(ratios[0]).real > 0


def _have_one_ratio(left: Node, right: Node) -> bool:
    """Say whether the ratio is the same in many digits too: floats take `x > 3` for `x > 3.00000000001`."""
    digits = digits_needed(left, right)
    ratios: list[Precise] = []
    mp = context()
    for point in _PRECISE_POINTS:
        try:
            sides = [precise_value(part, point, digits) for part in (*left.parts, *right.parts)]
        except NoValue:
            continue
        with mp.workdps(digits):
            first, second = sides[0] - sides[1], sides[2] - sides[3]
            if second:
                ratios.append(first / second)
    return all(agree(ratio, ratios[0], digits - 25) for ratio in ratios)


def _difference(relation: Node, point: int) -> complex:
    return float_value(relation.parts[0], point) - float_value(relation.parts[1], point)
