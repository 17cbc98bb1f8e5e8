"""Matrices, their sums and products, and columns as vectors."""

from razona.verify.maths.syntax import Node, changed, columns_of

MAX_PRODUCTS = 1_000
"""Multiplications of entries in one product of matrices."""


def equal_shapes(target: Node, answer: Node) -> tuple[tuple[Node, ...], tuple[Node, ...]] | None:
    """Give the entries of two matrices of one shape, or of two vectors, to be compared one by one; None for others."""
    left, right = evaluate_matrix(target), evaluate_matrix(answer)
    if left is None or right is None:
        return None
    is_vector = left.kind != right.kind and _is_vector(left) and _is_vector(right)
    if not is_vector and (left.kind != right.kind or left.value != right.value):
        return None
    return (left.parts, right.parts) if len(left.parts) == len(right.parts) else None


def _is_vector(node: Node) -> bool:
    """A column or row of a matrix, or a tuple: the same vector."""
    if node.kind == "list":
        return str(node.value)[:1] in ("(", "[")
    return columns_of(node) in (1, len(node.parts))


def evaluate_matrix(node: Node) -> Node | None:
    """Give a matrix, or a sum or product of matrices, as one matrix, and a list as itself.

    None where the shapes do not fit, and for determinants and everything else.
    """
    if node.kind == "list":
        return node
    if node.kind == "matrix":
        return None if _is_determinant(node) else node
    if node.kind == "neg":
        inner = evaluate_matrix(node.parts[0])
        if inner is None or inner.kind != "matrix":
            return None
        return changed(inner, lambda part: Node("neg", None, (part,)))
    if node.kind == "add":
        return _matrix_sum(node)
    return _matrix_product(node) if node.kind == "mul" else None


def _is_determinant(node: Node) -> bool:
    return isinstance(node.value, tuple) and node.value[0] == "det"


def _matrix_sum(node: Node) -> Node | None:
    matrices = [matrix for matrix in map(evaluate_matrix, node.parts) if matrix is not None and matrix.kind == "matrix"]
    if len(matrices) < len(node.parts) or any(matrix.value != matrices[0].value for matrix in matrices):
        return None
    columns = zip(*(matrix.parts for matrix in matrices), strict=True)
    return Node("matrix", matrices[0].value, tuple(Node("add", None, entries) for entries in columns))


def _matrix_product(node: Node) -> Node | None:
    left, right = node.parts
    if (left.kind == "matrix") != (right.kind == "matrix"):
        scalar, matrix = (left, right) if right.kind == "matrix" else (right, left)
        return changed(matrix, lambda part: Node("mul", None, (scalar, part)))
    first, second = evaluate_matrix(left), evaluate_matrix(right)
    if first is None or second is None or "list" in (first.kind, second.kind):
        return None
    inner, columns = columns_of(first), columns_of(second)
    rows = len(first.parts) // inner
    if len(second.parts) != inner * columns or rows * inner * columns > MAX_PRODUCTS:
        return None

    def entry(row: int, column: int) -> Node:
        factors = ((first.parts[row * inner + k], second.parts[k * columns + column]) for k in range(inner))
        return Node("add", None, tuple(Node("mul", None, pair) for pair in factors))

    entries = tuple(entry(row, column) for row in range(rows) for column in range(columns))
    return Node("matrix", ("", columns), entries)
