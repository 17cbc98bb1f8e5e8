"""The problems that the guard measures on: none is trained on, and none decides the final comparison."""

from collections.abc import Sequence

from razona import tasks
from razona.core.errors import RecipeError
from razona.core.nouns import Problem
from razona.core.seeds import derive_seed
from razona.evaluate.plan import Plan
from razona.recipe import Recipe

GUARD_SEED = 40_000
"""Of the slice and of its completions: the same in every measurement of every run, so that they can be paired."""


def generated_slice(recipe: Recipe) -> list[Problem]:
    """Give generated problems of the `evaluation` split, without the structures of the final comparison.

    The best weights are chosen by them: on the comparison's own problems, that choice would count as a gain.

    Raises:
        RecipeError: the families do not hold enough for both.
    """
    guard, levels, families = recipe.guard, list(recipe.data.levels), list(recipe.data.families)
    try:
        compared = Plan(recipe=recipe).held_out()
        return tasks.distinct_problems(
            "evaluation", guard.num_problems, seed=GUARD_SEED, families=families, levels=levels, without=compared
        )
    except RecipeError as error:
        raise RecipeError(
            f"guard.num_problems = {guard.num_problems} beside evaluate.num_problems = "
            f"{recipe.evaluate.num_problems}, none of them alike: {error} Lower one of the two numbers, or set "
            "guard.every: 0."
        ) from error


def hold_out(problems: Sequence[Problem], count: int) -> list[Problem]:
    """Choose `count` of the problems that there are by the hash of their question, no question twice.

    So the choice does not depend on their order, nor on the run's seed.
    """
    by_question = {problem.question: problem for problem in reversed(problems)}
    chosen = sorted(by_question, key=lambda question: derive_seed("guard", GUARD_SEED, question))[:count]
    return [by_question[question] for question in chosen]
