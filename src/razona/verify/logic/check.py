"""A completion against a logic puzzle: read the row once, then check any number of completions."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from razona.core.errors import DataError
from razona.core.nouns import Outcome, Verdict
from razona.verify.logic.countdown import CountdownPuzzle, check_countdown, read_countdown
from razona.verify.logic.entailment import EntailmentPuzzle, check_entailment, read_entailment
from razona.verify.logic.final import final_texts, plain
from razona.verify.logic.formula import FormulaPuzzle, check_formula, read_formula
from razona.verify.logic.grid import GridPuzzle, check_grid, read_grid
from razona.verify.logic.knights import KnightsPuzzle, check_knights, read_knights
from razona.verify.logic.reasoning_gym import StoredAnswer, check_stored_answer, read_reasoning_gym
from razona.verify.logic.rows import MAX_ANSWER_CHARACTERS, UnreadableText, shortened
from razona.verify.settings import MAX_COMPLETION_CHARACTERS
from razona.verify.tags import Tags

Puzzle = KnightsPuzzle | FormulaPuzzle | EntailmentPuzzle | GridPuzzle | CountdownPuzzle | StoredAnswer
READERS: dict[str, Callable[[Mapping[str, object]], Puzzle]] = {
    "knights": read_knights,
    "formula": read_formula,
    "entailment": read_entailment,
    "grid": read_grid,
    "countdown": read_countdown,
    "reasoning_gym": read_reasoning_gym,
}
"""Puzzle kind, the value of a row's field `puzzle` -> what reads such a row; its file's head lists the fields."""
_RECOGNISED = (
    ("knights", ("names", "statements")),
    ("countdown", ("nums", "target")),
    ("countdown", ("numbers", "target")),
    ("entailment", ("premises", "conclusion")),
)
"""A row without `puzzle` that has all these fields is of this kind."""


def read_puzzle(row: Mapping[str, object]) -> Puzzle:
    """Read the puzzle of a data row.

    Raises:
        DataError: the kind is unknown, or a field is missing or not of its form.

    >>> read_puzzle({"nums": [3, 4, 5], "target": 35})
    CountdownPuzzle(numbers=(3, 4, 5), target=35, must_use_all=True)
    """
    kind = row.get("puzzle")
    if kind is None:
        kind = next((kind for kind, fields in _RECOGNISED if all(field in row for field in fields)), None)
    if not isinstance(kind, str) or kind not in READERS:
        where = f"row {row['id']!r}" if "id" in row else "the row"
        given = (
            f"names {shortened(repr(kind))}" if "puzzle" in row else f"has only {', '.join(map(str, row)) or 'nothing'}"
        )
        raise DataError(f"{where} {given}; expected a field 'puzzle' that is one of {', '.join(READERS)}.")
    return READERS[kind](row)


def check_logic(completion: str, puzzle: Puzzle, tags: Tags, *, is_unmarked_allowed: bool = True) -> Verdict:
    r"""Say whether a completion solves a puzzle. Any valid solution counts; time is linear in the completion's length.

    Args:
        is_unmarked_allowed: where nothing marks an answer, read all that follows the working.

    Returns:
        NO_ANSWER where nothing that follows the working is marked as an answer or is one. INCORRECT where a marked
        answer cannot be read or is longer than MAX_ANSWER_CHARACTERS. UNVERIFIED only where a row of reasoning-gym
        stores no answer.

    >>> puzzle = read_puzzle({"nums": [3, 4, 5], "target": 35})
    >>> check_logic(r"\boxed{(3 + 4) \times 5 = 35}", puzzle, Tags()).outcome
    <Outcome.CORRECT: 'correct'>
    """
    if isinstance(puzzle, StoredAnswer) and puzzle.answer is None:
        return check_stored_answer("", puzzle)
    if len(completion) > MAX_COMPLETION_CHARACTERS:
        reason = f"the completion is longer than {MAX_COMPLETION_CHARACTERS:,} characters"
        return Verdict(outcome=Outcome.INCORRECT, reason=reason)
    texts = [one for one in final_texts(completion, tags) if one.is_marked or is_unmarked_allowed]
    if isinstance(puzzle, StoredAnswer) and len(texts) > 2:
        texts = texts[1:]  # it reads any text, so the announced line comes before all that follows it
    unread: Verdict | None = None
    for one in texts:
        answer = one.text.strip()
        if len(answer) > MAX_ANSWER_CHARACTERS:
            reason = f"the answer is longer than {MAX_ANSWER_CHARACTERS:,} characters"
            unread = unread or Verdict(outcome=Outcome.INCORRECT, reason=reason)
            continue
        try:
            return replace(_check(answer, puzzle), answer=answer)
        except UnreadableText as error:
            reason = f"the answer cannot be read: {error}"
            if one.is_marked:
                unread = unread or Verdict(outcome=Outcome.INCORRECT, answer=answer, reason=reason)
            else:
                unread = unread or Verdict(outcome=Outcome.NO_ANSWER, reason=reason)
    return unread or Verdict(outcome=Outcome.NO_ANSWER, reason="nothing stands where an answer was expected")


def _check(answer: str, puzzle: Puzzle) -> Verdict:
    match puzzle:
        case KnightsPuzzle():
            return check_knights(plain(answer), puzzle)
        case FormulaPuzzle():
            return check_formula(plain(answer), puzzle)
        case EntailmentPuzzle():
            return check_entailment(plain(answer), puzzle)
        case GridPuzzle():
            return check_grid(plain(answer), puzzle)
        case CountdownPuzzle():
            return check_countdown(plain(answer), puzzle)
        case StoredAnswer():
            return check_stored_answer(answer, puzzle)
