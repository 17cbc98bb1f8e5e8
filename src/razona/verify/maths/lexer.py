"""An answer's text as tokens: linear, with the limits of `syntax` checked before anything is built."""

import re
from typing import NamedTuple

from razona.verify.maths.clean import THOUSANDS
from razona.verify.maths.syntax import MAX_DIGITS, MAX_TOKENS, LimitError, ReadError

WORDS = frozenset({
    "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "arccot", "asin", "acos", "atan", "sinh",
    "cosh", "tanh", "log", "ln", "lg", "exp", "sqrt", "pi", "inf", "infinity", "oo", "and", "or", "in", "max", "min",
    "gcd", "lcm", "frac", "abs", "union", "cup", "theta", "alpha", "beta", "gamma", "lambda", "det",
})  # fmt: skip
"""Letters that are one token in plain text; a backslash before them changes nothing."""
_AMBIGUOUS = frozenset(("in", "or", "oo", "lg", "max", "min", "abs", "det", "inf"))
"""Of these `WORDS`, letters that are often part of a longer word: they count alone only."""
_TOKEN = re.compile(
    rf"""\s*(?:
    (?P<number>
        (?:\d{{1,3}}(?:{THOUSANDS}\d{{3}})+|\d+)
        (?:\.\d+|\.(?=\s*\\overline|[/*)]))?
        (?:[eE][+-]?\d+(?![\d.a-zA-Z]))?
        |\.\d+
    )
    |\\text\s*\{{(?P<text>[^{{}}]*)\}}
    |\\(?P<begin>begin|end)\s*\{{(?P<environment>[a-zA-Z]+)\*?\}}
    |\\(?P<command>[a-zA-Z]+)
    |(?P<word>[a-zA-Z]+)
    |(?P<sign><=|>=|!=|==|\*\*|->|[-+*/^_=<>()\[\]{{}},;:|!%'&])
    |(?P<dollar>\$)
    )""",
    re.VERBOSE,
)
_SPELLINGS = {"**": "^", "==": "=", "<=": r"\le", ">=": r"\ge", "!=": r"\ne"}
_COMMANDS = {
    "lbrace": r"\{",
    "rbrace": r"\}",
    "langle": "(",
    "rangle": ")",
    "lbrack": "[",
    "rbrack": "]",
    "cdot": "*",
    "times": "*",
    "ast": "*",
    "div": "/",
}
_KNOWN_WORD = re.compile("|".join(sorted(WORDS, key=len, reverse=True)))


class Token(NamedTuple):
    """One token. Kinds: `number`, `text`, `begin`, `end`, `command` (name with backslash), `letter`, `sign`."""

    kind: str
    value: str
    is_spaced: bool = False
    """White space stands before it."""


END = Token("end_of_text", "")


class Cursor:
    """Tokens and how far they are read; behind the last stands `END`."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = [*tokens, END]
        self.position = 0
        self.token = self.tokens[0]
        """The next one to read."""

    def advance(self) -> Token:
        """Read one token and give it; at the end it stays."""
        token = self.token
        if self.position < len(self.tokens) - 1:
            self.position += 1
            self.token = self.tokens[self.position]
        return token

    def is_at(self, *values: str) -> bool:
        """Say whether the next token is one of these signs or commands."""
        return self.token.value in values and self.token.kind in ("sign", "command")

    def expect(self, value: str) -> None:
        """Read this sign or command.

        Raises:
            ReadError: it is not the next token.
        """
        if not self.is_at(value):
            raise ReadError(f"{value!r} is missing")
        self.advance()

    def jump(self, position: int) -> None:
        """Go on reading at another token."""
        self.position = position
        self.token = self.tokens[position]


def tokenize(text: str) -> list[Token]:
    """Give the tokens of a cleaned text.

    Raises:
        LimitError: more than `MAX_TOKENS` tokens, or a number of more than `MAX_DIGITS` digits.
        ReadError: a character that no formula holds.
    """
    tokens: list[Token] = []
    position, end = 0, len(text)
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            if text[position:].isspace():
                break
            raise ReadError(f"{text[position : position + 10]!r} is no part of a formula")
        kind = str(match.lastgroup)
        if kind == "environment":
            kind = str(match["begin"])
            value = str(match["environment"])
        else:
            value = match[kind]
        is_spaced = text[position].isspace()
        position = match.end()
        _append(tokens, kind, value, is_spaced=is_spaced)
        if len(tokens) > MAX_TOKENS:
            raise LimitError(f"the answer has more than {MAX_TOKENS} tokens")
    return tokens


def _append(tokens: list[Token], kind: str, value: str, *, is_spaced: bool) -> None:
    if kind == "number" and len(value) > MAX_DIGITS:
        raise LimitError(f"a number of the answer has more than {MAX_DIGITS} digits")
    if kind == "sign":
        value = _SPELLINGS.get(value, value)
        kind = "command" if value.startswith("\\") else kind
    elif kind == "command":
        if value in _COMMANDS:
            kind, value = "sign", _COMMANDS[value]
        elif value.startswith("quad"):  # `\quadx`: a space that was glued to what follows
            rest = value.removeprefix("quad")
            if rest:
                _append(tokens, "word", rest, is_spaced=True)
            return
        else:
            value = "\\" + value
    elif kind == "text" and len(value.strip()) == 1 and value.strip().isalpha():
        kind, value = "letter", value.strip()
    elif kind == "dollar":
        kind, value = "command", r"\dollar"
    elif kind == "word":
        _append_word(tokens, value, is_spaced=is_spaced)
        return
    tokens.append(Token(kind, value, is_spaced))


NO_FACTORS = frozenset(("not", "no", "nor", "non", "but", "the", "all", "any", "are", "than", "else", "its"))
"""Short words that are no products of symbols: `not 0` is not n times o times t times 0."""
_VOWEL = re.compile("[aeiou]", re.IGNORECASE)


def _append_word(tokens: list[Token], word: str, *, is_spaced: bool) -> None:
    """A word is a known name, or its letters, each a symbol."""
    if word.lower() in WORDS:
        tokens.append(Token("command", "\\" + word.lower(), is_spaced))
        return
    is_english = len(word) > 3 and not word.isupper() and _VOWEL.search(word) and not _KNOWN_WORD.search(word)
    if word in NO_FACTORS or is_english:
        raise ReadError(f"the word {word!r} stands in a formula")
    position = 0
    for known in _KNOWN_WORD.finditer(word) if len(word) > 3 else ():
        if known[0] in _AMBIGUOUS:
            continue
        tokens.extend(Token("letter", letter, is_spaced) for letter in word[position : known.start()])
        tokens.append(Token("command", "\\" + known[0], is_spaced))
        position = known.end()
    tokens.extend(Token("letter", letter, is_spaced) for letter in word[position:])
