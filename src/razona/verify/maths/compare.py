"""Whether two formulas say the same, by what they are: relation, list, set, tuple, interval, matrix, value."""

from razona.verify.maths.chains import in_order_of_names, names_of, without_names
from razona.verify.maths.matrices import equal_shapes
from razona.verify.maths.relations import equal_relations
from razona.verify.maths.sets import equal_as_sets
from razona.verify.maths.signs import expand_signs, two_equations
from razona.verify.maths.syntax import Node, is_bare_list
from razona.verify.maths.values import equal_values
from razona.verify.settings import Settings

_SET_OPERATIONS = ("union", "intersection", "minus_set")
_STRUCTURES = ("list", "matrix", *_SET_OPERATIONS)


def equal(target: Node, answer: Node, settings: Settings) -> bool:
    r"""Say whether an answer's tree is equal to a target's.

    Names that say nothing more are dropped first, and `\pm` becomes two values. Relations are compared by their members
    and solutions, lists by their entries, sets of reals by their members, matrices by their entries, all else by value.

    Raises:
        LimitError: an exact value would have too many digits.
    """
    if target == answer:
        return True
    target, answer = two_equations(target), two_equations(answer)
    is_named: tuple[object, ...] = ()
    if is_bare_list(target) or is_bare_list(answer):
        is_named = names_of(target), names_of(answer)
        target, answer = in_order_of_names(target, answer), in_order_of_names(answer, target)
    target, answer = without_names(target, answer)
    if target == answer:
        return True
    if any(is_named) and not all(is_named) and is_bare_list(target) and is_bare_list(answer):
        return _same_in_order(target.parts, answer.parts, settings)  # `4, 3` is not `x = 3, y = 4`
    if target.kind == "relation" or answer.kind == "relation":
        return equal_relations(target, answer, settings, equal)
    target, answer = expand_signs(target), expand_signs(answer)
    if _has_structure(target) or _has_structure(answer):
        return _equal_structures(target, answer, settings)
    if target.kind == "base" or answer.kind == "base":
        return target == answer
    if _infinity_sign(target) or _infinity_sign(answer):
        return _infinity_sign(target) == _infinity_sign(answer)
    if target.kind == "ratio" or answer.kind == "ratio":
        return _equal_ratios(target, answer, settings)
    return equal_values(target, answer, settings)


def _equal_ratios(target: Node, answer: Node, settings: Settings) -> bool:
    """Compare ratios term by term up to a factor; one of two terms is its quotient as well."""
    if target.kind == answer.kind:
        crossed = (
            (Node("mul", None, (one, answer.parts[0])), Node("mul", None, (other, target.parts[0])))
            for one, other in zip(target.parts, answer.parts, strict=False)
        )
        return len(target.parts) == len(answer.parts) and all(equal_values(*pair, settings) for pair in crossed)
    ratio, other = (target, answer) if target.kind == "ratio" else (answer, target)
    quotient = Node("div", None, ratio.parts)
    if len(ratio.parts) != 2:
        return False
    return equal_values(*((quotient, other) if ratio is target else (other, quotient)), settings)


def _infinity_sign(node: Node) -> int:
    """Give 1 for infinity, -1 for its negative, 0 for anything else."""
    if node.kind == "neg":
        return -_infinity_sign(node.parts[0])
    return int(node.kind == "symbol" and node.value == "infinity")


def _has_structure(node: Node) -> bool:
    """Say whether a node is compared part by part rather than by one value."""
    if node.value == r"\R" or node.kind in _STRUCTURES:
        return True
    return node.kind in ("add", "mul", "neg") and any(
        part.kind != "list" and _has_structure(part) for part in node.parts
    )


def _equal_structures(target: Node, answer: Node, settings: Settings) -> bool:
    """Lists, sets, tuples, intervals, unions and matrices."""
    if "matrix" in (target.kind, answer.kind):
        entries = equal_shapes(target, answer)
        return entries is not None and _same_in_order(*entries, settings)
    is_set_of_reals = target.kind in _SET_OPERATIONS or answer.kind in _SET_OPERATIONS
    if is_set_of_reals or r"\R" in (target.value, answer.value):
        return equal_as_sets(target, answer, settings, equal)
    if target.kind != "list" or answer.kind != "list":
        one, other = (target, answer) if target.kind == "list" else (answer, target)
        return len(one.parts) == 1 and one.value in ("", r"\{\}") and equal(one.parts[0], other, settings)
    return _equal_lists(target, answer, settings)


def _equal_lists(target: Node, answer: Node, settings: Settings) -> bool:
    """Compare by the brackets: a set as answer in any order, lists without brackets as told, all others in theirs."""
    left, right = str(target.value), str(answer.value)
    if left.startswith("\\") or right.startswith("\\"):  # one of them is a set
        is_tuple = left[:1] in ("(", "[") or right[:1] in ("(", "[")
        return not is_tuple and _same_in_any_order(target.parts, answer.parts, settings)
    are_tuples = len(target.parts) > 2 and {left, right} <= {"()", "[]"}
    if left and right and left != right and not are_tuples:
        return False
    if {left, right} & {"[)", "(]"} and left != right:
        return False
    if left or right or settings.order == "ordered":
        return _same_in_order(target.parts, answer.parts, settings)
    return _same_in_any_order(target.parts, answer.parts, settings)


def _same_in_order(target: tuple[Node, ...], answer: tuple[Node, ...], settings: Settings) -> bool:
    return len(target) == len(answer) and all(
        equal(one, other, settings) for one, other in zip(target, answer, strict=True)
    )


def _same_in_any_order(target: tuple[Node, ...], answer: tuple[Node, ...], settings: Settings) -> bool:
    rest = list(dict.fromkeys(answer))
    for one in dict.fromkeys(target):
        match = next((other for other in rest if equal(one, other, settings)), None)
        if match is None:
            return False
        rest = [other for other in rest if not equal(match, other, settings)]
    return not rest
