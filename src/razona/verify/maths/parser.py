r"""Formulas as syntax trees: a recursive descent over tokens, with bounded depth.

    answer    := item ((`,` | `;` | `and` | `or`) item)*
    item      := sum (relation sum)*
    sum       := [sign] product (sign product)*                      sign: + - ± ∓ ∪ ∩ \setminus
    product   := power (`*` | `/` | nothing) power ...
    power     := atom (`^` | `_` | `!` | `%` | `'`)*

Not read: limits, integrals and sums are kept as opaque applications of their parts; vectors' arrows and other decorations
of names are dropped; user-defined macros, tables and text in the middle of a formula are `ReadError`.
"""

import re
from fractions import Fraction

from razona.verify.maths.clean import THOUSANDS
from razona.verify.maths.lexer import Token, tokenize
from razona.verify.maths.syntax import MAX_DEPTH, MAX_ITEMS, LimitError, Node, ReadError, number

FUNCTIONS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan arccot asin acos atan sinh cosh tanh log ln lg exp abs det max min gcd lcm Re Im arg".split()
)
CONSTANTS = {r"\pi": "pi", r"\infty": "infinity", r"\inf": "infinity", r"\infinity": "infinity", r"\oo": "infinity"}
RELATIONS = {"=", "<", ">", r"\le", r"\ge", r"\ne", r"\in", r"\approx", r"\equiv", r"\sim", r"\notin", r"\subset", r"\to", r"\iff", r"\Leftrightarrow", r"\Rightarrow", r"\implies", r"\mapsto"}  # fmt: skip
OPAQUE = {r"\sum", r"\prod", r"\int", r"\iint", r"\oint", r"\lim", r"\bigcup", r"\bigcap"}
DECORATIONS = {r"\vec", r"\hat", r"\bar", r"\tilde", r"\widehat", r"\overrightarrow", r"\underline", r"\mathbb", r"\overline", r"\overarc", r"\widetilde", r"\boxed", r"\fbox", r"\mathop", r"\operatorname"}  # fmt: skip
GREEK = frozenset(
    r"\alpha \beta \gamma \delta \epsilon \varepsilon \zeta \eta \theta \vartheta \iota \kappa \lambda \mu \nu \xi \rho \sigma "
    r"\tau \upsilon \phi \varphi \chi \psi \omega \Gamma \Delta \Theta \Lambda \Xi \Pi \Sigma \Phi \Psi \Omega \ell \hbar "
    r"\partial \nabla \prime \triangle \angle \dots \ldots \cdots \star \top \bot \perp \parallel \forall \exists \R \Z \N \Q \C".split()
)
CLOSERS = {"(": ")", "[": "]", r"\{": r"\}", "{": "}"}
_THOUSANDS = re.compile(r"(?<![\d,.])\d{1,3}(?:,\d{3})+(?![\d,])")
_SPACED_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?: \d{3})+(?:\.\d+)?")
_NAMES_OF_FUNCTIONS = frozenset("fghpqwrFGHPQWRT")
_JOINERS = frozenset(
    r"\and \or \wedge \vee \lor \land \cr \hline \circ \pm \mp \cup \cap \union \setminus \backslash \text \prime \rbrace \quad \mod \pmod".split()
)
END = Token("end_of_text", "")
_MATRICES = frozenset(
    ("matrix", "pmatrix", "bmatrix", "Bmatrix", "vmatrix", "array", "smallmatrix", "cases", "aligned")
)


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
    parser = _Parser(tokenize(text))
    node = parser.answer(stops=())
    if parser.token is not END:
        raise ReadError(f"{parser.token.value!r} stands where nothing should")
    return node


class _Parser:
    """The tokens and how far they are read. Every method reads one rule of this file's head."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = [*tokens, END]
        self.position = 0
        self.depth = 0
        self.breaks: list[int] = []
        """Where the entries that were read last are divided by more than a comma."""
        self.token = self.tokens[0]

    def advance(self) -> Token:
        token = self.token
        if self.position < len(self.tokens) - 1:
            self.position += 1
            self.token = self.tokens[self.position]
        return token

    def is_at(self, *values: str) -> bool:
        return self.token.value in values and self.token.kind in ("sign", "command")

    def expect(self, value: str) -> None:
        if not self.is_at(value):
            raise ReadError(f"{value!r} is missing")
        self.advance()

    def answer(self, stops: tuple[str, ...]) -> Node:
        items = self.items(stops)
        return items[0] if len(items) == 1 else Node("list", "", _grouped(items, self.breaks))

    def items(self, stops: tuple[str, ...]) -> list[Node]:
        """Read entries between commas, semicolons, `and`, `or`."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise LimitError(f"the answer is nested more than {MAX_DEPTH} deep")
        items = [self.item()]
        breaks: list[int] = []
        while self._is_separator():
            marks: list[str] = []
            while self._is_separator():
                marks.append(self.advance().value.strip())
            if "," not in marks:
                breaks.append(len(items))
            if self.token is END or self.is_at(*stops):
                break
            items.append(self.item())
            if len(items) > MAX_ITEMS:
                raise LimitError(f"a list of the answer has more than {MAX_ITEMS} entries")
        self.depth -= 1
        self.breaks = breaks
        return items

    def _is_separator(self) -> bool:
        token = self.token
        if token.kind == "text":
            return token.value.strip(" ,.;").lower() in ("and", "or", "")
        return (
            token.value in (",", ";", r"\and", r"\or", r"\wedge", r"\vee", r"\lor", r"\cr") and token.kind != "letter"
        )

    def item(self) -> Node:
        first = self.sum()
        if not (self.token.value in RELATIONS or self.is_at(":")):
            return first
        if self.is_at(":"):
            parts = [first]
            while self.is_at(":"):
                self.advance()
                parts.append(self.sum())
            first = Node("ratio", None, tuple(parts))
        signs: list[str] = []
        parts = [first]
        while self.token.value in RELATIONS and self.token.kind in ("sign", "command"):
            signs.append(self.advance().value)
            part = self.sum()
            if self.is_at(":"):
                ratio = [part]
                while self.is_at(":"):
                    self.advance()
                    ratio.append(self.sum())
                part = Node("ratio", None, tuple(ratio))
            parts.append(part)
        return Node("relation", tuple(signs), tuple(parts)) if signs else first

    def sum(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise LimitError(f"the answer is nested more than {MAX_DEPTH} deep")
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
            elif self.is_at(r"\cup", r"\union", r"\cap", r"\setminus", r"\backslash"):
                sign = self.advance().value
                kind = {r"\cup": "union", r"\union": "union", r"\cap": "intersection"}.get(sign, "minus_set")
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
            return (
                number(-inner.value)
                if inner.kind == "num" and isinstance(inner.value, Fraction)
                else Node("neg", None, (inner,))
            )
        if self.is_at(r"\pm", r"\mp"):
            sign = 1 if self.advance().value == r"\pm" else -1
            return Node("plus_minus", sign, (self.product(),))
        return self.product()

    def product(self) -> Node:
        node = self.power()
        while True:
            if self.is_at("*"):
                self.advance()
                node = Node("mul", None, (node, self._factor()))
            elif self.is_at("/"):
                self.advance()
                node = Node("div", None, (node, self._factor()))
            elif self._starts_factor():
                node = self._juxtapose(node)
            else:
                return node

    def _factor(self) -> Node:
        if self.is_at("-"):
            self.advance()
            return Node("neg", None, (self.power(),))
        if self.is_at("+"):
            self.advance()
        return self.power()

    def _juxtapose(self, node: Node) -> Node:
        """Two factors side by side; a whole number before a fraction of whole numbers is a mixed number."""
        is_fraction = self.is_at(r"\frac")
        is_digit_pair = node.kind == "num" and self.token.kind == "number"
        right = self.power()
        if (
            node.kind == "num"
            and is_fraction
            and _is_whole(node)
            and right.kind == "div"
            and all(map(_is_whole, right.parts))
        ):
            whole, fraction = node.value, Fraction(right.parts[0].value) / Fraction(right.parts[1].value or 1)  # type: ignore[arg-type]
            return number(whole + fraction if whole >= 0 else whole - fraction)  # type: ignore[operator]
        if is_digit_pair:
            if self.is_at("/") and _is_whole(node) and _is_whole(right):  # `1 4/5`
                self.advance()
                bottom = self.power()
                if _is_whole(bottom) and bottom.value:
                    return number(node.value + Fraction(right.value, 1) / bottom.value)  # type: ignore[operator, arg-type]
            raise ReadError("two numbers stand side by side")
        return Node("mul", None, (node, right))

    def _starts_factor(self) -> bool:
        token = self.token
        if token.kind in ("number", "letter"):
            return True
        if token.kind == "sign":
            return token.value in ("(", "[", r"\{", "{") or (token.value == "|" and self._bar_opens())
        if token.kind == "begin":
            return True
        return token.kind == "command" and self._is_atom_command(token.value)

    def _bar_opens(self) -> bool:
        return not self._open_bars

    _open_bars = 0

    def _is_atom_command(self, value: str) -> bool:
        return (
            value in (r"\frac", r"\sqrt", r"\binom", r"\dollar", r"\emptyset")
            or value in CONSTANTS or value in GREEK or value in DECORATIONS or value in OPAQUE or value[1:] in FUNCTIONS
            or value not in _JOINERS and value not in RELATIONS
        )  # fmt: skip

    def power(self) -> Node:
        node = self.atom()
        while True:
            if self.is_at("^"):
                self.advance()
                if self.is_at(r"\circ"):
                    self.advance()
                    node = Node("degree", None, (node,))
                    continue
                if self.is_at(r"\prime"):
                    self.advance()
                    node = Node("call", "prime", (node,))
                    continue
                node = Node("pow", None, (node, self._script()))
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

    def _script(self) -> Node:
        """The one argument of `^`, `_`: a group, one digit of a longer number, a signed atom."""
        if self.is_at("{"):
            word, end = (*self.tokens[self.position + 1 : self.position + 3], END, END)[:2]
            if word.kind == "text" and end.value == "}":
                self.position += 3
                self.token = self.tokens[self.position]
                return Node("symbol", word.value.strip())
            return self.group()
        if self.token.kind == "text":
            return Node("symbol", self.advance().value.strip())
        if self.is_at("-", "+"):
            sign = self.advance().value
            inner = self._script()
            return Node("neg", None, (inner,)) if sign == "-" else inner
        return self.power() if self.is_at("(") else self.atom()

    def _subscript(self, node: Node) -> Node:
        start = self.position
        inner = self._script()
        name = "".join(token.value for token in self.tokens[start : self.position] if token.value not in ("{", "}"))
        if node.kind == "num":
            if inner.kind != "num" or not isinstance(node.value, Fraction):
                raise ReadError("a number has a subscript that is no base")
            return Node("base", str(node.value), (inner,))
        if node.kind == "symbol":
            return Node("symbol", f"{node.value}_{name}")
        return Node("opaque", "subscript", (node, inner))

    def group(self) -> Node:
        self.expect("{")
        if self.is_at("}"):
            raise ReadError("an empty group")
        node = self.answer(stops=("}",))
        self.expect("}")
        return node

    def argument(self) -> Node:
        r"""One argument of `\frac` or `\sqrt`: a group, or one token, of a number one digit."""
        if self.is_at("{"):
            return self.group()
        token = self.token
        if token.kind == "number" and len(token.value) > 1 and token.value.isdigit():
            self.tokens[self.position] = self.token = Token("number", token.value[1:])
            return number(int(token.value[0]))
        if self.is_at("-"):
            self.advance()
            return Node("neg", None, (self.atom(),))
        return self.atom()

    def atom(self) -> Node:
        token = self.token
        if token.kind == "number":
            self.advance()
            return self._number(token.value)
        if token.kind == "letter":
            return self._letter()
        if token.kind == "text":
            raise ReadError(f"the words {token.value!r} stand in a formula")
        if token.kind == "sign":
            if token.value in CLOSERS:
                return self.bracket()
            if token.value == "|":
                return self._absolute()
        if token.kind == "begin":
            return self._matrix()
        if token.kind == "command":
            return self._command()
        raise ReadError(f"{token.value or 'the end'!r} stands where a value should")

    def _number(self, text: str) -> Node:
        text = text.replace(THOUSANDS, "").replace(",", "")
        mantissa, _, exponent = text.lower().partition("e")
        if exponent and abs(int(exponent)) > 1_000:
            raise LimitError("an exponent of the answer is beyond 1000")
        node = number(Fraction(text))
        if self.is_at(r"\overline") and "." in mantissa and not exponent:
            return self._repeating(mantissa)
        return node

    def _repeating(self, text: str) -> Node:
        r"""`0.\overline{3}` and `0.1\overline{6}`: the value of the endless decimal."""
        self.advance()
        start = self.position
        self.group()
        digits = "".join(token.value for token in self.tokens[start : self.position]).strip("{}")
        if not digits.isdigit():
            raise ReadError("a repeating part that is no digits")
        places = len(text.partition(".")[2])
        return number(Fraction(text + "0") + Fraction(int(digits), (10 ** len(digits) - 1) * 10**places))

    def _letter(self) -> Node:
        name = self.advance().value
        if name in _NAMES_OF_FUNCTIONS and self.is_at("(") and not self.token.is_spaced:
            argument = self.bracket()
            return Node("mul", name, (Node("symbol", name), argument))
        return Node("symbol", name)

    def bracket(self) -> Node:
        r"""A bracket: a group for one value, else a list that keeps its brackets, `(` `[` or `\{`."""
        opening = self.advance().value
        closers = (")", "]") if opening in ("(", "[") else (CLOSERS[opening],)
        bars, self._open_bars = self._open_bars, 0
        if self.is_at(*closers):
            self.advance()
            return Node("list", opening + self.tokens[self.position - 1].value)
        items = self.items(closers)
        self._open_bars = bars
        if not self.is_at(*closers):
            if opening == r"\{" and self.is_at("|", ":"):
                return self._set_builder(items)
            raise ReadError(f"{opening!r} is never closed")
        closing = self.advance().value
        if len(items) == 1 and opening != r"\{":
            return items[0]
        return Node("list", "" if opening == "{" else opening + closing, tuple(items))

    def _set_builder(self, items: list[Node]) -> Node:
        self.advance()
        condition = self.answer(stops=(r"\}",))
        self.expect(r"\}")
        return condition if items[0].kind in ("symbol", "relation") else Node("opaque", "set", (*items, condition))

    def _absolute(self) -> Node:
        self.advance()
        self._open_bars += 1
        node = self.answer(stops=("|",))
        self._open_bars -= 1
        self.expect("|")
        return Node("call", "abs", (node,))

    def _command(self) -> Node:
        value = self.advance().value
        if value in CONSTANTS:
            return Node("symbol", CONSTANTS[value])
        if value == r"\frac":
            if self.is_at("("):  # a plain `frac(1, 2)`
                raise ReadError("frac with parentheses")
            top = self.argument()
            return Node("div", None, (top, self.argument()))
        if value == r"\sqrt":
            return self._root()
        if value == r"\binom":
            top = self.argument()
            return Node("call", "binomial", (top, self.argument()))
        if value == r"\emptyset":
            return Node("list", r"\{\}")
        if value == r"\dollar":
            return self.power()
        if value in DECORATIONS:
            inner = self.group() if self.is_at("{") else self.atom()
            return Node("symbol", r"\R") if value == r"\mathbb" and inner.value == "R" else inner
        if value in OPAQUE:
            return self._opaque(value)
        if value[1:] in FUNCTIONS:
            return self._function(value[1:])
        if value in GREEK:
            return Node("symbol", value)
        return Node("symbol", value)

    def _root(self) -> Node:
        degree = None
        if self.is_at("["):
            degree = self.bracket()
        inner = self.argument() if not self.is_at("(") else self.bracket()
        return Node("call", "sqrt", (inner,)) if degree is None else Node("call", "root", (inner, degree))

    def _function(self, name: str) -> Node:
        """A named function with `_base`, `^power` and an argument with or without brackets."""
        base = power = None
        while self.is_at("^", "_"):
            if self.advance().value == "^":
                power = self._script()
            else:
                base = self._script()
        if self.is_at("{"):
            argument = self.group()
        elif self.is_at("(", "["):
            argument = self.bracket()
        else:
            argument = self._bare_argument()
        if power is not None and power == number(-1):
            node = Node("call", "arc" + name, (argument,))
        else:
            node = Node("call", name, (argument,) if base is None else (argument, base))
            node = node if power is None else Node("pow", None, (node, power))
        return node

    def _bare_argument(self) -> Node:
        """`2x` in `sin 2x cos y`: factors up to the next function, sign or relation."""
        sign = self.is_at("-") and bool(self.advance())
        node = self.power()
        while (
            self._starts_factor()
            and not (self.token.kind == "command" and self.token.value[1:] in FUNCTIONS)
            and not self.is_at("(")
        ):
            node = self._juxtapose(node)
        return Node("neg", None, (node,)) if sign else node

    def _opaque(self, name: str) -> Node:
        bounds: list[Node] = []
        while self.is_at("_", "^"):
            self.advance()
            bound = self._script()
            bounds.append(Node("opaque", "bound", bound.parts) if bound.kind in ("relation", "list") else bound)
        return Node("opaque", name, (*bounds, self.product()))

    def _matrix(self) -> Node:
        name = self.advance().value
        if name not in _MATRICES:
            raise ReadError(f"the environment {name} is not known")
        if name == "array" and self.is_at("{"):
            while not self.is_at("}"):
                if self.advance() is END:
                    raise ReadError("an array never begins")
            self.advance()
        rows: list[list[Node]] = [[]]
        while self.token.kind != "end":
            if self.is_at("&"):
                self.advance()
            elif self.is_at(r"\cr"):
                self.advance()
                rows.append([])
            elif self.is_at(r"\hline"):
                self.advance()
            elif self.token is END:
                raise ReadError("a matrix never ends")
            else:
                rows[-1].append(self.item())
        self.advance()
        rows = [row for row in rows if row]
        if not rows or any(len(row) != len(rows[0]) for row in rows) or len(rows) * len(rows[0]) > MAX_ITEMS:
            raise ReadError("the rows of a matrix differ in length, or it is too large")
        entries = tuple(entry for row in rows for entry in row)
        return Node("matrix", ("det" if name == "vmatrix" else "", len(rows[0])), entries)


def _is_whole(node: Node) -> bool:
    return node.kind == "num" and isinstance(node.value, Fraction) and node.value.denominator == 1


def _grouped(items: list[Node], breaks: list[int]) -> tuple[Node, ...]:
    """`p = 5, q = 2; p = 7, q = 2` as two pairs, where all groups between the stronger marks have one size above 1."""
    edges = [0, *breaks, len(items)]
    sizes = {high - low for low, high in zip(edges, edges[1:], strict=False)}
    if len(edges) < 3 or len(sizes) != 1 or sizes <= {0, 1}:
        return tuple(items)
    return tuple(Node("list", "", tuple(items[low:high])) for low, high in zip(edges, edges[1:], strict=False))
