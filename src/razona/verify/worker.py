"""What runs inside the processes of `razona.verify.pool`: a launcher that imports once, and the workers it forks.

    caller's process ── control socket ── launcher (sympy imported, one thread, never runs a job)
          └────────── one socket each ── workers (forks of the launcher: 5 ms instead of an import of 0.5 s)

The caller's own process, which may hold torch, CUDA and threads, is never forked. A worker is killed by its
launcher, its only parent: no process id can be taken over by a stranger between its death and the kill.
A worker dies with its launcher (PR_SET_PDEATHSIG), a launcher with the caller's process (end of file, or a new
parent), even where a worker sits in one long call in C that no Python signal handler can interrupt.

Not a sandbox: workers run functions of ours on hostile *data*. They may read files and open sockets as the
caller may; code that a model wrote needs the code verifier.
"""

import ctypes
import gc
import json
import os
import resource
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Mapping

MAX_FRAME_BYTES = 1 << 20
"""Longer messages are refused on both sides of the socket."""
READY = b"ready"
FORK = b"fork"
KILL = b"kill"
REPLY = struct.Struct(">q")
"""The launcher's reply: the new worker's process id, or the exit status of the killed one (-9: by signal 9)."""
OUT_OF_MEMORY_STATUS = 77
"""A worker that runs out of memory sends nothing, for sending allocates; it leaves with this exit status."""
ORPHAN_CHECK_S = 2.0
"""How often an idle launcher looks whether its parent is still there."""
_LENGTH = struct.Struct(">I")
_PR_SET_PDEATHSIG = 1
_MAX_REASON_CHARACTERS = 300

JobFunction = Callable[..., object]


def _prove_equal(left: str, right: str) -> object:
    from razona.verify.symbolic import prove_here

    return prove_here(left, right)


def _warm_up() -> None:
    from razona.verify.symbolic import warm_up

    warm_up()


FUNCTIONS: Mapping[str, JobFunction] = {"prove_equal": _prove_equal}
"""Every function a job can name. Arguments and results are JSON."""


def encode_frame(message: Mapping[str, object]) -> bytes:
    """Give a message as it travels: four bytes of length, then JSON.

    Raises:
        ValueError: it is longer than `MAX_FRAME_BYTES`, or no JSON (TypeError where a value has no JSON form).
    """
    body = json.dumps(message).encode("ascii")
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"a message of {len(body):,} bytes; at most {MAX_FRAME_BYTES:,} travel to or from a worker")
    return _LENGTH.pack(len(body)) + body


def _receive_bytes(channel: socket.socket, count: int, end: float | None) -> bytes:
    """Give `count` bytes, fewer only where the other side has closed. `end` is on `time.monotonic`'s clock."""
    chunks: list[bytes] = []
    while count > 0:
        if end is not None:
            left_s = end - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            channel.settimeout(left_s)
        chunk = channel.recv(min(count, 1 << 16))
        if not chunk:
            break
        chunks.append(chunk)
        count -= len(chunk)
    return b"".join(chunks)


def receive_frame(channel: socket.socket, end: float | None = None) -> Mapping[str, object] | None:
    """Give the next message, None where the other side has closed.

    Args:
        end: give up at this reading of `time.monotonic`; None waits for ever.

    Raises:
        TimeoutError: `end` came first.
        ValueError: the bytes are no frame of ours.
    """
    header = _receive_bytes(channel, _LENGTH.size, end)
    if len(header) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(header)
    if length > MAX_FRAME_BYTES:
        raise ValueError(f"a frame announces {length:,} bytes; at most {MAX_FRAME_BYTES:,} are allowed")
    body = _receive_bytes(channel, length, end)
    if len(body) < length:
        return None
    message = json.loads(body)
    if not isinstance(message, dict):
        raise ValueError("a frame holds no JSON object")
    return message


def _memory_bytes(field: int) -> int:
    """Give a field of /proc/self/statm in bytes: 0 is the address space, 1 what lies in memory."""
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[field]) * resource.getpagesize()


def _limit_address_space(extra_bytes: int) -> None:
    """Let this process map `extra_bytes` more than now; its next `malloc` beyond that fails."""
    limit = _memory_bytes(0) + extra_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _answer(job: Mapping[str, object], functions: Mapping[str, JobFunction], start_bytes: int) -> bytes:
    """Run one job and give the frame to send back; MemoryError passes through."""
    name, arguments = job.get("function"), job.get("arguments")
    function = functions.get(str(name))
    if function is None or not isinstance(arguments, dict):
        return encode_frame({"failed": f"no function {name!r} with named arguments; there are {sorted(functions)}"})
    try:
        value = function(**arguments)
        return encode_frame({"done": value, "grown_bytes": _memory_bytes(1) - start_bytes})
    except MemoryError:
        raise
    except BaseException as error:  # the boundary: nothing a function raises, SystemExit included, ends the worker
        reason = f"{type(error).__name__}: {error}".replace("\n", " ")
        return encode_frame({"failed": reason[:_MAX_REASON_CHARACTERS]})


def _work(channel: socket.socket, functions: Mapping[str, JobFunction], memory_bytes: int) -> None:
    """Serve jobs until the other side closes."""
    start_bytes = _memory_bytes(1)
    _limit_address_space(memory_bytes)
    while (job := receive_frame(channel)) is not None:
        channel.sendall(_answer(job, functions, start_bytes))


def _become_worker(channel_fd: int, functions: Mapping[str, JobFunction], memory_bytes: int, launcher_pid: int) -> None:
    """Turn a fresh fork of the launcher into a worker; never returns."""
    status = 1
    channel = socket.socket(fileno=channel_fd)  # open until the exit status is set: its end brings the kill
    try:
        os.setsid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() == launcher_pid:  # else the launcher died before the line above
            _work(channel, functions, memory_bytes)
            status = 0
    except MemoryError:
        status = OUT_OF_MEMORY_STATUS
    finally:
        os._exit(status)


def _kill(pid: int) -> int:
    """Kill and reap a worker; its exit status, negative where a signal ended it."""
    os.kill(pid, signal.SIGKILL)  # not yet reaped, so the id is still this worker's, dead or alive
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _serve_caller(
    control: socket.socket, functions: Mapping[str, JobFunction], memory_bytes: int, caller_pid: int
) -> None:
    """Fork and kill on request until the caller closes the socket or is gone."""
    launcher_pid = os.getpid()
    control.settimeout(ORPHAN_CHECK_S)
    while os.getppid() == caller_pid:
        try:
            request, fds, _, _ = socket.recv_fds(control, 64, 1)
        except TimeoutError:
            continue
        if not request:
            return
        if request == FORK:
            pid = os.fork()
            if pid == 0:
                control.close()
                _become_worker(fds[0], functions, memory_bytes, launcher_pid)
            os.close(fds[0])
            control.send(REPLY.pack(pid))
        else:
            control.send(REPLY.pack(_kill(int(request.removeprefix(KILL)))))


def launch(functions: Mapping[str, JobFunction], warm_up: Callable[[], None]) -> None:
    """Run the launcher: import with `warm_up`, then fork a worker whenever the caller asks.

    Reads the caller's process id and the workers' memory limit in bytes from the command line and the control
    socket from file descriptor 0, which then becomes /dev/null: no function can read or write the protocol by
    way of its standard streams.
    """
    caller_pid, memory_bytes = int(sys.argv[1]), int(sys.argv[2])
    control = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a caller that ignores it would leave us nothing to wait for
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warm_up()
    gc.collect()
    gc.freeze()  # the forks' collector then leaves the shared pages alone
    os.dup2(null, 2)
    os.close(null)
    control.send(READY)
    try:
        _serve_caller(control, functions, memory_bytes, caller_pid)
    except ConnectionError:
        return  # the caller went away in the middle of a request


def main() -> None:
    """Run the launcher of Razona's own functions."""
    launch(FUNCTIONS, _warm_up)
