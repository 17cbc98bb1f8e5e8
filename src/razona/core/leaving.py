"""Signals that tell a run to end: it may end its step first, within a time of grace.

Only the command line installs this. A program or a notebook that calls `razona.train.train` keeps its own handlers.
"""

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, auto

from razona.core.launch import is_main_process, num_processes, process_index

TOLD_BY = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""SLURM sends SIGTERM before it takes a node away, and what `--signal` names (often USR1) before the time is up."""
SAME_SIGNAL_S = 2.0
"""Of several processes each may hear of one signal twice, from its launcher and from the cluster: within this time."""
LOOK_EVERY_S = 1.0
"""At what has become of a checkpoint that was being written when the signal came."""
SHOW_CURSOR = b"\x1b[?25h"
"""A live view hides a terminal's cursor, and a process that leaves at once does not end its view."""


class When(Enum):
    """When a run that is told to end does so."""

    AT_ONCE = auto()
    """Nothing would be lost, or nothing could be saved: before the first step, and after the last."""
    AFTER_STEP = auto()
    """When the step ends, or can be left."""
    ONCE_SAVED = auto()
    """A checkpoint is being written for it: the time of grace no longer counts."""


def exit_code_of(received: signal.Signals) -> int:
    """Give 130 for SIGINT, 143 for SIGTERM and whatever is handled like it."""
    return 128 + (signal.SIGINT if received is signal.SIGINT else signal.SIGTERM)


def describe_end(received: signal.Signals) -> str:
    """Say in a word and the signal's name how a run was ended."""
    return f"{'interrupted' if received is signal.SIGINT else 'terminated'} ({received.name})"


class Leaving:
    """What a run was told, and by when it has to be gone."""

    def __init__(self, grace_s: float, way_on: Callable[[], str]) -> None:
        self.grace_s, self.way_on = grace_s, way_on
        self.when = When.AT_ONCE
        self.received: signal.Signals | None = None
        self.received_at = 0.0
        """On the clock of `time.monotonic`."""

    def take(self, received: signal.Signals) -> None:
        """Note the first signal; leave at once with a second one, or where there is no step to end."""
        if self.received is not None:
            if num_processes() == 1 or time.monotonic() - self.received_at > SAME_SIGNAL_S:
                self.end_now("a second signal came, so the run is left at once. ")
            return
        self.received, self.received_at = received, time.monotonic()
        if self.when is When.AT_ONCE:
            self.end_now("nothing that a checkpoint could hold was under way. ")
        self.say(
            f"{received.name}: the run ends with this step and a checkpoint, within {self.grace_s:g} s. A second "
            "signal ends it at once.\n"
        )

    def adopt(self, received: signal.Signals) -> None:
        """Take over what another process of the run was told."""
        if self.received is None:
            self.received, self.received_at = received, time.monotonic()

    def seconds_left(self) -> float | None:
        """Give what is left of the time of grace; None where nothing runs out."""
        if self.received is None or self.when is When.ONCE_SAVED:
            return None
        return max(0.0, self.received_at + self.grace_s - time.monotonic())

    def end_now(self, why: str) -> None:
        """Leave without looking back: what is on the disk is what counts."""
        assert self.received is not None
        words = f"{describe_end(self.received)}: {why}"
        if is_main_process():
            self.say(f"{words}{self.way_on()}\n")
        else:
            self.say(f"process {process_index()}: {words.strip()}\n", in_all=True)
        if is_main_process() and os.isatty(1):
            os.write(1, SHOW_CURSOR)
        os._exit(exit_code_of(self.received))

    def say(self, words: str, *, in_all: bool = False) -> None:
        """Write a line past Python's buffers, whose locks another thread may hold; in the main process alone."""
        if in_all or is_main_process():
            with contextlib.suppress(OSError):  # nobody reads any more
                os.write(2, f"razona: {words}".encode())


_current: Leaving | None = None


def current_leaving() -> Leaving | None:
    """Give what handles signals in this process; None where the command line has not installed it."""
    return _current


@contextmanager
def leave_on_signals(grace_s: float, way_on: Callable[[], str]) -> Iterator[Leaving]:
    """Handle `TOLD_BY` for the length of the body.

    A thread does, woken by the system's own handler: the main thread may sit in one long call, and Python's handlers
    would wait for its end. A signal that this process was started to ignore stays ignored.

    Args:
        grace_s: from the first signal to the end of the process, where no checkpoint is being written by then.
        way_on: says with which checkpoint and which command the run goes on.
    """
    global _current
    leaving = Leaving(grace_s, way_on)
    if threading.current_thread() is not threading.main_thread():  # Python lets no other handle signals
        yield leaving
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    handled = [one for one in TOLD_BY if signal.getsignal(one) is not signal.SIG_IGN]
    watch = threading.Thread(target=_watch, args=(leaving, reading, handled), name="signals", daemon=True)
    watch.start()
    before = {one: signal.signal(one, _leave_to_thread) for one in handled}
    woken_before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    _current = leaving
    try:
        yield leaving
    finally:
        _current = None
        signal.set_wakeup_fd(woken_before)
        for one, handler in before.items():
            signal.signal(one, handler)
        os.write(writing, b"\0")  # no signal has this number: the thread ends
        watch.join()
        os.close(reading)
        os.close(writing)


def _leave_to_thread(number: int, frame: object) -> None:
    """Do nothing: that there is a handler is what makes the system wake the thread."""


def _watch(leaving: Leaving, reading: int, handled: list[signal.Signals]) -> None:
    while True:
        left_s = leaving.seconds_left()
        if left_s is None and leaving.received is not None:
            left_s = LOOK_EVERY_S  # the time of grace counts again once the checkpoint is written
        ready, _, _ = select.select([reading], [], [], left_s)
        if not ready and leaving.seconds_left() == 0:
            leaving.end_now(f"the step took longer than the time of grace ({leaving.grace_s:g} s). ")
        for number in os.read(reading, 64) if ready else b"":
            if number == 0:
                return
            if number in handled:
                leaving.take(signal.Signals(number))
