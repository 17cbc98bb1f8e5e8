"""The words of the field as frozen values; every stage makes a new one and fills in no older one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """What a verifier can find out about a completion."""

    CORRECT = "correct"
    """An answer was found and it equals the target."""
    INCORRECT = "incorrect"
    """An answer was found and it does not equal the target."""
    NO_ANSWER = "no_answer"
    """Nothing in the completion has the form of an answer."""
    UNVERIFIED = "unverified"
    """Our side failed (unreadable target, a crash of ours): no reward, and it is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is asked, and the truth about it."""

    id: str
    """Unique within its data set; the same problem has the same id in every run."""
    question: str
    target: str
    """The truth a completion is checked against, as text."""
    steps: tuple[str, ...] = ()
    """A worked solution, one step an entry; empty where the source has none."""
    family: str = ""
    """The task family, or the name of the data set."""
    level: int = 0
    """Difficulty, 1 is easiest; 0 where the source has no levels."""
    extra: Mapping[str, object] = field(default_factory=dict)
    """Further columns of the source row that a reward function asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a verifier found out about one completion."""

    outcome: Outcome
    answer: str | None = None
    """The answer as extracted, before any normalisation; None where there is none."""
    reason: str = ""
    """One sentence for the person who reads the samples."""
    seconds: float = 0.0
    """Wall-clock time that the verdict took, 0 where it was not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What the policy wrote after one prompt."""

    problem_id: str
    text: str
    num_tokens: int
    """Sampled tokens, the end-of-text token included where it was sampled."""
    is_truncated: bool
    """True when the token limit ended it, False when the policy ended it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """One completion's reward and where it came from."""

    total: float | None
    """None: no verdict; the completion is left out of its group."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Component name -> weighted value; the parts add up to the total."""
