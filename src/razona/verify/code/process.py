"""One sandboxed process as its trusted parent sees it: messages with deadlines, and an end that is certain.

Waiting is by the socket's own timeout, never by a signal, so it works from any thread.
"""

import os
import selectors
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from types import TracebackType

from razona.verify.code.isolation import ENVIRONMENT, Isolation, Limits, start_command
from razona.verify.code.wire import LENGTH_BYTES, MAX_MESSAGE_BYTES

START_TIMEOUT_S = 30.0
"""A process that takes longer to confine itself is the machine's failure, not the completion's."""
_END_TIMEOUT_S = 10.0
_COMPLAINT_BYTES = 4_000
_CHUNK_BYTES = 65_536
_READS = (selectors.EVENT_READ,) * 2


class SandboxFailedError(Exception):
    """Our side failed: a process could not be started or confined."""


class EndedError(Exception):
    """The process has closed its socket, which happens when it ends."""


class TooLongError(Exception):
    """The process sent more than it may."""


class SandboxProcess:
    """A confined process and the socket to it; `with` ends it, and all it has started, for certain."""

    def __init__(self, isolation: Isolation, part: str, limits: Limits) -> None:
        ours, theirs = socket.socketpair()
        is_program = part == "program"
        try:
            with theirs:
                self._process = subprocess.Popen(
                    start_command(isolation, part, theirs.fileno(), limits),
                    stdin=subprocess.PIPE if is_program else subprocess.DEVNULL,
                    stdout=subprocess.PIPE if is_program else subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    pass_fds=(theirs.fileno(),),
                    cwd="/",
                    env=ENVIRONMENT,
                    start_new_session=True,
                )
        except OSError as error:
            ours.close()
            raise SandboxFailedError(f"the sandbox did not start: {error}") from None
        self._socket = ours

    def __enter__(self) -> "SandboxProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill the process and what it started, and wait for its end.

        Raises:
            SandboxFailedError: the kernel does not let it end.
        """
        try:
            if self._process.poll() is None:
                # Its session is its own; bubblewrap's name space of processes ends with its first member.
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(timeout=_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise SandboxFailedError(f"a killed sandbox was still there after {_END_TIMEOUT_S:.0f} s") from None
        finally:
            self._socket.close()
            for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
                if stream is not None:
                    stream.close()

    def wait_confined(self) -> None:
        """Wait until the process has confined itself; no code of a completion is in it before.

        Raises:
            SandboxFailedError: it did not, with what it complained of.
        """
        try:
            if self.receive(time.monotonic() + START_TIMEOUT_S) == b"confined":
                return
            complaint = "its first message is not the one expected"
        except TimeoutError:
            complaint = f"nothing came within {START_TIMEOUT_S:.0f} s"
        except (EndedError, TooLongError):
            complaint = self._complaint()
        raise SandboxFailedError(f"the sandbox did not start: {complaint}")

    def _complaint(self) -> str:
        stderr = self._process.stderr
        text = b"" if stderr is None else os.read(stderr.fileno(), _COMPLAINT_BYTES)
        lines = text.decode("utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "it ended without a word"

    def send(self, message: bytes, deadline: float) -> None:
        """Send one message.

        Args:
            deadline: on the clock of `time.monotonic`.

        Raises:
            TimeoutError: the process did not read it in time.
            EndedError: the process has ended.
        """
        self._socket.settimeout(_left(deadline))
        try:
            self._socket.sendall(len(message).to_bytes(LENGTH_BYTES, "big") + message)
        except (BrokenPipeError, ConnectionResetError):
            raise EndedError from None

    def receive(self, deadline: float) -> bytes:
        """Receive one message.

        Raises:
            TimeoutError: it did not arrive in time.
            EndedError: the process has ended.
            TooLongError: it is longer than `MAX_MESSAGE_BYTES`.
        """
        num_bytes = int.from_bytes(self._receive_exactly(LENGTH_BYTES, deadline), "big")
        if num_bytes > MAX_MESSAGE_BYTES:
            raise TooLongError
        return self._receive_exactly(num_bytes, deadline)

    def _receive_exactly(self, num_bytes: int, deadline: float) -> bytes:
        parts: list[bytes] = []
        while num_bytes:
            self._socket.settimeout(_left(deadline))
            try:
                part = self._socket.recv(min(num_bytes, _CHUNK_BYTES))
            except ConnectionResetError:
                raise EndedError from None
            if not part:
                raise EndedError
            parts.append(part)
            num_bytes -= len(part)
        return b"".join(parts)

    def how_it_ended(self) -> str:
        """Say how a process that has closed its socket ended, for the person who reads the samples."""
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return "closed its socket"
        number = -code if code < 0 else code - 128  # bubblewrap gives 128 + the signal
        if number > 0:
            try:
                return f"was ended by {signal.Signals(number).name}"
            except ValueError:
                pass
        return f"ended with exit code {code}"

    def run(self, source: str, standard_input: str, deadline: float) -> "ProgramRun":
        """Run a program on a text until it ends. For the part `program`, once.

        Raises:
            TimeoutError: it was still running at the deadline.
            TooLongError: it wrote more than `MAX_MESSAGE_BYTES`.
            EndedError: it ended before it had read the program.
        """
        self.send(as_bytes(source), deadline)
        stdout, stderr = self._exchange(as_bytes(standard_input), deadline)
        try:
            code = self._process.wait(timeout=_left(deadline))
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        return ProgramRun(stdout=stdout, stderr=stderr, exit_code=code)

    def _exchange(self, data: bytes, deadline: float) -> tuple[bytes, bytes]:
        """Write `data` to standard input and read both outputs until they end, whichever is ready."""
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        assert stdin is not None and stdout is not None and stderr is not None
        parts: dict[int, list[bytes]] = {stdout.fileno(): [], stderr.fileno(): []}
        still_open, rest, num_read = set(parts), memoryview(data), 0
        with selectors.DefaultSelector() as selector:
            for descriptor, event in ((stdin.fileno(), selectors.EVENT_WRITE), *zip(parts, _READS, strict=True)):
                os.set_blocking(descriptor, False)
                selector.register(descriptor, event)
            while still_open:
                for key, _ in selector.select(_left(deadline)):
                    if key.fd not in parts:
                        rest = _write_some(key.fd, rest)
                        if not rest:
                            selector.unregister(key.fd)
                            stdin.close()
                        continue
                    part = os.read(key.fd, _CHUNK_BYTES)
                    parts[key.fd].append(part)
                    num_read += len(part)
                    if num_read > MAX_MESSAGE_BYTES:
                        raise TooLongError
                    if not part:
                        selector.unregister(key.fd)
                        still_open.remove(key.fd)
        return b"".join(parts[stdout.fileno()]), b"".join(parts[stderr.fileno()])


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramRun:
    """What a program that ended by itself left behind."""

    stdout: bytes
    stderr: bytes
    exit_code: int


def as_bytes(text: str) -> bytes:
    """Give a text as UTF-8; the halves of a surrogate pair, which a tokenizer may leave behind, pass through."""
    return text.encode("utf-8", errors="surrogatepass")


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _write_some(descriptor: int, data: memoryview) -> memoryview:
    """Write what fits, and give the rest; nothing is left where the reader has gone."""
    try:
        return data[os.write(descriptor, data) :] if data else data
    except BrokenPipeError:
        return data[:0]
