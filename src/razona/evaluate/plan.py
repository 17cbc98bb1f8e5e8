"""The evaluations that a recipe asks for: which problems, how sampled, under which prompts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from razona import tasks
from razona.core.files import write_json, write_jsonl
from razona.core.nouns import Problem
from razona.core.rundir import RunDir
from razona.evaluate.evaluation import Evaluation, Sides
from razona.evaluate.measure import measure
from razona.evaluate.prompts import (
    NUM_EXAMPLES,
    TRAINING_PROMPT,
    Asking,
    WritePrompt,
    other_prompts,
    prompt_writer,
)
from razona.evaluate.sampling import evaluate, judge_of
from razona.recipe import Recipe

if TYPE_CHECKING:
    from razona.models.load import Policy

PROBLEM_SEED = 20_000
"""Evaluation problems are the same for every training seed, so that runs can be compared."""
EXAMPLE_SEED = 30_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a recipe's policies are evaluated. Both sides of a comparison go through the same plan."""

    recipe: Recipe
    on_batch: Callable[[int], None] = lambda done: None
    """Called with the number of completions finished."""

    def held_out(self) -> list[Problem]:
        """Give the held-out problems at the training's own levels."""
        section = self.recipe.evaluate
        return self._draw("evaluation", section.num_problems, self.recipe.data.levels)

    def out_of_distribution(self) -> list[Problem]:
        """Give the harder problems, of levels that training does not draw."""
        section = self.recipe.evaluate
        return self._draw("ood", section.ood_num_problems, section.ood_levels)

    def _draw(self, split: str, count: int, levels: Sequence[int]) -> list[Problem]:
        families = list(self.recipe.data.families)
        return tasks.distinct_problems(split, count, seed=PROBLEM_SEED, families=families, levels=list(levels))

    def num_completions(self) -> int:
        """Give how many completions both sets of problems take."""
        section = self.recipe.evaluate
        return (section.num_problems + section.ood_num_problems) * (section.samples + 1)

    def num_prompt_completions(self, names: Sequence[str]) -> int:
        """Give how many completions a look at these other prompts takes."""
        section = self.recipe.evaluate
        return 2 * len(names) * min(section.best_prompt_problems, section.num_problems)

    def other_prompts(self, policy: "Policy", problems: Sequence[Problem]) -> list[str]:
        """Give the names of the other prompts that this policy's tokenizer writes differently."""
        return other_prompts(self._asking(policy), problems[0])

    def run(self, policy: "Policy", problems: Sequence[Problem], prompt: str = TRAINING_PROMPT) -> Sides:
        """Sample and decode greedily under a prompt, the training's own unless another is named."""
        write, section = self._writer(policy, prompt), self.recipe.evaluate
        return Sides(
            sampled=self._evaluate(policy, problems, write, section.samples, section.temperature),
            greedy=self._evaluate(policy, problems, write, 1, 0.0),
        )

    def run_prompts(
        self, policy: "Policy", problems: Sequence[Problem], names: Sequence[str]
    ) -> dict[str, dict[str, float]]:
        """Measure a policy under other prompts, one sample and greedy: what is the best it can do untrained?"""
        chosen = list(problems)[: self.recipe.evaluate.best_prompt_problems]
        figures = {}
        for name in names:
            figures[name] = {}
            for how, temperature in (("sampled", self.recipe.evaluate.temperature), ("greedy", 0.0)):
                evaluation = self._evaluate(policy, chosen, self._writer(policy, name), 1, temperature)
                estimate = evaluation.share_correct()
                figures[name][how] = round(estimate.value, 4)
                figures[name][f"{how}_ci95"] = [round(estimate.low, 4), round(estimate.high, 4)]
            figures[name]["n"] = len(chosen)
        return figures

    def _writer(self, policy: "Policy", prompt: str) -> WritePrompt:
        return prompt_writer(prompt, self.recipe.prompt, self._asking(policy))

    def _asking(self, policy: "Policy") -> Asking:
        levels = list(self.recipe.data.levels)
        examples = tasks.distinct_problems("train", NUM_EXAMPLES, seed=EXAMPLE_SEED, levels=levels)
        return Asking(tokenizer=policy.tokenizer, examples=examples)

    def _evaluate(
        self, policy: "Policy", problems: Sequence[Problem], write_prompt: WritePrompt, samples: int, temperature: float
    ) -> Evaluation:
        from razona.rollout import Sampling

        return evaluate(
            policy,
            problems,
            write_prompt,
            judge_of(self.recipe),
            samples=samples,
            sampling=Sampling(max_tokens=self.recipe.rollout.max_completion_tokens, temperature=temperature),
            batch_size=self.recipe.evaluate.batch_size,
            seed=PROBLEM_SEED,
            on_batch=self.on_batch,
        )


def best_prompt(training: Evaluation, others: Mapping[str, Mapping[str, float]]) -> str:
    """Give the prompt under which the base solved most in one sampled try, on the part of the problems that all saw.

    Of several prompts the luckiest is a little overrated there, so it is measured again, on all problems, before it
    is compared with anything.

    Args:
        training: the base's samples under the training prompt, in the order that `run_prompts` was given.
        others: its figures under the others, as `run_prompts` gives them.
    """
    name = max(others, key=lambda one: others[one]["sampled"])
    part = training.correct_PK[: int(others[name]["n"])]
    share = sum(row[0] for row in part) / len(part)
    return name if others[name]["sampled"] > share else TRAINING_PROMPT


def store(run: RunDir, name: str, sides: Sides, k: int, temperature: float) -> None:
    """Write one side's figures and every completion with its verdict to the run folder."""
    write_json(run.evaluation(name), measure(sides.sampled, sides.greedy, k))
    greedy = sides.greedy.rows(0.0) if sides.greedy else []
    write_jsonl(run.evaluation_completions(name), [*sides.sampled.rows(temperature), *greedy])
