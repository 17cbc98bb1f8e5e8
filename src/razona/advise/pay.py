"""What a recipe's rewards pay completions, with the columns that training hands to them."""

import json
from collections.abc import Sequence

from razona.core.nouns import Completion, Outcome, Problem
from razona.data import tags_of
from razona.recipe import Recipe
from razona.rewards import Mix, Receipt


def pay(mix: Mix, problems: Sequence[Problem], texts: Sequence[str], num_tokens: Sequence[int]) -> list[Receipt]:
    """Give the receipt of each completion of the problem beside it.

    Args:
        num_tokens: of each completion.
    """
    mix(
        completions=list(texts),
        target=[problem.target for problem in problems],
        problem_id=[problem.id for problem in problems],
        family=[problem.family for problem in problems],
        question=[problem.question for problem in problems],
        extra=[json.dumps(dict(problem.extra), ensure_ascii=False, default=str) for problem in problems],
        prompts=[""] * len(problems),
        completion_ids=[[0] * count for count in num_tokens],
    )
    return mix.receipts


def pay_rows(
    recipe: Recipe, problems: Sequence[Problem], completions: Sequence[Sequence[Completion]]
) -> tuple[tuple[tuple[float | None, ...], ...], tuple[tuple[bool, ...], ...]]:
    """Give rewards and right answers, a row a problem, by the recipe's own mix."""
    mix = Mix.of(recipe.rewards, tags_of(recipe.prompt), seed=recipe.train.seed)
    flat = [one for row in completions for one in row]
    owners = [problem for problem, row in zip(problems, completions, strict=True) for _ in row]
    receipts = iter(pay(mix, owners, [one.text for one in flat], [one.num_tokens for one in flat]))
    rows = [[next(receipts) for _ in row] for row in completions]
    rewards = tuple(tuple(one.reward.total for one in row) for row in rows)
    return rewards, tuple(tuple(one.verdict.outcome is Outcome.CORRECT for one in row) for row in rows)
