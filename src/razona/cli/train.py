"""`razona train`: GRPO from a recipe."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from razona.cli.launch import Asked, Sharding, launch
from razona.cli.options import AgainstOption, AllowOption, JsonOption, OutOption, ResumeOption, SetOption
from razona.cli.processes import way_on_of
from razona.core.errors import RecipeError, StoppedError
from razona.core.launch import LAUNCHER, end_several, end_with_launcher, is_main_process
from razona.core.launch import num_processes as processes_of_run
from razona.core.leaving import leave_on_signals
from razona.core.terminal import say, say_json

if TYPE_CHECKING:
    from rich.console import Console

    from razona.train.run import TrainResult


def train_command(
    recipe_name: Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe or a YAML file.")],
    out: OutOption = None,
    overrides: SetOption = None,
    resume: ResumeOption = False,
    allow: AllowOption = None,
    against: AgainstOption = None,
    no_check: Annotated[bool, typer.Option("--no-check", help="Train without looking at anything first.")] = False,
    as_json: JsonOption = False,
    num_processes: Annotated[
        int | None,
        typer.Option("--num-processes", min=1, help="Train in this many processes, counted over all machines."),
    ] = None,
    num_machines: Annotated[
        int | None, typer.Option("--num-machines", min=1, help="Machines; each runs this same command. 1 by default.")
    ] = None,
    machine_rank: Annotated[
        int | None, typer.Option("--machine-rank", min=0, help="This machine's number, from 0.")
    ] = None,
    main_address: Annotated[str | None, typer.Option("--main-address", help="Of machine 0, for all machines.")] = None,
    main_port: Annotated[
        int | None, typer.Option("--main-port", min=1, max=65535, help="A free one on machine 0; 29500 by default.")
    ] = None,
    sharding: Annotated[
        Sharding, typer.Option("--sharding", help="What the processes share out beside the data (docs/scale.md).")
    ] = Sharding.NONE,
    accelerate_config: Annotated[
        Path | None, typer.Option("--accelerate-config", help="accelerate's own settings, instead of --sharding.")
    ] = None,
) -> None:
    """Train a model as its recipe says, with GRPO or SFT; writes adapter, metrics, completions and the page.

    What `razona check` finds is looked for first: errors end it with 1 before the first step.
    """
    from razona.advise.check import CheckOptions, load_recipe

    recipe = load_recipe(recipe_name, overrides or [])
    folder = out or Path("runs") / recipe.name
    options = CheckOptions(allow=allow or [], against=against or [], is_quick=True, folder=folder)
    if no_check and (allow or against):
        raise RecipeError("--no-check looks at nothing, so --allow and --against have nothing to do. Leave one out.")
    asked = Asked(
        num_processes=num_processes,
        num_machines=num_machines,
        machine_rank=machine_rank,
        main_address=main_address,
        main_port=main_port,
        sharding=sharding,
        accelerate_config=accelerate_config,
    )
    if asked.wants_several():
        sets = [part for value in overrides or [] for part in ("--set", value)]
        sets += [part for rule in allow or [] for part in ("--allow", rule)]
        sets += [part for name in against or [] for part in ("--against", name)]
        flags = [*["--resume"] * resume, *["--json"] * as_json, *["--no-check"] * no_check]
        raise typer.Exit(launch(asked, recipe, folder, ["train", recipe_name, *sets, "--out", str(folder), *flags]))
    end_with_launcher()
    from razona.models.unsloth import import_first

    import_first(recipe)  # before anything that loads torch: Unsloth rewrites what comes after it
    from razona.advise.exhausted import explained_exhaustion
    from razona.cli.check import RunCheck
    from razona.cli.console import make_console
    from razona.cli.progress import RichWatcher
    from razona.core.rundir import RunDir
    from razona.report import LivePage, write_page
    from razona.train import train
    from razona.train.processes import leave_processes

    console = make_console(to_stderr=as_json, is_quiet=not is_main_process())
    run, watcher = RunDir(folder), RichWatcher(console)
    is_checked = no_check or (resume and RunCheck.was_passed(run))
    check = None if is_checked else RunCheck(run, recipe, options, console)
    try:
        with (
            explained_exhaustion(recipe),
            leave_on_signals(recipe.train.grace_s, way_on_of(run)),
            watcher.training(recipe.train.steps, run) as on_step,
        ):
            result = train(recipe, folder, resume=resume, check=check, watch=LivePage(run, on_step), tell=watcher.found)
    except StoppedError as stopped:
        if processes_of_run() == 1:
            raise
        leave_processes()
        if is_main_process() and LAUNCHER not in os.environ:
            say(f"razona: {stopped}", to_stderr=True)
        end_several(stopped.exit_code)
    leave_processes()
    if not is_main_process():
        end_several()
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
        say_json(figures)
        end_several()
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
    end_several()


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
