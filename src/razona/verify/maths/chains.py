"""Names and chains of equations: `x = 5` is 5, `x = 2 + 3 = 5` is 5, and `x = 5 = 6` contradicts itself."""

from razona.verify.maths.exact import exact
from razona.verify.maths.syntax import NUMBERS, Node, is_bare_list, signs_of, symbols_of

_NO_NAMES = frozenset(
    ("sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "exp", "sqrt", "factorial", "binomial", "root")
)
"""Functions whose value of a name is no name: `|AB|` is one, `\\sin A` is none."""


def is_name(node: Node) -> bool:
    """Say whether a node only names something.

    `x`, `AB`, `f(x)`, `|AB|`, `S_1 : S`, `NO/BO`, `(x, y)` do; `2x` and `a + 3z` do not.
    """
    if node.kind == "symbol":
        return node.value not in ("i", "pi", "infinity")
    if node.kind == "mul":
        if isinstance(node.value, str):  # f(x), f(2), f(x + 1)
            return True
        return all(is_name(part) for part in node.parts)
    if node.kind in ("div", "ratio"):
        return all(is_name(part) for part in node.parts)
    if node.kind == "call":
        return node.value not in _NO_NAMES and all(is_name(part) for part in node.parts)
    if node.kind == "list":
        return bool(node.parts) and all(is_name(part) for part in node.parts)
    return node.kind == "opaque" and node.value in ("subscript", "derivative")


def without_names(target: Node, answer: Node) -> tuple[Node, Node]:
    r"""Give both without names where one of them has none, because there the name says nothing more.

    `x = 5` against `5`, `(x, y) = (1, 2)` against `(1, 2)`, `x \in S` against `S`.
    """
    if is_bare_list(target) or is_bare_list(answer):
        if all(part.kind == "relation" for node in (target, answer) for part in _entries(node)):
            return target, answer
        return _drop_names(target), _drop_names(answer)
    if (target.kind == "relation") != (answer.kind == "relation"):
        return drop_name(target), drop_name(answer)
    return target, answer


def names_of(node: Node) -> list[str]:
    """Give the letters that the entries of a list are set equal to, where each entry has its own: `x = 3, y = 4`."""
    if not is_bare_list(node):
        return []
    names = [
        str(part.parts[0].value).partition("_")[0]
        for part in node.parts
        if part.kind == "relation" and signs_of(part) == ("=",) and part.parts[0].kind == "symbol"
    ]
    return names if len(set(names)) == len(node.parts) else []


def _has_one_name(node: Node) -> bool:
    """Say whether a list gives several values of one name, `x = 3, x = 4`, which are no coordinates."""
    if not is_bare_list(node) or len(node.parts) < 2 or any(part.kind != "relation" for part in node.parts):
        return False
    return len({part.parts[0] for part in node.parts}) == 1


def in_order_of_names(node: Node, other: Node) -> Node:
    """Give `y = 3, x = 4` as `x = 4, y = 3` where the other side is a tuple; anything else as it is."""
    names = names_of(node)
    if not names and other.kind == "list" and other.value == "()" and _has_one_name(node):
        return Node("list", r"\{\}", tuple(drop_name(part) for part in node.parts))
    if other.kind != "list" or not str(other.value).startswith("(") or any(len(name) > 1 for name in names):
        return node
    ordered = [part for _, part in sorted(zip(names, node.parts, strict=False), key=lambda pair: pair[0])]
    return Node("list", "", tuple(ordered)) if ordered else node


def _entries(node: Node) -> tuple[Node, ...]:
    return node.parts if is_bare_list(node) else (node,)


def _drop_names(node: Node) -> Node:
    if is_bare_list(node):
        return Node("list", "", tuple(drop_name(part) for part in node.parts))
    return drop_name(node)


def drop_name(node: Node) -> Node:
    r"""Give what a name is set equal to, or is an element of; anything else as it is.

    Of a chain `x = 1 + 1 = 2` it is the last member, and of `x = 1/3 \approx 0.33` the exact one.
    """
    if node.kind != "relation":
        return node
    signs = signs_of(node)
    first, last = node.parts[0], node.parts[-1]
    if signs == (r"\in",):
        return last if is_name(first) else node
    if not set(signs) <= {"=", r"\approx"}:
        return node
    if signs == ("=",) and _is_sum_of_names(first) and not symbols_of(last) - NUMBERS:  # m + n = 12
        return last
    if len(signs) == 1 and is_name(last) and not is_name(first):
        return node if symbols_of(first) else first
    members = node.parts
    if is_name(first):
        members, signs = members[1:], signs[1:]
    elif symbols_of(first) - NUMBERS or symbols_of(last) - NUMBERS:
        return node
    return members[_exact_signs(signs)]


def _is_sum_of_names(node: Node) -> bool:
    return node.kind == "add" and all(is_name(part.parts[0] if part.kind == "neg" else part) for part in node.parts)


def _exact_signs(signs: tuple[str, ...]) -> int:
    """Give the number of signs before the first `≈`; all of them where there is none."""
    return signs.index(r"\approx") if r"\approx" in signs else len(signs)


def last_member(node: Node) -> Node:
    """Give the last member of a target's chain, `1 = x = 0`: a target is not accused of contradicting itself."""
    if node.kind != "relation" or len(node.parts) < 3 or set(signs_of(node)) != {"="}:
        return node
    return node if symbols_of(node.parts[-1]) else node.parts[-1]


def contradicts_itself(node: Node, *, is_strict: bool) -> bool:
    """Say whether a chain such as `x = 7 = 8` equates different numbers.

    Args:
        is_strict: unfinished members count too, `3 + 3 = 2`. False in running text, where they are working, and
            working is not judged.
    """
    if node.kind != "relation" or not set(signs_of(node)) <= {"=", r"\approx"}:
        return False
    members = node.parts[: _exact_signs(signs_of(node)) + 1]
    values = {exact(member) for member in members if is_strict or not is_unfinished(member)}
    return len(values - {None}) > 1


def is_unfinished(node: Node) -> bool:
    """Say whether a formula is arithmetic that was not carried out, such as `3 + 4` or `2 * 5`.

    Powers, roots, factorials, fractions of two numbers and `a * 10^b` are how results are written; sums, differences
    and products of numbers, and fractions that hold one, are not.
    """
    try:
        return node.kind != "num" and exact(node) is not None and _has_open_step(node)
    except ValueError:
        return False


def _has_open_step(node: Node) -> bool:
    if node.kind == "add":
        return True
    if node.kind == "mul":
        right = node.parts[1]
        is_scientific = right.kind == "pow" and right.parts[0].value == 10
        return not is_scientific
    return any(_has_open_step(part) for part in node.parts)
