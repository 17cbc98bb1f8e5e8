r"""Formulas as syntax trees: a recursive descent over tokens, with bounded depth.

    answer    := item ((`,` | `;` | `and` | `or`) item)*
    item      := ratio (relation ratio)*
    ratio     := sum (`:` sum)*
    sum       := [sign] product (sign product)*                      sign: + - \pm \mp \cup \cap \setminus
    product   := power (`*` | `/` | nothing) power ...
    power     := atom (`^` | `_` | `!` | `%` | `'`)*                 atom: see `atoms`

Not read: limits, integrals and sums are kept as opaque applications of their parts; vectors' arrows and other
decorations of names are dropped; user-defined macros are symbols; sets given by a condition on more than
one real number equal only themselves (`reading` takes the others apart); tables and text in a formula are `ReadError`.
"""

import re
from itertools import pairwise

from razona.verify.maths.atoms import atom
from razona.verify.maths.clean import THOUSANDS
from razona.verify.maths.lexer import END, Cursor, Token, tokenize
from razona.verify.maths.names import JOINERS, RELATIONS, SEPARATORS, SET_OPERATIONS
from razona.verify.maths.syntax import (
    MAX_DEPTH,
    MAX_ITEMS,
    LimitError,
    Node,
    ReadError,
    fraction_of,
    is_whole,
    number,
    signs_of,
)

_THOUSANDS = re.compile(r"(?<![\d,.])\d{1,3}(?:,\d{3})+(?![\d,])")
_SET_OF_JOINER = {
    **dict.fromkeys(("or", r"\or", r"\vee"), "union"),
    **dict.fromkeys(("and", r"\and", r"\wedge"), "intersection"),
}
_SPACED_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?: \d{3})+(?:\.\d+)?")


def parse(text: str, *, is_list_expected: bool = False) -> Node:
    """Give the tree of a cleaned text.

    Args:
        is_list_expected: `1,234` is then the two numbers 1 and 234, as it always is inside brackets.

    Raises:
        LimitError: a limit of `syntax` is exceeded.
        ReadError: it is no formula that this parser knows.
    """
    if not is_list_expected and "," in text and not any(mark in text for mark in "([{"):
        text = _THOUSANDS.sub(lambda match: match[0].replace(",", THOUSANDS), text)
    if " " in text and _SPACED_THOUSANDS.fullmatch(text):
        text = text.replace(" ", THOUSANDS)
    parser = Parser(tokenize(text))
    node = parser.answer(stops=())
    if parser.token is not END:
        raise ReadError(f"{parser.token.value!r} stands where nothing should")
    return node


class Parser(Cursor):
    """A cursor whose methods each read one rule of this file's head, and give its node."""

    def __init__(self, tokens: list[Token]) -> None:
        super().__init__(tokens)
        self.depth = 0
        self.breaks: list[int] = []
        """Where the entries that were read last are divided by more than a comma."""
        self.joiner = ""
        """`union` or `intersection`, where the entries that were read last are divided by `or` or `and` alone."""
        self.open_bars = 0
        """Absolute values that are not closed yet; while there is one, a bar closes it."""

    def deeper(self) -> None:
        """Count one more level of nesting.

        Raises:
            LimitError: there are more than `MAX_DEPTH`.
        """
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise LimitError(f"the answer is nested more than {MAX_DEPTH} deep")

    def answer(self, stops: tuple[str, ...]) -> Node:
        """Read one entry, or several as a list without brackets."""
        items = self.items(stops)
        if self.joiner and len(items) > 1 and all(map(_is_inequality, items)):
            return Node(self.joiner, None, tuple(items))
        return items[0] if len(items) == 1 else Node("list", "", _grouped(items, self.breaks))

    def items(self, stops: tuple[str, ...]) -> list[Node]:
        """Read entries between commas, semicolons, `and`, `or`."""
        self.deeper()
        items = [self.item()]
        breaks: list[int] = []
        joiners: set[str] = set()
        while self._is_separator():
            marks: list[str] = []
            while self._is_separator():
                marks.append(self.advance().value.strip())
            joiners.add(_SET_OF_JOINER.get(marks[0], "") if len(marks) == 1 else "")
            if "," not in marks:
                breaks.append(len(items))
            if self.token is END or self.is_at(*stops):
                break
            items.append(self.item())
            if len(items) > MAX_ITEMS:
                raise LimitError(f"a list of the answer has more than {MAX_ITEMS} entries")
        self.depth -= 1
        self.breaks, self.joiner = breaks, joiners.pop() if len(joiners) == 1 else ""
        return items

    def _is_separator(self) -> bool:
        kind, value, _ = self.token
        if kind == "text":
            return value.strip(" ,.;").lower() in ("and", "or", "")
        return value in SEPARATORS and kind != "letter"

    def item(self) -> Node:
        """Read a value, or a chain of relations."""
        first = self._ratio()
        if not self._is_relation():
            return first
        signs: list[str] = []
        parts = [first]
        while self._is_relation():
            signs.append(self.advance().value)
            parts.append(self._ratio())
        return Node("relation", tuple(signs), tuple(parts))

    def _is_relation(self) -> bool:
        return self.token.value in RELATIONS and self.token.kind in ("sign", "command")

    def _ratio(self) -> Node:
        first = self.sum()
        if not self.is_at(":"):
            return first
        parts = [first]
        while self.is_at(":"):
            self.advance()
            parts.append(self.sum())
        return Node("ratio", None, tuple(parts))

    def sum(self) -> Node:
        """Read a sum, or unions, intersections and differences of sets."""
        self.deeper()
        node = self._signed_product()
        while True:
            if self.is_at("+", "-", r"\pm", r"\mp"):
                sign = self.advance().value
                right = self.product()
                if sign in (r"\pm", r"\mp"):
                    right = Node("plus_minus", 1 if sign == r"\pm" else -1, (right,))
                elif sign == "-":
                    right = Node("neg", None, (right,))
                node = Node("add", None, (*node.parts, right) if node.kind == "add" else (node, right))
            elif self.is_at(*SET_OPERATIONS):
                kind = SET_OPERATIONS[self.advance().value]
                right = self._signed_product()
                node = Node(kind, None, (*node.parts, right) if node.kind == kind == "union" else (node, right))
            else:
                break
        self.depth -= 1
        return node

    def _signed_product(self) -> Node:
        if self.is_at("+"):
            self.advance()
            return self._signed_product() if self.is_at("+", "-") else self.product()
        if self.is_at("-"):
            self.advance()
            inner = self._signed_product() if self.is_at("+", "-") else self.product()
            return number(-fraction_of(inner)) if inner.kind == "num" else Node("neg", None, (inner,))
        if self.is_at(r"\pm", r"\mp"):
            sign = 1 if self.advance().value == r"\pm" else -1
            return Node("plus_minus", sign, (self.product(),))
        return self.product()

    def product(self) -> Node:
        """Read factors, with or without a sign between them."""
        node = self.power()
        while True:
            if self.is_at("*"):
                self.advance()
                node = Node("mul", None, (node, self._factor()))
            elif self.is_at("/"):
                self.advance()
                node = Node("div", None, (node, self._factor()))
            elif self.starts_factor():
                node = self.juxtaposed(node)
            else:
                return node

    def _factor(self) -> Node:
        if self.is_at("-"):
            self.advance()
            return Node("neg", None, (self.power(),))
        if self.is_at("+"):
            self.advance()
        return self.power()

    def juxtaposed(self, node: Node) -> Node:
        """Read a factor that stands right behind another; a whole number and a fraction are a mixed number."""
        is_fraction = self.is_at(r"\frac")
        is_digit_pair = node.kind == "num" and self.token.kind == "number"
        right = self.power()
        if is_fraction and is_whole(node) and right.kind == "div" and all(map(is_whole, right.parts)):
            top, bottom = map(fraction_of, right.parts)
            whole, fraction = fraction_of(node), top / (bottom or 1)
            return number(whole + fraction if whole >= 0 else whole - fraction)
        if is_digit_pair:
            if self.is_at("/") and is_whole(node) and is_whole(right):  # `1 4/5`
                self.advance()
                bottom = self.power()
                if is_whole(bottom) and bottom.value:
                    return number(fraction_of(node) + fraction_of(right) / fraction_of(bottom))
            raise ReadError("two numbers stand side by side")
        return Node("mul", None, (node, right))

    def starts_factor(self) -> bool:
        """Say whether a factor begins here."""
        kind, value, _ = self.token
        if kind == "sign":
            return value in ("(", "[", r"\{", "{") or (value == "|" and not self.open_bars)
        if kind == "command":
            return value not in JOINERS and value not in RELATIONS
        return kind in ("number", "letter", "begin")

    def power(self) -> Node:
        """Read an atom with what is written behind it."""
        node = atom(self)
        while True:
            if self.is_at("^"):
                self.advance()
                node = self._raised(node)
            elif self.is_at("_"):
                self.advance()
                node = self._subscript(node)
            elif self.is_at("!"):
                self.advance()
                node = Node("call", "factorial", (node,))
            elif self.is_at("%"):
                self.advance()
                node = Node("percent", None, (node,))
            elif self.is_at("'"):
                self.advance()
                node = Node("call", "prime", (node,))
            else:
                return node

    def _raised(self, node: Node) -> Node:
        if self.is_at(r"\circ"):
            self.advance()
            return Node("degree", None, (node,))
        if self.is_at(r"\prime"):
            self.advance()
            return Node("call", "prime", (node,))
        return Node("pow", None, (node, self.script()))

    def script(self) -> Node:
        """Read the one argument of `^` or `_`: a group, a number, a signed atom, words."""
        if self.is_at("{"):
            word, end = (*self.tokens[self.position + 1 : self.position + 3], END, END)[:2]
            if word.kind == "text" and end.value == "}":
                self.jump(self.position + 3)
                return Node("symbol", word.value.strip())
            return self.group()
        if self.token.kind == "text":
            return Node("symbol", self.advance().value.strip())
        if self.is_at("-", "+"):
            sign = self.advance().value
            inner = self.script()
            return Node("neg", None, (inner,)) if sign == "-" else inner
        return self.power() if self.is_at("(") else atom(self)

    def _subscript(self, node: Node) -> Node:
        start = self.position
        inner = self.script()
        name = "".join(token.value for token in self.tokens[start : self.position] if token.value not in ("{", "}"))
        if node.kind == "num":
            if inner.kind != "num":
                raise ReadError("a number has a subscript that is no base")
            return Node("base", str(node.value), (inner,))
        if node.kind == "symbol":
            return Node("symbol", f"{node.value}_{name}")
        return Node("opaque", "subscript", (node, inner))

    def group(self) -> Node:
        """Read what stands in braces that only group."""
        self.expect("{")
        if self.is_at("}"):
            raise ReadError("an empty group")
        node = self.answer(stops=("}",))
        self.expect("}")
        return node

    def argument(self) -> Node:
        r"""Read one argument of `\frac` or `\sqrt`: a group, or one token, of a number one digit."""
        if self.is_at("{"):
            return self.group()
        kind, value, _ = self.token
        if kind == "number" and len(value) > 1 and value.isdigit():
            self.tokens[self.position] = self.token = Token("number", value[1:])
            return number(int(value[0]))
        if self.is_at("-"):
            self.advance()
            return Node("neg", None, (atom(self),))
        return atom(self)


def _is_inequality(node: Node) -> bool:
    return node.kind == "relation" and set(signs_of(node)) <= {"<", ">", r"\le", r"\ge"}


def _grouped(items: list[Node], breaks: list[int]) -> tuple[Node, ...]:
    """`p = 5, q = 2; p = 7, q = 2` as two pairs, if all groups between the stronger marks have one size above 1."""
    edges = list(pairwise((0, *breaks, len(items))))
    sizes = {high - low for low, high in edges}
    if len(edges) < 2 or len(sizes) != 1 or sizes <= {0, 1}:
        return tuple(items)
    return tuple(Node("list", "", tuple(items[low:high])) for low, high in edges)
