"""Answers that are words: names, choices, clock times, `no solution`."""

import re

from razona.verify.maths.lexer import WORDS

_MACRO = re.compile(r"\\text\s*\{([^{}]*)\}|\\(?:text|quad|qquad)\b")
_CHOICE = re.compile(r"^\W*([A-J])\W*$")
_CHOICE_WITH_TEXT = re.compile(
    r"(?:^|\bis\s*\n?)\(([A-J])\)\s+(\S.*)$|(?:^|\bis\s*\n)([A-J])[.:)]?\s+([A-Z]\w+.*)", re.DOTALL
)
_CLOCK = re.compile(r"^(\d{1,2}):(\d\d)\s*(?:([ap])\.?\s?m\.?)?$", re.IGNORECASE)
_FULL_HOUR = re.compile(r"^(\d{1,2})(?=\s*[ap]\.?\s?m\.?$)", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d\d-\d\d|\d\d?([/.-])\d\d?\1\d{4}")
_YES_OR_NO = re.compile(r"(yes|no)\b[,.;:](?!.*\b(?:yes|no|or|not)\b)", re.IGNORECASE | re.DOTALL)
_EMPTY = frozenset({
    "no solution", "no solutions", "none", "empty set", "emptyset", "no real solution", "no real solutions",
    "there is no solution", "there are no solutions", "no such numbers exist",
})  # fmt: skip
_WORDS = re.compile(r"^[^\W\d_][\w' .,;:!?&()/-]*$")
_ARTICLES = re.compile(r"\b(?:the|a|an)\b")


def _bare(text: str) -> str:
    """Give a text without the macros around its words."""
    return _MACRO.sub(lambda match: " " + (match[1] or ""), text).strip()


def plain_words(text: str) -> str:
    r"""Give an answer's words without `\text`, case, punctuation and repeated white space.

    >>> plain_words(r"\text{New  York City!}")
    'new york city'
    """
    text = _MACRO.sub(lambda match: " " + (match[1] or ""), text)
    return " ".join(re.sub(r"[^\w\s+*/^=<>-]|_", " ", text.casefold()).split())


def are_words(text: str) -> bool:
    r"""Say whether a cleaned answer is words rather than a formula: `east`, `\text{(C)}`, `New York`."""
    bare = _bare(text)
    if "\\" in bare or not _WORDS.match(bare):
        return False
    runs = re.findall(r"[^\W\d_]+", bare)
    has_word = any(len(run) >= 3 and run.lower() not in WORDS and re.search("[aeiouy]", run.lower()) for run in runs)
    return has_word and (not re.search(r"[\d=<>^]", bare) or len(runs) > 2)


def same_words(target: str, answer: str) -> bool:
    """Say whether two answers are the same words: case, punctuation, white space and articles do not count."""
    one, other = plain_words(target), plain_words(answer)
    if one == other:
        return bool(one)
    if one in ("yes", "no") and (said := _YES_OR_NO.match(_bare(answer))):
        return said[1].lower() == one
    if "dne" in (one, other):
        return {one, other} == {"dne", "does not exist"}
    if one in _EMPTY and other in _EMPTY:
        return True
    if len(one) == 1:  # a letter, and `(A) B` is not B
        return False
    one, other = (" ".join(_ARTICLES.sub(" ", words).split()) for words in (one, other))
    return bool(one) and one == other


def means_nothing(text: str) -> bool:
    """Say whether the words say that there is no solution."""
    return plain_words(text) in _EMPTY


def choice(text: str) -> str:
    r"""Give the letter of a multiple-choice answer, `(C)`, `C.`, `\text{C}`; "" where it is none."""
    bare = _bare(text)
    match = _CHOICE.match(bare)
    if match:
        return match[1]
    match = _CHOICE_WITH_TEXT.search(bare)
    return (match[1] or match[3]) if match else ""


_LETTER = re.compile(r"(?<![A-Za-z'])\(?([A-J])\)?(?![A-Za-z'])(?!(?<=I)\s+[a-z])")
_LEADING_LETTER = re.compile(r"^\(?([A-J])\)?[.,:;]\s*(?!or\b|and\b|\(?[A-J]\b)\S")
_REFUSED = re.compile(
    r"(?:\bnot|n't|\bnon|\bneither|\bnor|不是|\bexcept)\s*(?:be\s+)?(?:\(?[A-J]\)?\s*(?:,|or|and|nor)\s*)*$",
    re.IGNORECASE,
)


def chosen(text: str) -> str:
    """Give the one letter that a phrase chooses, `D, it can't be A or B`; "" where it chooses none or several."""
    letter = choice(text)
    if letter:
        return letter
    leading = _LEADING_LETTER.match(text)
    if leading:
        return leading[1]
    small = re.fullmatch(r"\W*([a-e])\W*", _bare(text))
    if small:
        return small[1].upper()
    picked = {
        match[1]
        for match in _LETTER.finditer(text)
        if not _REFUSED.search(text[max(0, match.start() - 40) : match.start()])
    }
    return picked.pop() if len(picked) == 1 else ""


def clock_minutes(text: str) -> int | None:
    """Give the minutes after midnight of `20:34` or `8:34 PM`; None where it is no clock time."""
    match = _CLOCK.match(plain_clock(text))
    if match is None or int(match[2]) > 59 or int(match[1]) > 24:
        return None
    hours, minutes, half = int(match[1]), int(match[2]), (match[3] or "").lower()
    if half:
        hours = hours % 12 + (12 if half == "p" else 0)
    return hours * 60 + minutes


def has_half_of_day(text: str) -> bool:
    """Say whether a clock time is written with am or pm."""
    match = _CLOCK.match(plain_clock(text))
    return bool(match and match[3])


def plain_clock(text: str) -> str:
    """Give a clock time without LaTeX around it."""
    return _FULL_HOUR.sub(r"\1:00", " ".join(_bare(text).replace("~", " ").split()).strip("$ ."))


def is_date(text: str) -> bool:
    """Say whether an answer is a date in digits, which is no difference and no fraction."""
    return text[:1].isdigit() and bool(_DATE.fullmatch(text.strip()))
