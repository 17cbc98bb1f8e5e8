"""One number a completion from the recipe's components, with a receipt of where it came from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from razona.core.errors import RecipeError, RewardError
from razona.core.nouns import Outcome, Reward, Verdict
from razona.recipe import RewardComponent
from razona.rewards.catalogue import COMPONENTS
from razona.rewards.sample import Sample
from razona.verify import Settings, Tags, check


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What one completion was paid, and why."""

    verdict: Verdict
    reward: Reward


class Mix:
    """The recipe's components weighed into one TRL-compatible reward function.

    TRL leaves a completion out of its group only if every reward function returns None, so it is given this
    one alone. `receipts` of the same batch are there after each call.

    >>> mix = Mix([RewardComponent(name="correct")], Tags())
    >>> mix(completions=["<SOLUTION>4</SOLUTION>"], target=["4"])
    [1.0]
    """

    __name__ = "reward"

    def __init__(self, components: Sequence[RewardComponent], tags: Tags, *, seed: int = 0) -> None:
        unknown = [component.name for component in components if component.name not in COMPONENTS]
        if unknown:
            raise RecipeError(f"rewards.components names {unknown}; the rewards are {', '.join(COMPONENTS)}")
        self.components = tuple(components)
        self.tags = tags
        self.seed = seed
        self.settings = Settings(tags=tags)
        self.receipts: list[Receipt] = []

    def __call__(self, completions: Sequence[str], target: Sequence[str], **columns: object) -> list[float | None]:
        """Score a batch of completion texts against their targets, in TRL's calling convention.

        Returns:
            One number a completion; None where the target cannot be read.

        Raises:
            RewardError: as many targets as completions are needed.
        """
        if len(completions) != len(target):
            raise RewardError(f"{len(completions)} completions came with {len(target)} targets; one each is needed")
        step = getattr(columns.get("trainer_state"), "global_step", 0)
        self.receipts = [
            self.score(text, truth, place=f"{self.seed}/{step}/{row}")
            for row, (text, truth) in enumerate(zip(completions, target, strict=True))
        ]
        return [receipt.reward.total for receipt in self.receipts]

    def score(self, text: str, target: str, *, place: str = "") -> Receipt:
        """Score one completion: total = sum of weight x value over the components that apply."""
        verdict = check(text, target, self.settings)
        is_correct = verdict.outcome is Outcome.CORRECT
        if verdict.outcome is Outcome.UNVERIFIED:
            return Receipt(verdict=verdict, reward=Reward(total=None))
        sample = Sample(text=text, target=target, tags=self.tags, verdict=verdict, place=place)
        parts: dict[str, float] = {}
        for component in self.components:
            value = 0.0
            if component.when == "always" or is_correct:
                value = COMPONENTS[component.name](sample) or 0.0
            parts[component.name] = component.weight * value
        return Receipt(verdict=verdict, reward=Reward(total=sum(parts.values()), parts=parts))


def parts_row(receipt: Receipt) -> Mapping[str, object]:
    """Give the receipt as the columns that are stored beside a completion."""
    return {
        "outcome": str(receipt.verdict.outcome),
        "answer": receipt.verdict.answer,
        "reason": receipt.verdict.reason,
        "reward": receipt.reward.total,
        "parts": dict(receipt.reward.parts),
    }
