"""A run's checkpoints: written aside, sealed, put in place as a whole; and the last whole one found again.

    checkpoints/.partial/checkpoint-20    being written; what a crash leaves here counts for nothing
    checkpoints/checkpoint-20             sealed: every file on the disk and in checksums.json
    checkpoints/damaged-checkpoint-20     one that no longer was what was written, when the run was resumed

With several processes each writes its part, and the main one does the rest.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from accelerate.utils import gather_object
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from razona.core import sealing
from razona.core.errors import DiskError, RunFolderError, first_line
from razona.core.files import free_mib
from razona.core.launch import is_main_process
from razona.core.rundir import RunDir, step_of
from razona.core.terminal import say
from razona.train.disk import is_of_disk, room_lacking
from razona.train.processes import stop_together

PARTIAL = ".partial"
"""In the folder of the checkpoints: what is being written."""
KEPT = 2
"""Checkpoints that are kept, the last ones: where the newest turns out damaged, the one before is there. The best
weights are kept besides, in `best/`."""


class Saver(TrainerCallback):
    """Writes a run's checkpoints, and tries again after the next step where the disk did not take one.

    All processes decide alike: what fails in one has failed in all.
    """

    def __init__(self, run: RunDir, max_failed: int) -> None:
        self.run, self.max_failed = run, max_failed
        self.additions: list[Callable[[Path], None]] = []
        """Called in the main process with each checkpoint's folder before it is sealed: what else belongs into it."""
        self.failed = 0
        """Attempts in a row that failed."""
        self._failure = ""

    @property
    def folder(self) -> Path:
        """Where a checkpoint is written before it gets its place."""
        return self.run.checkpoints / PARTIAL

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> TrainerControl:
        """Ask for a checkpoint after each step until one is written again."""
        if self.failed:
            control.should_save = True
        return control

    def save(self, step: int, needed: int, write: Callable[[], None], *, is_last: bool = False) -> None:
        """Write a checkpoint in all processes, or leave everything as it was.

        Args:
            needed: bytes that it takes, about.
            write: writes this process's part below `folder`.
            is_last: no step follows.

        Raises:
            DiskError: the disk has failed more often in a row than `max_failed` allows, and steps follow.
        """
        for stage in (lambda: self._make_room(needed), write, lambda: self._put_in_place(step)):
            self._failure = ""
            with stop_together(), self.noting():
                stage()
            if failure := next(filter(None, gather_object([self._failure])), ""):
                self._give_up(step, needed, failure, is_last)
                return
        self.failed = 0

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Run the body; remember that the disk did not take what it wrote, and go on.

        Processes that write nothing wait for the writing one in the body's next exchange, so it must come there too.
        """
        try:
            yield
        except Exception as error:  # each writer has an error of its own
            if not is_of_disk(error):
                raise
            self._failure = self._failure or first_line(error)

    def _make_room(self, needed: int) -> None:
        if is_main_process():
            shutil.rmtree(self.folder, ignore_errors=True)
            self._failure = room_lacking(self.run.checkpoints, needed)

    def _put_in_place(self, step: int) -> None:
        if not is_main_process():
            return
        written, place = self.folder / f"checkpoint-{step}", self.run.checkpoints / f"checkpoint-{step}"
        for add in self.additions:
            add(written)
        for path in (self.run.metrics, self.run.guard, self.run.health, self.run.root / "completions", self.run.root):
            if path.exists():
                sealing.flush(path)  # what the run has up to this step must outlast a loss of power, too
        sealing.seal(written)
        sealing.put_in_place(written, place)
        _remove_older(self.run)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _give_up(self, step: int, needed: int, failure: str, is_last: bool) -> None:
        """Remove what was written, tell, and end the run where it has failed too often."""
        self.failed += 1
        folder = self.run.checkpoints
        if is_main_process():
            shutil.rmtree(self.folder, ignore_errors=True)
        last = self.run.last_checkpoint()
        standing = f"{last} is the last one" if last else "there is none before it"
        told = (
            f"the checkpoint of step {step} could not be written to {folder}: {failure}. It takes about "
            f"{needed / 2**20:.0f} MiB, {free_mib(folder)} MiB are free; {standing}"
        )
        if self.failed > self.max_failed and not is_last:  # after the last step the weights are still to be written
            raise DiskError(
                f"{told}. That was attempt {self.failed} in a row and train.max_failed_saves = {self.max_failed}, so "
                "the run ends here. Make room, then go on with --resume."
            )
        way_on = (
            f"The run goes on and tries again after the next step; {self.failed} failed in a row, "
            f"train.max_failed_saves = {self.max_failed}"
        )
        if is_main_process():
            say(f"razona: {told}. {'No step comes after it' if is_last else way_on}.", to_stderr=True)


def _remove_older(run: RunDir) -> None:
    for old in sorted(run.checkpoints.glob("checkpoint-*"), key=step_of)[:-KEPT]:
        sealing.take_away(old)
        shutil.rmtree(sealing.aside(old), ignore_errors=True)


def find_whole(run: RunDir) -> Path | None:
    """Give the last checkpoint that is as it was written; None where the run has written none.

    What a crash left half done is removed. Damaged checkpoints are named on stderr and renamed, so that they are
    neither counted among those that are kept nor lost to whoever wants to look at them.

    Raises:
        RunFolderError: there are checkpoints and none is whole.
    """
    shutil.rmtree(run.checkpoints / PARTIAL, ignore_errors=True)
    sealing.bring_back(run.checkpoints)
    found = sorted(run.checkpoints.glob("checkpoint-*"), key=step_of, reverse=True)
    damaged: dict[Path, str] = {}
    whole = None
    for checkpoint in found:
        flaw = sealing.flaw_of(checkpoint)
        if not flaw and not (checkpoint / "trainer_state.json").exists():
            flaw = "trainer_state.json is missing"
        if not flaw:
            whole = checkpoint
            break
        damaged[checkpoint] = flaw
    if whole is None and damaged:
        told = "; ".join(f"{checkpoint.name}: {flaw}" for checkpoint, flaw in damaged.items())
        raise RunFolderError(
            f"--resume: no checkpoint in {run.checkpoints} is as it was written ({told}). Put one back from a copy, or "
            "remove them all: the run then starts again from its first step."
        )
    for checkpoint, flaw in damaged.items():
        assert whole is not None
        kept = checkpoint.with_name(f"damaged-{checkpoint.name}")
        shutil.rmtree(kept, ignore_errors=True)
        checkpoint.rename(kept)
        say(
            f"razona: {checkpoint.name} is not as it was written: {flaw}. The run goes on from {whole.name}. The "
            f"damaged one is now {kept}; remove it when you have no use for it.",
            to_stderr=True,
        )
    _remove_older(run)
    if whole is not None and not (whole / sealing.CHECKSUMS).exists():
        say(
            f"razona: {whole} has no {sealing.CHECKSUMS}, as before they were written; it is used unchecked.",
            to_stderr=True,
        )
    return whole
