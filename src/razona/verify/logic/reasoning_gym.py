"""Rows of the `reasoning-gym` package, judged without its scorers.

Fields of a row with `puzzle: "reasoning_gym"`, which are those of the package's entries:

- `metadata`: with `source_dataset`, the name of the data set (a field `dataset` will do), and the puzzle's own data;
- `answer`: the stored answer; null where the package stores none.

`countdown`, `puzzle24`, `knights_knaves`, `sudoku` and `mini_sudoku` are checked against the puzzle in `metadata` by
the files of this folder. Answers to the other data sets are compared with the stored one: by exact value where both are
numbers, else letter by letter with white space collapsed. Where none is stored the verdict is UNVERIFIED. Data sets are
refused by name where the package's scorer runs the answer as code, so that nobody trains here what is scored there
(measured in 0.1.25), and where the stored answer is one of many, so that comparing with it would punish right ones.

A text of the model never reaches a scorer of the package: besides running code they gave full credit to `nan`, to any
non-empty text and to prefixes, and 1 % tolerance to numbers. Does not cover: data sets of later versions, and answers
whose order is free in a data set that is not in the lists below.
"""

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from razona.core.errors import MachineError, RecipeError
from razona.core.nouns import Outcome, Verdict
from razona.core.seeds import derive_seed
from razona.verify.logic.countdown import CountdownPuzzle, read_countdown
from razona.verify.logic.grid import GridPuzzle, read_grid
from razona.verify.logic.knights import KnightsPuzzle, read_knights
from razona.verify.logic.rows import row_error, shortened

KIND = "reasoning_gym"
_NUMBER = re.compile(r"[+-]?[0-9]{1,300}(?:\.[0-9]{1,300})?")
RUNS_CODE = frozenset({
    "binary_matrix", "intermediate_integration", "n_queens", "polynomial_multiplication", "simple_integration",
    "spiral_matrix", "string_insertion",
})  # fmt: skip
"""Their scorers evaluate the answer; countdown and puzzle24 do too, but have checks of our own."""
MANY_ANSWERS = frozenset({
    "boxnet", "cryptarithm", "graph_color", "group_anagrams", "jugs", "kakurasu", "knight_swap",
    "palindrome_generation", "palindrome_partitioning", "polynomial_equations", "power_function",
    "propositional_logic", "quantum_lock", "rubiks_cube", "rush_hour", "shortest_path", "sokoban", "tower_of_hanoi",
    "word_ladder",
})  # fmt: skip
"""Several answers, orders or roundings are right and one of them is stored, or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """A data set's entry of which only the stored answer is known."""

    dataset: str
    answer: str | None
    """None where the package stores none; nothing can be verified then."""


def refusal(dataset: str) -> str:
    """Say why a data set of the package cannot be judged soundly; empty where it can."""
    if dataset in RUNS_CODE:
        return f"{dataset!r} is refused: reasoning-gym's own scorer runs its answers as code"
    if dataset in MANY_ANSWERS:
        return f"{dataset!r} is refused: more answers than the stored one are right, and only that one is known here"
    return ""


def read_reasoning_gym(
    row: Mapping[str, object],
) -> StoredAnswer | CountdownPuzzle | KnightsPuzzle | GridPuzzle:
    """Read a row of the kind `reasoning_gym`; its fields stand at this file's head.

    Raises:
        DataError: a field is missing or not of its form, or the data set is refused.
    """
    metadata = row.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    dataset = row.get("dataset", metadata.get("source_dataset"))
    if not isinstance(dataset, str):
        raise row_error(row, KIND, "dataset", "the name of a data set of reasoning-gym, here or in metadata")
    if refusal(dataset):
        raise row_error(
            row, KIND, "dataset" if "dataset" in row else "metadata", f"another data set; {refusal(dataset)}"
        )
    identity = {"id": row["id"]} if "id" in row else {}
    match dataset:
        case "countdown":
            return read_countdown({**identity, **metadata, "use": "all"})
        case "puzzle24":
            return read_countdown({**identity, **metadata, "target": 24, "use": "all"})
        case "knights_knaves":
            terms = metadata.get("knight_knave_terms")
            words = [terms.get("knight"), terms.get("knave")] if isinstance(terms, Mapping) else ["knight", "knave"]
            return read_knights({**identity, **metadata, "roles": words})
        case "sudoku" | "mini_sudoku":
            box = [3, 3] if dataset == "sudoku" else [2, 2]
            return read_grid({**identity, "grid": metadata.get("puzzle"), "box": box})
    answer = row.get("answer")
    if "answer" not in row or not (answer is None or isinstance(answer, str)):
        raise row_error(row, KIND, "answer", "the stored answer as text, or null")
    return StoredAnswer(dataset=dataset, answer=answer if answer and answer.strip() else None)


def check_stored_answer(answer: str, puzzle: StoredAnswer) -> Verdict:
    """Say whether an answer is the stored one: by exact value for numbers, else letter by letter."""
    if puzzle.answer is None:
        return Verdict(outcome=Outcome.UNVERIFIED, reason=f"reasoning-gym stores no answer for {puzzle.dataset!r}")
    if answer.split() == puzzle.answer.split() or _is_same_number(answer, puzzle.answer):
        return Verdict(outcome=Outcome.CORRECT)
    reason = f"{shortened(answer, 40)!r} is not {shortened(puzzle.answer, 40)!r}"
    return Verdict(outcome=Outcome.INCORRECT, reason=reason)


def _is_same_number(answer: str, stored: str) -> bool:
    return bool(_NUMBER.fullmatch(answer.strip()) and _NUMBER.fullmatch(stored)) and Fraction(answer) == Fraction(
        stored
    )


def draw_rows(dataset: str, count: int, *, seed: int) -> list[dict[str, object]]:
    """Draw entries of a data set of the package as rows that `read_puzzle` reads.

    The package numbers its streams `seed + index`, so two neighbouring seeds share all entries but one; here the seed
    is hashed with the data set's name first.

    Raises:
        MachineError: reasoning-gym is not installed.
        RecipeError: the package has no such data set, or it is refused.
    """
    if refusal(dataset):
        raise RecipeError(f"{refusal(dataset)}. Take another data set.")
    try:
        package = importlib.import_module("reasoning_gym")
    except ImportError as error:
        raise MachineError(
            f"the data set {dataset!r} comes from reasoning-gym, which cannot be imported ({error}); "
            "install it with: pip install reasoning-gym"
        ) from error
    names = package.factory.DATASETS
    if dataset not in names:
        raise RecipeError(f"reasoning-gym has no data set {dataset!r}; it has {', '.join(sorted(names))}")
    entries = package.create_dataset(dataset, size=count, seed=derive_seed(KIND, dataset, seed) % 2**31)
    return [{**entries[index], "puzzle": KIND, "dataset": dataset} for index in range(count)]
