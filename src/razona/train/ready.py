"""Rewards that are there before TRL asks for them."""

from collections.abc import Sequence
from typing import Any

from razona.rewards import Mix, Receipt


class ReadyRewards:
    """What TRL calls as its reward function: hands over what was found out while sampling."""

    __name__ = "reward"

    def __init__(self, mix: Mix) -> None:
        self.mix = mix
        self.receipts: list[Receipt] | None = None
        """Of the batch that TRL is about to ask for; None: the mix scores it then."""

    def __call__(self, completions: Sequence[object], **columns: Any) -> list[float | None]:
        """Give one number a completion, as `Mix` does."""
        if self.receipts is None:
            return self.mix(completions, **columns)
        self.mix.log(self.receipts, columns.get("log_metric"), columns.get("log_extra"))
        return [receipt.reward.total for receipt in self.receipts]
