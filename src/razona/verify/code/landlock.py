"""Reading a few folders and nothing else, by Landlock: any process may bind itself so, without privilege.

This file also runs inside the sandbox, hence the standard library only.

Does not cover: asking whether a file exists, its size and times (`stat`), and anything but the file system; the
seccomp filter has the rest. Network and signals have Landlock rules on newer kernels, which the filter makes needless.
Source: Documentation/userspace-api/landlock.rst of Linux.
"""

import ctypes
import os
import struct

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446
"""The same numbers on every processor."""
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
"""Version of the interface -> how many rights it knows about; 16 from version 5 on."""
_NEWEST = 16


def landlock_version(libc: ctypes.CDLL) -> int:
    """Give the version of the kernel's Landlock interface, 0 where it has none or has it switched off."""
    return max(0, libc.syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG)))


def restrict_to(libc: ctypes.CDLL, readable: list[str]) -> None:
    """Let this process, for good, open only files under `readable`, only to read; missing paths are left out.

    Raises:
        OSError: the kernel refuses.
    """
    version = landlock_version(libc)
    if version == 0:
        raise OSError("this kernel has no Landlock")
    handled = (1 << _RIGHTS.get(version, _NEWEST)) - 1
    attributes = struct.pack("=Q", handled)
    rules = libc.syscall(_CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    if rules < 0:
        raise OSError(ctypes.get_errno(), "landlock_create_ruleset failed")
    for path in readable:
        if os.path.exists(path):
            _allow_reading(libc, rules, path)
    if libc.syscall(_RESTRICT, rules, ctypes.c_uint32(0)) != 0:
        raise OSError(ctypes.get_errno(), "landlock_restrict_self failed")
    os.close(rules)


def _allow_reading(libc: ctypes.CDLL, rules: int, path: str) -> None:
    folder_right = _READ_FOLDER if os.path.isdir(path) else 0
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    rule = struct.pack("=Qi", _READ_FILE | folder_right, descriptor)
    done = libc.syscall(_ADD_RULE, rules, _PATH_BENEATH, rule, ctypes.c_uint32(0))
    os.close(descriptor)
    if done != 0:
        raise OSError(ctypes.get_errno(), f"landlock_add_rule failed for {path}")
