r"""The smallest values of a formula: numbers, names, brackets, commands with their arguments, matrices.

Every function takes the parser, which stands at what is to be read, and calls its rules for what stands inside.
"""

from fractions import Fraction
from typing import TYPE_CHECKING

from razona.verify.maths.clean import THOUSANDS
from razona.verify.maths.lexer import END
from razona.verify.maths.names import (
    CLOSERS,
    CONSTANTS,
    DECORATIONS,
    FUNCTION_LETTERS,
    FUNCTIONS,
    JOINERS,
    MATRICES,
    OPAQUE,
    RENAMING,
)
from razona.verify.maths.syntax import MAX_ITEMS, LimitError, Node, ReadError, number

if TYPE_CHECKING:
    from razona.verify.maths.parser import Parser

MAX_WRITTEN_EXPONENT = 1_000
"""Of `1e1000`."""


def atom(parser: "Parser") -> Node:
    """Read one value.

    Raises:
        ReadError: none begins here.
    """
    kind, value, _ = parser.token
    if kind == "number":
        parser.advance()
        return _number(parser, value)
    if kind == "letter":
        return _letter(parser)
    if kind == "text":
        raise ReadError(f"the words {value!r} stand in a formula")
    if kind == "sign":
        if value in CLOSERS:
            return _bracket(parser)
        if value == "|":
            return _absolute(parser)
    if kind == "begin":
        return _matrix(parser)
    if kind == "command":
        return _command(parser)
    raise ReadError(f"{value or 'the end'!r} stands where a value should")


def _number(parser: "Parser", text: str) -> Node:
    text = text.replace(THOUSANDS, "")
    mantissa, _, exponent = text.lower().partition("e")
    if exponent and abs(int(exponent)) > MAX_WRITTEN_EXPONENT:
        raise LimitError(f"an exponent of the answer is beyond {MAX_WRITTEN_EXPONENT}")
    if parser.is_at(r"\overline") and "." in mantissa and not exponent:
        return _repeating(parser, mantissa)
    return number(Fraction(text))


def _repeating(parser: "Parser", text: str) -> Node:
    r"""Read `0.\overline{3}` or `0.1\overline{6}`: the value of the endless decimal."""
    parser.advance()
    start = parser.position
    parser.group()
    digits = "".join(token.value for token in parser.tokens[start : parser.position]).strip("{}")
    if not digits.isdigit():
        raise ReadError("a repeating part that is no digits")
    places = len(text.partition(".")[2])
    return number(Fraction(text + "0") + Fraction(int(digits), (10 ** len(digits) - 1) * 10**places))


def _letter(parser: "Parser") -> Node:
    name = parser.advance().value
    if name in FUNCTION_LETTERS and parser.is_at("(") and not parser.token.is_spaced:
        return Node("mul", name, (Node("symbol", name), _bracket(parser)))
    return Node("symbol", name)


def _bracket(parser: "Parser") -> Node:
    r"""Read a bracket: a group for one value, else a list that keeps its brackets, `(` `[` or `\{`."""
    opening = parser.advance().value
    closers = (")", "]") if opening in ("(", "[") else (CLOSERS[opening],)
    if parser.is_at(*closers):
        return Node("list", opening + parser.advance().value)
    bars, parser.open_bars = parser.open_bars, 0
    items = parser.items(closers)
    parser.open_bars = bars
    if not parser.is_at(*closers):
        raise ReadError(f"{opening!r} is never closed")
    closing = parser.advance().value
    if len(items) == 1 and opening != r"\{":
        return items[0]
    return Node("list", "" if opening == "{" else opening + closing, tuple(items))


def _absolute(parser: "Parser") -> Node:
    parser.advance()
    parser.open_bars += 1
    node = parser.answer(stops=("|",))
    parser.open_bars -= 1
    parser.expect("|")
    return Node("call", "abs", (node,))


def _command(parser: "Parser") -> Node:
    value = parser.advance().value
    if value in CONSTANTS:
        return Node("symbol", CONSTANTS[value])
    if value in JOINERS:
        raise ReadError(f"{value[1:]!r} stands where a value should")
    if value == r"\frac":
        if parser.is_at("("):  # a plain `frac(1, 2)`
            raise ReadError("frac with parentheses")
        top = parser.argument()
        bottom = parser.argument()
        is_derivative = bottom.kind == "mul" and _is_differential(bottom) and _is_differential(top)
        return Node("opaque", "derivative", (top, bottom)) if is_derivative else Node("div", None, (top, bottom))
    if value == r"\sqrt":
        return _root(parser)
    if value == r"\binom":
        top = parser.argument()
        return Node("call", "binomial", (top, parser.argument()))
    if value == r"\emptyset":
        return Node("list", r"\{\}")
    if value == r"\dollar":
        return parser.power()
    if value in DECORATIONS:
        return _decorated(parser, value)
    if value in OPAQUE:
        return _opaque(parser, value)
    if value[1:] in FUNCTIONS:
        return _function(parser, value[1:])
    return Node("symbol", value)


def _is_differential(node: Node) -> bool:
    """Say whether a formula begins with the letter d: `d`, `dy`."""
    while node.kind == "mul":
        node = node.parts[0]
    return node == Node("symbol", "d")


def _decorated(parser: "Parser", mark: str) -> Node:
    """Read what stands under a mark. A bar, hat or tilde makes another name of a letter, an arrow of two or more.

    Raises:
        ReadError: the mark stands over a number or a sum, whose conjugate or repetition is not read.
    """
    start = parser.position
    inner = parser.group() if parser.is_at("{") else atom(parser)
    if mark == r"\mathbb" and inner.kind == "symbol":
        return Node("symbol", f"\\{inner.value}")
    if mark not in RENAMING:
        return inner
    if inner.kind in ("num", "add"):
        raise ReadError(f"{mark} stands over a number or a sum")
    is_arrow = RENAMING[mark] == "vec"
    if (inner.kind == "symbol") == is_arrow:
        return inner
    letters = "".join(token.value for token in parser.tokens[start : parser.position]).strip("{}")
    return Node("symbol", f"{RENAMING[mark]} {letters}")


def _root(parser: "Parser") -> Node:
    degree = _bracket(parser) if parser.is_at("[") else None
    inner = _bracket(parser) if parser.is_at("(") else parser.argument()
    return Node("call", "sqrt", (inner,)) if degree is None else Node("call", "root", (inner, degree))


def _function(parser: "Parser", name: str) -> Node:
    """Read the rest of a named function: `_base`, `^power` and an argument with or without brackets."""
    base = power = None
    while parser.is_at("^", "_"):
        if parser.advance().value == "^":
            power = parser.script()
        else:
            base = parser.script()
    if parser.is_at("{"):
        argument = parser.group()
    elif parser.is_at("(", "["):
        argument = _bracket(parser)
    else:
        argument = _bare_argument(parser)
    if power == number(-1):
        return Node("call", "arc" + name, (argument,))
    node = Node("call", name, (argument,) if base is None else (argument, base))
    return node if power is None else Node("pow", None, (node, power))


def _bare_argument(parser: "Parser") -> Node:
    """Read the `2x` of `sin 2x cos y`: factors up to the next function, sign or relation."""
    is_negative = parser.is_at("-") and bool(parser.advance())
    node = parser.power()
    while parser.starts_factor() and not parser.is_at("(") and not _is_at_function(parser):
        node = parser.juxtaposed(node)
    return Node("neg", None, (node,)) if is_negative else node


def _is_at_function(parser: "Parser") -> bool:
    return parser.token.kind == "command" and parser.token.value[1:] in FUNCTIONS


def _opaque(parser: "Parser", name: str) -> Node:
    bounds: list[Node] = []
    while parser.is_at("_", "^"):
        parser.advance()
        bound = parser.script()
        bounds.append(Node("opaque", "bound", bound.parts) if bound.kind in ("relation", "list") else bound)
    return Node("opaque", name, (*bounds, parser.product()))


def _matrix(parser: "Parser") -> Node:
    name = parser.advance().value
    if name not in MATRICES:
        raise ReadError(f"the environment {name} is not known")
    if name == "array" and parser.is_at("{"):
        while not parser.is_at("}"):
            if parser.advance() is END:
                raise ReadError("an array never begins")
        parser.advance()
    rows: list[list[Node]] = [[]]
    while parser.token.kind != "end":
        if parser.is_at("&", r"\hline"):
            parser.advance()
        elif parser.is_at(r"\cr"):
            parser.advance()
            rows.append([])
        elif parser.token is END:
            raise ReadError("a matrix never ends")
        else:
            rows[-1].append(parser.item())
    parser.advance()
    rows = [row for row in rows if row]
    if not rows or any(len(row) != len(rows[0]) for row in rows) or len(rows) * len(rows[0]) > MAX_ITEMS:
        raise ReadError("the rows of a matrix differ in length, or it is too large")
    entries = tuple(entry for row in rows for entry in row)
    return Node("matrix", ("det" if name == "vmatrix" else "", len(rows[0])), entries)
