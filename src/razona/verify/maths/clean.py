r"""Answers as people, models and data sets write them, brought to one plain spelling before they are parsed.

Linear in the text's length. What is dropped carries no value: spacing commands, `\left` and `\right`, dollar signs
around a formula, `\displaystyle`, a final full stop. What carries one becomes ASCII: `½`, `x²`, `√2`, `≤`, full-width
and other digits.
"""

import re
import unicodedata

_SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n", strict=True))
_SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
_SYMBOLS = {
    "√": r"\sqrt ", "∛": r"\sqrt[3]", "∞": r"\infty ", "°": r"^\circ ", "∑": r"\sum ", "∫": r"\int ", "∏": r"\prod ",
    "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "∈": r"\in ", "→": r"\to ", "∧": r"\wedge ",
    "¬": r"\neg ", "÷": r"\div ", "·": r"\cdot ", "⋅": r"\cdot ", "∩": r"\cap ", "∅": r"\emptyset ", "±": r"\pm ",
    "∓": r"\mp ",
    "\N{MULTIPLICATION SIGN}": r"\times ", "\N{UNION}": r"\cup ", "\N{LOGICAL OR}": r"\vee ",
    "\N{MINUS SIGN}": "-", "\N{EN DASH}": "-", "\N{NON-BREAKING HYPHEN}": "-", "\N{EM DASH}": "-",
    "\N{PRIME}": "'", "\N{RIGHT SINGLE QUOTATION MARK}": "'", "“": '"', "”": '"',
    "\N{FULLWIDTH COMMA}": ",", "。": ".", "\N{FULLWIDTH COLON}": ":", "\N{FULLWIDTH SEMICOLON}": ";",
    "\N{NO-BREAK SPACE}": " ", "\N{NARROW NO-BREAK SPACE}": " ", "\N{THIN SPACE}": " ",
    "\N{GREEK SMALL LETTER ALPHA}": r"\alpha ", "β": r"\beta ", "\N{GREEK SMALL LETTER GAMMA}": r"\gamma ",
    "δ": r"\delta ", "ε": r"\epsilon ", "θ": r"\theta ", "λ": r"\lambda ", "μ": r"\mu ", "π": r"\pi ",
    "\N{GREEK SMALL LETTER RHO}": r"\rho ", "\N{GREEK SMALL LETTER SIGMA}": r"\sigma ", "φ": r"\phi ", "ω": r"\omega ",
    "\N{DOUBLE-STRUCK CAPITAL R}": r"\mathbb{R}", "\N{DOUBLE-STRUCK CAPITAL Z}": r"\mathbb{Z}",
    "\N{DOUBLE-STRUCK CAPITAL N}": r"\mathbb{N}", "\N{DOUBLE-STRUCK CAPITAL Q}": r"\mathbb{Q}",
    "\N{DOUBLE-STRUCK CAPITAL C}": r"\mathbb{C}",
    "€": r"\text{euro}", "£": r"\text{pound}", "¥": r"\text{yen}", "₹": r"\text{rupee}",
}  # fmt: skip
_SPACING = re.compile(
    r"\\(?:left|right|bigg?[lr]?|Bigg?[lr]?|displaystyle|textstyle|limits|nolimits|middle)(?![a-zA-Z])\.?"
    r"|\\[,;:!> ]|~"
    r"|\\q?quad ?(?=[a-zA-Z\\({$-]|$)"
    r"|\\hspace\{[^{}]*\}"
    r"|\\(?:text)?color\s*\{[^{}]*\}|\\(?:tiny|small|normalsize|large|Large|LARGE|huge|Huge)(?![a-zA-Z])"
    r"|&(?=\s*=)"
)
_TEXT_COMMANDS = (
    "mbox|textnormal|textrm|textbf|textit|mathrm|mathbf|mathit|mathsf|mathcal|boldsymbol|bm|operatorname\\*?"
    "|rm|bf|hbox|textsf"
)
_SAME = [
    ("\\m", re.compile(r"\\math(?:bf|rm|it|sf)\s*(?=\{[-+\d\s]*\\)"), ""),
    ("\\b", re.compile(r"\\(?:boldsymbol|bm)\s*(?=\{[-+\d\s]*\\)"), ""),
    ("frac", re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    ("binom", re.compile(r"\\[dt]binom(?![a-zA-Z])"), r"\\binom"),
    ("{", re.compile(rf"\\(?:{_TEXT_COMMANDS})(?=\s*\{{)"), r"\\text"),
    ("\\le", re.compile(r"\\(?:leq|leqslant|leqq)(?![a-zA-Z])"), r"\\le "),
    ("\\ge", re.compile(r"\\(?:geq|geqslant|geqq)(?![a-zA-Z])"), r"\\ge "),
    ("\\ne", re.compile(r"\\neq(?![a-zA-Z])"), r"\\ne "),
    ("\\lt", re.compile(r"\\lt(?![a-zA-Z])"), "<"),
    ("\\gt", re.compile(r"\\gt(?![a-zA-Z])"), ">"),
    ("\\varno", re.compile(r"\\varnothing(?![a-zA-Z])"), r"\\emptyset "),
    ("\\O", re.compile(r"\\O(?![a-zA-Z])"), r"\\emptyset "),
    ("degree", re.compile(r"\\(?:degree|degrees)(?![a-zA-Z])"), r"^\\circ "),
    ("circ", re.compile(r"\^\{\s*\\circ\s*\}"), r"^\\circ "),
    ("vert", re.compile(r"\\(?:lvert|rvert|vert)(?![a-zA-Z])"), "|"),
    ("\\mid", re.compile(r"\\mid(?![a-zA-Z])"), "|"),
    ("\\bmod", re.compile(r"\\bmod(?![a-zA-Z])"), r"\\wedge "),
    ("\\land", re.compile(r"\\land(?![a-zA-Z])"), r"\\wedge "),
    ("\\lor", re.compile(r"\\lor(?![a-zA-Z])"), r"\\vee "),
]
"""What such a text holds, commands of one meaning, the one spelling."""
_TWICE_ESCAPED = re.compile(r"\\\\(?=[a-zA-Z({\[,!;])")
_BASES = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_BASE_IN_WORDS = re.compile(r"_\{?\\text\s*\{\s*(" + "|".join(_BASES) + r")\s*\}\}?")
_GLUED_JOINER = re.compile(r"(?<=[\d)])(or|and)(?=[A-Za-z(\d])")
_GROUPED_COMMA = re.compile(r"\s*\{\s*,\s*\}\s*(?=\d)|,\\!\s*(?=\d)")
_THIN_SPACE_GROUP = re.compile(r"(?<=\d)\\[,:;](?=\d{3}(?!\d))")
_MAX_GROUPS = 3
"""Braces around a whole answer that are taken off; each costs one more look at all of it."""
_OVERRIDES = frozenset(("LRE", "RLE", "LRO", "RLO", "LRI", "RLI", "FSI"))
"""Kinds of marks under which digits are shown in another order than they are written."""
_TEXT_DOLLAR = re.compile(r"\\text\s*\{\s*\\\$\s*\}")
_CASE_WORD = re.compile(r"\\text\s*\{\s*,?\s*(?:if|for|when)\s*\}")
_EXCLAIMED = re.compile(r"([A-Za-z]{3})!$")
_CASE_COMMA = re.compile(r"[,.]\s*(?=&|\\cr|\\end)")
_WHOLE_TEXT = re.compile(r"\\text\s*\{([^{}\\]*\d[^{}\\]*)\}")
THOUSANDS = "\x1f"
"""Stands for a comma that certainly groups digits: `1{,}234`, `1,\\!234`, `1\\,234`."""


def _plain_character(character: str) -> str:
    if character.isascii():
        return character
    if character in _SYMBOLS:
        return _SYMBOLS[character]
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.digit(character))
    if category == "Cf" and unicodedata.bidirectional(character) not in _OVERRIDES:  # zero-width and direction marks
        return ""
    name = unicodedata.name(character, "")
    if "VULGAR FRACTION" in name:
        top, _, bottom = unicodedata.normalize("NFKC", character).partition("\u2044")
        return rf"\frac{{{top}}}{{{bottom or '1'}}}"
    if name.startswith(("FULLWIDTH", "MATHEMATICAL")):
        return unicodedata.normalize("NFKC", character)
    return character


def to_ascii(text: str) -> str:
    r"""Give the text with every known mathematical character in its LaTeX or ASCII spelling.

    >>> print(to_ascii("x² + ½"))
    x^{2} + \frac{1}{2}
    """
    if text.isascii():
        return text
    out: list[str] = []
    script, marks = "", {"^": _SUPERSCRIPTS, "_": _SUBSCRIPTS}
    for character in text:
        kind = "^" if character in _SUPERSCRIPTS else "_" if character in _SUBSCRIPTS else ""
        if kind != script:
            out.append("}" if script else "")
            out.append(kind + "{" if kind else "")
            script = kind
        out.append(marks[kind][character] if kind else _plain_character(character))
    out.append("}" if script else "")
    return "".join(out)


def _is_one_group(text: str) -> bool:
    """Say whether the brace at the front is closed by the one at the end."""
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return position == len(text) - 1
    return False


def clean(text: str) -> str:
    """Give an answer's text in the plain spelling that `parser.parse` reads; see this file's head."""
    if "_" in text:
        text = _BASE_IN_WORDS.sub(lambda match: f"_{{{_BASES.index(match[1]) + 2}}}", text)
    text = _GLUED_JOINER.sub(r" \1 ", to_ascii(text).strip().strip("*").strip())
    if "\\" in text or "$" in text or "~" in text:
        if "\\\\" in text:  # a new row in a matrix; before a word elsewhere, an escape that was written twice
            text = text.replace("\\\\", "\\cr ") if "\\begin" in text else _TWICE_ESCAPED.sub("\\\\", text)
        for opening, closing in ((r"\(", r"\)"), (r"\[", r"\]")):
            if text.startswith(opening) and text.endswith(closing):
                text = text[2:-2].strip()
        text = _GROUPED_COMMA.sub(THOUSANDS, text)
        text = _THIN_SPACE_GROUP.sub(THOUSANDS, text)
        text = text.replace("\\\\%", "%").replace("\\%", "%").replace("\\{", "\\lbrace ").replace("\\}", "\\rbrace ")
        if "\\$" in text:
            text = _TEXT_DOLLAR.sub(r"\\$", text).replace("\\$", "\\dollar ")
        text = text.replace("$", " ")
        text = _SPACING.sub(" ", text)
        for hint, pattern, spelling in _SAME:
            if hint in text:
                text = pattern.sub(spelling, text)
        if "{cases}" in text:
            text = _CASE_COMMA.sub(" ", _CASE_WORD.sub(" ", text))
        whole = _WHOLE_TEXT.fullmatch(text.strip()) if "\\text" in text else None
        text = whole[1] if whole else text
    elif "{,}" in text:
        text = text.replace("{,}", THOUSANDS)
    text = text.strip()
    for _ in range(_MAX_GROUPS):
        if not (text.startswith("{") and text.endswith("}") and _is_one_group(text)):
            break
        text = text[1:-1].strip()
    if text.endswith("!"):
        text = _EXCLAIMED.sub(r"\1", text)
    while text.endswith((".", ";", ",")) and not text.endswith(("\\,", "\\;")) and len(text) > 1:
        text = text[:-1].rstrip()
    return text
