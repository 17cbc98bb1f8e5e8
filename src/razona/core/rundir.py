"""The one map of a run folder: every path a run writes is named here and nowhere else."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from razona.core.errors import RunFolderError
from razona.core.files import append_jsonl, read_jsonl, write_jsonl


def step_of(checkpoint: Path) -> int:
    """Give the number of steps after which a checkpoint was written."""
    return int(checkpoint.name.rsplit("-", 1)[1])


def _whole_rows(path: Path) -> list[dict]:
    """Give the rows of a file that may end in a line which a crash cut short: what follows the last line end."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


@dataclass(frozen=True, slots=True)
class RunDir:
    """The folder of one run and the places in it."""

    root: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe, as YAML."""
        return self.root / "recipe.yaml"

    @property
    def environment(self) -> Path:
        """Command, versions, hardware, git commit, seeds."""
        return self.root / "environment.json"

    @property
    def manifest(self) -> Path:
        """Counts and hashes of the data."""
        return self.root / "manifest.json"

    @property
    def check(self) -> Path:
        """What the check before training found."""
        return self.root / "check.json"

    @property
    def metrics(self) -> Path:
        """One row a step."""
        return self.root / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The trainer's checkpoints, `checkpoint-<step>` each."""
        return self.root / "checkpoints"

    @property
    def adapter(self) -> Path:
        """The trained adapter, or the whole model where the run trained no adapter."""
        return self.root / "adapter"

    @property
    def best(self) -> Path:
        """The adapter (or model) with the best held-out accuracy so far, where the run measures it."""
        return self.root / "best"

    @property
    def guard(self) -> Path:
        """One row for each measurement on the held-out slice, and what was done about it."""
        return self.root / "guard.jsonl"

    @property
    def health(self) -> Path:
        """One row for each finding of a health rule."""
        return self.root / "health.jsonl"

    @property
    def events(self) -> Path:
        """One row for each fault that the run met; a resumed run adds to it."""
        return self.root / "events.jsonl"

    def stacks(self, process: int) -> Path:
        """Where each thread of a process stood when the watchdog saw nothing move."""
        return self.root / "stacks" / f"process-{process}.txt"

    def failed_batch(self, step: int, process: int) -> Path:
        """The completions on which a reward function failed, with their problems."""
        return self.root / "failed" / f"step-{step:06d}-process-{process}.jsonl"

    @property
    def sft_solutions(self) -> Path:
        """The solutions of the supervised fine-tuning, one a row."""
        return self.root / "sft" / "solutions.jsonl"

    @property
    def sft_metrics(self) -> Path:
        """One row for each update of the supervised fine-tuning."""
        return self.root / "sft" / "metrics.jsonl"

    @property
    def sft_summary(self) -> Path:
        """What the supervised fine-tuning did; there once it is finished."""
        return self.root / "sft" / "summary.json"

    @property
    def sft_weights(self) -> Path:
        """The adapter (or model) that the supervised fine-tuning ended with."""
        return self.root / "sft" / "weights"

    @property
    def summary(self) -> Path:
        """The comparison of base and tuned, in numbers."""
        return self.root / "summary.json"

    @property
    def report(self) -> Path:
        """The page of the run."""
        return self.root / "report.html"

    @property
    def trackers(self) -> Path:
        """What trackers keep on this machine."""
        return self.root / "trackers"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.trackers / "tensorboard"

    @property
    def tracker_ids(self) -> Path:
        """What each tracker calls this run, so that a resumed run goes on in it."""
        return self.trackers / "ids.json"

    def completions(self, step: int) -> Path:
        """The completions sampled for one step, with their verdicts and reward receipts."""
        return self.root / "completions" / f"step-{step:06d}.jsonl"

    def completion_steps(self) -> list[int]:
        """The steps whose completions are stored, in order."""
        return sorted(int(path.stem.removeprefix("step-")) for path in (self.root / "completions").glob("step-*.jsonl"))

    def last_checkpoint(self) -> Path | None:
        """The checkpoint of the highest step; None where there is none.

        It was written whole; that it still is what was written, `razona.train.checkpoints` checks on resuming.
        """
        found = [path for path in self.checkpoints.glob("checkpoint-*") if (path / "trainer_state.json").exists()]
        return max(found, key=step_of, default=None)

    def evaluation(self, name: str) -> Path:
        """The figures of one evaluation, for example `base` or `tuned`."""
        return self.root / "evaluations" / f"{name}.json"

    def evaluation_completions(self, name: str) -> Path:
        """Every completion and verdict of one evaluation."""
        return self.root / "evaluations" / f"{name}.jsonl"

    def append_step(self, row: dict) -> None:
        """Add one step's metrics."""
        append_jsonl(self.metrics, row)

    def read_steps(self) -> list[dict]:
        """Give the metrics rows in step order; empty where there are none yet."""
        return list(read_jsonl(self.metrics)) if self.metrics.exists() else []

    def read_guard(self) -> list[dict]:
        """Give the guard's measurements in step order; empty where there are none."""
        return list(read_jsonl(self.guard)) if self.guard.exists() else []

    def forget_steps_after(self, step: int) -> None:
        """Drop what was written of steps later than `step`: a resumed run will write it again."""
        for path in (self.metrics, self.guard, self.health):
            if path.exists():
                write_jsonl(path, [row for row in _whole_rows(path) if row["step"] <= step])
        if self.events.exists():
            write_jsonl(self.events, _whole_rows(self.events))
        for later in self.completion_steps():
            if later > step:
                self.completions(later).unlink()
        for folder in (self.root, self.root / "completions"):
            for unfinished in folder.glob(".*.tmp"):  # of a `write_text` that a kill cut short
                unfinished.unlink()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process.

        Raises:
            RunFolderError: another live process holds it. The lock dies with its process, so a crash
                leaves nothing to clean up.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / ".lock"
        with path.open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise RunFolderError(
                    f"{self.root} is in use by a live run (process {file.read().strip() or 'unknown'}). "
                    "Wait for it, stop it, or give this run another folder with --out."
                ) from None
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            try:
                yield
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)
