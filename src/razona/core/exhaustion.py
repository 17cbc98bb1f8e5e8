"""By which signs an error means that memory ran out."""

SIGNS = ("can't allocate memory", "not enough memory", "CUDA out of memory")
"""In the text of a plain RuntimeError: torch's allocator of the CPU, on Linux and on Windows, and CUDA's."""


def is_exhaustion(error: BaseException) -> bool:
    """Say whether an error means that memory ran out; torch's own is known by its name, so that torch need not load."""
    names = {one.__name__ for one in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or any(sign in str(error) for sign in SIGNS)
