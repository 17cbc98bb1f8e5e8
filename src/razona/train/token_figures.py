"""Figures of a step over the tokens that it trains on."""

import torch

from razona.train.processes import gather_values


class TokenFigures:
    """Collects them backward pass by backward pass."""

    def __init__(self) -> None:
        self._gaps: list[torch.Tensor] = []
        self._entropies: list[torch.Tensor] = []

    def note_gaps(self, gaps: torch.Tensor) -> None:
        """Take |log-prob at sampling - log-prob in training| of tokens, in nats."""
        self._gaps.append(gaps)

    def note_entropies(self, entropies: torch.Tensor) -> None:
        """Take the entropies of the tokens that were read where rows were left out, in nats.

        TRL's own mean counts the tokens of rows that were left out as 0, so that it falls as groups become flat.
        """
        values = entropies.double()
        self._entropies.append(torch.stack([values.sum(), values.new_tensor(len(values))]))

    def forget(self) -> None:
        """Drop what was noted of the step: its passes are made again."""
        self._gaps, self._entropies = [], []

    def take(self) -> dict[str, float]:
        """Give the step's figures over all processes, and forget them. Every process must call it.

        Returns:
            `logprob_gap_mean` and `logprob_gap_p99`, where gaps were measured; `entropy_trained`, the mean over the
            tokens trained on, where rows were left out.
        """
        gaps = gather_values(torch.cat(self._gaps) if self._gaps else torch.empty(0))
        sums = gather_values(torch.cat(self._entropies) if self._entropies else torch.empty(0, dtype=torch.float64))
        self._gaps, self._entropies = [], []
        figures: dict[str, float] = {}
        if len(gaps):
            place = min(len(gaps) - 1, int(0.99 * len(gaps)))
            figures["logprob_gap_mean"] = gaps.mean().item()
            figures["logprob_gap_p99"] = gaps.sort().values[place].item()
        total, count = sums.view(-1, 2).sum(dim=0).tolist()
        if count:
            figures["entropy_trained"] = total / count
        return figures
