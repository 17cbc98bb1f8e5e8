"""The problems that an export is proven on: the run's own evaluation, else rows of its data."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from razona.core.nouns import Problem
from razona.data import PromptWriter
from razona.data.source import TASKS
from razona.evaluate.held_out import hold_out
from razona.evaluate.plan import Plan
from razona.recipe import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Problems, and the prompts that the training would write of them."""

    problems: tuple[Problem, ...]
    prompts: tuple[str, ...]
    are_held_out: bool
    """False: the run may have trained on them, because it held nothing out (`guard.every: 0`)."""


def choose_problems(recipe: Recipe, tokenizer: "PreTrainedTokenizerBase", count: int) -> Asked:
    """Give up to `count` problems of the run's own evaluation, always the same ones.

    Generated ones are of the final comparison; of a file or hub data set they are those that the guard measured on.

    Raises:
        DataError: the data set is not there, or holds too few problems.
    """
    from razona.train.selection import select

    writer = PromptWriter(section=recipe.prompt, tokenizer=tokenizer)
    if recipe.data.source == TASKS:
        problems, are_held_out = Plan(recipe=recipe).held_out(), True
    else:
        selection = select(recipe, tokenizer)
        are_held_out = len(selection.held_out) > 0
        problems = selection.held_out or hold_out([one.problem for one in selection.to_train_on], count)
    chosen = tuple(problems[:count])
    return Asked(problems=chosen, prompts=tuple(writer.write(problem) for problem in chosen), are_held_out=are_held_out)
