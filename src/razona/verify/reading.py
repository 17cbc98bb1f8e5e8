"""An answer's text as what it says: a formula's tree with its unit, or words."""

import re
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What an answer's text says."""

    text: str
    """Cleaned."""
    node: Node | None = None
    """The formula; None for words and for what cannot be read."""
    unit: str = ""
    is_words: bool = False
    limit: str = ""
    """The limit that the text exceeds, as a sentence; empty for none."""


def read(text: str, *, is_list_expected: bool = False) -> Reading:
    """Read an answer; never raises.

    Args:
        is_list_expected: the target has several values, so that `1,234` are two numbers.
    """
    cleaned = clean(text)
    for words in _PERCENT_WORDS:
        if cleaned.endswith(words) and cleaned != words:
            cleaned = cleaned.removesuffix(words).rstrip() + "%"
    if "," in cleaned:
        cleaned = _UNIT_IN_LIST.sub(r"\1", cleaned)
    if are_words(cleaned):
        return Reading(text=cleaned, is_words=True)
    quantity = split_unit(cleaned)
    try:
        return Reading(text=cleaned, node=parse(quantity.body, is_list_expected=is_list_expected), unit=quantity.unit)
    except LimitError as error:
        return Reading(text=cleaned, limit=str(error))
    except (ReadError, ValueError, RecursionError):
        return Reading(text=cleaned)


read_target = lru_cache(maxsize=65_536)(read)
"""`read`, remembered: a target is compared with a whole group, and again in later epochs."""
