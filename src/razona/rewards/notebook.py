r"""The four rewards of the well-known GRPO notebooks, kept as a baseline.

They pay 5.0 for a wrong 35 where the target is 34, and -7.5 for a correct `\boxed{34}` without tags: the scale
is kept as it is known, so that it can be compared with. Train with the ones of `sound.py`.

The matching is written without the notebooks' regular expressions, one of which is cubic in the length of the
text (77 kB take 300 s); the values are the same.
"""

import re

from razona.verify import Tags


def _solution_at_the_end(text: str, tags: Tags) -> str | None:
    """Give the notebooks' `match_format` group: after the first end of working, the solution block that ends a line.

    The end of any line will do, not only of the text: the notebooks compile their expression with `re.MULTILINE`.
    """
    close = text.find(tags.working_close)
    if close < 0:
        return None
    start = text.find(tags.solution_open, close + len(tags.working_close))
    if start < 0:
        return None
    answer_start = start + len(tags.solution_open)
    # Possessive, so that a long run of spaces is read once. The block holds at least one character.
    ending = re.compile(re.escape(tags.solution_close) + r"[^\S\n]*+(?=\n|\Z)").search(text, answer_start + 1)
    return text[answer_start : ending.start()] if ending else None


def format_exact(text: str, target: str, tags: Tags) -> float:
    """+3 when the working ends, a solution block follows, and a line ends with it, whatever comes below; else 0."""
    return 3.0 if _solution_at_the_end(text, tags) is not None else 0.0


def format_approximate(text: str, target: str, tags: Tags) -> float:
    """For each of end-of-working, open-solution, close-solution: +0.5 if it occurs once, else -1."""
    marks = (tags.working_close, tags.solution_open, tags.solution_close)
    return sum(0.5 if text.count(mark) == 1 else -1.0 for mark in marks)


def check_answer(text: str, target: str, tags: Tags) -> float:
    """No block -2; exact text +5; equal after stripping +3.5; ratio within 10 % +2, within 20 % +1.5.

    Another number gets -2.5, and what is no number -4.5.
    """
    answer = _solution_at_the_end(text, tags)
    if answer is None:
        return -2.0
    if answer == target:
        return 5.0
    if answer.strip() == target.strip():
        return 3.5
    try:
        ratio = float(answer) / float(target)
    except (ValueError, ZeroDivisionError, OverflowError):
        return -4.5
    if 0.9 <= ratio <= 1.1:
        return 2.0
    return 1.5 if 0.8 <= ratio <= 1.2 else -2.5


def check_numbers(text: str, target: str, tags: Tags) -> float:
    """First number inside the block: none -2.5, equal +3.5, different -1.5, unreadable 0."""
    start = text.find(tags.solution_open)
    number = _first_number(text[start + len(tags.solution_open) :]) if start >= 0 else None
    if number is None:
        return -2.5
    try:
        return 3.5 if float(number.replace(",", "")) == float(target.strip()) else -1.5
    except ValueError:
        return 0.0


def _first_number(text: str) -> str | None:
    """Give the first run of digits, points and commas, with a minus sign right before it."""
    marks = "0123456789.,"
    start = next((i for i, character in enumerate(text) if character in marks), None)
    if start is None:
        return None
    end = start
    while end < len(text) and text[end] in marks:
        end += 1
    return text[start - 1 : end] if start and text[start - 1] == "-" else text[start:end]
