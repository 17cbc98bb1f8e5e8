"""What training costs in tokens, whatever the machine: forward passes of one token."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

FORWARD, FORWARD_AND_BACKWARD = 1, 3
"""Cost of reading or sampling a token, and of training on it: the backward pass computes two products for each one of
the forward pass (Kaplan et al. 2020, arXiv:2001.08361, section 2.1)."""
CountTokens = Callable[[Sequence[str]], list[int]]
"""Texts -> the tokens of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Tokens that were sampled or read, and tokens that were trained on."""

    forward: int = 0
    trained: int = 0

    @property
    def passes(self) -> int:
        """Give forward passes of one token: 1 for each that is sampled or read, 3 for each that is trained on."""
        return FORWARD * self.forward + FORWARD_AND_BACKWARD * self.trained


def grpo_cost(rows: Iterable[Mapping], count_tokens: CountTokens) -> Cost:
    """Give what one step's stored completions cost.

    A group's prompt is read once for sampling, and once more in the training pass where the group is trained on.

    Args:
        rows: as `completions/step-*.jsonl` holds them, group after group.
    """
    groups = [list(group) for _, group in groupby(rows, key=lambda row: row["group"])]
    prompts = count_tokens([str(group[0]["prompt"]) for group in groups])
    forward = trained = 0
    for group, prompt in zip(groups, prompts, strict=True):
        tokens = sum(int(row["num_tokens"]) for row in group)
        forward += prompt + tokens
        if any(row["is_trained"] for row in group):
            trained += prompt + tokens
    return Cost(forward=forward, trained=trained)
