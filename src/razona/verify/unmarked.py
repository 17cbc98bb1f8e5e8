"""The answer of a text that marks none: the text itself where it is short, else its last formula or number."""

import re

from razona.verify.found import Found, nothing
from razona.verify.maths.lexer import WORDS

_FORMULA = re.compile(
    r"\$\$(.+?)\$\$|(?<!\\)\$(?![ \d,.]+[a-z]{2})([^$]+)(?<!\\)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL
)
_JOINER = re.compile(r"[\s,;.]*(?:\\?(?:quad|text\s*\{\s*)?\s*(?:and|or|,|;)[\s}]*)?\s*", re.IGNORECASE)
_NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.\\])(?:\\frac\{[^{}]+\}\{[^{}]+\}"
    r"|[$€£]?[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:[.,][0-9]+)?(?:\s?/\s?[0-9]+)?)(?:\s?\\?%)?(?![A-Z0-9])"
)
_PROSE = re.compile(
    r"[A-Za-zÀ-ɏ]{2,}\s+[A-Za-zÀ-ɏ]{2,}\s+[A-Za-zÀ-ɏ]{2,}|(?<!\d):|:(?!\d)"
    r"|[\N{FULLWIDTH COLON}。\N{FULLWIDTH COMMA}]|\.\s"
    r"|[\u0370-\u1fff\u3040-\ud7ff]{2}|=[^=]*=.*[A-Za-z]{3}"
)
_CHOICE = re.compile(r"\(?[A-J][.)]\s+[^.!?]{1,60}$")
_ANSWER_TAG = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_WORD = re.compile(r"(?<![\\\w{])(?!and\b)[A-Za-z]{3,}")
_LETTERS = re.compile(r"(?<![\\\w])[A-Za-z']{2,}")
_TEXT_GROUP = re.compile(r"\\[a-z]+\s*\{\s*[A-Za-z ]+\}|(?<=[\d)])(?:or|and)(?=[A-Z(])")
_QUANTITY = re.compile(r"^\W{0,3}[-+]?[\d.,/ ]+\s*(?:[A-Za-z²³°]+[ .^\d]*){1,3}$")
_SHORT = frozenset(("cm", "mm", "km", "kg", "AB", "CD", "BC", "AC", "DE", "EF", "xy", "ab", "xyz", "abc", "AM", "PM"))
_FAR_EAST = re.compile("[\u3040-\ud7ff]")
_STATED_NUMBER = re.compile(
    r"\b(?:is|are|by|equals|of)\s+([$€£]?[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?%?)(?![\d,]*\d|[\w:/^])"
)
MAX_CHARACTERS = 20_000
"""Only the end of a longer text is searched."""
MAX_WHOLE = 200
"""A text of at most this many characters may be an answer as a whole."""


def find_unmarked(region: str) -> Found:
    """Give the whole of a short text that is no prose, else its last formulas, else its last number."""
    region = region[-MAX_CHARACTERS:]
    tagged = _ANSWER_TAG.findall(region)
    text = (tagged[-1] if tagged else region.split("<|")[0]).strip()
    if not text:
        return nothing("the text is empty")
    if len(text) <= MAX_WHOLE and _CHOICE.match(text):
        return Found(answers=(text,), place="unmarked")
    formulas = [match for match in _FORMULA.finditer(text) if len(_WORD.findall(match[0])) < 2]
    if formulas:
        last = _STATED_NUMBER.search(text, formulas[-1].end())
        if last:
            return Found(answers=(last[1],), place="unmarked", following=text[last.end() :][:40])
        return Found(
            answers=tuple(_last_formulas(text, formulas)), place="unmarked", following=text[formulas[-1].end() :][:40]
        )
    if len(text) <= MAX_WHOLE and not _is_prose(text):
        return Found(answers=(text,), place="unmarked")
    numbers = list(_NUMBER.finditer(text))
    if numbers:
        return Found(answers=(numbers[-1][0],), place="unmarked", following=text[numbers[-1].end() :][:40])
    if len(text) <= MAX_WHOLE:
        return Found(answers=(text,), place="unmarked")
    return nothing("nothing in the text looks like an answer")


def _is_prose(text: str) -> bool:
    if _PROSE.search(text):
        return True
    if not any(character.isdigit() for character in text) or _QUANTITY.match(text):
        return False
    return any(
        word.lower() not in WORDS and word not in _SHORT for word in _LETTERS.findall(_TEXT_GROUP.sub(" ", text))
    )


def find_in_phrase(marked: Found) -> Found:
    """Give the number of an answer that is a sentence, `Answer: Jane started 3 hours ago`; anything else as it is."""
    if not marked.answers:
        return marked
    phrase = marked.answers[0]
    if "$" in phrase or ("\\" in phrase and not _FAR_EAST.search(phrase)):
        stated = re.search(r"\b(?:is|are|equals)\s+\$?([^\sA-Za-z$][^\s$]*)\$?\s*$", phrase)
        return Found(answers=(stated[1],), place="unmarked") if stated else marked
    stated = re.search(r"\b(?:is|are|equals)\s+(\$?[^\sA-Za-z]\S*)\s*$", phrase)
    if stated:
        return Found(answers=(stated[1],), place="unmarked")
    numbers = list(_NUMBER.finditer(phrase))
    if numbers and _PROSE.search(phrase):
        return Found(answers=(numbers[0][0],), place="unmarked", following=phrase[numbers[0].end() :][:40])
    return marked


def _last_formulas(text: str, formulas: list[re.Match[str]]) -> list[str]:
    """Give the last formula with those that a comma or an `and` joins to it."""
    joint = [formulas[-1]]
    for formula in reversed(formulas[:-1]):
        if not _JOINER.fullmatch(text, formula.end(), joint[-1].start()):
            break
        joint.append(formula)
    return [next(group for group in formula.groups() if group is not None).strip() for formula in reversed(joint)]
