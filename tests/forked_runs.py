"""Runs of the command line whose place is known when a signal reaches them: `python tests/forked_runs.py`.

It loads what a run needs once, says "ready", and then forks a process for each line of standard input, a JSON object:
`argv` of razona, `plant` of `PLANTS`, and `folder`. Standard output and error of the run go to files there; what is
planted leaves the file `there` when the run has come to its place. One line of JSON goes back for each: `pid`, and when
the process has ended `code`, as subprocess has it.
"""

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch  # noqa: F401 - what takes time to load
from transformers import TrainerState

from razona.cli import main, progress, train  # noqa: F401
from razona.core.activity import moved
from razona.train import run as run_module
from razona.train import trainer as trainer_module
from razona.train.checkpoints import Saver
from razona.train.record import StepRecorder

PLACE = 2
"""Steps done when the run comes to its place."""
LONG_S = 60
SAVING_S = 4
"""Of a checkpoint in `save_for_long`."""


def at_place(act: Callable[[], None], folder: Path) -> None:
    """Act in the middle of sampling, before the step's completions are made."""
    sample = trainer_module.Trainer._sample

    def planted(trainer: trainer_module.Trainer, *arguments: object) -> object:
        if trainer.state.global_step == PLACE and not (folder / "there").exists():
            (folder / "there").touch()
            act()
        return sample(trainer, *arguments)  # pyright: ignore[reportArgumentType]

    trainer_module.Trainer._sample = planted  # pyright: ignore[reportAttributeAccessIssue]


def wait_for_go(folder: Path) -> None:
    """The step waits, and ends as it would have."""

    def act() -> None:
        while not (folder / "go").exists():
            time.sleep(0.01)

    at_place(act, folder)


def sample_for_long(folder: Path) -> None:
    """The step does not end, and gives signs of life."""

    def act() -> None:
        end = time.monotonic() + LONG_S
        while time.monotonic() < end:
            time.sleep(0.01)
            moved()

    at_place(act, folder)


def one_long_call(folder: Path) -> None:
    """The step does not end, and gives no sign of life."""
    at_place(lambda: time.sleep(LONG_S), folder)


def load_for_long(folder: Path) -> None:
    """The run does not come to its first step."""

    def load(*arguments: object) -> object:
        (folder / "there").touch()
        time.sleep(LONG_S)
        raise AssertionError("nobody ended it")

    run_module.load_run = load  # pyright: ignore[reportAttributeAccessIssue]


def wait_between_steps(folder: Path) -> None:
    """A step is over and logged, and the next one has not begun."""
    log = StepRecorder.on_log

    def planted(recorder: StepRecorder, args: object, state: TrainerState, *others: object, **named: object) -> None:
        log(recorder, args, state, *others, **named)  # pyright: ignore[reportArgumentType]
        if state.global_step == PLACE and not (folder / "there").exists():
            (folder / "there").touch()
            while not (folder / "go").exists():
                time.sleep(0.01)

    StepRecorder.on_log = planted  # pyright: ignore[reportAttributeAccessIssue]


def save_for_long(folder: Path) -> None:
    """A checkpoint whose turn it is takes longer than the time of grace of the test."""
    save = Saver.save

    def planted(saver: Saver, *arguments: object, **named: object) -> None:
        if not (folder / "there").exists():
            (folder / "there").touch()
            time.sleep(SAVING_S)
        save(saver, *arguments, **named)  # pyright: ignore[reportArgumentType]

    Saver.save = planted  # pyright: ignore[reportAttributeAccessIssue]


PLANTS = {
    "wait_between_steps": wait_between_steps,
    "save_for_long": save_for_long,
    "nothing": lambda folder: None,
    "wait_for_go": wait_for_go,
    "sample_for_long": sample_for_long,
    "one_long_call": one_long_call,
    "load_for_long": load_for_long,
}


def run(argv: list[str], plant: str, folder: Path) -> None:
    for name, number in (("stdout", 1), ("stderr", 2)):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    PLANTS[plant](folder)
    sys.argv = ["razona", *argv]
    try:
        main.main()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def tell(**said: int) -> None:
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                run(asked["argv"], asked["plant"], Path(asked["folder"]))
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        tell(pid=pid)
        tell(code=os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
