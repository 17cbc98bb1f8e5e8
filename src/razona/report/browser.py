"""The stored completions as the page carries them: a few steps, a few of each, cut to a readable length."""

from collections.abc import Sequence
from dataclasses import dataclass

from razona.core.rundir import RunDir
from razona.report.reading import number, read_rows, spread_evenly, text

MAX_STEPS = 12
MAX_COMPLETIONS = 24  # of one step
MAX_TEXT = 3000  # characters of a completion: 12 x 24 of them keep the page under 5 MB in any script
MAX_QUESTION = 1000  # characters
MAX_SHORT = 200  # characters of an answer, a target or a reason


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
    parts = row.get("parts")
    return {
        "question": clip(text(row, "question"), MAX_QUESTION),
        "family": clip(text(row, "family"), MAX_SHORT),
        "target": clip(text(row, "target"), MAX_SHORT),
        "completion": clip(text(row, "completion"), MAX_TEXT),
        "outcome": text(row, "outcome"),
        "answer": clip(text(row, "answer"), MAX_SHORT),
        "reason": clip(text(row, "reason"), MAX_SHORT),
        "reward": number(row, "reward"),
        "parts": {name: number(value) for name, value in parts.items()} if isinstance(parts, dict) else {},
        "advantage": number(row, "advantage"),
        "num_tokens": number(row, "num_tokens"),
        "is_truncated": row.get("is_truncated") is True,
    }


def clip(words: str, limit: int) -> str:
    """Give the words, or their beginning and how many characters are missing."""
    return words if len(words) <= limit else f"{words[:limit]} … ({len(words) - limit} more characters)"
