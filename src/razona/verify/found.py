"""What a completion gives as its answer."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The answer of a completion as it stands there, not yet read."""

    answers: tuple[str, ...]
    """The texts given jointly, in order; one for most completions."""
    place: str
    """`solution`, `boxed`, `marked` or `unmarked`; empty where there is no answer."""
    reason: str = ""
    """Why there is no answer, where `answers` is empty."""
    following: str = ""
    """A few characters after the last answer, where a unit may stand."""


def nothing(reason: str) -> Found:
    """Give the absence of an answer, with its reason."""
    return Found(answers=(), place="", reason=reason)
