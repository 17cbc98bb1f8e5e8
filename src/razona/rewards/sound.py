"""Rewards in which correctness decides: between 0 and 1 each, weighed by the recipe."""

from hashlib import blake2b

from razona.core.nouns import Outcome
from razona.rewards.sample import Sample
from razona.verify import read_form


def correct(sample: Sample) -> float | None:
    """1 if the completion's marked answer is the target, else 0; None where the target cannot be read."""
    outcome = sample.verdict.outcome
    return None if outcome is Outcome.UNVERIFIED else float(outcome is Outcome.CORRECT)


def form(sample: Sample) -> float:
    """1 if the completion has exactly the form the prompt asks for, some working included, else 0."""
    return float(read_form(sample.text, sample.tags).is_exact)


def random_number(sample: Sample) -> float:
    """A number between 0 and 1 that means nothing, drawn anew for every completion: the control run of a benchmark.

    Fixed by its place in the run, not by the text: else the same short answer, written again and again, would be paid
    the same each time, and that is a preference that can be learnt.
    """
    return int.from_bytes(blake2b(sample.place.encode(), digest_size=4).digest(), "big") / 2**32
