r"""Whether two formulas say the same, by the kind of thing they are: number, expression, list, set, tuple, interval, matrix, relation.

The order of the tests: the same tree; exact rational values; floats at random points, which refuse most pairs; many digits at
random points, which accept. Nothing here is rounded unless the recipe gives a tolerance, with one exception: a decimal of at
least 12 significant digits stands for the value it is the rounding of, because that is how programs print.
"""

from fractions import Fraction

from razona.verify.maths.exact import exact
from razona.verify.maths.numeric import NoValue, float_value, precise_value
from razona.verify.maths.relations import equal_as_sets, equal_relations, is_name, is_relation_like, interval_parts
from razona.verify.maths.syntax import Node, symbols_of
from razona.verify.settings import Settings

FLOAT_TOLERANCE = 1e-8
MIN_PRINTED_DIGITS = 12
"""Significant digits from which a decimal counts as the rounding of what it stands for."""
POINTS = (0, 1, 4, 5)
"""The fixed points of `numeric.draw` at which formulas with symbols are compared; 4 and 5 have negative ones."""


def equal(target: Node, answer: Node, settings: Settings) -> bool:
    """Say whether an answer's tree is equal to a target's; see this file's head."""
    if target == answer:
        return True
    target, answer = _without_names(_two_equations(target), _two_equations(answer), settings)
    if target == answer:
        return True
    if target.kind == "relation" or answer.kind == "relation":
        return equal_relations(target, answer, settings, equal)
    target, answer = expand_signs(target), expand_signs(answer)
    if is_relation_like(target) or is_relation_like(answer):
        return _equal_structures(target, answer, settings)
    if target.kind == "base" or answer.kind == "base":
        return target == answer
    if "infinity" in (target.value, answer.value) or _signed_infinity(target) or _signed_infinity(answer):
        return _signed_infinity(target) == _signed_infinity(answer) != 0
    return equal_values(target, answer, settings)


def _two_equations(node: Node) -> Node:
    """`x = \\pm 3` as `x = 3, x = -3`."""
    if node.kind == "relation" and node.value == ("=",) and _has_sign(node):
        return Node("list", "", (_choose(node, 1), _choose(node, -1)))
    return node


def _signed_infinity(node: Node) -> int:
    if node.kind == "neg":
        return -_signed_infinity(node.parts[0])
    return int(node.kind == "symbol" and node.value == "infinity")


def _without_names(target: Node, answer: Node, settings: Settings) -> tuple[Node, Node]:
    """`x = 5` against `5`, `(x, y) = (1, 2)` against `(1, 2)`, `x \\in S` against `S`: the name says nothing more."""
    if target.kind == "list" and target.value == "" or answer.kind == "list" and answer.value == "":
        target_named = [part.kind == "relation" for part in _entries(target)]
        answer_named = [part.kind == "relation" for part in _entries(answer)]
        if all(target_named) and all(answer_named):
            return target, answer
        return _drop_names(target), _drop_names(answer)
    if (target.kind == "relation") != (answer.kind == "relation"):
        return _drop_name(target), _drop_name(answer)
    return target, answer


def _entries(node: Node) -> tuple[Node, ...]:
    return node.parts if node.kind == "list" and node.value == "" else (node,)


def _drop_names(node: Node) -> Node:
    if node.kind == "list" and node.value == "":
        return Node("list", "", tuple(_drop_name(part) for part in node.parts))
    return _drop_name(node)


def last_member(node: Node) -> Node:
    """Give the last member of a target's chain of equations, `1 = x = 0`: a target is not accused of contradicting itself."""
    is_chain = (
        node.kind == "relation" and isinstance(node.value, tuple) and len(node.value) > 1 and set(node.value) == {"="}
    )
    return node.parts[-1] if is_chain and not symbols_of(node.parts[-1]) else node


def _drop_name(node: Node) -> Node:
    """Give what a name is set equal to; of a chain `x = 1 + 1 = 2` its last member, if the finished members agree."""
    if node.kind != "relation":
        return node
    signs = node.value
    assert isinstance(signs, tuple)
    first, last = node.parts[0], node.parts[-1]
    if len(signs) == 1 and signs[0] == r"\in":
        return last if is_name(first) else node
    if not set(signs) <= {"=", r"\approx"}:
        return node
    if len(signs) == 1 and is_name(last) and not is_name(first):
        return first if exact(first) is not None or not symbols_of(first) else node
    members = list(node.parts)
    if is_name(first):
        members, signs = members[1:], signs[1:]
    elif symbols_of(first) - {"e", "i", "pi"} or symbols_of(last) - {"e", "i", "pi"}:
        return node
    cut = signs.index(r"\approx") if r"\approx" in signs else len(signs)  # `1/3 \approx 0.33`: the exact one counts
    return members[: cut + 1][-1] if cut else members[0]


def contradicts_itself(node: Node, *, is_strict: bool) -> bool:
    """Say whether a chain such as `x = 7 = 8` equates different numbers.

    Args:
        is_strict: unfinished members count too, `3 + 3 = 2`. False in running text, where they are working, and working is not judged.
    """
    if node.kind != "relation" or not isinstance(node.value, tuple) or not set(node.value) <= {"=", r"\approx"}:
        return False
    cut = node.value.index(r"\approx") if r"\approx" in node.value else len(node.value)
    values = {exact(member) for member in node.parts[: cut + 1] if is_strict or not is_unfinished(member)}
    return len(values - {None}) > 1


def is_unfinished(node: Node) -> bool:
    """Say whether a formula is arithmetic that was not carried out, such as `3 + 4` or `2 * 5`.

    Powers, roots, factorials, fractions of two numbers and `a * 10^b` are how results are written; sums, differences and products
    of numbers, and fractions that hold one, are not.
    """
    try:
        return (
            node.kind not in ("num", "list", "relation", "matrix") and exact(node) is not None and _has_open_step(node)
        )
    except ValueError:
        return False


def _has_open_step(node: Node) -> bool:
    if node.kind == "add":
        return True
    if node.kind == "mul":
        right = node.parts[1]
        is_scientific = right.kind == "pow" and right.parts[0].value == 10
        return not is_scientific
    return any(_has_open_step(part) for part in node.parts if part.kind != "num")


def expand_signs(node: Node) -> Node:
    """`1 \\pm 2` as the list of its two values; in a list, every entry's own two."""
    if node.kind == "list" and any(_has_sign(part) for part in node.parts):
        parts: list[Node] = []
        for part in node.parts:
            both = [_choose(part, 1), _choose(part, -1)] if _has_sign(part) else [part]
            parts.extend(both)
        return Node("list", node.value, tuple(parts))
    if node.kind not in ("list", "relation", "union") and _has_sign(node):
        return Node("list", "", (_choose(node, 1), _choose(node, -1)))
    return node


def _has_sign(node: Node) -> bool:
    return node.kind == "plus_minus" or any(_has_sign(part) for part in node.parts)


def _choose(node: Node, sign: int) -> Node:
    if node.kind == "plus_minus":
        inner = _choose(node.parts[0], sign)
        return inner if node.value == sign else Node("neg", None, (inner,))
    return Node(node.kind, node.value, tuple(_choose(part, sign) for part in node.parts)) if node.parts else node


def equal_values(target: Node, answer: Node, settings: Settings) -> bool:
    """Compare two expressions by value."""
    if target.kind == "matrix" or answer.kind == "matrix":
        return False
    expected, found = exact(target), exact(answer)
    if expected is not None and found is not None:
        return (
            expected == found
            or _is_close(expected, found, settings)
            or _is_printed_float(target, expected, answer, found)
        )
    target, answer = _as_angles(target, answer)
    names = symbols_of(target) | symbols_of(answer)
    has_symbols = bool(names - {"e", "i", "pi"})
    compared = 0
    for point in POINTS if has_symbols else (0,):
        try:
            left, right = float_value(target, point), float_value(answer, point)
        except NoValue:
            continue
        compared += 1
        distance = abs(left - right)
        if point >= 4 and abs(complex(left).imag) + abs(complex(right).imag) > 0:
            continue  # roots of negative numbers: the branches are a convention
        if distance > FLOAT_TOLERANCE and distance > FLOAT_TOLERANCE * max(abs(left), abs(right)):
            if settings.tolerance is not None and distance <= settings.tolerance * abs(left):
                continue
            return False
    if settings.tolerance is not None and compared:
        return True
    if not has_symbols and _is_printed(target, answer, found, expected):
        return True
    return _equal_precisely(target, answer, points=(0, 1) if has_symbols else (0,))


def _as_angles(target: Node, answer: Node) -> tuple[Node, Node]:
    """`90^\\circ` against `90` compares numbers; against `\\pi/2` it compares angles."""
    if (target.kind == "degree") != (answer.kind == "degree"):
        other = answer if target.kind == "degree" else target
        if "pi" not in symbols_of(other):
            return (target.parts[0], answer) if target.kind == "degree" else (target, answer.parts[0])
    return target, answer


def _equal_precisely(target: Node, answer: Node, points: tuple[int, ...]) -> bool:
    digits = 50 + _written_digits(target) + _written_digits(answer)
    compared = False
    for point in points:
        try:
            left, right = precise_value(target, point, digits), precise_value(answer, point, digits)
        except NoValue:
            continue
        compared = True
        if not _agree(left, right, digits - 10):
            if abs(left) > 10 ** -(digits // 2) and abs(right) > 10 ** -(digits // 2):  # type: ignore[arg-type, operator]
                return False
            left, right = precise_value(target, point, 3 * digits), precise_value(answer, point, 3 * digits)
            scale = max(abs(left), abs(right))  # type: ignore[type-var, arg-type]
            if scale > 10 ** -(2 * digits):  # type: ignore[operator]
                return False
    return compared


def _agree(left, right, digits: int) -> bool:  # noqa: ANN001 - mpmath numbers
    import mpmath

    with mpmath.workdps(digits + 20):
        return bool(abs(left - right) <= max(abs(left), abs(right)) * mpmath.mpf(10) ** -digits)


def _written_digits(node: Node) -> int:
    own = (
        len(str(node.value))
        if node.kind == "num" and _bit_length(node) < 8_000
        else _bit_length(node) // 3
        if node.kind == "num"
        else 0
    )
    return own + sum(_written_digits(part) for part in node.parts)


def _bit_length(node: Node) -> int:
    value = node.value
    return max(value.numerator.bit_length(), value.denominator.bit_length()) if isinstance(value, Fraction) else 0


def _is_close(expected: Fraction, found: Fraction, settings: Settings) -> bool:
    return settings.tolerance is not None and abs(expected - found) <= Fraction(settings.tolerance) * abs(expected)


def _is_decimal(value: Fraction) -> int:
    """Give the significant digits of a decimal fraction that is no integer, 0 for everything else."""
    denominator = value.denominator
    if denominator == 1 or denominator.bit_length() > 200:
        return 0
    places = 0
    while denominator % 10 == 0:
        denominator, places = denominator // 10, places + 1
    while denominator % 2 == 0:
        denominator, places = denominator // 2, places + 1
    while denominator % 5 == 0:
        denominator, places = denominator // 5, places + 1
    return len(str(abs(int(value * 10**places)))) if denominator == 1 else 0


def _is_printed_float(target: Node, expected: Fraction, answer: Node, found: Fraction) -> bool:
    for decimal, other, node, written in ((found, expected, target, answer), (expected, found, answer, target)):
        if (
            written.kind == "num"
            and node.kind == "div"
            and _is_decimal(decimal) >= MIN_PRINTED_DIGITS
            and not _is_decimal(other)
            and other.denominator != 1
        ):
            return abs(decimal - other) <= abs(other) * Fraction(1, 10 ** (_is_decimal(decimal) - 1))
    return False


def _is_printed(target: Node, answer: Node, found: Fraction | None, expected: Fraction | None) -> bool:
    """Say whether one side is a long decimal and the other the irrational number that it is the rounding of."""
    decimal, other = (found, target) if found is not None else (expected, answer)
    digits = 0 if decimal is None else _is_decimal(decimal)
    if decimal is None or digits < MIN_PRINTED_DIGITS:
        return False
    try:
        value = precise_value(other, 0, digits + 40)
    except NoValue:
        return False
    return bool(
        abs(value - decimal.numerator / _precise(decimal.denominator)) <= abs(value) * _precise(10) ** (1 - digits)
    )  # type: ignore[operator, arg-type]


def _precise(value: int):  # noqa: ANN202 - mpmath has no types
    import mpmath

    return mpmath.mpf(value)


def _equal_structures(target: Node, answer: Node, settings: Settings) -> bool:
    """Lists, sets, tuples, intervals, unions and matrices."""
    if "matrix" in (target.kind, answer.kind):
        return _equal_matrices(target, answer, settings)
    if (
        target.kind in ("union", "intersection", "minus_set")
        or answer.kind in ("union", "intersection", "minus_set")
        or r"\R" in (target.value, answer.value)
    ):
        return equal_as_sets(target, answer, settings, equal)
    if target.kind != "list" or answer.kind != "list":
        one, other = (target, answer) if target.kind == "list" else (answer, target)
        return len(one.parts) == 1 and one.value in ("", r"\{\}") and equal(one.parts[0], other, settings)
    left, right = str(target.value), str(answer.value)
    if len(left) == 2 and left[0] == "\\" or right.startswith("\\"):  # one of them is a set
        if left[:1] in ("(", "[") or right[:1] in ("(", "["):
            return False
        return _same_members(target, answer, settings, is_ordered=False)
    if left and right:
        if left != right and not (len(target.parts) > 2 and {left, right} <= {"()", "[]"}):
            return False
        return _same_members(target, answer, settings, is_ordered=True)
    is_ordered = bool(left or right) or settings.order == "ordered"
    return _same_members(target, answer, settings, is_ordered=is_ordered)


def _same_members(target: Node, answer: Node, settings: Settings, *, is_ordered: bool) -> bool:
    if is_ordered:
        return len(target.parts) == len(answer.parts) and all(
            equal(one, other, settings) for one, other in zip(target.parts, answer.parts, strict=True)
        )
    left = _distinct(target.parts)
    right = _distinct(answer.parts)
    for one in left:
        match = next((index for index, other in enumerate(right) if equal(one, other, settings)), None)
        if match is None:
            return False
        one_value = right.pop(match)
        right = [other for other in right if not equal(one_value, other, settings)]
    return not right


def _distinct(parts: tuple[Node, ...]) -> list[Node]:
    return list(dict.fromkeys(parts))


def _equal_matrices(target: Node, answer: Node, settings: Settings) -> bool:
    left, right = evaluate_matrix(target), evaluate_matrix(answer)
    if left is None or right is None:
        return False
    is_vector = left.kind != right.kind and _is_column(left) and _is_column(right)
    if not is_vector and (left.kind != right.kind or left.value != right.value):
        return False
    return len(left.parts) == len(right.parts) and all(
        equal(a, b, settings) for a, b in zip(left.parts, right.parts, strict=True)
    )


def _is_column(node: Node) -> bool:
    """A column or row of a matrix, or a tuple: the same vector."""
    if node.kind == "list":
        return str(node.value)[:1] in ("(", "[", "<")
    return node.value[1] == 1 or node.value[1] == len(node.parts)  # type: ignore[index]


def evaluate_matrix(node: Node) -> Node | None:
    """Give a matrix, the sum or product of matrices as one matrix; None where the shapes do not fit or it is none."""
    if node.kind in ("matrix", "list"):
        return node if node.kind == "list" or not node.value[0] else None  # type: ignore[index]
    if node.kind == "neg":
        inner = evaluate_matrix(node.parts[0])
        return (
            None
            if inner is None or inner.kind != "matrix"
            else Node("matrix", inner.value, tuple(Node("neg", None, (part,)) for part in inner.parts))
        )
    if node.kind == "add":
        matrices = [evaluate_matrix(part) for part in node.parts]
        if any(matrix is None or matrix.kind != "matrix" or matrix.value != matrices[0].value for matrix in matrices):  # type: ignore[union-attr]
            return None
        columns = zip(*(matrix.parts for matrix in matrices), strict=True)  # type: ignore[union-attr]
        return Node("matrix", matrices[0].value, tuple(Node("add", None, entries) for entries in columns))  # type: ignore[union-attr]
    return _matrix_product(node) if node.kind == "mul" else None


def _matrix_product(node: Node) -> Node | None:
    left, right = node.parts
    if "matrix" in (left.kind, right.kind) and not (left.kind == right.kind):
        scalar, matrix = (left, right) if right.kind == "matrix" else (right, left)
        return Node("matrix", matrix.value, tuple(Node("mul", None, (scalar, part)) for part in matrix.parts))
    first, second = evaluate_matrix(left), evaluate_matrix(right)
    if first is None or second is None or "list" in (first.kind, second.kind):
        return None
    inner, columns = first.value[1], second.value[1]  # type: ignore[index]
    rows = len(first.parts) // inner
    if len(second.parts) != inner * columns or rows * inner * columns > 1_000:
        return None
    return Node(
        "matrix",
        ("", columns),
        tuple(
            Node(
                "add",
                None,
                tuple(
                    Node("mul", None, (first.parts[row * inner + k], second.parts[k * columns + column]))
                    for k in range(inner)
                ),
            )
            for row in range(rows)
            for column in range(columns)
        ),
    )


__all__ = ["equal", "evaluate_matrix", "contradicts_itself", "expand_signs", "interval_parts", "is_unfinished"]
