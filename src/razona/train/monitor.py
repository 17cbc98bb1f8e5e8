"""Runs the health rules after each step, stores what they find and tells it once."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from razona.core.files import append_jsonl
from razona.core.rundir import RunDir
from razona.core.terminal import say
from razona.train.health import LONG, Finding, condensed, examine

QUIET_STEPS = 20
"""Steps in which a rule must be kept before it is told again."""

Tell = Callable[[Finding], None]
"""What a run calls with each finding; the command line hands in one that draws."""


def tell_on_stderr(finding: Finding) -> None:
    """Print a finding as one line."""
    say(f"razona: {finding}", to_stderr=True)


class Monitor:
    """What watches a run's health. It is the main process's: the others have no metrics rows."""

    def __init__(
        self,
        run: RunDir,
        tell: Tell = tell_on_stderr,
        on_measurement: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        self.run, self.tell, self.on_measurement = run, tell, on_measurement
        self._steps: list[Mapping[str, Any]] = []
        self._guard: list[Mapping[str, Any]] = list(run.read_guard())
        self._broken_at: dict[str, int] = {}
        for row in run.read_steps():  # a resumed run does not tell again what it told before
            self._examine(row)

    def take(self, row: Mapping[str, Any]) -> None:
        """Look at one more step, and note the rules that it newly breaks."""
        for finding in self._examine(row):
            self.note(finding)

    def take_measurement(self, row: Mapping[str, Any]) -> None:
        """Know one more row of `guard.jsonl`, and hand it on: the step that it belongs to is looked at next."""
        self._guard.append(row)
        if self.on_measurement is not None:
            self.on_measurement(row)

    def note(self, finding: Finding) -> None:
        """Store a finding and tell it."""
        append_jsonl(self.run.health, asdict(finding))
        self.tell(finding)

    def _examine(self, row: Mapping[str, Any]) -> list[Finding]:
        """Give what is to be told at this step."""
        self._steps.append(row)
        aged = len(self._steps) - 1 - LONG
        if aged >= LONG:
            self._steps[aged] = condensed(self._steps[aged])
        fresh = []
        for finding in examine(self._steps, self._guard):
            before = self._broken_at.get(finding.rule)
            if before is None or finding.step - before > QUIET_STEPS:
                fresh.append(finding)
            self._broken_at[finding.rule] = finding.step
        return fresh
