"""Where metrics go beside the run folder: TensorBoard, trackio and W&B, by `report.report_to`.

They get the names and values of `metrics.jsonl`; `guard/...` of each measurement on held-out problems; `sft/...` of
each update of a supervised fine-tuning; and TRL's own log of a GRPO step under `trl/...`. The run folder has everything
in any case: a tracker that fails while the run trains is told of once and left out from there on.
"""

import importlib
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from types import ModuleType, TracebackType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from razona.core.errors import MachineError
from razona.core.files import write_json
from razona.core.launch import is_main_process
from razona.core.rundir import RunDir
from razona.core.terminal import say
from razona.recipe import Recipe, dump

PROJECT = "razona"
"""Project on W&B and in trackio."""
Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a tracker is opened with."""

    recipe: Recipe
    run: RunDir
    earlier: str | None
    """What the tracker called this run before it was resumed; None: it does not know the run yet."""
    step: int
    """The last step whose metrics the folder holds."""

    @property
    def name(self) -> str:
        """The run folder's name."""
        return self.run.root.resolve().name


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracker:
    """One tracker that is open."""

    id: str
    """What it calls the run."""
    log: Callable[[Figures, int], None]
    """Takes figures and their step."""
    finish: Callable[[bool], None]
    """Closes it; takes whether the run failed."""


def _open_tensorboard(opening: Opening) -> Tracker:
    folder = opening.run.tensorboard
    purge = opening.step + 1 if opening.earlier else None  # what a broken run wrote after its last checkpoint
    writer = _load("torch.utils.tensorboard").SummaryWriter(log_dir=str(folder), purge_step=purge)
    writer.add_text("recipe", "\n".join(f"    {line}" for line in dump(opening.recipe).splitlines()))

    def log(figures: Figures, step: int) -> None:
        for name, value in figures.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return Tracker(id=opening.name, log=log, finish=lambda is_failed: writer.close())


def _open_wandb(opening: Opening) -> Tracker:
    wandb = _load("wandb")
    opening.run.trackers.mkdir(parents=True, exist_ok=True)
    run = wandb.init(
        project=PROJECT,
        name=opening.name,
        id=opening.earlier,
        resume="allow" if opening.earlier else None,
        dir=str(opening.run.trackers),
        config=opening.recipe.model_dump(mode="json"),
        reinit="create_new",  # another run of this process may be open
        settings=wandb.Settings(console="off"),  # completions on the terminal are no one else's
    )
    run.define_metric("step")
    run.define_metric("*", step_metric="step")

    def log(figures: Figures, step: int) -> None:
        run.log({**figures, "step": step})

    return Tracker(id=str(run.id), log=log, finish=lambda is_failed: run.finish(exit_code=int(is_failed)))


def _open_trackio(opening: Opening) -> Tracker:
    trackio = _load("trackio")
    run = trackio.init(
        project=PROJECT,
        name=opening.earlier or opening.name,
        resume="allow" if opening.earlier else "never",
        config=opening.recipe.model_dump(mode="json"),
        embed=False,
    )
    return Tracker(
        id=str(run.name),
        log=lambda figures, step: run.log(dict(figures), step),
        finish=lambda is_failed: trackio.finish(),  # run.finish() alone would be repeated at the program's end
    )


OPENERS: Mapping[str, Callable[[Opening], Tracker]] = {
    "tensorboard": _open_tensorboard,
    "trackio": _open_trackio,
    "wandb": _open_wandb,
}
"""Name in `report.report_to`, which is its package's name too -> what opens it."""
WAYS_OUT = {
    "wandb": "Log in with `wandb login`, or set WANDB_MODE=offline in the environment to keep everything here. "
}


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers whose package is missing.

    Raises:
        MachineError: one is.
    """
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise MachineError(
            f"report.report_to names {', '.join(missing)}, which is not installed. Install it with `{sys.executable} "
            f"-m pip install {' '.join(missing)}`, or take it out of report.report_to: the run folder has every figure "
            "without it."
        )


class Trackers(TrainerCallback):
    """The trackers of a run; none in a process that is not the main one.

    It is a context: entered, it opens them; left, it closes them. What `take` was given goes out when the trainer logs
    the same step, together with TRL's own figures: add it to the trainer after `StepRecorder`.

    Raises:
        MachineError: on entering, a tracker cannot be opened.
    """

    def __init__(self, recipe: Recipe, run: RunDir) -> None:
        self.recipe, self.run = recipe, run
        self._open: dict[str, Tracker] = {}
        self._row: Mapping[str, float | None] | None = None

    def __enter__(self) -> "Trackers":
        """Open what the recipe names."""
        try:
            for name in self.recipe.report.report_to if is_main_process() else ():
                self._open[name] = self._opened(name)
        except MachineError:
            self._close(is_failed=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all; a run that an error ends is marked as failed where the tracker knows such a thing."""
        self._close(is_failed=kind is not None)

    def _close(self, *, is_failed: bool) -> None:
        for name in list(self._open):
            with self._guarded(name, "closing it"):
                self._open[name].finish(is_failed)
        self._open.clear()

    def take(self, row: Mapping[str, float | None]) -> None:
        """Take a step's metrics row."""
        self._row = row

    def take_update(self, row: Mapping[str, float | None]) -> None:
        """Log a row of a supervised fine-tuning."""
        self._log({f"sft/{name}": value for name, value in row.items() if name != "step"}, int(row["step"] or 0))

    def take_measurement(self, row: Mapping[str, Any]) -> None:
        """Log a row of `guard.jsonl`."""
        names = ("accuracy", "best_accuracy", "below_best", "rollbacks")
        self._log({f"guard/{name}": row[name] for name in names}, int(row["step"]))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        """Log the step that was taken last."""
        if self._row is None:
            return
        row, self._row = self._row, None
        ours = {name: value for name, value in row.items() if name != "step"}
        self._log({**ours, **{f"trl/{name}": value for name, value in (logs or {}).items()}}, int(row["step"] or 0))

    def _log(self, figures: Mapping[str, object], step: int) -> None:
        known = {
            name: float(value)
            for name, value in figures.items()
            if isinstance(value, int | float) and math.isfinite(value)
        }
        for name in list(self._open):
            with self._guarded(name, f"step {step}"):
                self._open[name].log(known, step)

    def _opened(self, name: str) -> Tracker:
        ids = _read_ids(self.run)
        steps = self.run.read_steps()
        opening = Opening(
            recipe=self.recipe, run=self.run, earlier=ids.get(name), step=int(steps[-1]["step"]) if steps else 0
        )
        try:
            with redirect_stdout(sys.stderr):  # --json prints figures and nothing else
                tracker = OPENERS[name](opening)
        except Exception as error:  # whatever a package that is not ours raises: not logged in, no network, broken
            raise MachineError(
                f"report.report_to: {name} cannot be opened: {_first_line(error)} {WAYS_OUT.get(name, '')}"
                f"Or take {name} out of report.report_to: the run folder has every figure without it."
            ) from error
        write_json(self.run.tracker_ids, {**ids, name: tracker.id})
        return tracker

    @contextmanager
    def _guarded(self, name: str, when: str) -> Iterator[None]:
        """Call a tracker; where it fails, say so and leave it out: no tracker is worth a run."""
        try:
            with redirect_stdout(sys.stderr):
                yield
        except Exception as error:  # as in `_opened`
            self._open.pop(name, None)
            say(
                f"razona: the tracker {name} failed ({when}): {_first_line(error)} It gets nothing more of this run; "
                f"{self.run.metrics} has every step.",
                to_stderr=True,
            )


def _load(name: str) -> ModuleType:
    return importlib.import_module(name)


def _read_ids(run: RunDir) -> dict[str, str]:
    return json.loads(run.tracker_ids.read_text(encoding="utf-8")) if run.tracker_ids.exists() else {}


def _first_line(error: Exception) -> str:
    words = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {words.rstrip('.')}." if words else f"{type(error).__name__}."
