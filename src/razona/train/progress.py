"""What a process has on its way through a run that transformers' checkpoints leave out, and TRL does not restore."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch

from razona.core.launch import num_processes, process_index
from razona.core.terminal import say


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One process's place between two steps."""

    processes: int
    """Of the run. With another number each process has other problems, and nothing here fits it."""
    microbatches: int
    """TRL's `_step`: backward passes so far. By it TRL knows when to sample and which microbatch comes next."""
    buffered: list[dict[str, Any]] | None
    """Microbatches of completions that further steps train on; None where the next step samples."""
    figures: dict[str, float | None]
    """Of the completions in `buffered`, for the metrics rows of those steps."""
    queue: dict[str, list] | None
    """Which problems come back when; None without `train.sampling: informative`."""

    def save(self, checkpoint: Path) -> None:
        """Write it into a checkpoint's folder."""
        torch.save(asdict(self), _path(checkpoint))

    @classmethod
    def load(cls, checkpoint: Path, device: torch.device) -> Self | None:
        """Read this process's; None, told on stderr, where the checkpoint has none that fits it."""
        path = _path(checkpoint)
        found = torch.load(path, map_location=device, weights_only=True) if path.exists() else None
        if found is not None and found["processes"] == num_processes():
            return cls(**found)
        why = "it is of an earlier version" if found is None else f"it was written by {found['processes']} processes"
        say(
            f"razona: {checkpoint.name} has no {path.name} that fits ({why}): this process samples anew, and its "
            "statistics of prompts begin again.",
            to_stderr=True,
        )
        return None


def _path(checkpoint: Path) -> Path:
    return checkpoint / f"progress_{process_index()}.pt"
