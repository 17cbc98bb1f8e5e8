"""What a policy did on a set of problems, its figures, and the rows that it is stored as."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from razona.core.errors import DataError
from razona.core.nouns import Completion, Outcome, Problem, Verdict
from razona.evaluate.majority import majority_share
from razona.evaluate.statistics import Estimate, mean_share_with_interval, pass_at_k, share_with_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One completion and what was found out about it."""

    completion: Completion
    verdict: Verdict
    has_form: bool
    num_steps: int
    """Worked arithmetic steps that it shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a policy did on a set of problems: `judged_PK[p]` holds the samples of problem p."""

    problems: tuple[Problem, ...]
    judged_PK: tuple[tuple[Judged, ...], ...]

    @property
    def correct_PK(self) -> list[list[bool]]:
        """For every problem, which of its samples are right."""
        return [[one.verdict.outcome is Outcome.CORRECT for one in row] for row in self.judged_PK]

    @property
    def share_P(self) -> list[float]:
        """For every problem, the share of its samples that are right."""
        return [sum(row) / len(row) for row in self.correct_PK]

    @property
    def all_judged(self) -> list[Judged]:
        """Every sample of every problem."""
        return [one for row in self.judged_PK for one in row]

    @property
    def num_samples(self) -> int:
        """Give the samples that every problem has."""
        return min(map(len, self.judged_PK))

    def pass_at(self, k: int) -> Estimate:
        """Give pass@k with its interval over problems."""
        return mean_share_with_interval([pass_at_k(len(row), sum(row), k) for row in self.correct_PK])

    def majority(self) -> Estimate:
        """Give maj@k, k the number of samples, with its interval over problems."""
        return mean_share_with_interval([majority_share(row) for row in self.judged_PK])

    def share_correct(self) -> Estimate:
        """Give the share of right answers where every problem has one sample (greedy decoding)."""
        flat = [is_right for row in self.correct_PK for is_right in row]
        return share_with_interval(sum(flat), len(flat))

    def form_rate(self) -> Estimate:
        """Give the share of completions in exactly the form asked for."""
        return mean_share_with_interval([sum(one.has_form for one in row) / len(row) for row in self.judged_PK])

    def mean_length(self) -> float:
        """Give the mean number of sampled tokens."""
        judged = self.all_judged
        return sum(one.completion.num_tokens for one in judged) / len(judged)

    def tokens_per_correct(self) -> float | None:
        """Give the sampled tokens that one right answer cost; None where no answer is right."""
        num_right = sum(map(sum, self.correct_PK))
        return sum(one.completion.num_tokens for one in self.all_judged) / num_right if num_right else None

    def mean_steps(self) -> float:
        """Give the mean number of worked steps shown."""
        judged = self.all_judged
        return sum(one.num_steps for one in judged) / len(judged)

    def truncation_rate(self) -> float:
        """Give the share of completions that the token limit ended."""
        judged = self.all_judged
        return sum(one.completion.is_truncated for one in judged) / len(judged)

    def unverified_rate(self) -> float:
        """Give the share of completions on which our side failed: they count as not right."""
        judged = self.all_judged
        return sum(one.verdict.outcome is Outcome.UNVERIFIED for one in judged) / len(judged)

    def only(self, ids: Sequence[str]) -> "Evaluation":
        """Cut to the problems of these ids, in their order."""
        place = {problem.id: number for number, problem in enumerate(self.problems)}
        return Evaluation(
            problems=tuple(self.problems[place[one]] for one in ids),
            judged_PK=tuple(self.judged_PK[place[one]] for one in ids),
        )

    def rows(self, temperature: float) -> list[dict[str, object]]:
        """Give one storable row a completion."""
        return [
            row_of(problem, number, one, temperature)
            for problem, row in zip(self.problems, self.judged_PK, strict=True)
            for number, one in enumerate(row)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """A policy's sampled and greedy evaluation on one set of problems."""

    sampled: Evaluation
    greedy: Evaluation | None
    """None where it was not decoded greedily."""


def row_of(problem: Problem, sample: int, one: Judged, temperature: float) -> dict[str, object]:
    """Give the row that a completion is stored as.

    Args:
        temperature: 0 for greedy decoding.
    """
    return {
        "problem_id": problem.id,
        "family": problem.family,
        "level": problem.level,
        "question": problem.question,
        "target": problem.target,
        "sample": sample,
        "temperature": temperature,
        "completion": one.completion.text,
        "num_tokens": one.completion.num_tokens,
        "is_truncated": one.completion.is_truncated,
        "outcome": str(one.verdict.outcome),
        "answer": one.verdict.answer,
        "reason": one.verdict.reason,
        "has_form": one.has_form,
        "num_steps": one.num_steps,
    }


def sides_of_rows(rows: Iterable[Mapping], where: str) -> Sides:
    """Read stored rows back; problems keep the order in which they first occur.

    Args:
        where: what an error calls the rows.

    Raises:
        DataError: there is no sampled row, a row lacks a field, a sample occurs twice, or problems have different
            numbers of samples.
    """
    problems: dict[str, Problem] = {}
    sampled: dict[str, dict[int, Judged]] = {}
    greedy: dict[str, dict[int, Judged]] = {}
    for number, row in enumerate(rows, start=1):
        try:
            problem = _problem(row)
            one, place, is_greedy = _judged(row), int(row["sample"]), row["temperature"] == 0
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{where}, row {number}: {type(error).__name__}: {error}. Expected a completion as `razona eval` "
                "stores it; evaluate again."
            ) from None
        problems.setdefault(problem.id, problem)
        samples = (greedy if is_greedy else sampled).setdefault(problem.id, {})
        if place in samples:
            raise DataError(
                f"{where}, row {number}: sample {place} of problem {problem.id} is there twice. Were two evaluations "
                "put into one file? Give each its own."
            )
        samples[place] = one
    if not sampled:
        raise DataError(f"{where} holds no sampled completion; expected at least one. Evaluate again.")
    return Sides(
        sampled=_evaluation(problems, sampled, where),
        greedy=_evaluation(problems, greedy, where) if greedy else None,
    )


def _evaluation(problems: Mapping[str, Problem], samples: Mapping[str, Mapping[int, Judged]], where: str) -> Evaluation:
    counts = sorted({len(samples.get(one, ())) for one in problems})
    if len(counts) > 1:
        short = next(one for one in problems if len(samples.get(one, ())) == counts[0])
        raise DataError(
            f"{where}: problem {short} has {counts[0]} samples and others have {counts[-1]}. The evaluation is not "
            "finished: start `razona eval` with the same arguments again, and it goes on where it stopped."
        )
    ordered = tuple(tuple(one for _, one in sorted(samples[problem].items())) for problem in problems)
    return Evaluation(problems=tuple(problems.values()), judged_PK=ordered)


def _problem(row: Mapping) -> Problem:
    return Problem(
        id=str(row["problem_id"]),
        question=str(row["question"]),
        target=str(row["target"]),
        family=str(row.get("family", "")),
        level=int(row.get("level", 0)),
    )


def _judged(row: Mapping) -> Judged:
    return Judged(
        completion=Completion(
            problem_id=str(row["problem_id"]),
            text=str(row["completion"]),
            num_tokens=int(row["num_tokens"]),
            is_truncated=bool(row["is_truncated"]),
        ),
        verdict=Verdict(
            outcome=Outcome(row["outcome"]), answer=row.get("answer"), reason=str(row.get("reason", "") or "")
        ),
        has_form=bool(row["has_form"]),
        num_steps=int(row["num_steps"]),
    )
