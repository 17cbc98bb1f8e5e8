"""The system calls that sandboxed code may make, as a filter program that the kernel runs on each call.

What is not on the list fails with EPERM, which takes with it: sockets, new processes and programs (`fork`, `execve`),
signals to anyone, `ptrace` and other processes' memory, mounts, name spaces, BPF, keys, io_uring, every change of a
file's name, mode or owner, and whatever a later kernel adds. A list of what is allowed, not of what is denied: a
forgotten call breaks an exotic program, and opens nothing.

This file also runs inside the sandbox, hence the standard library only.

Does not cover: what the allowed calls can do (reading files is Landlock's or bubblewrap's to stop; memory and time are
the resource limits'), other processors than x86-64 and arm64, and the kernel's own bugs.
Source: seccomp(2); the numbers are those of Linux's asm/unistd_64.h and asm-generic/unistd.h.
"""

import ctypes
import struct

_NUMBERS: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63),
    "write": (1, 64),
    "readv": (19, 65),
    "writev": (20, 66),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "close": (3, 57),
    "lseek": (8, 62),
    "fstat": (5, 80),
    "newfstatat": (262, 79),
    "stat": (4, None),
    "lstat": (6, None),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "statx": (332, 291),
    "open": (2, None),
    "openat": (257, 56),
    "getdents": (78, None),
    "getdents64": (217, 61),
    "getcwd": (79, 17),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "dup": (32, 23),
    "dup2": (33, None),
    "dup3": (292, 24),
    "pipe": (22, None),
    "pipe2": (293, 59),
    "poll": (7, None),
    "ppoll": (271, 73),
    "select": (23, None),
    "pselect6": (270, 72),
    "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21),
    "epoll_wait": (232, None),
    "epoll_pwait": (281, 22),
    "eventfd2": (290, 19),
    "mmap": (9, 222),
    "munmap": (11, 215),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "brk": (12, 214),
    "madvise": (28, 233),
    "futex": (202, 98),
    "set_robust_list": (273, 99),
    "get_robust_list": (274, 100),
    "rseq": (334, 293),
    "set_tid_address": (218, 96),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "getcpu": (309, 168),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "times": (100, 153),
    "getitimer": (36, 102),
    "setitimer": (38, 103),
    "alarm": (37, None),
    "getrusage": (98, 165),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "rt_sigpending": (127, 136),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getppid": (110, 173),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getgroups": (115, 158),
    "getresuid": (118, 148),
    "getresgid": (120, 150),
    "uname": (63, 160),
    "sysinfo": (99, 179),
    "getrandom": (318, 278),
    "getrlimit": (97, 163),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "arch_prctl": (158, None),
    "membarrier": (324, 283),
}
"""Calls allowed with any arguments: their number on x86-64, then on arm64; None where there is no such call."""

_THREAD_FLAGS = (0x3D0F00, 0x7D0F00)
"""What `clone` gets from glibc's and from musl's pthread_create; a new process has other flags."""
_DESCRIPTOR_COMMANDS = (0, 1, 2, 3, 4, 1030, 1032)
"""fcntl: F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, F_GETPIPE_SZ. Not F_SETOWN and F_SETSIG:
with them the kernel sends any signal, SIGKILL too, to a process of one's choice when a socket becomes ready."""
_TERMINAL_QUESTIONS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""ioctl: TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX. Not FIOSETOWN, which is F_SETOWN again."""
_OWN_PROCESS = (0,)
"""prlimit64 on process 0, oneself: on another process of the same user it is an attack."""

_GUARDED: list[tuple[tuple[int, int], int, tuple[int, ...]]] = [
    ((56, 220), 0, _THREAD_FLAGS),
    ((72, 25), 1, _DESCRIPTOR_COMMANDS),
    ((16, 29), 1, _TERMINAL_QUESTIONS),
    ((302, 261), 0, _OWN_PROCESS),
]
"""clone, fcntl, ioctl, prlimit64: the numbers, which argument is looked at, and its allowed values."""

_CLONE3 = 435
"""Its flags lie in memory, where a filter cannot look; with ENOSYS the C library falls back to `clone`."""
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""The column of the tables above, and the kernel's AUDIT_ARCH number."""
_X32 = 0x40000000
"""On x86-64 the same calls have a second set of numbers from here on."""

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_NUMBER_OFFSET, _ARCH_OFFSET, _ARGUMENTS_OFFSET = 0, 4, 16

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_ZEROS = (ctypes.c_ulong(0),) * 3


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def is_known_machine(machine: str) -> bool:
    """Say whether the tables have the numbers of a processor, named as `os.uname().machine` does."""
    return machine in _MACHINES


def build_filter(machine: str) -> bytes:
    """Give the filter program for a processor: instructions of 8 bytes, as the kernel wants them.

    Raises:
        KeyError: `is_known_machine` says no.
    """
    column, arch = _MACHINES[machine]
    code = [_op(_LOAD, _ARCH_OFFSET), _op(_EQUAL, arch, 1, 0), _op(_RETURN, _KILL), _op(_LOAD, _NUMBER_OFFSET)]
    if machine == "x86_64":
        code += [_op(_AT_LEAST, _X32, 0, 1), _op(_RETURN, _ERRNO | _EPERM)]
    for numbers in _NUMBERS.values():
        number = numbers[column]
        if number is not None:
            code += [_op(_EQUAL, number, 0, 1), _op(_RETURN, _ALLOW)]
    code += [_op(_EQUAL, _CLONE3, 0, 1), _op(_RETURN, _ERRNO | _ENOSYS)]
    for numbers, argument, values in _GUARDED:
        # The low half of the argument: both processors are little-endian, and the kernel reads 32 bits of these four.
        check = [_op(_LOAD, _ARGUMENTS_OFFSET + 8 * argument)]
        for value in values:
            check += [_op(_EQUAL, value, 0, 1), _op(_RETURN, _ALLOW)]
        check.append(_op(_RETURN, _ERRNO | _EPERM))
        code += [_op(_EQUAL, numbers[column], 0, len(check)), *check]
    code.append(_op(_RETURN, _ERRNO | _EPERM))
    return b"".join(code)


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def forbid_new_privileges(libc: ctypes.CDLL) -> None:
    """Make this process unable to gain rights by starting a program; the filters below ask for it."""
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), *_ZEROS) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS) failed")


def install_filter(libc: ctypes.CDLL, machine: str) -> None:
    """Put this process, and every thread it starts from now on, under the filter for good.

    Raises:
        OSError: the kernel refuses, for instance because it was built without seccomp.
    """
    code = build_filter(machine)
    program = _Program(length=len(code) // 8, code=code)
    if libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), ctypes.byref(program), *_ZEROS[1:]) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECCOMP) failed")
