"""What a terminal shows of a run while it trains: from stored rows to what rich draws.

Completions are untrusted: every character that a terminal might act on is written out (`visible`), and no text is read
as rich's markup. Letters of right-to-left scripts are not: a terminal may order them as it likes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.cells import chop_cells
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from razona.core.nouns import Outcome
from razona.core.rundir import RunDir
from razona.core.seeds import derive_rng
from razona.core.terminal import visible

Row = Mapping[str, float | None]

BLOCKS = "▁▂▃▄▅▆▇█"
CURVES = (
    ("reward", "reward", "{:.2f}"),
    ("right", "accuracy", "{:.0%}"),
    ("tokens", "length", "{:.0f}"),
    ("groups with signal", "informative_groups", "{:.0%}"),
)
"""The reader's word, the metric, how its latest value is written; a share's axis runs to 100 %."""
MAX_SPARK_WIDTH = 64  # columns
LABEL_COLUMNS = 34  # what stands beside a sparkline
MAX_QUESTION_LINES = 2
MAX_COMPLETION_LINES = 5
STYLES = {Outcome.CORRECT: "green", Outcome.INCORRECT: "red", Outcome.NO_ANSWER: "yellow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSample:
    """One completion of a step."""

    row: Mapping[str, object]
    """As stored in `completions/step-*.jsonl`."""
    num_stored: int
    """Completions of that step."""


def clip_lines(words: str, width: int, limit: int) -> list[str]:
    """Give at most `limit` lines of at most `width` columns: the beginning, and the last, where an answer stands."""
    lines = [part for line in visible(words).strip().split("\n") for part in chop_cells(line, width) or [""]]
    if len(lines) <= limit:
        return lines
    kept = limit - 2
    return [*lines[:kept], f"… {len(lines) - kept - 1} more lines …"[:width], lines[-1]]


def sparkline(values: Sequence[float | None], width: int, *, high: float | None = None) -> str:
    """Give values as a row of blocks, at most `width`; a block is the mean of the steps it stands for.

    Args:
        values: None where a step has no value; a block without any is a blank.
        high: the value of a whole block; None takes the largest. The lowest block is zero, or the smallest value
            where that is below.
    """
    count = min(width, len(values))
    means = []
    for place in range(count):
        part = values[place * len(values) // count : (place + 1) * len(values) // count]
        known = [value for value in part if value is not None]
        means.append(sum(known) / len(known) if known else None)
    shown = [value for value in means if value is not None]
    low, top = min([0.0, *shown]), max(shown, default=0.0) if high is None else high
    span = top - low
    return "".join(" " if value is None else BLOCKS[_level(value - low, span)] for value in means)


def _level(height: float, span: float) -> int:
    return min(max(int(height / span * len(BLOCKS)), 0), len(BLOCKS) - 1) if span > 0 else 0


def draw_curves(rows: Sequence[Row], width: int) -> Table:
    """Give one line for each curve that some step has: its name, its latest value, its blocks."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="cyan", no_wrap=True)
    spark_width = max(min(width - LABEL_COLUMNS, MAX_SPARK_WIDTH), 8)
    for label, metric, pattern in CURVES:
        values = [row.get(metric) for row in rows]
        latest = next((value for value in reversed(values) if value is not None), None)
        if latest is not None:
            high = 1.0 if pattern.endswith("%}") else None
            blocks = sparkline(values, spark_width, high=high)
            table.add_row(f"  {label}", pattern.format(latest), blocks)
    return table


def read_sample(run: RunDir, step: int) -> StoredSample | None:
    """Give one stored completion of a step, the same at every call; None where the step stored none.

    Only the chosen line is parsed: a step may hold megabytes.
    """
    path = run.completions(step)
    if not path.exists():
        return None
    with path.open(encoding="utf-8") as file:
        lines = [line for line in file if line.strip()]
    if not lines:
        return None
    chosen = derive_rng("terminal", "sample", step).choice(lines)
    return StoredSample(row=json.loads(chosen), num_stored=len(lines))


def draw_sample(sample: StoredSample, width: int) -> Panel:
    """Give one completion with its problem, verdict, answer and reward."""
    row, inner = sample.row, max(width - 4, 8)
    outcome, answer, reward = row.get("outcome"), row.get("answer"), row.get("reward")
    style = next((style for known, style in STYLES.items() if known == outcome), "magenta")
    words = Text(no_wrap=True, overflow="ellipsis")
    words.append("\n".join(clip_lines(str(row.get("question", "")), inner, MAX_QUESTION_LINES)), style="bold")
    words.append("\n")
    words.append("\n".join(clip_lines(str(row.get("completion", "")), inner, MAX_COMPLETION_LINES)))
    words.append("\n")
    words.append(visible(str(outcome)).replace("_", " "), style=f"bold {style}")
    told = [f"answer {'none' if answer is None else answer}", f"target {row.get('target')}"]
    told.append(f"reward {reward:.2f}" if isinstance(reward, int | float) else "no reward")
    words.append("  " + visible("  ".join(told)).replace("\n", " "), style="dim")
    title = Text(f"step {row.get('step')}: one of {sample.num_stored:,} completions")
    return Panel(words, title=title, title_align="left", border_style="dim")


class LiveView:
    """Curves and a completion, drawn anew when a step has ended and kept until the next."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.sample: StoredSample | None = None
        self._drawn_for = (0, 0)
        self._drawn = Group()

    def update(self, rows: Sequence[Row], sample: StoredSample | None) -> None:
        """Take the rows of the steps that have ended since the last call, and a completion of the latest."""
        self.sample = sample
        self.rows.extend(rows)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # Another thread draws than the one that trains: the number of rows tells what was drawn.
        wanted = (options.max_width, len(self.rows))
        if self._drawn_for != wanted:
            parts: list[RenderableType] = [draw_curves(self.rows, options.max_width)]
            if self.sample is not None:
                parts.append(draw_sample(self.sample, options.max_width))
            self._drawn, self._drawn_for = Group(*parts), wanted
        yield self._drawn
