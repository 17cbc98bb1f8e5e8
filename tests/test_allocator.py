"""Freed memory stays with the process, unless its owner has decided otherwise."""

import os
import platform
import subprocess
import sys

import pytest

from razona.core.allocator import SMALL_MODEL, keep_freed_memory, suit_allocator

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


GROWTH = """
import ctypes, sys
from razona.core.allocator import suit_allocator
assert suit_allocator(int(sys.argv[1]))
c = ctypes.CDLL(None)
def take(count):
    place = ctypes.c_void_p()
    assert c.posix_memalign(ctypes.byref(place), 64, count) == 0
    ctypes.memset(place, 1, count)
    return place
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
before, kept = resident(), []
for _ in range(64):
    freed = take(4_400_000)
    kept.append(take(2**20))  # what lies behind a freed block keeps it from growing together with others
    c.free(freed)
print(resident() - before - 64 * 2**20)
"""


def growth(num_weights: int) -> int:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", GROWTH, str(num_weights)]
    return int(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)


@pytest.mark.skipif(not is_glibc, reason="the C library is not glibc")
def test_a_large_models_process_holds_no_more_than_its_blocks():
    assert growth(SMALL_MODEL + 1) < 8 * 2**20, "64 freed blocks of 4.4 MB would be 280 MB"


@pytest.mark.skipif(not is_glibc, reason="the C library is not glibc")
def test_a_small_models_process_keeps_what_it_freed():
    assert growth(SMALL_MODEL) > growth(SMALL_MODEL + 1)


def test_the_owners_own_settings_stand(monkeypatch):
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    assert keep_freed_memory() is False
    assert suit_allocator(2**40) is False


CREEP = """
import ctypes, sys
from razona.core.allocator import hand_back_free_pages, keep_freed_memory
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes, c.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
if sys.argv[1] == "kept":
    assert keep_freed_memory()
before = resident()
places = [c.malloc(2**20) for _ in range(128)]
for place in places:
    ctypes.memset(place, 1, 2**20)
for place in places[::2]:
    c.free(place)  # each a hole between two blocks in use
held = resident() - before
done = hand_back_free_pages()
print(int(done), held >> 20, (resident() - before) >> 20)
"""


def creep(how: str) -> list[int]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", CREEP, how]
    return [
        int(one) for one in subprocess.run(command, env=environment, capture_output=True, check=True).stdout.split()
    ]


@pytest.mark.skipif(not is_glibc, reason="the C library is not glibc")
def test_holes_between_blocks_go_back_to_the_system_when_asked():
    is_done, held, left = creep("kept")
    assert is_done and held >= 127 and left <= 72, "64 of 128 MiB are freed"


@pytest.mark.skipif(not is_glibc, reason="the C library is not glibc")
def test_a_process_that_keeps_no_freed_memory_is_left_alone():
    assert creep("as it is")[0] == 0
