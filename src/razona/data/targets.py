"""Whether a problem can be paid for at all: its own target is judged right, its tests or its puzzle can be read."""

from functools import lru_cache

from razona.core.errors import DataError
from razona.core.nouns import Outcome, Problem
from razona.verify import Settings, check

NOBODYS_ANSWER = "-7919.25"
"""A number that is no problem's answer."""
NO_ANSWERS = ("n/a", "nan", "null", "tbd", "todo", "unknown")
"""What tables hold where an answer is missing."""


def unread_reason(problem: Problem, kind: str, settings: Settings) -> str:
    """Give why no completion of a problem can be judged right; "" where one can.

    Of a code problem the tests are read, not run: that its own solution passes them is not looked at.

    Args:
        kind: math, code or logic.
        settings: for math; what the verifier is lenient about, and the marks of an answer.
    """
    if kind == "math":
        return _unread_target(problem.target, settings)
    row = {"question": problem.question, "target": problem.target, **problem.extra}
    try:
        _read(row, kind)
    except DataError as error:
        return str(error)
    return ""


def _unread_target(target: str, settings: Settings) -> str:
    r"""Give why a target cannot be compared with answers.

    Given as the answer word for word, every text is right without being read, `\sqrt{` as well. So another answer is
    tried, too: it must be wrong, and where the target cannot be read there is no verdict on it.
    """
    outcome, reason = _verdict(target, target, settings)
    if outcome is not Outcome.CORRECT:
        return f"{outcome}: {reason or 'its own target is not judged right'}"
    outcome, reason = _verdict(NOBODYS_ANSWER, target, settings)
    if outcome is not Outcome.INCORRECT:
        return f"{outcome}: {reason or f'{NOBODYS_ANSWER} is judged right'}"
    if not any(map(str.isalnum, target)) or target.casefold() in NO_ANSWERS:
        return f"{target!r} is no answer"
    return ""


def is_same_target(one: Problem, two: Problem, settings: Settings) -> bool:
    """Say whether two targets are one, as far as the verifier knows."""
    return one.target == two.target or _verdict(one.target, two.target, settings)[0] is Outcome.CORRECT


def _read(row: dict[str, object], kind: str) -> None:
    if kind == "code":
        from razona.verify.code import read_code_row

        read_code_row(row)
    else:
        from razona.verify.logic import read_puzzle

        read_puzzle(row)


@lru_cache(maxsize=100_000)
def _verdict(answer: str, target: str, settings: Settings) -> tuple[Outcome, str]:
    tags = settings.tags
    found = check(f"{tags.solution_open}{answer}{tags.solution_close}", target, settings)
    return found.outcome, found.reason
