"""`razona experiment rft-vs-sft`: base, SFT, GRPO, SFT then GRPO and a random reward, at an equal budget."""

# Budget: GRPO on all problems takes the recipe's steps, and what that costs in token passes (razona.advise.cost) every
# other arm may spend. Fine-tuning knows its cost before it starts and takes as many epochs as fit; GRPO takes the
# same number of steps and is stopped at the budget.

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from razona import tasks
from razona.advise.arms import Arm, Method, arms_for, recipe_of
from razona.advise.contrasts import contrasts
from razona.core.environment import describe_hardware
from razona.core.errors import NothingToLearnError, RecipeError, RunFolderError
from razona.core.files import read_jsonl, write_json, write_text
from razona.core.launch import refuse_several_processes
from razona.core.rundir import RunDir
from razona.data.benchmarks import Asked, Loaded
from razona.data.source import TASKS
from razona.evaluate.named import Models, Wanted, evaluate_named
from razona.evaluate.plan import PROBLEM_SEED
from razona.recipe import Recipe, dump
from razona.report.experiment import contrast_table, experiment_table, write_experiment_picture
from razona.train.cost import CountTokens, grpo_cost

SETS = ("held_out", "ood")
"""What every arm is measured on: problems like the training's, and harder ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What an experiment compares, and on what."""

    recipe: Recipe
    labels: Sequence[int] = (0, 32, 128, 512, 2048)
    """Numbers of labelled problems. 0: none but the verifier."""
    num_problems: int = 256
    """Of each of the two sets that every arm is measured on."""
    samples: int = 4
    arms: Sequence[Arm] | None = None
    """None: all that the labels give."""

    def all_arms(self) -> list[Arm]:
        """Give the arms, the one that sets the budget before those that spend it."""
        return list(self.arms) if self.arms is not None else arms_for(self.labels)


class Watcher(Protocol):
    """What is told while the experiment runs."""

    def arm(self, name: str, number: int, total: int) -> None:
        """Take the arm that begins."""
        ...

    def stage(self, title: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Open an evaluation of `total` completions."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What an arm's training took."""

    passes: int
    """Forward passes of one token."""
    seconds: float
    steps: int
    """Of GRPO."""
    updates: int
    """Of the fine-tuning."""
    solutions: int


def experiment(design: Design, out: Path, watcher: Watcher) -> dict[str, object]:
    """Train and measure every arm, or go on where an interrupted experiment stopped.

    Returns:
        What `experiment.json` holds: for every arm its cost and, for both sets, its figures with intervals. An arm that
        finds nothing to learn from has neither, and says why in `left_out`.

    Raises:
        RecipeError: the recipe does not train on generated problems, has no arm to set the budget, or has one with
            fewer labels than a step takes.
        RunFolderError: `out` holds another experiment.
        MachineError: it is one of several processes.
    """
    refuse_several_processes("razona experiment")
    recipe, arms = design.recipe, design.all_arms()
    if recipe.data.source != TASKS:
        raise RecipeError(
            f"data.source = {recipe.data.source}: the experiment measures on generated problems, inside and outside of "
            f"the training's levels, so it needs data.source = {TASKS}."
        )
    if Arm(method=Method.GRPO) not in arms:
        raise RecipeError("the arm grpo-0 sets the budget of all others; expected it among the arms")
    groups = recipe.train.completions_per_step // recipe.rollout.group_size
    few = sorted({arm.labels for arm in arms if 0 < arm.labels < groups})
    if few:
        raise RecipeError(
            f"--labels {few[0]}: a step trains on {groups} problems, so GRPO needs as many labels, or none (0). Give "
            f"{groups} or more, or lower train.completions_per_step."
        )
    _take_folder(design, out)
    started = time.monotonic()
    budget: int | None = None
    results: dict[str, dict[str, object]] = {}
    for number, arm in enumerate(arms, start=1):
        watcher.arm(arm.name, number, len(arms))
        try:
            spent = None if arm.method is Method.BASE else _train(arm, design, out, budget)
        except NothingToLearnError as error:
            results[arm.name] = {"method": str(arm.method), "labels": arm.labels, "left_out": str(error)}
            continue
        if arm == Arm(method=Method.GRPO):
            assert spent is not None
            budget = spent.passes
        results[arm.name] = {
            "method": str(arm.method),
            "labels": arm.labels,
            "spent": asdict(spent) if spent else None,
            **{name: _measure(arm, name, design, out, watcher) for name in SETS},
        }
    found = {
        "recipe": recipe.name,
        "model": recipe.model.name,
        "budget_token_passes": budget,
        "steps": recipe.train.steps,
        "problems": design.num_problems,
        "samples": design.samples,
        "seed": recipe.train.seed,
        "seconds_of_last_session": round(time.monotonic() - started, 1),
        "arms": results,
        "hardware": describe_hardware(),
    }
    write_json(out / "experiment.json", found)
    return found


def run_and_write(design: Design, out: Path, watcher: Watcher) -> dict[str, object]:
    """Run the experiment, and write its table and its figure beside `experiment.json`.

    Raises:
        RecipeError, RunFolderError, MachineError: as `experiment`.
    """
    found = experiment(design, out, watcher)
    arms = found["arms"]
    assert isinstance(arms, dict)
    measured = {name: arm for name, arm in arms.items() if "left_out" not in arm}
    found["contrasts"] = contrasts(measured, out / "evaluations", SETS)
    write_json(out / "experiment.json", found)
    write_text(out / "experiment.md", f"{experiment_table(found)}\n{contrast_table(found)}")
    write_experiment_picture(found, out / "experiment.svg")
    return found


def _take_folder(design: Design, out: Path) -> None:
    """Describe the experiment in a new folder, or see that the folder's is this one."""
    path = out / "design.json"
    told = {
        "recipe": dump(design.recipe),
        "problems": design.num_problems,
        "samples": design.samples,
    }
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        other = [key for key, value in told.items() if found.get(key) != value]
        if other:
            raise RunFolderError(
                f"--out {out} holds an experiment with another {', another '.join(other)}. Ask for the same to go on "
                "with it, or give another folder."
            )
        return
    if out.exists() and any(out.iterdir()):
        raise RunFolderError(f"--out {out} holds something else than an experiment. Give another folder.")
    write_json(path, told)


def _train(arm: Arm, design: Design, out: Path, budget: int | None) -> Spent:
    """Train an arm; one that is finished already is only read."""
    from razona.models.load import load_tokenizer
    from razona.train import train

    run = RunDir(out / "arms" / arm.name)
    note = run.root / "spent.json"
    if note.exists():
        return Spent(**json.loads(note.read_text(encoding="utf-8")))
    tokenizer = load_tokenizer(design.recipe.model)

    def count_tokens(texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]]

    meter = Meter(run, count_tokens)
    result = train(
        recipe_of(arm, design.recipe, budget),
        run.root,
        resume=run.recipe.exists(),
        tell=lambda finding: None,
        is_enough=None if budget is None else lambda step: meter.passes(step) >= budget,
    )
    steps = len(run.read_steps())
    tuned = result.fine_tuned
    spent = Spent(
        passes=meter.passes(steps),
        seconds=round(result.seconds + (tuned.seconds if tuned else 0.0), 1),
        steps=steps,
        updates=tuned.updates if tuned else 0,
        solutions=tuned.solutions if tuned else 0,
    )
    write_json(note, asdict(spent))
    return spent


class Meter:
    """Adds up what an arm's training costs, from what its folder holds."""

    def __init__(self, run: RunDir, count_tokens: CountTokens) -> None:
        self.run, self.count_tokens = run, count_tokens
        self._of_step: dict[int, int] = {}

    def passes(self, step: int) -> int:
        """Give the token passes up to and with this step, the fine-tuning's among them."""
        for number in range(1, step + 1):
            if number not in self._of_step:
                rows = read_jsonl(self.run.completions(number))
                self._of_step[number] = grpo_cost(rows, self.count_tokens).passes
        return self._fine_tuning() + sum(self._of_step[number] for number in range(1, step + 1))

    def _fine_tuning(self) -> int:
        if not self.run.sft_summary.exists():
            return 0
        return json.loads(self.run.sft_summary.read_text(encoding="utf-8"))["token_passes"]


def _measure(arm: Arm, name: str, design: Design, out: Path, watcher: Watcher) -> Mapping[str, object]:
    """Give an arm's figures on one of the two sets."""
    recipe = design.recipe
    levels = recipe.data.levels if name == "held_out" else recipe.evaluate.ood_levels
    problems = tasks.distinct_problems(
        "evaluation" if name == "held_out" else "ood",
        design.num_problems,
        seed=PROBLEM_SEED,
        families=list(recipe.data.families),
        levels=list(levels),
    )
    wanted = Wanted(
        asked=Asked(data=TASKS, folder=None, num_problems=design.num_problems, split=None),
        recipe=recipe,
        samples=design.samples,
        max_tokens=recipe.rollout.max_completion_tokens,
        batch_size=recipe.evaluate.batch_size,
    )
    model = recipe.model.name if arm.method is Method.BASE else str(out / "arms" / arm.name)
    total = design.num_problems * (design.samples + 1)
    with watcher.stage(f"{arm.name}, {name}", total) as on_batch:
        return evaluate_named(
            model,
            wanted,
            Loaded(problems=problems, kind=recipe.rewards.kind, source=TASKS),
            out / "evaluations" / f"{arm.name}-{name}",
            lambda title, total: on_batch,
            Models(),
        )
