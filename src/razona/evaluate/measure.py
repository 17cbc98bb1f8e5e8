"""Sampling a policy on problems and reading every verdict."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from razona.core.nouns import Completion, Outcome, Problem, Verdict
from razona.evaluate.statistics import Estimate, mean_with_interval, pass_at_k, share_with_interval
from razona.models.load import Policy
from razona.rollout import Sampling, sample
from razona.verify import Settings, Tags, check, read_form, read_steps


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
    def all_judged(self) -> list[Judged]:
        """Every sample of every problem."""
        return [one for row in self.judged_PK for one in row]

    def pass_at(self, k: int) -> Estimate:
        """Give pass@k with its interval over problems."""
        return mean_with_interval([pass_at_k(len(row), sum(row), k) for row in self.correct_PK])

    def share_correct(self) -> Estimate:
        """Give the share of right answers where every problem has one sample (greedy decoding)."""
        flat = [is_right for row in self.correct_PK for is_right in row]
        return share_with_interval(sum(flat), len(flat))

    def form_rate(self) -> Estimate:
        """Give the share of completions in exactly the form asked for."""
        return mean_with_interval([sum(one.has_form for one in row) / len(row) for row in self.judged_PK])

    def mean_length(self) -> float:
        """Give the mean number of sampled tokens."""
        judged = self.all_judged
        return sum(one.completion.num_tokens for one in judged) / len(judged)

    def mean_steps(self) -> float:
        """Give the mean number of worked steps shown."""
        judged = self.all_judged
        return sum(one.num_steps for one in judged) / len(judged)

    def truncation_rate(self) -> float:
        """Give the share of completions that the token limit ended."""
        judged = self.all_judged
        return sum(one.completion.is_truncated for one in judged) / len(judged)

    def rows(self, temperature: float) -> list[dict[str, object]]:
        """Give one storable row a completion."""
        return [
            {
                "problem_id": problem.id,
                "family": problem.family,
                "level": problem.level,
                "question": problem.question,
                "target": problem.target,
                "sample": number,
                "temperature": temperature,
                "completion": one.completion.text,
                "num_tokens": one.completion.num_tokens,
                "is_truncated": one.completion.is_truncated,
                "outcome": str(one.verdict.outcome),
                "answer": one.verdict.answer,
                "has_form": one.has_form,
                "num_steps": one.num_steps,
            }
            for problem, row in zip(self.problems, self.judged_PK, strict=True)
            for number, one in enumerate(row)
        ]


def judge(completion: Completion, target: str, tags: Tags) -> Judged:
    """Read a completion's verdict, form and steps; its answer may stand there in any form."""
    return Judged(
        completion=completion,
        verdict=check(completion.text, target, Settings(tags=tags, is_unmarked_allowed=True)),
        has_form=read_form(completion.text, tags).is_exact,
        num_steps=read_steps(completion.text).count,
    )


def evaluate(
    policy: Policy,
    problems: Sequence[Problem],
    write_prompt: Callable[[Problem], str],
    tags: Tags,
    *,
    samples: int,
    sampling: Sampling,
    batch_size: int,
    seed: int,
    on_batch: Callable[[int], None] = lambda done: None,
) -> Evaluation:
    """Sample each problem `samples` times and judge every completion.

    Answers are read in any form (solution block, box, "answer is", last number), so that a policy that does not
    know the tags is not counted as not knowing the answer; the form is a figure of its own.
    """
    completions = sample(
        policy.model,
        policy.tokenizer,
        [(problem.id, write_prompt(problem)) for problem in problems],
        samples=samples,
        sampling=sampling,
        batch_size=batch_size,
        seed=seed,
        on_batch=on_batch,
    )
    judged = tuple(
        tuple(judge(one, problem.target, tags) for one in row)
        for problem, row in zip(problems, completions, strict=True)
    )
    return Evaluation(problems=tuple(problems), judged_PK=judged)


def measure(sampled: Evaluation, greedy: Evaluation | None, k: int) -> dict[str, object]:
    """Give the figures of one policy as `summary.json` holds them, every share with its 95 % interval."""
    estimates = {
        "pass_at_1": sampled.pass_at(1),
        f"pass_at_{k}": sampled.pass_at(k),
        "format_rate": sampled.form_rate(),
    }
    if greedy is not None:
        estimates["greedy"] = greedy.share_correct()
    return {
        **{name: round(estimate.value, 4) for name, estimate in estimates.items()},
        "ci95": {name: [round(estimate.low, 4), round(estimate.high, 4)] for name, estimate in estimates.items()},
        "n": len(sampled.problems),
        "k": k,
        "mean_length": round(sampled.mean_length(), 2),
        "worked_steps": round(sampled.mean_steps(), 3),
        "truncated": round(sampled.truncation_rate(), 4),
    }
