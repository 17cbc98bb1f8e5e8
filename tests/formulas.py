"""Formulas as the tests of the parser read and write them."""

from razona.verify.maths.clean import clean
from razona.verify.maths.parser import parse
from razona.verify.maths.syntax import Node


def tree(text: str) -> Node:
    """Read a text as an answer is read."""
    return parse(clean(text))


def shown(node: Node) -> str:
    """Write a tree in one line, `add[1, neg[x]]` for `1 - x`."""
    if node.kind in ("num", "symbol"):
        return str(node.value)
    parts = ", ".join(map(shown, node.parts))
    if node.kind == "call":
        return f"{node.value}[{parts}]"
    value = " ".join(map(str, node.value)) if isinstance(node.value, tuple) else node.value
    return f"{node.kind}[{parts}]" if node.value is None else f"{node.kind}:{value}[{parts}]"
