"""What a process of the sandbox does to itself before it reads a line of the code it is there to run.

This file runs inside the sandbox, hence the standard library only. Everything here is for good: no later step of
the process can take it back.
"""

import ctypes
import os
import resource
import signal
from dataclasses import dataclass

from razona.verify.code.landlock import restrict_to
from razona.verify.code.seccomp import forbid_new_privileges, install_filter

_PR_SET_PDEATHSIG = 1
_CAPABILITY_VERSION_3 = 0x20080522
MAX_OPEN_FILES = 64
MAX_THREADS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """What a sandboxed process is told about itself on its command line."""

    descriptor: int
    """Its end of the socket to the trusted side."""
    has_filter: bool
    """Install the seccomp filter; False only without any isolation."""
    has_landlock: bool
    """Install the Landlock rules; False inside bubblewrap, whose mount name space does the same."""
    readable: list[str]
    memory_bytes: int
    cpu_s: int


def confine(confinement: Confinement) -> None:
    """Give up everything that code in this process is not to have.

    Raises:
        OSError: the kernel refuses a step; the process must not go on.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    _set_limits(confinement)
    if not confinement.has_filter:
        return
    forbid_new_privileges(libc)
    _drop_capabilities(libc)
    if confinement.has_landlock:
        restrict_to(libc, confinement.readable)
    install_filter(libc, os.uname().machine)


def _set_limits(confinement: Confinement) -> None:
    limits = {
        resource.RLIMIT_AS: confinement.memory_bytes,
        resource.RLIMIT_CPU: confinement.cpu_s,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_NOFILE: MAX_OPEN_FILES,
    }
    if confinement.has_filter and not confinement.has_landlock:
        # In bubblewrap's user name space the count starts at 0; elsewhere it is of all processes of the user.
        limits[resource.RLIMIT_NPROC] = MAX_THREADS
    for kind, wanted in limits.items():
        _, hard = resource.getrlimit(kind)
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (allowed, allowed))


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """Root without capabilities: owner of root's files, and otherwise a user like any other."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if libc.capset(header, nothing) != 0:
        raise OSError(ctypes.get_errno(), "capset failed")
