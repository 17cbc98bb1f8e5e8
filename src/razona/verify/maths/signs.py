r"""What `\pm` stands for: two values."""

from razona.verify.maths.syntax import Node, changed


def expand_signs(node: Node) -> Node:
    r"""Give `1 \pm 2` as the list of its two values; in a list, every entry's own two."""
    if node.kind == "list" and any(has_sign(part) for part in node.parts):
        parts: list[Node] = []
        for part in node.parts:
            parts += _both(part) if has_sign(part) else (part,)
        return Node("list", node.value, tuple(parts))
    if node.kind not in ("list", "relation", "union") and has_sign(node):
        return Node("list", "", _both(node))
    return node


def two_equations(node: Node) -> Node:
    r"""Give `x = \pm 3` as `x = 3, x = -3`; anything else as it is."""
    if node.kind == "relation" and node.value == ("=",) and has_sign(node):
        return Node("list", "", _both(node))
    return node


def has_sign(node: Node) -> bool:
    r"""Say whether a `\pm` or `\mp` stands in a formula."""
    return node.kind == "plus_minus" or any(has_sign(part) for part in node.parts)


def _both(node: Node) -> tuple[Node, Node]:
    return _choose(node, 1), _choose(node, -1)


def _choose(node: Node, sign: int) -> Node:
    r"""Give the reading in which every `\pm` is this sign, and every `\mp` the other."""
    if node.kind == "plus_minus":
        inner = _choose(node.parts[0], sign)
        return inner if node.value == sign else Node("neg", None, (inner,))
    return changed(node, lambda part: _choose(part, sign))
