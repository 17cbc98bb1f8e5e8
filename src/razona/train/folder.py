"""The folder of a run that begins or goes on: it describes itself, and forgets what came after its last checkpoint."""

import json
from collections.abc import Iterator, Mapping

from razona.core.environment import describe_environment
from razona.core.errors import RecipeError, RunFolderError
from razona.core.files import write_json, write_text
from razona.core.launch import num_processes, sharding
from razona.core.rundir import RunDir, step_of
from razona.core.terminal import say
from razona.recipe import Recipe, dump, load
from razona.train.best import restore_best
from razona.train.checkpoints import find_whole


def prepare_folder(run: RunDir, recipe: Recipe, resume: bool) -> None:
    """Make the folder ready: a new run describes itself, a resumed one forgets what came after its last checkpoint.

    Raises:
        RunFolderError: there is nothing to go on from, another recipe was used, no checkpoint is as it was written, or
            the folder holds a run already.
    """
    if resume:
        _check_recipe(run, recipe)
        began_with = json.loads(run.environment.read_text(encoding="utf-8"))
        _check_sharding(run, began_with.get("sharding", ""))
        checkpoint = find_whole(run)
        run.forget_steps_after(step_of(checkpoint) if checkpoint else 0)
        restore_best(run, checkpoint)
        _note_other_processes(began_with.get("processes", 1))
        return
    if run.metrics.exists() or run.checkpoints.exists() or run.sft_solutions.exists():
        raise RunFolderError(
            f"{run.root} already holds a run. Go on with it (--resume), remove it, or give another folder with --out."
        )
    write_json(run.environment, describe_environment({"train": recipe.train.seed}))
    write_text(run.recipe, dump(recipe))  # last: where a recipe lies, the rest of the description does too


def _check_recipe(run: RunDir, recipe: Recipe) -> None:
    """Refuse to go on with another recipe; a key that the run's own does not know yet stands there at its default."""
    if not run.recipe.exists():
        raise RunFolderError(f"--resume: {run.root} holds no run to go on with. Start it without --resume.")
    try:
        stored = load(run.recipe)
    except RecipeError as error:
        raise RunFolderError(
            f"--resume: {run.recipe} cannot be read by this version of Razona: {error} Go on with the version that "
            f"started the run ({run.environment} names it), or give another --out."
        ) from error
    began, now = (dict(_leaves(one.model_dump(mode="json"))) for one in (stored, recipe))
    other = [
        f"{key} = {began.get(key)!r} there, {now.get(key)!r} here"
        for key in dict.fromkeys([*began, *now])
        if began.get(key) != now.get(key)
    ]
    if other:
        raise RunFolderError(
            f"--resume: the recipe is not the one that {run.recipe} was started with: {'; '.join(other)}. "
            "Give the same recipe and --set options, or another --out."
        )


def _leaves(values: Mapping[str, object], above: str = "") -> Iterator[tuple[str, object]]:
    """Give each value of nested mappings with its key, as `--set` writes it."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _check_sharding(run: RunDir, began_with: str) -> None:
    if began_with != sharding():
        raise RunFolderError(
            f"--resume: {run.root} began with sharding: {began_with or 'none'}, and this start has "
            f"{sharding() or 'none'}; their checkpoints differ. Start it as it began, or give another --out."
        )


def _note_other_processes(began_with: int) -> None:
    if began_with != num_processes():
        say(
            f"razona: this run began with {began_with} processes and goes on with {num_processes()}: it samples other "
            "completions than it would have.",
            to_stderr=True,
        )
