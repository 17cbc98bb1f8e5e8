"""What this process is at, and when it last got on: read by the watchdog, and by a run that is told to leave."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Activity:
    """The stage of this process and the moment of its latest sign of life."""

    stage: str = "starting"
    moved_at: float = field(default_factory=time.monotonic)
    """On the clock of `time.monotonic`."""
    may_leave: Callable[[], None] | None = None
    """Called in the main thread at each sign of life; it raises where the work is to be left there."""


ACTIVITY = Activity()
"""Of this process. A process does one run at a time, and what moves in it has no other way to the watchdog."""


def moved() -> None:
    """Give a sign of life, from any thread.

    In the main thread it is a place where the work may be left: `ACTIVITY.may_leave` may raise. So it stands where
    nothing is half written.
    """
    ACTIVITY.moved_at = time.monotonic()
    if ACTIVITY.may_leave is not None and threading.current_thread() is threading.main_thread():
        ACTIVITY.may_leave()


@contextmanager
def in_stage(name: str) -> Iterator[None]:
    """Name what the body does for its length; its beginning and its end are signs of life, and no place to leave."""
    before, ACTIVITY.stage = ACTIVITY.stage, name
    ACTIVITY.moved_at = time.monotonic()
    try:
        yield
    finally:
        ACTIVITY.stage = before
        ACTIVITY.moved_at = time.monotonic()
