"""What torchrun, accelerate launch and our own launcher tell each process of a run through its environment."""

import atexit
import ctypes
import os
import signal
import sys
from collections.abc import Mapping

from razona.core.errors import MachineError

LAUNCHER = "RAZONA_LAUNCHER"
"""Where our own launcher leaves its process id for the processes that it starts."""
SHARDING = {"ACCELERATE_USE_FSDP": "fsdp", "ACCELERATE_USE_DEEPSPEED": "deepspeed"}
"""How accelerate is told that no process holds the whole model, and what we call it."""
_PR_SET_PDEATHSIG = 1
_YES = ("1", "true", "yes", "on", "y", "t")


def num_processes() -> int:
    """Give how many processes the run has; 1 where nothing launched it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_index() -> int:
    """Give this process's place among them; 0 is the main one, which alone writes and prints."""
    return int(os.environ.get("RANK", "0"))


def is_main_process() -> bool:
    """Say whether this process writes the run folder and prints."""
    return process_index() == 0


def sharding(environment: Mapping[str, str] = os.environ) -> str:
    """Give what shares the model out to the processes: `fsdp`, `deepspeed`, or "" where each holds all of it."""
    asked = [name for variable, name in SHARDING.items() if environment.get(variable, "").lower() in _YES]
    return asked[0] if asked else ""


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


def end_with_launcher() -> None:
    """Have the system end this process when our launcher dies, SIGKILL included; without that launcher do nothing.

    Does not cover: systems other than Linux, where a killed launcher leaves its processes running.
    """
    launcher = os.environ.get(LAUNCHER)
    if launcher is None or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    try:
        os.kill(int(launcher), 0)
    except ProcessLookupError:  # it died before the line above
        os.kill(os.getpid(), signal.SIGTERM)


def end_several(exit_code: int = 0) -> None:
    """End at once where this process is one of several: torch's threads may still run, and would abort its end."""
    if num_processes() > 1:
        atexit._run_exitfuncs()  # metrics services send their last rows there
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
