"""What torchrun and accelerate launch tell each process of a run through its environment."""

import os

from razona.core.errors import MachineError


def num_processes() -> int:
    """Give how many processes the run has; 1 where nothing launched it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_index() -> int:
    """Give this process's place among them; 0 is the main one, which alone writes and prints."""
    return int(os.environ.get("RANK", "0"))


def is_main_process() -> bool:
    """Say whether this process writes the run folder and prints."""
    return process_index() == 0


def refuse_several_processes(what: str) -> None:
    """Refuse to run as one of several processes.

    Args:
        what: the command that was given, as the message names it.

    Raises:
        MachineError: there is more than one.
    """
    if num_processes() > 1:
        raise MachineError(
            f"WORLD_SIZE = {num_processes()}: {what} runs in one process; only razona train runs in several. "
            "Start it without torchrun or accelerate launch."
        )
