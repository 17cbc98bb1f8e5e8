"""What the benchmarks share: a measurement in a process of its own, and what is said of its figures."""

import hashlib
import multiprocessing
import os
import resource
import signal
import statistics
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results"
NUM_THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))
PRELOADED = ["razona.train.run", "razona.evaluate", "trl.trainer.grpo_trainer"]
"""What a measurement's process finds imported: half of a short measurement would otherwise be imports."""

HAS_GPU = Path("/dev/nvidiactl").exists()
"""CUDA does not survive a fork, and asking torch would start it."""


class FailedError(RuntimeError):
    """A measurement's process ended without figures."""


class StoppedError(FailedError):
    """A measurement's process was stopped at its time limit."""


def in_own_process(
    function: Callable[..., dict],
    *arguments: object,
    timeout_s: float,
    start: Literal["forkserver", "spawn"] = "spawn" if HAS_GPU else "forkserver",
) -> dict:
    """Call a function in a process of its own and give what it returns.

    Args:
        function: a module's own, by name; `arguments` and the result can be pickled.
        start: `forkserver` forks a server that has imported `PRELOADED` and computed nothing; `spawn` starts anew.

    Raises:
        FailedError: the function raised, or the process died.
        StoppedError: it took longer than `timeout_s`, or than it said with `stop_in`.
    """
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(PRELOADED)
    make = server.Process if start == "forkserver" else multiprocessing.get_context("spawn").Process
    with tempfile.TemporaryDirectory(prefix="razona-bench-") as folder:
        log = Path(folder) / "log"
        receiver, sender = server.Pipe(duplex=False)
        process = make(target=_child, args=(sender, log, function, arguments))
        process.start()
        sender.close()
        try:
            if not receiver.poll(timeout_s):
                process.kill()
                raise StoppedError(f"stopped after {timeout_s:.0f} s")
            figures, failure = receiver.recv()
            if failure:
                print(_tail(log), file=sys.stderr)
            process.join(10)  # a library's threads may keep it from ending
        except EOFError:
            process.join()
            if process.exitcode == -signal.SIGALRM:
                raise StoppedError("stopped at the limit that it set itself") from None
            print(_tail(log), file=sys.stderr)
            raise FailedError(f"the process ended with exit code {process.exitcode}") from None
        finally:
            process.kill()
            process.join()
            receiver.close()
        if failure:
            raise FailedError(failure)
        return figures


def _child(sender: Connection, log: Path, function: Callable[..., dict], arguments: Sequence[object]) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    try:
        sender.send((function(*arguments), ""))
    except Exception as error:  # The one boundary: whatever a library raises is told, and the benchmark goes on.
        traceback.print_exc()
        sender.send((None, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"))


def _tail(log: Path) -> str:
    """Give the end of what a process printed, for the person who looks for the cause."""
    text = log.read_text(encoding="utf-8", errors="replace").strip() if log.exists() else ""
    return "\n".join(f"    | {line[:200]}" for line in text.splitlines()[-12:])


def stop_in(seconds: float) -> None:
    """End this process after so many seconds, whatever its threads do; 0 takes that back."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def use_threads() -> None:
    """Let torch compute on two threads, or as many as OMP_NUM_THREADS says."""
    import torch

    torch.set_num_threads(NUM_THREADS)


def peak_mib() -> float:
    """Give the most memory that this process has held at a time."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def spread(values: Sequence[float]) -> dict[str, float]:
    """Give median, least, largest and number of values."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "n": len(values)}


def base_hash() -> str:
    """Give a short name of the embedded base model's weights."""
    weights = ROOT / "src" / "razona" / "models" / "embedded" / "model.safetensors"
    return hashlib.sha256(weights.read_bytes()).hexdigest()[:8]


def described(command: str, settings: Mapping[str, object]) -> dict[str, object]:
    """Give what every result begins with: the command, versions, hardware, and what was chosen."""
    from razona.core.environment import describe_environment

    environment = describe_environment({})
    return {
        "command": command,
        "hardware": environment["hardware"],
        "packages": environment["packages"],
        "git_commit": environment["git_commit"],
        "threads": NUM_THREADS,
        "settings": dict(settings),
    }
