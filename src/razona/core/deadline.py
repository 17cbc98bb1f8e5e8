"""A limit on the time of a call in the main thread, kept by a timer of the kernel."""

import ctypes
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_CLOCK_MONOTONIC = 1
_SIGEV_THREAD_ID = 4  # from Linux's signal.h: the signal goes to one thread, whose sleep it then interrupts
_SIGNAL = signal.SIGRTMIN + 7 if sys.platform == "linux" else 0
"""Not SIGALRM, which the code that is called may use itself (math_verify does)."""


class OverdueError(BaseException):
    """The time is up. No `Exception`, which the code that is interrupted would take for an error of its own."""


class _Event(ctypes.Structure):
    """The kernel's `struct sigevent`, of 64 bytes."""

    _fields_ = [
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("thread", ctypes.c_int),
        ("padding", ctypes.c_char * 44),
    ]


class _Times(ctypes.Structure):
    """The kernel's `struct itimerspec`: the timer fires once."""

    _fields_ = [
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("first_s", ctypes.c_long),
        ("first_ns", ctypes.c_long),
    ]


@contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Interrupt the body when the time is up, and refuse what it gives later.

    It interrupts sleeping, waiting for a network, Python code and regular expressions. Does not cover: a library that
    computes without looking for signals, threads other than the main one, systems other than Linux. There the body
    goes on to its end, and is refused then.

    Args:
        seconds: None: any time.

    Raises:
        OverdueError: the body took longer.
    """
    if seconds is None:
        yield
        return
    started = time.monotonic()
    with _timer(seconds):
        yield
    if time.monotonic() - started > seconds:
        raise OverdueError


@contextmanager
def _timer(seconds: float) -> Iterator[None]:
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        yield
        return
    is_running = True

    def interrupt(number: int, frame: object) -> None:
        if is_running:
            raise OverdueError

    library = ctypes.CDLL(None if hasattr(ctypes.CDLL(None), "timer_create") else "librt.so.1", use_errno=True)
    before = signal.signal(_SIGNAL, interrupt)
    event = _Event(signal=_SIGNAL, notify=_SIGEV_THREAD_ID, thread=threading.get_native_id())
    times = _Times(first_s=int(seconds), first_ns=max(1, int(seconds % 1 * 1e9)))
    timer = ctypes.c_void_p()
    if library.timer_create(_CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer)):
        raise OSError(ctypes.get_errno(), "timer_create")
    try:
        library.timer_settime(timer, 0, ctypes.byref(times), None)
        yield
    finally:
        is_running = False
        library.timer_delete(timer)
        signal.signal(_SIGNAL, before)
