"""Freed memory stays with the process, unless its owner has decided otherwise."""

import os
import platform
import subprocess
import sys

import pytest

from razona.core.allocator import keep_freed_memory

is_glibc = platform.libc_ver()[0] == "glibc"

FAULTS = """
import resource, sys
from razona.core.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
def take():
    bytes(bytearray(8 * 2**20))
take()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    take()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    ours = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    found = subprocess.run([sys.executable, "-c", FAULTS, how], env=environment, capture_output=True, check=True)
    return int(found.stdout)


@pytest.mark.skipif(not is_glibc, reason="the C library is not glibc")
def test_blocks_are_used_again_without_a_page_fault():
    pages = 20 * 2 * 8 * 2**20 // 4096
    if faults("given back") < pages / 10:
        pytest.skip("this machine counts no page faults, or keeps memory anyway")
    assert faults("kept") < pages / 50


def test_the_owners_own_settings_stand(monkeypatch):
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    assert keep_freed_memory() is False
