"""Killable worker processes: a job either ends by its deadline or its worker does."""

import contextlib
import math
import os
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType

import razona
from razona.core.errors import MachineError
from razona.verify.worker import FORK, KILL, OUT_OF_MEMORY_STATUS, READY, REPLY, encode_frame, receive_frame

_EXCHANGE_TIMEOUT_S = 10.0
"""A launcher forks or kills within milliseconds; one that takes longer than this is given up."""
_MAX_REASON_CHARACTERS = 300


class JobStatus(StrEnum):
    """How a job ended."""

    DONE = "done"
    """The function returned; `JobResult.value` is what."""
    FAILED = "failed"
    """The function raised; the reason says what."""
    TIMED_OUT = "timed_out"
    """The deadline passed and the worker was killed."""
    OUT_OF_MEMORY = "out_of_memory"
    """The job needed more memory than a worker has."""
    CRASHED = "crashed"
    """The worker died of the job, say of a stack overflow in C."""
    UNAVAILABLE = "unavailable"
    """No warm worker took the job: our side failed, and the job's data have nothing to do with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What became of one job."""

    status: JobStatus
    value: object = None
    """The function's result where the status is DONE, as JSON gives it back."""
    seconds: float = 0.0
    """Wall-clock time from the moment a warm worker took the job; 0 where none did."""
    reason: str = ""
    """One sentence; empty where the status is DONE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """The limits of a pool."""

    num_workers: int = field(default_factory=lambda: max(1, min(4, os.cpu_count() or 1)))
    """Jobs at once. A worker is forked when a job needs one, so an unused place costs nothing."""
    memory_mib: int = 128
    """Address space of a worker above what the imports take (about 60 MiB lie in memory then): under 200 MiB in all."""
    recycle_mib: int = 48
    """A worker that holds this much more after a job than at its start is replaced (sympy's caches only grow)."""
    max_jobs: int = 1000
    """A worker is replaced after this many jobs."""
    start_timeout_s: float = 30.0
    """For the imports, once per pool (0.5 s here): not part of any deadline, UNAVAILABLE where they take longer."""
    wait_timeout_s: float = 60.0
    """For a free place where all workers are busy; not part of the deadline either."""
    program: str = "from razona.verify.worker import main; main()"
    """Python source of the launcher; tests give one with functions of their own to `razona.verify.worker.launch`."""


class _UnavailableError(Exception):
    """No worker can be had; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Launcher:
    """The running process that forks and kills workers."""

    process: "subprocess.Popen[bytes]"
    control: socket.socket

    def exchange(self, request: bytes, fds: tuple[int, ...] = ()) -> int:
        """Send one request and give its reply. One thread at a time."""
        try:
            self.control.settimeout(_EXCHANGE_TIMEOUT_S)
            socket.send_fds(self.control, [request], fds, socket.MSG_NOSIGNAL)
            reply = self.control.recv(REPLY.size)
        except OSError as error:
            raise _UnavailableError(f"the launcher of the workers does not answer: {error}") from None
        if len(reply) != REPLY.size:
            raise _UnavailableError("the launcher of the workers has died")
        return int(REPLY.unpack(reply)[0])

    def stop(self) -> None:
        """End it, and with it every worker it forked."""
        self.control.close()
        self.process.kill()
        self.process.wait()


@dataclass(slots=True, kw_only=True, eq=False)
class _Worker:
    """One forked process, used by one thread at a time."""

    pid: int
    channel: socket.socket
    launcher: _Launcher
    num_jobs: int = 0

    def is_idle(self) -> bool:
        """Whether it is alive and silent, as a worker between jobs must be."""
        self.channel.setblocking(False)
        try:
            self.channel.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


def _start_launcher(settings: PoolSettings) -> _Launcher:
    """Start a launcher and wait until its imports are done."""
    root = Path(razona.__file__).parent.parent
    program = f"import sys; sys.path.append({str(root)!r})\n{settings.program}"
    # -P: a file sympy.py in the working folder is no sympy. -W: the caller may have turned warnings into errors.
    command = [sys.executable, "-P", "-W", "ignore", "-c", program, str(os.getpid()), str(settings.memory_mib << 20)]
    # gmpy2 would end a process that runs out of memory, where Python's own integers raise.
    environment = os.environ | {"PYTHONHASHSEED": "0", "SYMPY_GROUND_TYPES": "python"}
    control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        process = subprocess.Popen(
            command,
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        control.close()
        raise _UnavailableError(f"{sys.executable} cannot be started: {error}") from None
    finally:
        theirs.close()
    launcher = _Launcher(process=process, control=control)
    assert process.stderr is not None
    with process.stderr:
        try:
            _await_ready(launcher, settings)
        except BaseException:  # Ctrl-C too: nobody else knows of the process yet
            launcher.stop()
            raise
    return launcher


def _await_ready(launcher: _Launcher, settings: PoolSettings) -> None:
    launcher.control.settimeout(settings.start_timeout_s)
    try:
        message = launcher.control.recv(len(READY))
    except TimeoutError:
        raise _UnavailableError(f"no worker was ready within {settings.start_timeout_s:g} s") from None
    except OSError as error:
        message = str(error).encode()
    if message == READY:
        return
    launcher.process.kill()
    assert launcher.process.stderr is not None
    lines = launcher.process.stderr.read(1 << 16).decode(errors="replace").strip().splitlines()
    last = lines[-1][:_MAX_REASON_CHARACTERS] if lines else "it wrote nothing to standard error"
    raise _UnavailableError(f"the launcher of the workers ended before it was ready: {last}")


class _State:
    """What a pool owns, apart from the pool, so that the pool can be collected and its processes ended."""

    def __init__(self, settings: PoolSettings) -> None:
        self.settings = settings
        self.is_closed = False
        self.renew()

    def renew(self) -> None:
        """Own nothing yet."""
        self.lock = threading.Lock()
        """Held while a worker is taken, given back or killed, and through a cold start; never during a job."""
        self.places = threading.BoundedSemaphore(self.settings.num_workers)
        self.launcher: _Launcher | None = None
        self.idle: list[_Worker] = []
        self.busy: set[_Worker] = set()

    def forget(self) -> None:
        """In a forked child: leave the parent's processes to the parent, touching none."""
        for worker in (*self.idle, *self.busy):
            worker.channel.close()
        if self.launcher is not None:
            self.launcher.control.close()
            self.launcher.process.returncode = 0  # else its Popen would warn that "it" is still running
        self.renew()

    def stop(self) -> None:
        """End every process. The caller holds the lock."""
        for worker in self.busy:  # the thread that waits for it closes the channel
            with contextlib.suppress(OSError):  # already shut: the worker has just died
                worker.channel.shutdown(socket.SHUT_RDWR)
        while self.idle:
            self.idle.pop().channel.close()
        if self.launcher is not None:
            launcher, self.launcher = self.launcher, None
            launcher.stop()

    def close(self) -> None:
        with self.lock:
            self.is_closed = True
            self.stop()

    def take(self) -> _Worker:
        """Give a warm worker, forked now where none is idle."""
        if not self.lock.acquire(timeout=self.settings.start_timeout_s):
            raise _UnavailableError(f"no worker was ready within {self.settings.start_timeout_s:g} s")
        try:
            if self.is_closed:
                raise MachineError("this pool of workers is closed; make a new one, or call inside its `with` block")
            while self.idle:
                worker = self.idle.pop()
                if worker.is_idle():
                    break
                self._bury(worker)  # somebody else killed it between two jobs
            else:
                worker = self._fork()
            self.busy.add(worker)
            return worker
        finally:
            self.lock.release()

    def give_back(self, worker: _Worker, *, grown_bytes: int) -> None:
        """Keep a worker for the next job, or replace it where it has done enough or grown too large."""
        worker.num_jobs += 1
        is_spent = worker.num_jobs >= self.settings.max_jobs or grown_bytes > self.settings.recycle_mib << 20
        with self.lock:
            self.busy.discard(worker)
            if is_spent or worker.launcher is not self.launcher:
                self._bury(worker)
            else:
                self.idle.append(worker)

    def kill(self, worker: _Worker) -> int | None:
        """End a worker; its exit status, None where it went with its launcher."""
        with self.lock:
            self.busy.discard(worker)
            return self._bury(worker)

    def _fork(self) -> _Worker:
        if self.launcher is not None and self.launcher.process.poll() is not None:
            self.stop()
        if self.launcher is None:
            self.launcher = _start_launcher(self.settings)
        ours, theirs = socket.socketpair()
        try:
            pid = self.launcher.exchange(FORK, (theirs.fileno(),))
        except _UnavailableError:
            ours.close()
            self.stop()
            raise
        finally:
            theirs.close()
        return _Worker(pid=pid, channel=ours, launcher=self.launcher)

    def _bury(self, worker: _Worker) -> int | None:
        worker.channel.close()
        if worker.launcher is not self.launcher:
            return None
        try:
            return worker.launcher.exchange(KILL + str(worker.pid).encode())
        except _UnavailableError:
            self.stop()
            return None


_STATES: "weakref.WeakSet[_State]" = weakref.WeakSet()


def _forget_after_fork() -> None:
    global _default_lock
    _default_lock = threading.Lock()
    for state in list(_STATES):
        state.forget()


os.register_at_fork(after_in_child=_forget_after_fork)


class Pool:
    """Warm processes that run `razona.verify.worker.FUNCTIONS`, each job under a deadline and a memory limit.

    Nothing starts before the first job. `run` may be called from any thread, and through `asyncio.to_thread`; no
    signal and no alarm is involved. A process forked from this one starts workers of its own.

    Does not cover: what a function does to files or the network (see `razona.verify.worker`); kernels other than Linux.

    >>> with Pool() as pool:
    ...     pool.run("prove_equal", {"left": "x+x", "right": "2x"}, deadline_s=1.0).status
    <JobStatus.DONE: 'done'>
    """

    def __init__(self, settings: PoolSettings | None = None) -> None:
        self._state = _State(settings or PoolSettings())
        _STATES.add(self._state)
        self._finalizer = weakref.finalize(self, self._state.close)

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every process and wait for it; jobs still running end as UNAVAILABLE. A second call does nothing."""
        self._finalizer()

    def run(self, function: str, arguments: Mapping[str, object], *, deadline_s: float) -> JobResult:
        """Run one job and say how it ended; blocks for at most the deadline, the two waits below and a moment to kill.

        The deadline counts from the moment a warm worker takes the job. Waiting for a free worker
        (`wait_timeout_s`) and for the imports of the very first one (`start_timeout_s`) is not the job's doing:
        where it takes too long the status is UNAVAILABLE, never TIMED_OUT.

        Raises:
            ValueError: the deadline is not a positive number.
            MachineError: the pool is closed.
        """
        if not (math.isfinite(deadline_s) and deadline_s > 0):
            raise ValueError(f"deadline_s = {deadline_s!r}; expected a positive number of seconds")
        try:
            frame = encode_frame({"function": function, "arguments": dict(arguments)})
        except (TypeError, ValueError) as error:
            return JobResult(status=JobStatus.FAILED, reason=f"the job cannot be sent: {error}")
        state, places = self._state, self._state.places  # a fork of this process renews the state's own
        if not places.acquire(timeout=state.settings.wait_timeout_s):
            reason = f"all workers were busy for {state.settings.wait_timeout_s:g} s"
            return JobResult(status=JobStatus.UNAVAILABLE, reason=reason)
        try:
            return _run_on(state, state.take(), frame, deadline_s)
        except _UnavailableError as error:
            return JobResult(status=JobStatus.UNAVAILABLE, reason=str(error))
        finally:
            places.release()


def _run_on(state: _State, worker: _Worker, frame: bytes, deadline_s: float) -> JobResult:
    """Run a job on a worker taken for it, then give the worker back or kill it."""
    start = time.monotonic()
    reply = None
    has_timed_out = False
    try:
        worker.channel.settimeout(deadline_s)
        worker.channel.sendall(frame, socket.MSG_NOSIGNAL)
        reply = receive_frame(worker.channel, start + deadline_s)
    except TimeoutError:
        has_timed_out = True
    except (OSError, ValueError):
        pass  # it died, or what it sent is no frame: told apart by its exit status below
    except BaseException:  # Ctrl-C: the worker is still at it, and nobody will read its answer
        state.kill(worker)
        raise
    seconds = time.monotonic() - start
    if reply is not None:
        state.give_back(worker, grown_bytes=int(str(reply.get("grown_bytes", 0))))
        if "done" in reply:
            return JobResult(status=JobStatus.DONE, value=reply["done"], seconds=seconds)
        return JobResult(status=JobStatus.FAILED, reason=str(reply.get("failed")), seconds=seconds)
    exit_status = state.kill(worker)
    if has_timed_out:
        status, reason = JobStatus.TIMED_OUT, f"not done within {deadline_s:g} s"
    elif exit_status in (None, -9):  # SIGKILL, which we send after a deadline alone; the kernel, where memory is short
        raise _UnavailableError("the worker was killed, its launcher died or the pool was closed, while the job ran")
    elif exit_status == OUT_OF_MEMORY_STATUS:
        status, reason = JobStatus.OUT_OF_MEMORY, f"needed over {state.settings.memory_mib} MiB beyond the imports"
    else:
        status, reason = JobStatus.CRASHED, f"the worker died with exit status {exit_status}"
    return JobResult(status=status, reason=reason, seconds=seconds)


_default: Pool | None = None
_default_lock = threading.Lock()


def default_pool() -> Pool:
    """Give the one pool of this process, with the default settings; ended when the process ends."""
    global _default
    with _default_lock:
        if _default is None:
            _default = Pool()
        return _default
