"""Random streams, addressed by name.

Hashed, never added: with `seed + index`, item 1 of seed 42 is item 0 of seed 43, and an evaluation set
under the next seed repeats the training set.
"""

from hashlib import blake2b
from random import Random


def derive_seed(*parts: str | int) -> int:
    """Give the 63-bit seed that belongs to this path of names and numbers.

    Args:
        parts: for example `("tasks", "word_problems", "train", 7)`; order matters.
    """
    key = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts).encode()
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "big") >> 1


def derive_rng(*parts: str | int) -> Random:
    """Give a random stream of its own to this path of names and numbers."""
    return Random(derive_seed(*parts))
