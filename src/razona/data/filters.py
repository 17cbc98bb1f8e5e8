"""What training leaves out of a data set, in order: what pays nobody, contradicts itself, is there twice, or is tested.

Not covered: the same problem in other words (`razona data inspect` counts near repeats), targets that are wrong and
appear once, and solutions of code problems that fail their own tests.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from razona.core.errors import DataError
from razona.core.nouns import Problem
from razona.data.benchmarks import BENCHMARKS, QUESTIONS, TARGETS, Asked, read_in_order
from razona.data.likeness import digest, overlapping, same_question
from razona.data.source import TASKS
from razona.data.targets import is_same_target, unread_reason
from razona.recipe import DataSection
from razona.verify import Settings

MAX_TOLD = 3
"""Problems of each filter that a message names; the manifest names all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """The problems that one filter left out."""

    filter: str
    """A word or two: `unverifiable`, `contradictory`, `duplicate`, `overlap with math500`."""
    why: str
    """What is true of them, as a message tells it after their number."""
    named: tuple[str, ...]
    """One a problem: its id, and the reason or the problem that it is like."""

    @property
    def count(self) -> int:
        """Give how many they are."""
        return len(self.named)

    def told(self) -> str:
        """Give number, reason and the first of them for a person."""
        more = "; ..." if self.count > MAX_TOLD else ""
        return f"{self.count:,} {self.why} ({'; '.join(self.named[:MAX_TOLD])}{more})"

    def as_row(self) -> dict[str, object]:
        """Give it as the manifest holds it."""
        return {"filter": self.filter, "count": self.count, "named": list(self.named)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Usable:
    """The problems of a data set that training may use, and what became of the others."""

    problems: list[Problem]
    """In the order in which they were given."""
    num_read: int
    sha256_read: str
    """Of ids, questions and targets of all that were read, in order of id."""
    left_out: tuple[LeftOut, ...]
    """One a filter that was asked for, in the order in which they ran; also those that left nothing out."""


def keep_usable(problems: Sequence[Problem], section: DataSection, kind: str, settings: Settings) -> Usable:
    """Leave out what training should not see, each problem for the first reason that holds.

    Args:
        kind: how the problems are judged: math, code or logic.
        settings: of the verifier, as the recipe has them.

    Raises:
        DataError: an evaluation set of `data.not_in` cannot be read.
    """
    sieve = _Sieve(problems=list(problems))
    if section.source != TASKS:  # our generators prove their targets, and make no problem twice
        if section.unverifiable == "drop":
            _leave_out_unverifiable(sieve, kind, settings)
        if section.duplicates == "drop":
            _leave_out_repeated(sieve, kind, settings)
    for name, held_out in _evaluation_sets(section).items():
        hits = {problem.id: f" = {other}" for problem, other in overlapping(sieve.problems, held_out)}
        sieve.leave_out(f"overlap with {name}", f"hold half of a question of {name}", hits)
    return Usable(
        problems=sieve.problems,
        num_read=len(problems),
        sha256_read=digest(problems),
        left_out=tuple(sieve.left_out),
    )


@dataclass(slots=True, kw_only=True)
class _Sieve:
    """The problems that are still in, and what each filter has left out."""

    problems: list[Problem]
    left_out: list[LeftOut] = field(default_factory=list)

    def leave_out(self, name: str, why: str, reasons: Mapping[str, str]) -> None:
        """Leave out the problems with these ids; what is said of each stands behind its id."""
        named = tuple(f"{one.id}{reasons[one.id]}" for one in self.problems if one.id in reasons)
        self.left_out.append(LeftOut(filter=name, why=why, named=named))
        self.problems = [one for one in self.problems if one.id not in reasons]


def _leave_out_unverifiable(sieve: _Sieve, kind: str, settings: Settings) -> None:
    found = {problem.id: unread_reason(problem, kind, settings) for problem in sieve.problems}
    why = "have a target that is not judged right" if kind == "math" else f"cannot be read as problems of kind {kind}"
    sieve.leave_out("unverifiable", why, {one: f": {reason}" for one, reason in found.items() if reason})


def _leave_out_repeated(sieve: _Sieve, kind: str, settings: Settings) -> None:
    """Leave out groups of equal questions whole where their targets contradict each other, else all but the first.

    Targets of other kinds than math are solutions, of which there may be several: they contradict nothing, and only
    equal question and equal solution make a duplicate.
    """
    groups: dict[tuple[str, str], list[Problem]] = defaultdict(list)
    for problem in sieve.problems:
        groups[same_question(problem), "" if kind == "math" else problem.target].append(problem)
    contradictory, duplicate = {}, {}
    for first, *others in groups.values():
        other = next((one for one in others if not is_same_target(first, one, settings)), None)
        if kind == "math" and other is not None:
            contradictory[first.id] = f": {first.target}, and {other.id}: {other.target}"
            contradictory |= {one.id: f": {one.target}, and {first.id}: {first.target}" for one in others}
        else:
            duplicate |= {one.id: f" = {first.id}" for one in others}
    if kind == "math":
        sieve.leave_out("contradictory", "ask the same with targets that differ", contradictory)
    sieve.leave_out("duplicate", "ask what an earlier one asks", duplicate)


def _evaluation_sets(section: DataSection) -> dict[str, list[Problem]]:
    """Give name -> problems of the sets in `data.not_in`."""
    folder = Path(section.folder) if section.folder is not None else None
    if folder is not None and not any(name in BENCHMARKS for name in section.not_in):
        raise DataError(
            f"data.folder = {folder} holds local copies of {', '.join(BENCHMARKS)}; data.not_in = "
            f"[{', '.join(section.not_in)}] names none of them. Set data.folder: null."
        )
    columns = {"question_column": _names(section.question_column, QUESTIONS)}
    columns["target_column"] = _names(section.target_column, TARGETS)
    of_files, sets = DataSection.model_validate(columns), {}
    for name in section.not_in:
        asked = Asked(data=name, folder=folder if name in BENCHMARKS else None, section=of_files)
        try:
            sets[name] = read_in_order(asked).problems
        except DataError as error:
            raise DataError(f"data.not_in names {name}: {error}") from error
    return sets


def _names(own: str | Sequence[str], usual: Sequence[str]) -> list[str]:
    """Give the recipe's names of a column, then the usual ones: an evaluation set may have others than the data."""
    return [*([own] if isinstance(own, str) else own), *usual]
