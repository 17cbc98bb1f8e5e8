"""What a run folder holds, as the page needs it; everything but the metrics may be absent."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from razona.core.errors import RunFolderError
from razona.core.files import read_jsonl
from razona.core.rundir import RunDir


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run folder, read once."""

    name: str
    steps: Sequence[dict[str, object]]
    """The metrics rows in step order; empty before the first step has ended."""
    summary: dict[str, object]
    """Base against tuned; empty while the run is still training."""
    recipe: str
    """The resolved recipe as YAML text; empty where the file is absent."""
    environment: str
    """The environment as JSON text; empty where the file is absent."""
    guard: Sequence[dict[str, object]]
    """Measurements on the held-out slice, in order; empty where the run takes none."""
    health: Sequence[dict[str, object]]
    """Findings of the health rules, in order; empty where there are none."""
    sft_updates: Sequence[dict[str, object]] = ()
    """One row an update of the supervised fine-tuning; empty where there was none."""
    sft_summary: dict[str, object] = field(default_factory=dict)
    """What it did; empty where there was none, or before its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """The two ends of a 95 % interval."""

    low: float
    high: float


def read_record(run: RunDir) -> RunRecord:
    """Give what the page shows of `run`, its completions apart.

    Raises:
        RunFolderError: the folder has neither metrics nor the recipe of a run that has just begun, or a file is not
            the JSON it should be.
    """
    if not run.metrics.is_file() and not run.recipe.is_file():
        raise RunFolderError(
            f"{run.root} has no {run.metrics.name}, so it is not the folder of a run that has trained. Expected a "
            "folder that `razona train` or `razona demo` wrote, such as runs/demo. Name that folder, or train first."
        )
    return RunRecord(
        name=run.root.resolve().name,
        steps=read_optional_rows(run.metrics),
        summary=read_summary(run.summary),
        recipe=read_optional(run.recipe),
        environment=read_optional(run.environment),
        guard=read_optional_rows(run.guard),
        health=read_optional_rows(run.health),
        sft_updates=read_optional_rows(run.sft_metrics),
        sft_summary=read_summary(run.sft_summary),
    )


def read_optional_rows(path: Path) -> list[dict[str, object]]:
    """Give the rows of a JSON-lines file of the run folder; empty where it is absent."""
    return read_rows(path) if path.is_file() else []


def read_rows(path: Path) -> list[dict[str, object]]:
    """Give the rows of a JSON-lines file of the run folder.

    Raises:
        RunFolderError: a line of it is not JSON.
    """
    try:
        return list(read_jsonl(path))
    except ValueError as error:
        raise RunFolderError(
            f"{path} should hold one JSON object a line, but a line of it cannot be read ({error}). A copy that was "
            "cut short does this: copy the run again, or delete the broken line."
        ) from error


def read_summary(path: Path) -> dict[str, object]:
    """Give the summary, or an empty one where the run has none yet."""
    text = read_optional(path)
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise RunFolderError(
            f"{path} should hold one JSON object, but cannot be read ({error}). Copy the run again, or delete the "
            "file: the page is then written without the comparison."
        ) from error
    return found if isinstance(found, dict) else {}


def read_optional(path: Path) -> str:
    """Give the text of a file, or an empty one where it is absent; bytes that are not UTF-8 become U+FFFD."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def reach(value: object, *path: str) -> object:
    """Give what lies at `path` inside nested objects; None where any part of the way is missing."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def number(value: object, *path: str) -> float | None:
    """Give the finite number at `path`; None where there is none."""
    found = reach(value, *path)
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        return None
    return float(found)


def text(value: object, *path: str) -> str:
    """Give what lies at `path` as text; empty where it is missing."""
    found = reach(value, *path)
    return "" if found is None else str(found)


def entries(value: object, *path: str) -> dict[str, object]:
    """Give the object at `path`; an empty one where there is none."""
    found = reach(value, *path)
    return found if isinstance(found, dict) else {}


def rows(value: object, *path: str) -> list[object]:
    """Give the list at `path`; an empty one where there is none."""
    found = reach(value, *path)
    return found if isinstance(found, list) else []


def interval(estimate: object, metric: str) -> Interval | None:
    """Give the 95 % interval that an evaluation states for `metric`; None where it states none."""
    return ends_of(estimate, "ci95", metric)


def ends_of(value: object, *path: str) -> Interval | None:
    """Give the interval that lies at `path` as a list of two numbers; None where there is none."""
    ends = rows(value, *path)
    if len(ends) != 2:
        return None
    low, high = number(ends[0]), number(ends[1])
    return None if low is None or high is None else Interval(low=low, high=high)


def spread_evenly(items: Sequence[int], count: int) -> list[int]:
    """Give at most `count` of the items, evenly spread, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    return [items[round(index * (len(items) - 1) / (count - 1))] for index in range(count)]
