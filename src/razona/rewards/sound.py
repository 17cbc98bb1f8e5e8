"""Rewards in which correctness decides: between 0 and 1 each, weighed by the recipe."""

from hashlib import blake2b

from razona.core.nouns import Outcome
from razona.verify import Tags, read_form, verify


def correct(text: str, target: str, tags: Tags) -> float | None:
    """1 if the completion's marked answer is the target, else 0; None where the target cannot be read."""
    outcome = verify(text, target, tags).outcome
    return None if outcome is Outcome.UNVERIFIED else float(outcome is Outcome.CORRECT)


def form(text: str, target: str, tags: Tags) -> float:
    """1 if the completion has exactly the form the prompt asks for, else 0. The working may be empty."""
    return float(read_form(text, tags).is_exact)


def random_number(text: str, target: str, tags: Tags) -> float:
    """A number between 0 and 1 that means nothing, fixed by the text: the control run of a benchmark."""
    key = f"{target}\x1f{text}".encode(errors="surrogatepass")
    return int.from_bytes(blake2b(key, digest_size=4).digest(), "big") / 2**32
