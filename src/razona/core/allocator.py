"""What the C library does with memory that a tensor has given back."""

import ctypes
import os
import sys

# Parameters of mallopt, from glibc's malloc.h; a trim threshold of -1 is off.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
HEAP_GROWTH_BYTES = 64 * 2**20


def keep_freed_memory() -> bool:
    """Let this process keep freed memory for its next tensors instead of handing it back to the system.

    glibc maps each large block anew and unmaps it when it is freed, so that every step of a training pass on a CPU
    pays a page fault for each 4 KiB of every intermediate result. The process holds on to its peak from here on.

    Returns:
        Whether that was done: only glibc knows it, and who set a `MALLOC_` variable or glibc's tunables of malloc has
        decided already.
    """
    is_settled = "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "") or any(
        name.startswith("MALLOC_") for name in os.environ
    )
    if sys.platform != "linux" or is_settled:
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1), (M_TOP_PAD, HEAP_GROWTH_BYTES))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)
