"""What a run does about a measurement on its held-out slice: pure, from the rows of `guard.jsonl`."""

# Shapes: P problems.

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from razona.evaluate import Estimate, difference_with_interval, mean_with_interval
from razona.recipe import GuardSection


class Action(StrEnum):
    """What was done about a measurement."""

    BEST = "best"
    """It is the best so far; the weights are kept."""
    KEPT = "kept"
    """It is not; training goes on from the weights as they are."""
    ROLLED_BACK = "rolled_back"
    """It collapsed; training goes on from the best weights."""
    STOPPED = "stopped"
    """Training ends here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """How the policy of one step did on the held-out problems."""

    step: int
    right_P: tuple[int, ...]
    """Right answers to each problem."""
    samples: int
    """Answers to each problem."""

    @property
    def accuracy(self) -> float:
        """Share of right answers, 0 to 1: pass@1."""
        return sum(self.right_P) / (len(self.right_P) * self.samples)

    def estimate(self) -> Estimate:
        """Give the accuracy with its interval over problems."""
        return mean_with_interval([right / self.samples for right in self.right_P])

    def behind(self, other: "Measured") -> Estimate:
        """Give the accuracy of `other` minus this one, paired by problem.

        Raises:
            ValueError: the two were not measured on the same problems with as many samples.
        """
        if self.samples != other.samples:
            raise ValueError(f"samples = {self.samples} and {other.samples}: only equal ones can be paired")
        pairs = zip(other.right_P, self.right_P, strict=True)
        return difference_with_interval([(theirs - ours) / self.samples for theirs, ours in pairs])


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do about a measurement, and why."""

    action: Action
    why: str
    is_collapse: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a run stands after its measurements so far."""

    best: Measured | None = None
    last: Measured | None = None
    last_action: Action | None = None
    without_best: int = 0
    """Measurements since the best one."""
    rollbacks: int = 0

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> Self:
        """Rebuild it from the rows of `guard.jsonl`."""
        standing = cls()
        for row in rows:
            measured = Measured(step=row["step"], right_P=tuple(row["right"]), samples=row["samples"])
            standing = standing.after(measured, Action(row["action"]))
        return standing

    def after(self, measured: Measured, action: Action) -> Self:
        """Give the standing after one more measurement."""
        is_best = action is Action.BEST
        return type(self)(
            best=measured if is_best else self.best,
            last=measured,
            last_action=action,
            without_best=0 if is_best else self.without_best + 1,
            rollbacks=self.rollbacks + (action is Action.ROLLED_BACK),
        )

    @property
    def is_over(self) -> bool:
        """Whether the guard has ended the run."""
        return self.last_action is Action.STOPPED

    def decide(self, measured: Measured, section: GuardSection) -> Decision:
        """Say what to do about a measurement that comes next.

        A collapse is a fall below the best by more than `section.collapse` whose paired 95 % interval excludes 0: on
        few problems a fall of that size can be noise.
        """
        if self.best is None:
            return Decision(action=Action.BEST, why="the first measurement")
        if measured.accuracy > self.best.accuracy:
            return Decision(action=Action.BEST, why=f"above the {self.best.accuracy:.1%} of step {self.best.step}")
        fall = measured.behind(self.best)
        told = f"{100 * fall.value:.1f} points below step {self.best.step} {interval_of(fall)}"
        is_collapse = fall.value > section.collapse and fall.low > 0
        count = self.without_best + 1
        if section.patience is not None and count >= section.patience:
            why = f"{told}; {count} measurements without a new best, guard.patience = {section.patience}"
            return Decision(action=Action.STOPPED, why=why, is_collapse=is_collapse)
        if not is_collapse:
            return Decision(action=Action.KEPT, why=told)
        if self.rollbacks >= section.max_rollbacks:
            why = f"{told}: a collapse; guard.max_rollbacks = {section.max_rollbacks} are used up"
            return Decision(action=Action.STOPPED, why=why, is_collapse=True)
        return Decision(action=Action.ROLLED_BACK, why=f"{told}: a collapse", is_collapse=True)

    def kept(self) -> "Kept | None":
        """Say which weights the run ends with; None where nothing was measured.

        The last, unless they are worse than the best by more than noise: training on is not thrown away for noise, and
        the best of several measurements is partly the luckiest of them.
        """
        if self.best is None or self.last is None:
            return None
        best, last = self.best, self.last
        if best.step == last.step:
            return Kept(is_best=False, step=last.step, why="the last measurement is the best")
        fall = last.behind(best)
        told = (
            f"step {last.step} has {last.accuracy:.1%}, step {best.step} the best, {best.accuracy:.1%}: "
            f"{100 * fall.value:+.1f} points {interval_of(fall)}"
        )
        if self.last_action is Action.ROLLED_BACK or fall.low > 0:
            return Kept(is_best=True, step=best.step, why=f"{told}; the last are worse")
        return Kept(is_best=False, step=last.step, why=f"{told}; not distinguishable, so the longer trained are taken")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Which weights a run ended with."""

    is_best: bool
    """They were taken back from the best measurement; else they are the last."""
    step: int
    """After which they stood so."""
    why: str


def interval_of(difference: Estimate) -> str:
    """Write a difference's interval, in points."""
    return f"(paired 95 % interval {100 * difference.low:+.1f} to {100 * difference.high:+.1f})"
