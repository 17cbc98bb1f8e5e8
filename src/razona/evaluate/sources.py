"""What `razona compare` is given: folders of evaluations and runs, files of completions."""

import json
from dataclasses import dataclass
from pathlib import Path

from razona.core.errors import DataError
from razona.core.files import read_jsonl
from razona.core.rundir import RunDir
from razona.evaluate.evaluation import Sides, sides_of_rows
from razona.evaluate.stored import VOTED, EvaluationDir, read_sides

BASE, TUNED, BEST = "base", "tuned", "base_best"
"""Names of a run's evaluations: the base, what was trained, and the base under its best prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A stored evaluation and what it is called."""

    name: str
    sides: Sides
    settings: dict[str, object]
    """What was asked for, where that is stored."""

    @property
    def is_voted(self) -> bool:
        """Say whether maj@k has a meaning for its problems."""
        return self.settings.get("kind", VOTED) == VOTED


def find_stored(name: str) -> Found | None:
    """Read the evaluation that lies at a path; None where the path is none: then the name is a model's.

    Args:
        name: a folder that `razona eval` wrote, a run's folder (what it trained), or a .jsonl file of
            stored completions.

    Raises:
        DataError: it is not finished, or cannot be read.
    """
    path = Path(name)
    if path.suffix == ".jsonl":
        if not path.is_file():
            raise DataError(
                f"{name}: there is no such file. Give completions that `razona eval` or `razona demo` stored."
            )
        if path == EvaluationDir(root=path.parent).completions and EvaluationDir(root=path.parent).settings.exists():
            return find_stored(str(path.parent))  # which knows whether it is finished
        return Found(name=path.stem, sides=sides_of_rows(_rows(path), name), settings={})
    place = EvaluationDir(root=path)
    if place.settings.exists():
        return Found(name=path.name, sides=read_sides(path), settings=json.loads(place.settings.read_text("utf-8")))
    return find_in_run(path, TUNED)


def find_in_run(folder: Path, which: str) -> Found | None:
    """Read one evaluation of a run; None where the run has none of that name."""
    rows = RunDir(folder).evaluation_completions(which)
    if not rows.exists():
        return None
    name = folder.resolve().name if which == TUNED else f"{which.replace('_', ' ')} of {folder.resolve().name}"
    settings: dict[str, object] = {}
    if which == BEST and RunDir(folder).summary.exists():
        summary = json.loads(RunDir(folder).summary.read_text(encoding="utf-8"))
        settings["prompt"] = summary.get(BEST, {}).get("prompt", "")
    return Found(name=name, sides=sides_of_rows(_rows(rows), str(rows)), settings=settings)


def _rows(path: Path) -> list[dict]:
    try:
        return list(read_jsonl(path))
    except ValueError as error:
        raise DataError(f"{path}: a line of it is no JSON ({error}). Copy it again, or evaluate again.") from None
