"""The problems of a comparison as the page carries them: all losses first, as many as keep the page small."""

from collections.abc import Sequence
from dataclasses import dataclass

from razona.core.errors import DataError
from razona.core.rundir import RunDir
from razona.report.browser import clip
from razona.report.reading import number, read_rows, text

MAX_PROBLEMS = 400
MAX_TEXT = 1_200  # characters of a completion: 400 x 2 of them keep the page under 5 MB in any script
MAX_QUESTION = 800
MAX_SHORT = 200
CHANGES = ("lost", "won", "unchanged")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problems:
    """What the page shows of the problems, and how many there are."""

    rows: Sequence[dict[str, object]]
    counts: dict[str, int]
    """lost, won, unchanged -> problems, shown or not."""

    def as_json(self) -> dict[str, object]:
        """Give what `page.js` reads."""
        return {"rows": list(self.rows), "counts": self.counts}


def choose_problems(changes: Sequence[dict[str, object]]) -> Problems:
    """Give the problems that the page shows: of each kind a third of the room, and what one leaves to the others.

    Args:
        changes: one row a problem, as `razona.evaluate.compare.changes` gives them.
    """
    of_kind = {kind: [row for row in changes if row["change"] == kind] for kind in CHANGES}
    of_kind["won"].reverse()  # the largest first, as the losses are
    room = {kind: min(len(found), MAX_PROBLEMS // len(CHANGES)) for kind, found in of_kind.items()}
    for kind, found in of_kind.items():  # what one leaves goes to the losses first
        room[kind] += min(len(found) - room[kind], MAX_PROBLEMS - sum(room.values()))
    shown = [row for kind in CHANGES for row in of_kind[kind][: room[kind]]]
    return Problems(
        rows=[describe_problem(row) for row in shown], counts={kind: len(found) for kind, found in of_kind.items()}
    )


def describe_problem(row: dict[str, object]) -> dict[str, object]:
    """Give what the page shows of one problem."""
    return {
        "id": clip(text(row, "id"), MAX_SHORT),
        "question": clip(text(row, "question"), MAX_QUESTION),
        "family": clip(text(row, "family"), MAX_SHORT),
        "target": clip(text(row, "target"), MAX_SHORT),
        "change": text(row, "change"),
        "sides": [
            {
                "name": side,
                "share": number(row, f"{side}_share"),
                "outcome": text(row, f"{side}_outcome"),
                "completion": clip(text(row, side), MAX_TEXT),
            }
            for side in ("base", "tuned")
        ],
    }


def read_problems(run: RunDir) -> Problems | None:
    """Give the problems of a run's own comparison; None where it has not measured base and tuned, or not on the
    same problems.
    """
    from razona.evaluate.compare import changes, pair
    from razona.evaluate.evaluation import sides_of_rows

    paths = [run.evaluation_completions(name) for name in ("base", "tuned")]
    if not all(path.exists() for path in paths):
        return None
    try:
        base, tuned = (sides_of_rows(read_rows(path), str(path)) for path in paths)
        return choose_problems(changes(pair(base, tuned, base_name="base", tuned_name="tuned")))
    except DataError:  # rows of another version, or problems of another: `razona compare` says which
        return None
