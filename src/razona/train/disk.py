"""Room on the disk, asked for before it is needed."""

import shutil
from pathlib import Path

import torch

from razona.core.errors import MachineError


def checkpoint_bytes(model: torch.nn.Module) -> int:
    """Estimate a checkpoint: the trained parameters, AdamW's two moments in fp32, and 20 MiB for the rest."""
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return trained * 12 + 20 * 2**20


def check_disk(folder: Path, needed: int) -> None:
    """Refuse to start a write that the disk cannot hold.

    Raises:
        MachineError: less than `needed` bytes are free where `folder` lies.
    """
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise MachineError(
            f"no disk space for a checkpoint in {folder}: it needs about {needed / 2**20:.0f} MiB, "
            f"{free / 2**20:.0f} MiB are free. Free some space, or give the run another place with --out; "
            "--resume then goes on from the last checkpoint."
        )
