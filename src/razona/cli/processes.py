"""The processes of a run, started through torch's elastic agent and looked after.

The agent gives each its place among them, and ends all of them when one ends badly; we say which, and how to go on.
"""

import logging
import math
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from razona.core.environment import describe_command
from razona.core.launch import LAUNCHER
from razona.core.leaving import TOLD_BY, describe_end, exit_code_of
from razona.core.rundir import RunDir
from razona.core.terminal import say

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

DEFAULT_PORT = 29500
"""Where the processes of several machines meet; torchrun's and accelerate's default."""
PATIENCE_S = 30
"""Seconds that processes have to write a checkpoint and end, beyond their time of grace; then they are killed."""
SAME_MOMENT_S = 5
"""Failures this close to the first one may have caused each other; torch notes whole seconds."""
TOLD_SIGNALS = ("SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP", "SIGQUIT")
"""What the agent passes on to the processes."""
TOLD_ENDS = {-signal.SIGTERM: signal.SIGTERM, 143: signal.SIGTERM, 130: signal.SIGINT}
"""With what a process ends that was told to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """The processes of a run and their machines."""

    num_processes: int
    """Over all machines, as accelerate counts; each machine has the same number."""
    num_machines: int = 1
    machine_rank: int = 0
    """This machine's number, from 0. The processes of machine 0 come first, and process 0 writes the run folder."""
    main_address: str | None = None
    """Of machine 0; None: there is one machine, whose processes find each other by themselves."""
    main_port: int | None = None
    """On machine 0; None: `DEFAULT_PORT`, or a free one where there is no address."""
    accelerate_config: Path | None = None
    """accelerate's settings; None: each process holds the whole model."""
    grace_s: float = 30.0
    """That the processes have to end their step, once they are told to leave."""

    @property
    def processes_here(self) -> int:
        """Processes of this machine."""
        return self.num_processes // self.num_machines


def run_processes(
    launch: Launch, command: Sequence[str], environment: Mapping[str, str], run: RunDir, resume_with: str
) -> int:
    """Start the processes of this machine, wait for them, and give the exit code of the whole.

    When one ends badly the others are told to end, and killed `PATIENCE_S` after their time of grace; so it is with a
    signal to this process. Why a run ended is told on standard error.

    Args:
        command: what each process runs.
        environment: variables that they get beside this process's own.
        run: where the last checkpoint is looked for when the run has ended badly.
        resume_with: the command that goes on from there.

    Returns:
        0 done, 2 a mistake in what was asked, 130 interrupted, 143 terminated (by SIGUSR1, too), 128 + n for other
        signals, 1 else.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    is_placed = launch.main_address is not None
    port = launch.main_port or DEFAULT_PORT
    cores = len(os.sched_getaffinity(0))
    variables = {
        LAUNCHER: str(os.getpid()),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, cores // launch.processes_here))),
        **environment,
    }
    with (
        _changed_environment(variables),
        _quiet_agent(),
        tempfile.TemporaryDirectory(prefix="razona-launch-") as logs,
    ):
        settings = LaunchConfig(
            min_nodes=launch.num_machines,
            max_nodes=launch.num_machines,
            nproc_per_node=launch.processes_here,
            run_id="razona",
            rdzv_backend="static" if is_placed else "c10d",
            rdzv_endpoint=f"{launch.main_address}:{port}" if is_placed else "localhost:0",
            rdzv_configs={"rank": launch.machine_rank} if is_placed else {},
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=logs),
            signals_to_handle=",".join(TOLD_SIGNALS),
            shutdown_timeout=math.ceil(launch.grace_s) + PATIENCE_S,
        )
        try:
            elastic_launch(settings, command[0])(*command[1:])
        except ChildFailedError as error:
            return _tell_failure(error.failures, launch.num_processes, run, resume_with)
        except SignalException as error:
            return _tell_signal(error.sigval, run, resume_with)
    return 0


def _tell_failure(failures: "Mapping[int, ProcessFailure]", num_processes: int, run: RunDir, resume_with: str) -> int:
    """Name the process whose end ended the run, where that is not a mistake that it has told itself."""
    index, failure = first_failure(failures)
    code = failure.exitcode
    if code in TOLD_ENDS:
        return _tell_signal(TOLD_ENDS[code], run, resume_with)
    if code == 2:
        return 2
    if code > 0:
        ended = f"ended with exit code {code}; what it said is above"
    else:
        ended = f"was killed by {failure.signal_name()}"
    if code == -signal.SIGKILL:
        ended += " (by the kernel if memory ran out: `dmesg` tells; else by a person or the cluster)"
    say(
        f"razona: process {index} of {num_processes} (pid {failure.pid}) {ended}. The run was stopped. "
        f"{way_on(run, resume_with)}",
        to_stderr=True,
    )
    return 1


def first_failure(failures: "Mapping[int, ProcessFailure]") -> "tuple[int, ProcessFailure]":
    """Give the process that failed by itself: the others lost their connection to it, or were told to end.

    torch's own choice is the first it noticed, and it often notices several at once. A death by signal comes first, a
    mistake in what was asked next, then other exit codes, and SIGTERM, which the agent sends to all others, last.
    """
    began = min(failure.timestamp for failure in failures.values())

    def order(item: "tuple[int, ProcessFailure]") -> tuple[int, int]:
        index, failure = item
        if failure.timestamp - began > SAME_MOMENT_S or failure.exitcode in TOLD_ENDS:
            return 3, index
        return (0 if failure.exitcode < 0 else 1 if failure.exitcode == 2 else 2), index

    return min(failures.items(), key=order)


def _tell_signal(received: signal.Signals, run: RunDir, resume_with: str) -> int:
    is_ours = received in TOLD_BY
    end = describe_end(received) if is_ours else f"stopped ({received.name})"
    say(f"razona: {end}. {way_on(run, resume_with)}", to_stderr=True)
    return exit_code_of(received) if is_ours else 128 + received


def way_on_of(run: RunDir) -> Callable[[], str]:
    """Give what says how this command's run goes on; it says nothing under our launcher, which says it for all."""
    again = describe_command(sys.argv) + ("" if "--resume" in sys.argv else " --resume")
    return lambda: "" if LAUNCHER in os.environ else way_on(run, again)


def way_on(run: RunDir, resume_with: str) -> str:
    """Say which checkpoint counts, and with which command the run goes on from there."""
    checkpoint = run.last_checkpoint()
    if checkpoint is None:
        told = f"{run.root} holds no checkpoint of it."
        return f"{told} Begin it again with: {resume_with}" if run.recipe.exists() else told
    return f"Its last checkpoint is {checkpoint}; go on from there with: {resume_with}"


@contextmanager
def _changed_environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables of this process, which the ones that it starts inherit, for the length of the body."""
    before = {name: os.environ.get(name) for name in (*values, "TORCHELASTIC_SIGNALS_TO_HANDLE")}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _quiet_agent() -> Iterator[None]:
    """Keep the agent's own lines off standard error, and its handlers of signals to the length of the body."""
    handlers = {name: signal.getsignal(getattr(signal, name)) for name in TOLD_SIGNALS}
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
        for name, handler in handlers.items():
            signal.signal(getattr(signal, name), handler)
