"""The stored completions as the page carries them: a few steps, a few of each, cut to a readable length."""

from collections.abc import Sequence
from dataclasses import dataclass

from razona.core.rundir import RunDir
from razona.report.reading import entries, number, read_rows, rows, spread_evenly, text

MAX_STEPS = 12
MAX_COMPLETIONS = 24  # of one step
MAX_TEXT = 3000  # characters of a completion: 12 x 24 of them keep the page under 5 MB in any script
MAX_QUESTION = 1000  # characters
MAX_SHORT = 200  # characters of an answer, a target or a reason
MAX_ENTRIES = 12  # lines of a receipt
MAX_WHY = 120  # characters of what a component says about its value


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredStep:
    """The completions of one step that the page shows."""

    step: int
    num_stored: int
    """Completions in the run folder, shown or not."""
    file: str
    """Where the others are, inside the run folder."""
    rows: Sequence[dict[str, object]]

    def as_json(self) -> dict[str, object]:
        """Give what `page.js` reads."""
        return {"step": self.step, "stored": self.num_stored, "file": self.file, "rows": list(self.rows)}


def read_browser(run: RunDir) -> list[StoredStep]:
    """Give up to 12 stored steps, evenly spread, the first and the last among them, of 24 completions each."""
    stored = []
    for step in spread_evenly(run.completion_steps(), MAX_STEPS):
        path = run.completions(step)
        found = read_rows(path)
        shown = [describe(row) for row in found[:MAX_COMPLETIONS]]
        where = path.relative_to(run.root).as_posix()
        stored.append(StoredStep(step=step, num_stored=len(found), file=where, rows=shown))
    return stored


def describe(row: dict[str, object]) -> dict[str, object]:
    """Give what the page shows of one completion."""
    return {
        "question": clip(text(row, "question"), MAX_QUESTION),
        "family": clip(text(row, "family"), MAX_SHORT),
        "target": clip(text(row, "target"), MAX_SHORT),
        "completion": clip(text(row, "completion"), MAX_TEXT),
        "outcome": text(row, "outcome"),
        "answer": clip(text(row, "answer"), MAX_SHORT),
        "reason": clip(text(row, "reason"), MAX_SHORT),
        "reward": number(row, "reward"),
        "receipt": describe_receipt(row),
        "advantage": number(row, "advantage"),
        "num_tokens": number(row, "num_tokens"),
        "is_truncated": row.get("is_truncated") is True,
    }


def describe_receipt(row: dict[str, object]) -> list[dict[str, object]]:
    """Give one line for each reward component: its part is weight x value.

    Rows that were stored without a receipt have the parts alone.
    """
    parts = entries(row, "parts")
    stored = rows(row, "receipt") or [{"component": name} for name in parts]
    lines = [
        {
            "component": clip(text(entry, "component"), MAX_SHORT),
            "weight": number(entry, "weight"),
            "value": number(entry, "value"),
            "part": number(parts.get(text(entry, "component"))),
            "why": clip(text(entry, "why"), MAX_WHY),
        }
        for entry in stored[:MAX_ENTRIES]
    ]
    if len(stored) > MAX_ENTRIES:
        left = f"{len(stored) - MAX_ENTRIES} more components"
        lines.append({"component": left, "weight": None, "value": None, "part": None, "why": ""})
    return lines


def clip(words: str, limit: int) -> str:
    """Give the words, or their beginning and how many characters are missing."""
    return words if len(words) <= limit else f"{words[:limit]} … ({len(words) - limit} more characters)"
