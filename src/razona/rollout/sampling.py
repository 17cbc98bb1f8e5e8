"""How tokens are drawn: temperature, and which tokens are left out."""

# Shapes: B rows, V vocabulary.

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn."""

    max_tokens: int
    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    top_k: int = 0
    """0 is off."""
    min_p: float = 0.0


def warp(logits_BV: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Set the tokens that may not be drawn to minus infinity, in transformers' order: top-k, top-p, min-p.

    Args:
        logits_BV: already divided by the temperature.
    """
    if sampling.top_k > 0:
        least = logits_BV.topk(min(sampling.top_k, logits_BV.shape[-1]), dim=-1).values[:, -1:]
        logits_BV = logits_BV.masked_fill(logits_BV < least, -torch.inf)
    if sampling.top_p < 1:
        ordered, index = logits_BV.sort(dim=-1)
        is_out = ordered.softmax(dim=-1).cumsum(dim=-1) <= 1 - sampling.top_p
        is_out[:, -1] = False
        logits_BV = logits_BV.masked_fill(is_out.scatter(1, index, is_out), -torch.inf)
    if sampling.min_p > 0:
        probabilities = logits_BV.softmax(dim=-1)
        floor = sampling.min_p * probabilities.max(dim=-1, keepdim=True).values
        logits_BV = logits_BV.masked_fill(probabilities < floor, -torch.inf)
    return logits_BV


def draw(logits_BV: torch.Tensor, uniform_B: torch.Tensor, sampling: Sampling) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn one uniform number a row into a token by inverting the cumulative probabilities.

    Args:
        logits_BV: fp32.
        uniform_B: float64 in [0, 1).

    Returns:
        Token ids [B], and their log-probs under the temperature-scaled, untruncated distribution [B].
    """
    if sampling.temperature == 0:
        next_B = logits_BV.argmax(dim=-1)
        return next_B, logits_BV.log_softmax(dim=-1).gather(1, next_B[:, None]).squeeze(1)
    scaled_BV = logits_BV if sampling.temperature == 1 else logits_BV / sampling.temperature
    chance_BV = scaled_BV.softmax(dim=-1)
    is_whole = sampling.top_k == 0 and sampling.top_p >= 1 and sampling.min_p == 0
    kept_BV = chance_BV if is_whole else warp(scaled_BV, sampling).softmax(dim=-1)
    cumulative_BV = kept_BV.cumsum(dim=-1, dtype=torch.float64)
    threshold_B1 = uniform_B[:, None] * cumulative_BV[:, -1:]
    next_B = torch.searchsorted(cumulative_BV, threshold_B1, right=True).squeeze(1).clamp(max=logits_BV.shape[-1] - 1)
    return next_B, chance_BV.gather(1, next_B[:, None]).squeeze(1).log()
