r"""The answer of a completion: where it stands, and whether it is the target.

Where an answer is looked for, the first of these that occurs:

1. the text of the last solution block, `<SOLUTION>...</SOLUTION>` in the default tags;
2. the last `\boxed{...}` with balanced braces;
3. what follows the last `answer is`, `Answer:`, `Result:` or `####`;
4. only where the caller allows it (evaluation does, rewards do not): the last number of the text.

The target is never searched for in the text.
"""

import re
from dataclasses import dataclass

from razona.core.nouns import Outcome, Verdict
from razona.verify.numbers import parse_number

_MARKED = re.compile(r"(?:answer is|answer:|result:|####)[ \t]*:?[ \t]*([^\n]*)", re.IGNORECASE)
_NUMBER = r"[+-]?[0-9][0-9,]*(?:\.[0-9]+)?(?:/[0-9]+)?"
_LAST_NUMBER = re.compile(_NUMBER)
_MARKED_NUMBER = re.compile(
    rf"(?>{_NUMBER})"  # atomic: it must not give digits back to get past what follows
    r"(?![ \t]*(?:[*^+/]|-[ \t]*[0-9]))"  # `34^2` and `34 + 1` are not 34
    r"(?![ \t]*(?:or|and|;|(?<=,))[ \t]*[+-]?[0-9])"  # nor is `34 or 35` or `34, 35`
)
_BRACE = re.compile(r"\\boxed\{|[{}]")
MAX_ANSWER_CHARACTERS = 1_000
"""A longer 'answer' is no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags:
    """The four marks of the recipe's prompt form."""

    working_open: str = "<start_working_out>"
    working_close: str = "<end_working_out>"
    solution_open: str = "<SOLUTION>"
    solution_close: str = "</SOLUTION>"


def find_solution(text: str, tags: Tags) -> str | None:
    """Give the text of the last complete solution block, None where there is none. Linear in the text's length."""
    end = text.rfind(tags.solution_close)
    if end < 0:
        return None
    start = text.rfind(tags.solution_open, 0, end)
    return None if start < 0 else text[start + len(tags.solution_open) : end]


def _find_boxed(text: str) -> str | None:
    """Give the text of the box that opens last among those that close. Linear in the text's length."""
    opened: list[int] = []  # where the text of each open box begins, -1 for any other brace
    start, end = -1, -1
    for mark in _BRACE.finditer(text):
        if mark[0] != "}":
            opened.append(-1 if mark[0] == "{" else mark.end())
        elif opened:
            begin = opened.pop()
            if begin > start:
                start, end = begin, mark.start()
    return None if start < 0 else text[start:end]


def extract(text: str, tags: Tags, *, allow_last_number: bool = False) -> str | None:
    """Give the answer of a completion as it stands there, or None. The order is the one of this file's head."""
    solution = find_solution(text, tags)
    if solution is not None:
        boxed = _find_boxed(solution)
        return solution.strip() if boxed is None else boxed.strip()
    boxed = _find_boxed(text)
    if boxed is not None:
        return boxed.strip()
    marked = _MARKED.findall(text)
    if marked and marked[-1].strip():
        answer = marked[-1].split("<")[0].strip()
        number = _MARKED_NUMBER.match(answer)
        return number[0].rstrip(",") if number else answer.removesuffix(".")
    if allow_last_number:
        numbers = _LAST_NUMBER.findall(text)
        return numbers[-1].rstrip(",") if numbers else None
    return None


def _normalise(text: str) -> str:
    return " ".join(text.split()).casefold().removesuffix(".")


def verify(completion: str, target: str, tags: Tags, *, allow_last_number: bool = False) -> Verdict:
    """Say whether a completion's answer is the target: numbers by exact value, other text letter by letter.

    Args:
        allow_last_number: read the last number where nothing else marks an answer.

    Returns:
        UNVERIFIED only where the target itself is empty; NO_ANSWER where nothing has the form of an answer.
    """
    if not target.strip():
        return Verdict(outcome=Outcome.UNVERIFIED, reason="the target is empty")
    answer = extract(completion, tags, allow_last_number=allow_last_number)
    if not answer:
        return Verdict(outcome=Outcome.NO_ANSWER, reason="nothing in the completion is marked as its answer")
    if len(answer) > MAX_ANSWER_CHARACTERS:
        return Verdict(
            outcome=Outcome.INCORRECT, reason=f"the answer is longer than {MAX_ANSWER_CHARACTERS} characters"
        )
    expected, found = parse_number(target), parse_number(answer)
    if expected is None or found is None:
        is_equal = _normalise(answer) == _normalise(target)
    else:
        is_equal = expected == found
    if is_equal:
        return Verdict(outcome=Outcome.CORRECT, answer=answer)
    return Verdict(outcome=Outcome.INCORRECT, answer=answer, reason=f"{answer!r} is not {target!r}")
