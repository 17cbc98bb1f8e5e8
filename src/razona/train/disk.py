"""Room on the disk, asked for before it is needed, and the errors of a disk that has none left."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError

from razona.core.errors import DiskError, MachineError, first_line
from razona.core.files import free_mib

_WORDS_OF_TORCH = ("PytorchStreamWriter", "inline_container")
"""In what `torch.save` raises where its C++ part could not write: a plain RuntimeError."""


def checkpoint_bytes(model: torch.nn.Module) -> int:
    """Estimate a checkpoint: the trained parameters, AdamW's two moments in fp32, and 20 MiB for the rest."""
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return trained * 12 + 20 * 2**20


def room_lacking(folder: Path, needed: int) -> str:
    """Say how much room a write of `needed` bytes to `folder` lacks; "" where it fits."""
    free = free_mib(folder)
    if free * 2**20 >= needed:
        return ""
    return f"it needs about {needed / 2**20:.0f} MiB, {free} MiB are free"


def check_disk(folder: Path, needed: int) -> None:
    """Refuse to start a write that the disk cannot hold.

    Raises:
        MachineError: less than `needed` bytes are free where `folder` lies.
    """
    if lacking := room_lacking(folder, needed):
        raise MachineError(
            f"no disk space for a checkpoint in {folder}: {lacking}. Free some space, or give the run another place "
            "with --out; --resume then goes on from the last checkpoint."
        )


def is_of_disk(error: Exception) -> bool:
    """Say whether an error is that of a write which the disk did not take, in the words of whoever was writing."""
    if isinstance(error, OSError | DiskError | SafetensorError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _WORDS_OF_TORCH)


@contextmanager
def writing_weights(folder: Path) -> Iterator[None]:
    """Run the body, which writes weights to `folder`, and say what to do where the disk does not take them.

    Raises:
        DiskError: in place of the writer's own error.
    """
    try:
        yield
    except Exception as error:  # sorted out below: each writer has an error of its own
        if not is_of_disk(error) or isinstance(error, DiskError):
            raise
        raise DiskError(
            f"the weights could not be written to {folder}: {first_line(error)} ({free_mib(folder)} MiB are free). "
            "Make room there, then go on with --resume: nothing before the last checkpoint is trained again."
        ) from error
