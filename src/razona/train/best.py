"""The best weights of a run: kept as a whole or not at all, and beside each checkpoint as they were then."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from razona.core.errors import RunFolderError
from razona.core.files import write_json
from razona.core.rundir import RunDir
from razona.train.decisions import Measured, Standing
from razona.train.disk import writing_weights

NOTE = "best.json"
"""In the folder of the best weights: their step and their accuracy."""


def save_best(
    run: RunDir,
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    measured: Measured,
    weights: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Replace `run.best` with the model's trained weights and its tokenizer; it is never half of both.

    Args:
        weights: of a sharded model, as `weights_to_save` gives them; None: the model holds its own.
    """
    fresh = _beside(run.best, "fresh")
    shutil.rmtree(fresh, ignore_errors=True)
    with writing_weights(run.best):
        model.save_pretrained(str(fresh), state_dict=weights)  # pyright: ignore[reportArgumentType]
        tokenizer.save_pretrained(str(fresh))
    write_json(fresh / NOTE, {"step": measured.step, "accuracy": measured.accuracy})
    _replace(run.best, fresh)


def keep_with_checkpoint(run: RunDir, checkpoint: Path) -> None:
    """Let a checkpoint hold the best weights of its time: later ones replace `run.best`, and it may be resumed from.

    They are the same files, so that they take no room of their own.
    """
    place = _of_checkpoint(checkpoint)
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(run.best, place, copy_function=_link)


def restore_best(run: RunDir, checkpoint: Path | None) -> None:
    """Bring `run.best` to what it was at the checkpoint that the run goes on from; `guard.jsonl` ends there already.

    Args:
        checkpoint: None: the run starts again.

    Raises:
        RunFolderError: the weights that `guard.jsonl` names as the best are gone.
    """
    if checkpoint is None:
        run.guard.unlink(missing_ok=True)
    best = Standing.of(run.read_guard()).best
    if checkpoint is None or best is None:
        shutil.rmtree(run.best, ignore_errors=True)
        return
    places = (run.best, _beside(run.best, "old"), _of_checkpoint(checkpoint))
    found = next((place for place in places if _step_of(place) == best.step), None)
    if found is None:
        raise RunFolderError(
            f"--resume: {run.guard} says that the best weights are those of step {best.step}, and none of "
            f"{', '.join(map(str, places))} holds them. Put them back, or remove {run.guard}: the run then goes on "
            f"from {checkpoint.name}, and the best is sought anew."
        )
    if found != run.best:
        fresh = _beside(run.best, "fresh")
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(found, fresh, copy_function=_link)
        _replace(run.best, fresh)


def take_best(run: RunDir) -> None:
    """Make the best weights the run's adapter."""
    with writing_weights(run.adapter):
        shutil.copytree(run.best, run.adapter, ignore=shutil.ignore_patterns(NOTE), dirs_exist_ok=True)


def _of_checkpoint(checkpoint: Path) -> Path:
    # Not a child of its own: transformers takes a child that holds an adapter for a further adapter of the model.
    return checkpoint / "guard" / "best"


def _beside(place: Path, what: str) -> Path:
    return place.with_name(f".{place.name}.{what}")


def _replace(place: Path, fresh: Path) -> None:
    """Put `fresh` where `place` is; a crash on the way leaves one of them under a name that `restore_best` knows."""
    old = _beside(place, "old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    fresh.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def _step_of(place: Path) -> int | None:
    note = place / NOTE
    return json.loads(note.read_text(encoding="utf-8"))["step"] if note.exists() else None


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)
