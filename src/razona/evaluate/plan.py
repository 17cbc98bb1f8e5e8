"""The evaluations that a recipe asks for: which problems, how sampled, under which prompts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from razona import tasks
from razona.core.files import write_json, write_jsonl
from razona.core.nouns import Problem
from razona.core.rundir import RunDir
from razona.data import PromptWriter, tags_of
from razona.evaluate.compare import Comparison
from razona.evaluate.measure import Evaluation, evaluate, measure
from razona.evaluate.prompts import PROMPT_VARIANTS
from razona.models.load import Policy
from razona.recipe import Recipe
from razona.rollout import Sampling

PROBLEM_SEED = 20_000
"""Evaluation problems are the same for every training seed, so that runs can be compared."""
EXAMPLE_SEED = 30_000
TRAINING_PROMPT = "training"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """A policy's sampled and greedy evaluation on one set of problems."""

    sampled: Evaluation
    greedy: Evaluation


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

    def num_completions(self, *, with_prompts: bool) -> int:
        """Give how many completions both sets of problems take, the other prompts of the base included if asked."""
        section = self.recipe.evaluate
        total = (section.num_problems + section.ood_num_problems) * (section.samples + 1)
        return total + with_prompts * len(PROMPT_VARIANTS) * section.best_prompt_problems * 2

    def run(self, policy: Policy, problems: Sequence[Problem]) -> Sides:
        """Sample and decode greedily under the training prompt."""
        writer = PromptWriter(section=self.recipe.prompt, tokenizer=policy.tokenizer)
        section = self.recipe.evaluate
        return Sides(
            sampled=self._evaluate(policy, problems, writer.write, section.samples, section.temperature),
            greedy=self._evaluate(policy, problems, writer.write, 1, 0.0),
        )

    def run_prompts(self, policy: Policy, problems: Sequence[Problem]) -> dict[str, dict[str, float]]:
        """Measure a policy under every other prompt, one sample and greedy: what is the best it can do untrained?"""
        chosen = list(problems)[: self.recipe.evaluate.best_prompt_problems]
        examples = tasks.distinct_problems("train", 3, seed=EXAMPLE_SEED, levels=list(self.recipe.data.levels))
        figures = {}
        for name, variant in PROMPT_VARIANTS.items():
            figures[name] = {}
            for how, temperature in (("sampled", self.recipe.evaluate.temperature), ("greedy", 0.0)):
                evaluation = self._evaluate(
                    policy, chosen, lambda problem, ask=variant: ask(problem.question, examples), 1, temperature
                )
                estimate = evaluation.share_correct()
                figures[name][how] = round(estimate.value, 4)
                figures[name][f"{how}_ci95"] = [round(estimate.low, 4), round(estimate.high, 4)]
            figures[name]["n"] = len(chosen)
        return figures

    def _evaluate(
        self,
        policy: Policy,
        problems: Sequence[Problem],
        write_prompt: Callable[[Problem], str],
        samples: int,
        temperature: float,
    ) -> Evaluation:
        return evaluate(
            policy,
            problems,
            write_prompt,
            tags_of(self.recipe.prompt),
            samples=samples,
            sampling=Sampling(max_tokens=self.recipe.rollout.max_completion_tokens, temperature=temperature),
            batch_size=self.recipe.evaluate.batch_size,
            seed=PROBLEM_SEED,
            on_batch=self.on_batch,
        )


def store(run: RunDir, name: str, sides: Sides, k: int, temperature: float) -> None:
    """Write one side's figures and every completion with its verdict to the run folder."""
    write_json(run.evaluation(name), measure(sides.sampled, sides.greedy, k))
    write_jsonl(run.evaluation_completions(name), [*sides.sampled.rows(temperature), *sides.greedy.rows(0.0)])


def comparison(base: Sides, tuned: Sides, k: int) -> Comparison:
    """Put two sides on the same problems beside each other."""
    return Comparison(base=base.sampled, base_greedy=base.greedy, tuned=tuned.sampled, tuned_greedy=tuned.greedy, k=k)
