"""Progress on a terminal, and plain lines where there is none."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from razona.cli.console import import_libraries
from razona.cli.live import LiveView, read_sample
from razona.core.rundir import RunDir
from razona.core.terminal import visible

import_libraries()
from razona.embedded.demo import Watcher  # noqa: E402
from razona.train.health import Finding  # noqa: E402

PLAIN_LINE_EVERY = 5
"""Steps between two lines where the output is not a terminal."""
REDRAWS_PER_S = 2
"""Of the live view: enough for a clock, and next to nothing beside the training."""
SPEED_PERIOD_S = 3600.0
"""The time left is told from the steps of the last hour: one step of a large model may take minutes."""


def describe_step(row: Mapping[str, float | None]) -> str:
    """Give a step's reward, accuracy, length and signal in one short line."""
    figures = (
        ("reward", "reward", "{:.2f}"),
        ("right", "accuracy", "{:.0%}"),
        ("form", "format_rate", "{:.0%}"),
        ("tokens", "length", "{:.0f}"),
        ("groups with signal", "informative_groups", "{:.0%}"),
    )
    return "  ".join(
        f"{label} {pattern.format(row[key])}" for label, key, pattern in figures if row.get(key) is not None
    )


class RichWatcher(Watcher):
    """Draws a bar per stage; without a terminal, prints a line now and then."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def _progress(self) -> Progress:
        return Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            console=self.console,
            speed_estimate_period=SPEED_PERIOD_S,
        )

    def kept(self, folder: Path) -> None:
        """Say where the earlier run is now."""
        self.console.print(f"The run that was there before is now in {folder}.", highlight=False, soft_wrap=True)

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show how many completions of an evaluation are done."""
        self.console.print(
            f"Measuring {title}: {total:,} completions, all judged by the verifier.",
            highlight=False,
            soft_wrap=True,
        )
        if not self.console.is_terminal:
            yield lambda done: None
            return
        with self._progress() as progress:
            task = progress.add_task(f"  {visible(title)}", total=total, figures="")
            yield lambda done: progress.advance(task, done)

    @contextmanager
    def training(self, steps: int, run: RunDir) -> Iterator[Callable[[Mapping[str, float | None]], None]]:
        """Show the run as it goes on: its curves, one completion of the latest step, the steps and the time left."""
        self.console.print(f"Training with GRPO: {steps} steps.")
        if not self.console.is_terminal or self.console.is_dumb_terminal or self.console.quiet:
            yield self._plain(steps)
            return
        progress, view = self._progress(), LiveView()
        task = progress.add_task("  step", total=steps, figures="")

        def on_step(row: Mapping[str, float | None]) -> None:
            step = int(row["step"] or 0)
            view.update(run.read_steps() if not view.rows else [row], read_sample(run, step))
            progress.update(task, completed=step)

        with Live(Group(progress, view), console=self.console, refresh_per_second=REDRAWS_PER_S):
            yield on_step

    def found(self, finding: Finding) -> None:
        """Print what a health rule or the guard found; above the live view where there is one."""
        self.console.print(Text(f"  ! {visible(str(finding))}", style="yellow"), soft_wrap=True)

    def _plain(self, steps: int) -> Callable[[Mapping[str, float | None]], None]:
        def on_step(row: Mapping[str, float | None]) -> None:
            step = int(row["step"] or 0)
            if step == 1 or step % PLAIN_LINE_EVERY == 0 or step == steps:
                self.console.print(f"  step {step:>4}/{steps}  {describe_step(row)}", highlight=False, soft_wrap=True)

        return on_step
