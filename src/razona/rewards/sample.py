"""What a reward component is shown of a completion."""

from dataclasses import dataclass

from razona.core.nouns import Verdict
from razona.verify import Tags


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One completion with its target, its verdict and its place in the run."""

    text: str
    target: str
    tags: Tags
    verdict: Verdict
    """Found once, read by every component."""
    place: str = ""
    """Seed, step and row: where randomness, if a component wants any, comes from."""
