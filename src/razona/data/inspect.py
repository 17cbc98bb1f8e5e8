"""What a data set holds before anything is trained on it: duplicates, contradictions, overlap, unreadable targets."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from razona.core.nouns import Problem
from razona.data.likeness import digest, near_pairs, numbers, overlapping, same_question
from razona.data.targets import is_same_target, unread_reason
from razona.verify import Settings

MAX_NAMED = 5
"""Examples that a report names of each finding."""
SETTINGS = Settings()
"""The verifier's defaults: an inspection knows no recipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One kind of thing that was found, how often, and some of them."""

    count: int
    examples: tuple[str, ...] = ()
    """Ids, or pairs of ids, with a reason where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What was found in a data set."""

    source: str
    problems: int
    sha256: str
    """Of ids, questions and targets, in order of id."""
    question_characters: Mapping[str, int]
    """Quantiles."""
    duplicates: Finding
    """Problems whose question, but for case and white space, stood there before."""
    contradictions: Finding
    """Of these, the ones with another target than the first: at most one of them can be right."""
    near_duplicates: Finding
    """Problems with nearly the words and exactly the numbers of an earlier one."""
    other_numbers: Finding
    """Problems with nearly the words of an earlier one, and other numbers: variants, not duplicates."""
    unverifiable: Finding | None
    """Problems whose own target is not judged right: training on them pays no completion. None for code and logic,
    whose targets are no answers."""
    overlaps: Mapping[str, Finding]
    """Evaluation set -> problems that hold half of one of its questions, in runs of 8 words."""

    def as_row(self) -> dict[str, object]:
        """Give it as JSON prints it."""
        return asdict(self)


def inspect_problems(
    problems: Sequence[Problem],
    source: str,
    against: Mapping[str, Sequence[Problem]] | None = None,
    *,
    is_math: bool = True,
) -> Inspection:
    """Look through a data set.

    Args:
        against: name -> evaluation problems that must not be among them.
        is_math: their targets are answers, which can be judged against themselves.
    """
    repeats = list(find_repeats(problems))
    repeated = {two.id for _, two in repeats}
    near = list(near_pairs([problem for problem in problems if problem.id not in repeated]))
    same = [(one, two) for one, two in near if numbers(one.question) == numbers(two.question)]
    other = [(one, two) for one, two in near if numbers(one.question) != numbers(two.question)]
    contradicting = [(one, two) for one, two in repeats if not is_same_target(one, two, SETTINGS)]
    return Inspection(
        source=source,
        problems=len(problems),
        sha256=digest(problems),
        question_characters=_quantiles([len(problem.question) for problem in problems]),
        duplicates=_pairs(repeats),
        contradictions=_pairs(contradicting),
        near_duplicates=_pairs(same),
        other_numbers=_pairs(other),
        unverifiable=_unverifiable(problems) if is_math else None,
        overlaps={name: find_overlap(problems, held_out) for name, held_out in (against or {}).items()},
    )


def _pairs(pairs: Sequence[tuple[Problem, Problem]]) -> Finding:
    """Count second members: a problem is a duplicate once, however many came before it."""
    seconds = {two.id: one for one, two in reversed(pairs)}
    named = [f"{one.id} = {two}" for two, one in list(reversed(seconds.items()))[:MAX_NAMED]]
    return Finding(count=len(seconds), examples=tuple(named))


def find_repeats(problems: Sequence[Problem]) -> Iterator[tuple[Problem, Problem]]:
    """Give (first, later) for each problem that asks what an earlier one asked."""
    first: dict[str, Problem] = {}
    for problem in problems:
        before = first.setdefault(same_question(problem), problem)
        if before is not problem:
            yield before, problem


def _unverifiable(problems: Sequence[Problem]) -> Finding:
    reasons = ((problem, unread_reason(problem, "math", SETTINGS)) for problem in problems)
    found = [f"{problem.id}: {reason}" for problem, reason in reasons if reason]
    return Finding(count=len(found), examples=tuple(found[:MAX_NAMED]))


def find_overlap(problems: Sequence[Problem], held_out: Sequence[Problem]) -> Finding:
    """Count the problems that hold half of a held-out question, in runs of 8 words."""
    found = [f"{problem.id} = {other}" for problem, other in overlapping(problems, held_out)]
    return Finding(count=len(found), examples=tuple(found[:MAX_NAMED]))


def _quantiles(values: Sequence[int]) -> dict[str, int]:
    ordered = sorted(values)
    places = {"min": 0.0, "p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in places.items()}
