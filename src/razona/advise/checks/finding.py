"""What a rule of the check finds, and how rules are called by name."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from razona.advise.checks.rules import RULES
from razona.core.errors import RecipeError

MAX_NAMED = 5
"""Rows that a finding names."""


class Severity(StrEnum):
    """Whether a finding stops the training."""

    ERROR = "error"
    """It does, unless the rule is allowed by name."""
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One rule that a recipe breaks."""

    rule: str
    severity: Severity
    saw: str
    """With the figures."""
    why: str
    change: str
    """With the values to set."""
    wrong_when: str
    """In which case the finding means nothing."""
    source: str
    """Of the limit that was passed."""


def found(rule: str, severity: Severity, saw: str, change: str) -> Finding:
    """Give a finding; why it hurts, when it is wrong and its source come from the table of rules."""
    facts = RULES[rule]
    return Finding(
        rule=rule,
        severity=severity,
        saw=saw,
        why=facts.why,
        change=change,
        wrong_when=facts.wrong_when,
        source=facts.source,
    )


def error(rule: str, saw: str, change: str) -> Finding:
    """Give a finding that stops the training."""
    return found(rule, Severity.ERROR, saw, change)


def warning(rule: str, saw: str, change: str) -> Finding:
    """Give a finding that does not."""
    return found(rule, Severity.WARNING, saw, change)


def check_names(names: Iterable[str], place: str) -> None:
    """Refuse names that are no rule's.

    Args:
        place: where they were given, for the message.

    Raises:
        RecipeError: there is no rule of that name.
    """
    for name in names:
        if name not in RULES:
            near = get_close_matches(name, RULES, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise RecipeError(f"{place} {name}: there is no rule of that name.{hint} The rules are {', '.join(RULES)}.")


def named(rows: list[str]) -> str:
    """Give the first few of a list, and how many there are beyond them."""
    more = len(rows) - MAX_NAMED
    return ", ".join(rows[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
