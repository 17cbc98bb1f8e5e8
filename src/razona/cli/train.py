"""`razona train`: GRPO from a recipe."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from razona.cli.options import JsonOption, OutOption, ResumeOption, SetOption
from razona.core.launch import is_main_process

if TYPE_CHECKING:
    from rich.console import Console

    from razona.train.run import TrainResult


def train_command(
    recipe_name: Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe or a YAML file.")],
    out: OutOption = None,
    overrides: SetOption = None,
    resume: ResumeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a model as its recipe says, with GRPO or SFT; writes adapter, metrics, completions and the page."""
    from razona.recipe import load

    recipe = load(recipe_name, overrides or [])
    folder = out or Path("runs") / recipe.name
    from razona.models.unsloth import import_first

    import_first(recipe)  # before anything that loads torch: Unsloth rewrites what comes after it
    from razona.cli.progress import RichWatcher, make_console
    from razona.core.rundir import RunDir
    from razona.report import LivePage, write_page
    from razona.train import train
    from razona.train.processes import leave_processes

    console = make_console(to_stderr=as_json, is_quiet=not is_main_process())
    run, watcher = RunDir(folder), RichWatcher(console)
    with watcher.training(recipe.train.steps, run) as on_step:
        result = train(recipe, folder, resume=resume, watch=LivePage(run, on_step), tell=watcher.found)
    leave_processes()
    if not is_main_process():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # torch's threads may still run, and an ordinary end would abort on them
    page = write_page(result.run)
    if as_json:
        figures = {
            "run": str(folder),
            "steps": result.steps,
            "seconds": round(result.seconds, 1),
            "steps_with_signal": result.steps_with_signal,
            "informative_groups": result.informative_groups,
            "groups": result.groups,
            "kept": asdict(result.kept) if result.kept else None,
            "guard_seconds": round(result.guard_seconds, 1),
            "fine_tuned": asdict(result.fine_tuned) if result.fine_tuned else None,
        }
        print(json.dumps(figures, indent=2))
        return
    if result.fine_tuned:
        tuned = result.fine_tuned
        console.print(
            f"\nFine-tuned on {tuned.solutions:,} solutions: {tuned.updates} updates, {tuned.trained_tokens:,} tokens, "
            f"{tuned.seconds:.0f} s.",
            highlight=False,
            soft_wrap=True,
        )
    if result.groups:
        print_steps(console, result)
    console.print(
        f"Adapter: {result.run.adapter}   Page: {page}   Completions: {folder}/completions/",
        highlight=False,
        soft_wrap=True,
    )


def print_steps(console: "Console", result: "TrainResult") -> None:
    """Tell what the GRPO steps did, and which weights are kept."""
    console.print(
        f"\n{result.steps} steps in {result.seconds:.0f} s. {result.informative_groups} of {result.groups} groups "
        "had signal (their rewards were not all equal; the others have advantages of zero and teach nothing).",
        highlight=False,
        soft_wrap=True,
    )
    if result.kept:
        name = "best" if result.kept.is_best else "last"
        console.print(
            f"The adapter holds the {name} weights, of step {result.kept.step}: {result.kept.why}.",
            highlight=False,
            soft_wrap=True,
        )
