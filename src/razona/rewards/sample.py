"""What a reward component is shown of a completion, and what it says."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from razona.core.nouns import Verdict
from razona.recipe.components import OptionValue
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
    num_tokens: int | None = None
    """Of the completion; None where nobody said."""
    tests_passed: int = 0
    tests_run: int = 0
    """Tests of the code, 0 for other problems and where the code did not get as far as a test."""
    row: Mapping[str, object] = field(default_factory=dict)
    """The further columns of the problem."""
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    """The component's own, defaults filled in."""


@dataclass(frozen=True, slots=True)
class Value:
    """What a component makes of one completion."""

    value: float | None
    """None where our side cannot judge: it counts as 0."""
    why: str = ""
    """One sentence for the person who reads the samples."""
