"""An answer's text as what it says: a formula's tree with its unit, or words."""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from razona.verify.maths.clean import clean
from razona.verify.maths.parser import parse
from razona.verify.maths.syntax import LimitError, Node, ReadError
from razona.verify.units import split_unit
from razona.verify.words import are_words

_PERCENT_WORDS = (
    " percentage",
    "\\text{ percent}",
    "\\text{percent}",
    "percent",
    "\\text{ percent }",
    "pct",
)
_UNIT_IN_LIST = re.compile(
    r"(\d)\s*(?:\\text\s*\{\s*)?"
    r"(?:mm|cm|km|kg|inches|feet|meters|miles|degrees|dollars|units|hours|minutes)(?![a-zA-Z])\}?(?=\s*(?:[,;}]|$))"
)

_PARAMETER = re.compile(
    r"(?:[,;(]\s*|\\text\s*\{\s*,?\s*(?:for|where|with)(?: all| any| every| integers?| some)?\s*\}\s*|\\forall\s*"
    r"|\s{2})"
    r"\(?\s*[a-z]\s*\\in\s*\\mathbb\s*\{?\s*([ZNRQ])\s*\}?\s*\)?$"
)
_FOR_ALL = re.compile(
    r",?\s*(?:\\text\s*\{\s*,?\s*for (?:all|every|any)(?: real| integers?| reals?)?\s*[a-z]?\s*\}|\\forall)\s*[a-z]?$"
)
_MODULUS = re.compile(
    r"\s*(?:\\p?mod(?![a-z])\s*\{?|\(\s*(?:\\text\s*\{\s*mod\s*\}|mod(?![a-z])|\\mod(?![a-z]))\s*)\s*([a-z0-9]+)\s*[})]?$"
)
_INEQUALITY = re.compile(r"[<>]|\\[lg]e(?![a-z])")
_NUMBER_WORD = re.compile(
    r"(?<![\w.,])([0-9][0-9,\x1f]*(?:\.[0-9]+)?)\s*(\\text\s*\{\s*)?(hundred|thousand|million|billion|trillion)\b\s*(\})?",
    re.IGNORECASE,
)
_POWERS = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_SET_BUILDER = re.compile(
    r"^\\lbrace\s*([a-z])\s*(?:\\in\s*(?:\\mathbb\s*\{?\s*R\s*\}?|R)\s*)?(?::|\|)\s*([^:]*\b\1\b[^:]*)\\rbrace$"
)
_ALL_REALS = re.compile(
    r"\\text\s*\{\s*(?:all|any) real(?:s| numbers?)\s*\}|(?:all|any) real(?:s| numbers?)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What an answer's text says."""

    text: str
    """Cleaned."""
    node: Node | None = None
    """The formula; None for words and for what cannot be read."""
    unit: str = ""
    condition: str = ""
    r"""What a modulus or the range of an integer parameter says, without its letter: `mod7`, `Z`; empty for none."""
    is_words: bool = False
    limit: str = ""
    """The limit that the text exceeds, as a sentence; empty for none."""


def _without_condition(text: str) -> tuple[str, str]:
    r"""Give a text without `, k \in \mathbb{Z}`, `\text{ for all } x` or `\pmod 7` at its end, and what that said."""
    for pattern, name in ((_PARAMETER, ""), (_MODULUS, "mod"), (_FOR_ALL, "")):
        match = pattern.search(text)
        head = text[: match.start()] if match else ""
        if match and head.strip(" ,") and not (match.groups() and _INEQUALITY.search(head)):
            said = match[1] if match.groups() else ""
            return head.strip(" ,"), name + said
    return text, ""


def _in_digits(match: re.Match[str]) -> str:
    """Give `1.5 million` in digits."""
    value = Fraction(re.sub(r"[,\x1f]", "", match[1])) * 10 ** _POWERS[match[3].lower()]
    if value.denominator != 1:
        return match[0]
    return f"{value} {match[2] if match[2] and not match[4] else ''}"


def read(text: str, *, is_list_expected: bool = False) -> Reading:
    """Read an answer; never raises.

    Args:
        is_list_expected: the target has several values, so that `1,234` are two numbers.
    """
    cleaned = clean(text)
    for words in _PERCENT_WORDS:
        if cleaned.endswith(words) and cleaned != words:
            cleaned = cleaned.removesuffix(words).rstrip() + "%"
    condition = ""
    if "mod" in cleaned or "\\in" in cleaned or "\\forall" in cleaned or "for " in cleaned:
        cleaned, condition = _without_condition(cleaned)
    if "illion" in cleaned or "thousand" in cleaned or "hundred" in cleaned:
        cleaned = _NUMBER_WORD.sub(_in_digits, cleaned, count=1)
    builder = _SET_BUILDER.match(cleaned) if cleaned.startswith("\\lbrace") else None
    if builder:
        cleaned = builder[2].strip()
    if "real" in cleaned and _ALL_REALS.fullmatch(cleaned):
        return Reading(text=cleaned, node=Node("symbol", r"\R"))
    if "," in cleaned:
        cleaned = _UNIT_IN_LIST.sub(r"\1", cleaned)
    if are_words(cleaned):
        return Reading(text=cleaned, is_words=True)
    quantity = split_unit(cleaned)
    try:
        node = parse(quantity.body, is_list_expected=is_list_expected)
        return Reading(text=cleaned, node=node, unit=quantity.unit, condition=condition)
    except LimitError as error:
        return Reading(text=cleaned, limit=str(error))
    except (ReadError, ValueError, RecursionError):
        return Reading(text=cleaned)


read_target = lru_cache(maxsize=65_536)(read)
"""`read`, remembered: a target is compared with a whole group, and again in later epochs."""
