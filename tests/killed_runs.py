"""Runs of `razona train` that are killed and go on, each a process of its own.

`python tests/killed_runs.py PLAN.json` starts the legs of a plan one after the other and prints how each ended. Each
leg is forked from a process that has imported all there is to import and computed nothing, so that it costs no more
than its steps. With several processes, the death of one is the death of all, as it is under torchrun.
"""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ENDED, KILLED = 0, -signal.SIGKILL


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One start of a run."""

    out: str
    """Its folder; where it holds a run already, it is resumed."""
    kill_at: str = ""
    """Name in `PLACES` of what befalls it; "": nothing."""
    after: int = 0
    """Steps that must stand in its metrics before it is killed there."""
    kill_after_s: float | None = None
    """From its start; None: it is not killed by the clock."""
    is_last_process: bool = False
    """The last of several processes dies at `kill_at`, not the main one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is run, in which folder."""

    folder: str
    arguments: Sequence[str]
    """Of `razona train`, without --out and --resume."""
    legs: Sequence[Leg]
    processes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a leg ended."""

    code: int
    """Its exit code; the signal's number, below 0, where one killed it."""
    seconds: float
    steps: int
    """In its metrics by then."""


def run_plan(plan: Plan, timeout_s: float) -> list[Ended]:
    """Run the legs one after the other; what they print goes to files."""
    path = Path(plan.folder) / "plan.json"
    path.write_text(json.dumps(asdict(plan)))
    done = subprocess.run(
        [sys.executable, __file__, str(path)],
        cwd=plan.folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Ended(**one) for one in json.loads(done.stdout)]


def said(folder: Path, leg: int, process: int = 0) -> str:
    """Give what a leg printed."""
    return (folder / f"leg-{leg}-{process}.txt").read_text()


# --- In the process that forks ---------------------------------------------------------------------------------------


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_call(owner: object, name: str, is_time: Callable[[], bool]) -> None:
    """Die at the call of a function when it is time."""
    real = getattr(owner, name)

    def deadly(*arguments: Any, **named: Any) -> Any:
        if is_time():
            die()
        return real(*arguments, **named)

    setattr(owner, name, deadly)


def while_sampling(is_time: Callable[[], bool]) -> None:
    """Die when the first completions of a step are handed on, while others are still sampled."""
    from razona.train.collect import _VerdictsAhead

    at_call(_VerdictsAhead, "take", is_time)


def while_scoring(is_time: Callable[[], bool]) -> None:
    from razona.rewards import mix

    at_call(mix, "call_user_function", is_time)


def while_in_backward(is_time: Callable[[], bool]) -> None:
    """Die when the gradient of a weight is being accumulated: those of later layers have theirs already."""
    import torch

    real = torch.autograd.backward

    def deadly(tensors: Any, *arguments: Any, **named: Any) -> None:
        if is_time():
            tensors.grad_fn.next_functions[0][0].register_hook(lambda *grads: die())
        real(tensors, *arguments, **named)

    torch.autograd.backward = deadly


def while_writing(is_time: Callable[[], bool]) -> None:
    """Die when the optimizer's file has half its length."""
    import torch

    real = torch.save

    def deadly(value: Any, path: Any, *arguments: Any, **named: Any) -> None:
        real(value, path, *arguments, **named)
        if is_time() and str(path).endswith("optimizer.pt"):
            os.truncate(path, os.path.getsize(path) // 2)
            die()

    torch.save = deadly


def before_sealing(is_time: Callable[[], bool]) -> None:
    from razona.core import sealing

    at_call(sealing, "seal", is_time)


def after_renaming(is_time: Callable[[], bool]) -> None:
    """Die when the checkpoint has its name and the folder that holds the name is not flushed yet."""
    from razona.core import sealing

    real = sealing.flush

    def deadly(path: Path) -> None:
        if is_time() and path.name == "checkpoints":
            die()
        real(path)

    sealing.flush = deadly


def while_removing(is_time: Callable[[], bool]) -> None:
    """Die when an old checkpoint lies aside and is still there."""
    from razona.core import sealing

    real = sealing.take_away

    def deadly(place: Path) -> None:
        real(place)
        if is_time():
            die()

    sealing.take_away = deadly


def without_room(is_time: Callable[[], bool]) -> None:
    """Let the disk refuse this process's random states once, and live on."""
    import torch

    real, failed = torch.save, []

    def refuse(value: Any, path: Any, *arguments: Any, **named: Any) -> None:
        if is_time() and "rng_state" in str(path) and not failed:
            failed.append(path)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(value, path, *arguments, **named)

    torch.save = refuse


PLACES: dict[str, Callable[[Callable[[], bool]], None]] = {
    "sampling": while_sampling,
    "scoring": while_scoring,
    "backward": while_in_backward,
    "writing": while_writing,
    "sealing": before_sealing,
    "renamed": after_renaming,
    "removing": while_removing,
    "no room": without_room,
}


def steps_in(run: Path) -> int:
    metrics = run / "metrics.jsonl"
    return metrics.read_text().count("\n") if metrics.exists() else 0


def be(leg: Leg, process: int, plan: Plan, number: int) -> None:
    """Become one process of a leg."""
    told = os.open(Path(plan.folder) / f"leg-{number}-{process}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(told, 1)
    os.dup2(told, 2)
    run = Path(plan.folder) / leg.out
    if leg.kill_at and process == (plan.processes - 1 if leg.is_last_process else 0):
        PLACES[leg.kill_at](lambda: steps_in(run) >= leg.after)
    resume = ["--resume"] if (run / "recipe.yaml").exists() else []
    sys.argv = ["razona", "train", *plan.arguments, "--out", str(run), *resume]
    from razona.cli.main import main

    try:
        main()
    except SystemExit as ended:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended.code if isinstance(ended.code, int) else int(ended.code is not None))
    os._exit(0)


def run_leg(leg: Leg, plan: Plan, number: int) -> Ended:
    started = time.monotonic()
    shared = {}
    if plan.processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            shared = {
                "WORLD_SIZE": str(plan.processes),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(free.getsockname()[1]),
            }
    children: list[int] = []
    for process in range(plan.processes):
        child = os.fork()
        if child == 0:
            if shared:
                os.environ.update({**shared, "RANK": str(process), "LOCAL_RANK": str(process)})
            be(leg, process, plan, number)
        children.append(child)
    deadline = None if leg.kill_after_s is None else started + leg.kill_after_s
    codes: dict[int, int] = {}
    first = 0
    while len(codes) < len(children):
        if first or (deadline is not None and time.monotonic() > deadline):
            for child in set(children) - set(codes):
                os.kill(child, signal.SIGKILL)
        for child in set(children) - set(codes):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                codes[child] = os.waitstatus_to_exitcode(status)
                first = first or codes[child]
        time.sleep(0.005)
    steps = steps_in(Path(plan.folder) / leg.out)
    return Ended(code=first, seconds=time.monotonic() - started, steps=steps)


def main() -> None:
    values = json.loads(Path(sys.argv[1]).read_text())
    plan = Plan(**{**values, "legs": [Leg(**leg) for leg in values["legs"]]})
    import razona.cli.main
    import razona.train.run  # noqa: F401 - imported here, each fork finds it

    print(json.dumps([asdict(run_leg(leg, plan, number)) for number, leg in enumerate(plan.legs)]))


if __name__ == "__main__":
    main()
