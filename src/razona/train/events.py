"""What went wrong in a run and was borne: each a row of `events.jsonl`, counted, and told on standard error."""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from razona.core.files import append_jsonl
from razona.core.launch import process_index
from razona.core.nouns import Outcome
from razona.core.rundir import RunDir
from razona.core.terminal import say

TOLD_ALL = 3
"""Events of a kind that are told one by one; after them, each time their number has doubled."""


class Events:
    """The events that this process takes; what several processes meet alike, the main one notes. Any thread may."""

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self._lock = threading.Lock()
        self._of_step: Counter[str] = Counter()
        self._in_all: Counter[str] = Counter()

    def write(self, kind: str, step: int, why: str, **more: object) -> None:
        """Store and count one event that is told elsewhere; arguments as of `note`."""
        with self._lock:
            append_jsonl(self.run.events, {"step": step, "event": kind, "why": why, "process": process_index(), **more})
            self._of_step[kind] += 1
            self._in_all[kind] += 1

    def note(self, kind: str, step: int, why: str, **more: object) -> None:
        """Store one event, count it, and tell it.

        Args:
            kind: `unverified`, `update_left_out`, `out_of_memory`, `reward_failed` or `nothing_moves`.
            step: in which it happened, from 1.
            more: of the row: `problem_id`, `completion` (its place in the step) and the like.
        """
        self.write(kind, step, why, **more)
        count = self._in_all[kind]
        if count <= TOLD_ALL or count & (count - 1) == 0:
            number = f" ({count} so far)" if count > 1 else ""
            say(f"razona: step {step}: {kind.replace('_', ' ')}{number}: {why}", to_stderr=True)

    def note_unverified(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Note each completion that our side could not judge, of the rows that a step stores."""
        for place, row in enumerate(rows):
            if row["outcome"] == Outcome.UNVERIFIED:
                self.note(
                    "unverified",
                    row["step"],
                    f"completion {place} of problem {row['problem_id']} has no verdict and no reward: {row['reason']}",
                    problem_id=row["problem_id"],
                    completion=place,
                )

    def take(self) -> dict[str, float | None]:
        """Give the number of each kind since the last call as figures of a step, and begin anew."""
        with self._lock:
            counted, self._of_step = self._of_step, Counter()
        return {f"events/{kind}": count for kind, count in sorted(counted.items())}
