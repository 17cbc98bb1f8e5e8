"""The whole loop: measure the base, train it, measure it again, say what changed."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path

from razona.core.environment import describe_hardware
from razona.core.errors import RecipeError, RunFolderError
from razona.core.files import write_json
from razona.core.launch import refuse_several_processes
from razona.core.rundir import RunDir
from razona.data import tags_of
from razona.data.source import TASKS
from razona.evaluate.compare import by_family, compare, examples, pair
from razona.evaluate.contest import best_figures, prompt_row
from razona.evaluate.evaluation import Sides
from razona.evaluate.plan import Plan, best_prompt, store
from razona.evaluate.prompts import TRAINING_PROMPT
from razona.evaluate.words import paragraph
from razona.models.load import Policy, load_policy, load_tuned
from razona.recipe import Recipe
from razona.report import LivePage, write_page
from razona.rewards import Mix
from razona.train.health import Finding
from razona.train.monitor import tell_on_stderr
from razona.train.run import prepare_folder, train_in
from razona.train.trackers import check_trackers


class Watcher:
    """What the demo tells while it runs; the command line hands in one that draws."""

    def kept(self, folder: Path) -> None:
        """Take the folder that an earlier run was moved to."""

    def stage(self, title: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Open a stage of `total` completions; the function it gives takes how many more are done."""
        return nullcontext(lambda done: None)

    def training(self, steps: int, run: RunDir) -> AbstractContextManager[Callable[[Mapping[str, float | None]], None]]:
        """Open the training stage of `run`; the function it gives takes each step's metrics row."""
        return nullcontext(lambda row: None)

    def found(self, finding: Finding) -> None:
        """Take what a health rule or the guard found."""
        tell_on_stderr(finding)


@dataclass(slots=True)
class Stopwatch:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def lap(self, stage: str) -> None:
        """Book the time since the last lap under `stage`."""
        now = time.monotonic()
        self.seconds[stage] = round(now - self.started, 1)
        self.started = now


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One policy on the held-out and on the harder problems."""

    held_out: Sides
    ood: Sides


@dataclass(frozen=True, slots=True, kw_only=True)
class BasePrompts:
    """The base under other prompts than the training's own."""

    figures: Mapping[str, Mapping[str, float]]
    """Name of the prompt -> what a part of the problems gave under it."""
    best: str
    """The one that suits it best; the training's own where no other is better."""
    best_sides: Sides
    """All held-out problems under it."""


def demo(recipe: Recipe, out: Path, *, resume: bool = False, watcher: Watcher | None = None) -> dict[str, object]:
    """Evaluate the base, train it, evaluate the result on the same problems, and write summary and page.

    Args:
        out: the run folder. A run that is there is kept beside it as `<out>.previous-<n>`.
        resume: go on with the training in `out` from its last checkpoint.

    Returns:
        What `summary.json` holds.

    Raises:
        RecipeError: the recipe's problems are not generated ones, so none is known to be held out.
        MachineError: it is one of several processes.
    """
    refuse_several_processes("razona demo")
    if recipe.data.source != TASKS:
        raise RecipeError(
            f"data.source = {recipe.data.source}: the demo measures on generated problems, so it needs "
            f"data.source = {TASKS}. To train on other data: razona train RECIPE"
        )
    Mix.of(recipe.rewards, tags_of(recipe.prompt))  # refuses unknown rewards before anything is measured
    check_trackers(recipe.report.report_to)
    run, watcher = RunDir(out), watcher or Watcher()
    previous = None if resume else keep_previous(run)
    if previous is not None:
        watcher.kept(previous)
    with run.lock():
        prepare_folder(run, recipe, resume)
        return _run(recipe, run, watcher)


def _run(recipe: Recipe, run: RunDir, watcher: Watcher) -> dict[str, object]:
    watch = Stopwatch()
    base, prompts = _measure_base(recipe, load_policy(recipe.model), watcher)
    store_sides(run, "base", base, recipe)
    store(run, "base_best", prompts.best_sides, recipe.evaluate.samples, recipe.evaluate.temperature)
    watch.lap("evaluate_base")
    with watcher.training(recipe.train.steps, run) as on_step:
        result = train_in(run, recipe, LivePage(run, on_step), watcher.found)
    watch.lap("train")
    tuned = _measure(recipe, load_tuned(recipe.model, run.adapter), watcher, "the tuned model")
    store_sides(run, "tuned", tuned, recipe)
    watch.lap("evaluate_tuned")
    summary = summarise(recipe, base, tuned, prompts)
    summary["steps"] = result.steps
    summary["kept"] = asdict(result.kept) if result.kept else None
    summary["groups"] = {"informative": result.informative_groups, "all": result.groups}
    summary["seconds"] = {**watch.seconds, "total": round(sum(watch.seconds.values()), 1)}
    write_json(run.summary, summary)
    write_page(run)
    return summary


def keep_previous(run: RunDir) -> Path | None:
    """Move a run that is in the way to the first free `<folder>.previous-<n>` and give that; None where nothing was.

    Raises:
        RunFolderError: the folder is in use, or holds something that is not a run.
    """
    if not run.root.exists() or not any(run.root.iterdir()):
        return None
    if not run.recipe.exists():
        raise RunFolderError(f"{run.root} holds files that are not a run's. Give another folder with --out.")
    with run.lock():
        names = (run.root.resolve().with_name(f"{run.root.resolve().name}.previous-{number}") for number in count(1))
        previous = next(path for path in names if not path.exists())
        run.root.rename(previous)
        return previous


def _measure_base(recipe: Recipe, policy: Policy, watcher: Watcher) -> tuple[Measured, BasePrompts]:
    base = _measure(recipe, policy, watcher, "the base model")
    problems, plan = base.held_out.sampled.problems, Plan(recipe=recipe)
    names = plan.other_prompts(policy, problems)
    with watcher.stage("the base model under other prompts", plan.num_prompt_completions(names)) as on_batch:
        figures = Plan(recipe=recipe, on_batch=on_batch).run_prompts(policy, problems, names)
    best = best_prompt(base.held_out.sampled, figures)
    if best == TRAINING_PROMPT:
        return base, BasePrompts(figures=figures, best=best, best_sides=base.held_out)
    total = len(problems) * (recipe.evaluate.samples + 1)
    with watcher.stage(f"the base model under the best of them ({best})", total) as on_batch:
        sides = Plan(recipe=recipe, on_batch=on_batch).run(policy, problems, best)
    return base, BasePrompts(figures=figures, best=best, best_sides=sides)


def _measure(recipe: Recipe, policy: Policy, watcher: Watcher, title: str) -> Measured:
    with watcher.stage(title, Plan(recipe=recipe).num_completions()) as on_batch:
        return _both_sets(Plan(recipe=recipe, on_batch=on_batch), policy)


def _both_sets(plan: Plan, policy: Policy) -> Measured:
    return Measured(held_out=plan.run(policy, plan.held_out()), ood=plan.run(policy, plan.out_of_distribution()))


def store_sides(run: RunDir, name: str, measured: Measured, recipe: Recipe) -> None:
    """Write a policy's figures and completions on both sets of problems."""
    section = recipe.evaluate
    store(run, name, measured.held_out, section.samples, section.temperature)
    store(run, f"{name}_ood", measured.ood, section.samples, section.temperature)


def summarise(recipe: Recipe, base: Measured, tuned: Measured, prompts: BasePrompts) -> dict[str, object]:
    """Give what `summary.json` holds, times and steps apart."""
    held_out = pair(base.held_out, tuned.held_out, base_name="base", tuned_name="tuned")
    ood = pair(base.ood, tuned.ood, base_name="base", tuned_name="tuned")
    figures = compare(held_out)
    training = figures["base"]
    assert isinstance(training, dict)
    summary = {
        "recipe": recipe.name,
        "model": recipe.model.name,
        "seed": recipe.train.seed,
        **figures,
        "base_best": best_figures(prompts.best, prompts.best_sides, tuned.held_out.sampled, recipe.evaluate.samples),
        "ood": compare(ood),
        "base_prompts": {TRAINING_PROMPT: prompt_row(training), **prompts.figures},
        "families": by_family(held_out),
        "examples": examples(held_out),
        "hardware": describe_hardware(),
    }
    return {**summary, "paragraph": paragraph(summary)}
