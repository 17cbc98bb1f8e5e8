"""What the C library does with memory that a tensor has given back."""

import ctypes
import os
import sys

# Parameters of mallopt, from glibc's malloc.h; a trim threshold of -1 is off.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -2, -3, -4
HEAP_GROWTH_BYTES = 64 * 2**20
SMALL_MODEL = 16_000_000
"""Weights of a model whose steps take little memory beside what a process takes anyway: time is what counts."""
LARGE_BLOCK_BYTES = 2**20
"""Blocks from this size on are mapped one by one for larger models."""
DEFAULT_MMAP_MAX = 65_536
"""glibc's own."""
_settled: dict[str, bool] = {"keeps freed memory": False}


def suit_allocator(num_weights: int) -> bool:
    """Let this process keep what a small model's step frees, and hand back the large blocks of a larger one's.

    Returns:
        As `keep_freed_memory`.
    """
    return keep_freed_memory() if num_weights <= SMALL_MODEL else hand_back_large_blocks()


def hand_back_large_blocks() -> bool:
    """Let this process map large blocks one by one, so that it holds no more than its tensors do.

    torch asks for aligned blocks, and glibc (2.36) finds no place for one in a hole of the very same size. With 32 M
    weights a step's tensors took 0.9 GiB and the process grew by 1.5; mapped, it grew by 0.9, at 4 % more time.

    Returns:
        As `keep_freed_memory`.
    """
    return _set((M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES), (M_MMAP_MAX, DEFAULT_MMAP_MAX))


def keep_freed_memory() -> bool:
    """Let this process keep freed memory for its next tensors instead of handing it back to the system.

    glibc maps each large block anew and unmaps it when it is freed, so that every step of a training pass on a CPU
    pays a page fault for each 4 KiB of every intermediate result. The process holds on to its peak from here on.

    Returns:
        Whether that was done: only glibc knows it, and who set a `MALLOC_` variable or glibc's tunables of malloc has
        decided already.
    """
    is_done = _set((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1), (M_TOP_PAD, HEAP_GROWTH_BYTES))
    _settled["keeps freed memory"] = _settled["keeps freed memory"] or is_done
    return is_done


def hand_back_free_pages() -> bool:
    """Give the system what lies free now in a process that keeps freed memory; in any other do nothing.

    Now and then, so that a long run does not creep towards all that its heap spans: each step's blocks fall a little
    otherwise into the holes, and touch pages that no one had touched. Over 700 steps of the embedded model that was
    135 MiB.

    Returns:
        Whether pages were handed back.
    """
    if not _settled["keeps freed memory"]:
        return False
    return ctypes.CDLL(None).malloc_trim(0) == 1


def _set(*settings: tuple[int, int]) -> bool:
    is_settled = "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "") or any(
        name.startswith("MALLOC_") for name in os.environ
    )
    if sys.platform != "linux" or is_settled:
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)
