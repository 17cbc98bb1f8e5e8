"""The run that is exported, and the refusal of one that has nothing to export."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from razona.core.errors import ExportError, ModelError, RunFolderError
from razona.core.rundir import RunDir
from razona.recipe import Recipe, load

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""PEFT's names of an adapter's two files."""
UP_PROJECTION = ".lora_B."
"""In the name of the matrix that starts as zeros: while all of them are, the adapter adds nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A finished run."""

    run: RunDir
    recipe: Recipe
    has_adapter: bool
    """False: the run trained every weight (`lora: null`), and `run.adapter` is the whole model."""
    is_of_4_bits: bool
    """The adapter was trained upon a base rounded to 4 bits; every export is upon the base as it is."""


def open_source(folder: Path, overrides: Sequence[str] = ()) -> Source:
    """Read a run that has trained something.

    Args:
        overrides: changes of the run's recipe, for example of `data.source` where the data have moved.

    Raises:
        RunFolderError: the folder is no run's.
        ModelError: the run has not finished training.
        ExportError: its adapter is zero, or holds numbers that are not finite.
    """
    run = RunDir(folder)
    if not run.recipe.exists():
        raise RunFolderError(_no_run(folder))
    files = {path.name for path in run.adapter.iterdir()} if run.adapter.is_dir() else set()
    has_adapter = ADAPTER_CONFIG in files
    if not has_adapter and "config.json" not in files:
        raise ModelError(
            f"{folder} is the folder of a run that has not finished training: {run.adapter} holds no adapter and no "
            "model. Go on with it: razona train RECIPE --resume"
        )
    if has_adapter:
        check_adapter(run.adapter)
    recipe = load(run.recipe, overrides)
    whole = recipe.model.model_copy(update={"load_in_4bit": False})
    return Source(
        run=run,
        recipe=recipe.model_copy(update={"model": whole}),
        has_adapter=has_adapter,
        is_of_4_bits=recipe.model.load_in_4bit,
    )


def _no_run(folder: Path) -> str:
    if not folder.is_dir():
        return f"RUN = {folder}: there is no such folder. Give one that `razona train` or `razona demo` wrote."
    present = sorted(path.name for path in folder.iterdir())
    told = (
        f"RUN = {folder}: the folder is no run's, it holds no recipe.yaml (it holds {', '.join(present[:8]) or '-'})."
    )
    if ADAPTER_CONFIG in present or "config.json" in present:
        return f"{told} It looks like a model's own folder: give that of the run, which knows prompt and data."
    return f"{told} Give one that `razona train` or `razona demo` wrote."


def check_adapter(folder: Path) -> None:
    """Refuse an adapter that changes nothing, or that is broken.

    Raises:
        ExportError: every up-projection is zero, or a number is not finite.
    """
    import torch
    from safetensors import safe_open

    path = folder / ADAPTER_WEIGHTS
    if not path.exists():
        raise ExportError(f"{folder} holds {ADAPTER_CONFIG} but no {ADAPTER_WEIGHTS}. Train again, or put it back.")
    num_up, num_zero = 0, 0
    with safe_open(str(path), framework="pt") as file:
        for name in file.keys():  # noqa: SIM118  the file is no dict
            tensor = file.get_tensor(name)
            if not bool(torch.isfinite(tensor).all()):
                raise ExportError(
                    f"{path}: {name} holds numbers that are not finite, so the training has diverged. Take an earlier "
                    "checkpoint, or train again with a lower train.learning_rate."
                )
            if UP_PROJECTION in name:
                num_up += 1
                num_zero += not bool(tensor.any())
    if num_up == num_zero:
        raise ExportError(
            f"{path}: all {num_up} up-projections (lora_B) are zero, so the adapter changes nothing: the training "
            "moved no weight. Look at metrics.jsonl: did any group have signal, was train.learning_rate 0?"
        )


def adapter_settings(folder: Path) -> dict[str, object]:
    """Give what `adapter_config.json` holds."""
    return json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
