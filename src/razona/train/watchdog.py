"""A watch over a run: where nothing moves for a set time, it says in what stage, and where every thread stands."""

import faulthandler
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import UnsupportedOperation
from pathlib import Path

from razona.core.activity import ACTIVITY
from razona.core.errors import DiskError
from razona.core.launch import num_processes, process_index
from razona.core.rundir import RunDir
from razona.core.terminal import say
from razona.train.events import Events

LOOKS = 20
"""Looks within the set time: it is overrun by a twentieth."""


@contextmanager
def watch_over(run: RunDir, events: Events, limit_s: float | None, step: Callable[[], int]) -> Iterator[None]:
    """Watch over the body, which goes on whatever is found: a warning, and never an end.

    Where a thread holds Python's own lock for as long (a regular expression that never ends), no thread of Python
    runs, this one neither. Then a timer of faulthandler, which needs no lock, writes the stacks to standard error.

    Args:
        limit_s: without a sign of life, after which it tells, and again after as long; None: nothing is watched.
        step: gives the number of steps done.
    """
    if limit_s is None:
        yield
        return
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(run, events, limit_s, step, ended), name="watchdog", daemon=True)
    watch.start()
    try:
        yield
    finally:
        ended.set()
        watch.join()
        faulthandler.cancel_dump_traceback_later()


def _watch(run: RunDir, events: Events, limit_s: float, step: Callable[[], int], ended: threading.Event) -> None:
    told_at = 0.0
    while not ended.is_set():
        if sys.__stderr__ is not None:
            with suppress(UnsupportedOperation):  # no file is behind it: a notebook's
                faulthandler.dump_traceback_later(2 * limit_s, file=sys.__stderr__)
        ended.wait(limit_s / LOOKS)
        now = time.monotonic()
        if now - max(ACTIVITY.moved_at, told_at) >= limit_s and not ended.is_set():
            told_at = now
            _tell(run, events, step() + 1, now - ACTIVITY.moved_at)


def _tell(run: RunDir, events: Events, step: int, silent_s: float) -> None:
    where = f" in process {process_index()}" if num_processes() > 1 else ""
    path = run.stacks(process_index())
    head = f"step {step}: nothing has moved for {silent_s:.0f} s{where} while {ACTIVITY.stage}"
    try:
        stacks = f"Where every thread stands (also in {path}):\n{dump_stacks(path, head)}"
    except OSError as error:
        stacks = f"Where every thread stands could not be written to {path}: {error}"
    say(f"razona: {head}. {stacks}", to_stderr=True, flush=True)
    with suppress(DiskError):  # the line above has told it
        events.write("nothing_moves", step, f"no sign of life for {silent_s:.0f} s", stage=ACTIVITY.stage)


def dump_stacks(path: Path, head: str) -> str:
    """Add where every thread of this process stands to a file, under a line that says why, and give it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {head}\n")
        file.flush()
        start = file.tell()
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(start)
        return file.read()
