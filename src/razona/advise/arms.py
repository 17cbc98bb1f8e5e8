"""The arms of the experiment: what each may learn from, and the recipe that says so."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from razona.recipe import Recipe, RewardComponent

MAX_EPOCHS = 10
"""Times that an arm sees a worked solution, at most: with 32 of them a whole budget would be hundreds, and every
further one makes it worse (our choice)."""
WARM_UP_SHARE = 0.25
"""Of the budget, what supervised fine-tuning may take before reinforcement (our choice)."""


class Method(StrEnum):
    """How an arm learns."""

    BASE = "base"
    SFT = "sft"
    GRPO = "grpo"
    SFT_THEN_GRPO = "sft_then_grpo"
    RANDOM = "random"
    """GRPO paid at random: what it gains, it does not gain from the reward (arXiv:2506.10947)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One way to train, with so many labels."""

    method: Method
    labels: int = 0
    """Labelled problems that it may see. 0: none; it works on all problems that the verifier can check, and fine-tunes
    on solutions that the model wrote itself."""

    @property
    def name(self) -> str:
        """Give its name, which is that of its folder, too."""
        return str(self.method) if self.method in (Method.BASE, Method.RANDOM) else f"{self.method}-{self.labels}"


def arms_for(labels: Sequence[int]) -> list[Arm]:
    """Give the arms for these numbers of labels, the one that sets the budget first.

    >>> [arm.name for arm in arms_for([0, 32])]
    ['base', 'grpo-0', 'random', 'sft-0', 'sft_then_grpo-0', 'grpo-32', 'sft-32', 'sft_then_grpo-32']
    """
    first = [Arm(method=Method.BASE), Arm(method=Method.GRPO), Arm(method=Method.RANDOM)]
    trained = (Method.GRPO, Method.SFT, Method.SFT_THEN_GRPO)
    others = [Arm(method=method, labels=count) for count in sorted(set(labels)) for method in trained]
    return [*first, *(arm for arm in others if arm not in first)]


def recipe_of(arm: Arm, recipe: Recipe, budget: int | None) -> Recipe:
    """Give the recipe by which an arm trains.

    There is no guard: it would show each arm labelled problems that the arm's labels do not count.

    Args:
        budget: token passes of the whole arm. None: as many as the recipe's steps take.
    """
    method = arm.method if arm.method in (Method.SFT, Method.SFT_THEN_GRPO) else Method.GRPO
    is_both = arm.method is Method.SFT_THEN_GRPO
    steps = max(1, round(recipe.train.steps * (1 - WARM_UP_SHARE))) if is_both else recipe.train.steps
    train = recipe.train.model_copy(update={"method": str(method), "steps": steps})
    share = budget if budget is None or not is_both else round(WARM_UP_SHARE * budget)
    data, sft, rewards = recipe.data, recipe.sft, recipe.rewards
    sft = sft.model_copy(update={"epochs": MAX_EPOCHS, "max_steps": None, "max_token_passes": share})
    if arm.labels:
        data = data.model_copy(update={"max_problems": arm.labels})
        sft = sft.model_copy(update={"source": "given", "num_problems": arm.labels})
    if arm.method is Method.RANDOM:
        paid = rewards.model_copy(update={"components": [RewardComponent(name="random")], "mix": "sum"})
        rewards = paid
    guard = recipe.guard.model_copy(update={"every": 0, "patience": None})
    return recipe.model_copy(
        update={"name": arm.name, "train": train, "data": data, "sft": sft, "rewards": rewards, "guard": guard}
    )
