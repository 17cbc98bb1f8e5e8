"""Sampling a policy on problems and reading every verdict."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from razona.core.nouns import Completion, Problem
from razona.data import tags_of
from razona.evaluate.evaluation import Evaluation, Judged
from razona.recipe import Recipe, VerifySection
from razona.rewards.judge import Problems, judge_batch, require_sandbox
from razona.verify import Tags, read_form, read_steps

if TYPE_CHECKING:
    from razona.models.load import Policy
    from razona.rollout import Sampling


JudgeCompletions = Callable[[Sequence[Completion], Sequence[Problem]], list[Judged]]
"""Completions, and the problem of each -> what was found out about them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """How completions are judged: any kind of problem, the answer in any form.

    Answers are read wherever they stand (solution block, box, "answer is", last number), so that a policy that does
    not know the tags is not counted as not knowing the answer; the form is a figure of its own.
    """

    tags: Tags
    kind: Literal["math", "code", "logic"] = "math"
    verify: VerifySection = field(default_factory=VerifySection)

    def __post_init__(self) -> None:
        """Refuse, before anything is sampled, code that nothing here can judge."""
        require_sandbox(self.kind, self.verify)

    def __call__(self, completions: Sequence[Completion], problems: Sequence[Problem]) -> list[Judged]:
        """Give verdict, form and worked steps of each completion of the problem beside it."""
        truth = Problems(
            targets=[problem.target for problem in problems],
            rows=[{"question": problem.question, "target": problem.target, **problem.extra} for problem in problems],
        )
        texts = [one.text for one in completions]
        verdicts = judge_batch(self.kind, texts, truth, self.verify, self.tags, is_unmarked_allowed=True)
        return [
            Judged(
                completion=one,
                verdict=found.verdict,
                has_form=read_form(one.text, self.tags).is_exact,
                num_steps=read_steps(one.text).count,
            )
            for one, found in zip(completions, verdicts, strict=True)
        ]


def judge_of(recipe: Recipe) -> Judge:
    """Give how a recipe's completions are judged in an evaluation."""
    return Judge(tags=tags_of(recipe.prompt), kind=recipe.rewards.kind, verify=recipe.rewards.verify)


def evaluate(
    policy: "Policy",
    problems: Sequence[Problem],
    write_prompt: Callable[[Problem], str],
    judge: JudgeCompletions,
    *,
    samples: int,
    sampling: "Sampling",
    batch_size: int,
    seed: int,
    on_batch: Callable[[int], None] = lambda done: None,
) -> Evaluation:
    """Sample each problem `samples` times and judge every completion."""
    from razona.rollout import sample

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
    flat = [(one, problem) for problem, row in zip(problems, completions, strict=True) for one in row]
    judged = iter(judge([one for one, _ in flat], [problem for _, problem in flat]))
    return Evaluation(
        problems=tuple(problems), judged_PK=tuple(tuple(next(judged) for _ in row) for row in completions)
    )
