"""Runs with a planted mistake: a learning rate that becomes a hundred times what the recipe says."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from unittest.mock import patch

from transformers import TrainerCallback

from razona.core.launch import process_index
from razona.recipe import Recipe, load
from razona.train import run as run_module
from razona.train import train
from razona.train.processes import leave_processes
from razona.train.trainer import Trainer

FACTOR = 100.0


class Plant(TrainerCallback):
    """Multiplies the learning rate by 100 after step `first`, and divides it again after step `last`."""

    def __init__(self, first: int, last: int | None = None) -> None:
        self.first, self.last = first, last

    def on_step_end(self, args: object, state, control: object, *, optimizer, lr_scheduler, **kwargs: object) -> None:
        if state.global_step not in (self.first, self.last):
            return
        factor = FACTOR if state.global_step == self.first else 1 / FACTOR
        lr_scheduler.base_lrs = [factor * rate for rate in lr_scheduler.base_lrs]
        for group in optimizer.param_groups:
            group["lr"] *= factor
        lr_scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]


@contextmanager
def planted(plant: Plant) -> Iterator[list[Trainer]]:
    """Let the next run have the plant; the list that is given holds its trainer, once there is one."""
    made: list[Trainer] = []
    original = run_module._make_trainer

    def make_trainer(*args: object, **options: object) -> Trainer:
        trainer = original(*args, **options)  # pyright: ignore[reportArgumentType]
        trainer.add_callback(plant)
        made.append(trainer)
        return trainer

    with patch.object(run_module, "_make_trainer", make_trainer):
        yield made


def small_recipe(*changes: str) -> Recipe:
    """Give a recipe of steps that take a third of a second, and learn little."""
    return load(
        "demo",
        [
            "train.sampling=uniform",
            "train.completions_per_step=16",
            "train.microbatch_size=8",
            "rollout.group_size=4",
            "rollout.max_completion_tokens=24",
            "train.warmup_steps=0",
            "train.schedule=constant",
            "train.precision=float32",
            "guard.num_problems=32",
            "guard.every=1",
            *changes,
        ],
    )


def weights_of(trainer: Trainer) -> str:
    """Give the hash of the trained weights."""
    digest = sha256()
    assert trainer.model is not None
    for name, parameter in sorted(trainer.model.named_parameters()):
        if parameter.requires_grad:
            digest.update(name.encode() + parameter.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def main(folder: Path) -> None:
    """Let each process leave what it decided and ended with."""
    recipe = small_recipe("train.steps=3", "guard.collapse=0.05", "guard.max_rollbacks=1")
    with planted(Plant(1)) as trainers:
        result = train(recipe, folder / "run", tell=lambda finding: None)
    guard = next(one for one in trainers[0].callback_handler.callbacks if type(one).__name__ == "Guard")
    ended = {
        "weights": weights_of(trainers[0]),
        "rollbacks": guard.standing.rollbacks,
        "is_over": guard.standing.is_over,
        "steps": result.steps,
    }
    leave_processes()
    (folder / f"{process_index()}.json").write_text(json.dumps(ended))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
