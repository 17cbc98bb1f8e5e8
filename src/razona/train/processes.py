"""One run in several processes (data parallel): `razona train --num-processes`, torchrun or accelerate starts them.

Rows are shared out by whole groups: a step's completions are cut into as many consecutive parts as there are processes.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from razona.core.errors import MachineError, RazonaError, first_line
from razona.core.launch import is_main_process, num_processes, process_index, sharding
from razona.core.seeds import derive_seed

WAIT = timedelta(minutes=30)
"""How long a process waits for the others within a step; transformers' `ddp_timeout`."""
LAUNCH_VARIABLES = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What each of several processes needs beside WORLD_SIZE."""

Made = TypeVar("Made")


def join_processes() -> None:
    """Join the other processes of the run; where there are none, or they are joined already, do nothing.

    Raises:
        MachineError: the launch does not say which process this is, or wants the model sharded.
    """
    if num_processes() == 1:
        return
    _check_launch()
    PartialState(cpu=not torch.cuda.is_available(), timeout=WAIT)


def leave_processes() -> None:
    """Part from the other processes, for good: they cannot join again."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _check_launch() -> None:
    missing = [name for name in LAUNCH_VARIABLES if name not in os.environ]
    if missing:
        raise MachineError(
            f"WORLD_SIZE = {num_processes()}, but {', '.join(missing)} is not set, so the processes cannot find each "
            "other. Start them with torchrun or accelerate launch, or unset WORLD_SIZE."
        )
    if sharding() == "fsdp" and os.environ.get("FSDP_VERSION", "1") != "2":
        raise MachineError(
            "accelerate launch asks for FSDP1 (fsdp_version: 1); razona train knows FSDP2. Set fsdp_version: 2 "
            "(`accelerate to-fsdp2` converts a file), or start it with razona train --num-processes N --sharding fsdp2."
        )


@contextmanager
def stop_together() -> Iterator[None]:
    """Run the body in every process and leave it together; where it fails in one, fail in all.

    Else those that got through would wait for the failed one in their next exchange, until its time limit.

    Raises:
        MachineError: the body failed in another process. Where it failed in this one, its own error goes on.
    """
    failure: Exception | None = None
    try:
        yield
    except Exception as error:  # whatever it is: the others must hear of it, and it goes on below
        failure = error
    words = "" if failure is None else first_line(failure)
    failures: Sequence[str] = gather_object([words])
    if failure is not None:
        raise failure
    failed = next((index for index, found in enumerate(failures) if found), None)
    if failed is not None:
        raise MachineError(f"stopped, because process {failed} failed: {failures[failed]}")


@contextmanager
def tell_lost_processes() -> Iterator[None]:
    """Run the body and turn a connection that another process's end has cut into an error that says so.

    Raises:
        MachineError: in its place.
    """
    try:
        yield
    except RuntimeError as error:
        words = str(error).strip().split("\n")[0]
        is_of_connection = isinstance(error, torch.distributed.DistError) or "/gloo/" in words
        if num_processes() == 1 or isinstance(error, RazonaError) or not is_of_connection:
            raise
        raise MachineError(
            "stopped, because the connection to another process broke. That process, or what started it, says why. "
            f"torch's words: {words}"
        ) from error


def in_main_process(do: Callable[[], Made]) -> Made:
    """Run `do` in the main process alone, and give its result in every process; where it fails, fail in all."""
    made: list[Made | None] = [None]
    with stop_together():
        if is_main_process():
            made = [do()]
    return broadcast_object_list(made)[0]  # pyright: ignore[reportReturnType]


def refuse_difference(what: str, digest: str) -> None:
    """Refuse to go on with something that must be the same in every process and is not.

    Args:
        digest: of it, in this process.

    Raises:
        MachineError: another process has another one.
    """
    digests: Sequence[str] = gather_object([digest])
    other = next((index for index, one in enumerate(digests) if one != digests[0]), None)
    if other is not None:
        raise MachineError(
            f"{what} are others in process {other} than in the main one (sha256 {digests[other][:12]} and "
            f"{digests[0][:12]}). Every process must read the same: the same files, and a generator that depends on "
            "its seed alone."
        )


def reward_seed(seed: int) -> int:
    """Give the seed of this process's rewards: a reward drawn at random must not be the same in two processes."""
    return seed if is_main_process() else derive_seed("rewards", seed, process_index())


def gather_rows(rows: list[dict], group_size: int) -> list[dict]:
    """Give the rows of all processes in the order of the groups, which are numbered through.

    Args:
        rows: this process's, whole groups with their number in `group`, from 0; another process may have more.
    """
    gathered: list[list[dict]] = gather_object([rows])
    numbered: list[dict] = []
    for part in gathered:
        first = len(numbered) // group_size
        numbered += [{**row, "group": first + row["group"]} for row in part]
    return numbered


def gather_values(values: torch.Tensor) -> torch.Tensor:
    """Give the values of all processes, one process's after the other; each may hold another number of them.

    Args:
        values: [N] float, on any device.

    Returns:
        [sum of N], in the main memory.
    """
    return torch.cat(gather_object([values.cpu()]))
