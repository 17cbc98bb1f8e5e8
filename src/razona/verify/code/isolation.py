"""Which walls this machine can put around code that a model wrote, and the command that starts a process behind them.

bubblewrap: name spaces of its own for files, processes, network and users; only the interpreter's libraries are
there, read-only, and nothing is writable. Landlock: the same view of the files by the kernel's rules, without any
privilege, for machines that allow no user name spaces (many containers). Both add the seccomp filter, resource limits
and a fresh process per completion, and both give the same verdicts: there is no writable folder in either.

Does not cover: the kernel's own bugs; timing between processes of one machine; how many threads root's or (under
Landlock) a user's sandbox starts within its memory limit; interpreters whose libraries lie outside their own
prefix and /lib, /lib64, /usr/lib, /usr/lib64 (Nix).
"""

import functools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from razona.core.errors import MachineError
from razona.verify.code.confine import Confinement

_START = Path(__file__).with_name("start.py")
_SYSTEM_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
_LOADER_CACHE = "/etc/ld.so.cache"
_PROBE_TIMEOUT_S = 20
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"}
"""All that a sandboxed process knows of the environment. Without the second, the order of a set of strings, and with
it a verdict, would differ from run to run."""
_PYTHON_FLAGS = ("-P", "-s", "-S", "-X", "utf8")
"""`-I` without its `-E`, which would ignore PYTHONHASHSEED: the environment is ours alone."""


class Isolation(StrEnum):
    """The walls around code that a model wrote."""

    AUTO = "auto"
    """bubblewrap where it works, else Landlock, else an error."""
    BUBBLEWRAP = "bubblewrap"
    LANDLOCK = "landlock"
    NONE = "none"
    """Limits of memory and time only: the code can read, send, start and kill what you can. Verdicts stay sound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one sandboxed process may use."""

    memory_mib: int
    """Address space, not resident memory; Python itself takes about 30 MiB of it."""
    cpu_s: int
    """Processor time, the second wall behind the parent's clock."""


def choose_isolation(asked: Isolation) -> Isolation:
    """Give the isolation to use.

    Raises:
        MachineError: this machine does not have it; the message says why, and what to install.
    """
    if asked is Isolation.NONE:
        return asked
    wanted = [Isolation.BUBBLEWRAP, Isolation.LANDLOCK] if asked is Isolation.AUTO else [asked]
    problems = {isolation: problem_with(isolation) for isolation in wanted}
    for isolation, problem in problems.items():
        if not problem:
            return isolation
    found = "; ".join(f"{isolation}: {problem}" for isolation, problem in problems.items())
    raise MachineError(
        f"the code verifier has no sandbox for what a model wrote ({found}). Install bubblewrap (apt install "
        "bubblewrap), or use a kernel of 5.13 or later with Landlock and seccomp switched on. On a machine that holds "
        "nothing worth guarding, rewards.verify.code_isolation: none runs the code with limits of memory and time only."
    )


@functools.cache
def problem_with(isolation: Isolation) -> str:
    """Say why an isolation does not work on this machine, "" where it does. Tried once a process."""
    if isolation is Isolation.BUBBLEWRAP and shutil.which("bwrap") is None:
        return "there is no bwrap on the PATH"
    if isolation is Isolation.LANDLOCK:
        from ctypes import CDLL

        from razona.verify.code.landlock import landlock_version

        if landlock_version(CDLL(None, use_errno=True)) == 0:
            return "the kernel has no Landlock, or has it switched off"
    if isolation is not Isolation.NONE:
        from razona.verify.code.seccomp import is_known_machine

        if not is_known_machine(os.uname().machine):
            return f"no table of system calls for {os.uname().machine}"
    return _try_start(isolation)


def _try_start(isolation: Isolation) -> str:
    """Start a sandboxed process with nothing to do, and give what it complained of."""
    command = start_command(isolation, "probe", 2, Limits(memory_mib=512, cpu_s=5))
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_TIMEOUT_S,
            check=False,
            cwd="/",
            env=ENVIRONMENT,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    complaint = done.stderr.decode("utf-8", errors="replace").strip().splitlines()
    return complaint[-1] if complaint else f"it ended with {done.returncode}"


def start_command(isolation: Isolation, part: str, descriptor: int, limits: Limits) -> list[str]:
    """Give the command that starts one sandboxed process.

    Args:
        part: what the process is for, a key of the table in `start.py`.
        descriptor: its end of a socket, which the process inherits.
    """
    confinement = Confinement(
        descriptor=descriptor,
        has_filter=isolation is not Isolation.NONE,
        has_landlock=isolation is Isolation.LANDLOCK,
        readable=[str(path) for path in _readable()],
        memory_bytes=limits.memory_mib * 2**20,
        cpu_s=limits.cpu_s,
    )
    python = [str(_interpreter()), *_PYTHON_FLAGS, str(_START), part, json.dumps(asdict(confinement))]
    return [*_bubblewrap(), "--", *python] if isolation is Isolation.BUBBLEWRAP else python


def _bubblewrap() -> list[str]:
    # Without a /proc, /dev and /tmp: pure computation needs none, and what is not there cannot be read.
    command = [shutil.which("bwrap") or "bwrap", "--unshare-all", "--die-with-parent", "--cap-drop", "ALL"]
    for path in [*_readable(), _interpreter()]:
        if path.is_symlink() and str(path) in _SYSTEM_LIBRARIES:
            command += ["--symlink", os.readlink(path), str(path)]
        else:
            command += ["--ro-bind-try", str(path), str(path)]
    return [*command, "--remount-ro", "/", "--chdir", "/"]


def _interpreter() -> Path:
    """Give the interpreter itself, not the virtual environment's link to it: only the standard library is lent."""
    return Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()


def _readable() -> list[Path]:
    """Give what a sandboxed process may read: libraries, this folder, nothing of the person's."""
    prefix = Path(sys.base_prefix).resolve()
    own = [prefix / name for name in ("lib", "lib64") if str(prefix / name) not in _SYSTEM_LIBRARIES]
    return [*map(Path, _SYSTEM_LIBRARIES), Path(_LOADER_CACHE), *own, _START.parent]
