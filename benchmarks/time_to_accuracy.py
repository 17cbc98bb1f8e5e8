"""Seconds of training from the embedded base to 80 % of the accuracy that the demo ends with, ours against TRL.

    make bench-time-to-accuracy        writes docs/results/time_to_accuracy.json

Both train the recipe `demo`: the same base, problems, reward, learning rates and seed. TRL's own trainer runs in the
setting that `make bench-step` found fastest of those that torch does not compile first. Every 5 steps the clock stands
still and the policy is measured on held-out problems, by the same engine and verifier on both sides; between two
measurements the accuracy is taken as a straight line over time. TRL's run ends once it has passed the level that our
run of the same seed sets. Each run is a process of its own; all of it is repeated with several seeds.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from measuring import RESULTS, described, in_own_process, peak_mib, spread, use_threads
from trainers import OUR_SETTINGS, TRL_DEFAULT, fastest, has_short_products, job_of, make_trainer
from transformers import TrainerCallback, TrainerControl

from razona.core.files import write_json
from razona.core.nouns import Problem
from razona.data import PromptWriter
from razona.evaluate import Evaluation, evaluate, judge_of
from razona.evaluate.plan import PROBLEM_SEED, Plan
from razona.models.arithmetic import short_products
from razona.models.load import Policy
from razona.recipe import Recipe, load
from razona.rollout import Sampling

OURS = fastest("ours_uncompiled", "ours fp32")
SHARE_OF_FINAL = 0.8
ABSOLUTE = 0.8
TIMEOUT_S = 1200


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One measurement on the way."""

    step: int
    seconds: float
    """Of training so far."""
    pass_at_1: float
    ci95: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plans:
    """What is trained and how often it is measured."""

    changes: tuple[str, ...]
    """Of the recipe `demo`."""
    every: int
    num_problems: int
    samples: int

    def recipe(self, seed: int, name: str) -> Recipe:
        """Give the recipe of one seed, in one of our settings or for one of TRL's."""
        held_out = [f"evaluate.num_problems={self.num_problems}", f"evaluate.samples={self.samples}"]
        return load("demo", [*OUR_SETTINGS.get(name, []), *self.changes, *held_out, f"train.seed={seed}"])


class Curve(TrainerCallback):
    """Measures the policy now and then, outside its clock, and stops the run once it has passed a level."""

    def __init__(self, recipe: Recipe, policy: Policy, every: int, level: float | None) -> None:
        self.recipe, self.policy, self.every, self.level = recipe, policy, every, level
        self.problems: list[Problem] = Plan(recipe=recipe).held_out()
        self.points: list[Point] = []
        self.seconds = 0.0

    def on_train_begin(self, *args, **kwargs) -> None:
        """Measure the base and start the clock."""
        self._measure(0)
        self.started = time.perf_counter()

    def on_step_end(self, args: object, state, control: TrainerControl, **kwargs) -> None:
        """Stop the clock, measure, and start it again."""
        if state.global_step % self.every and state.global_step < state.max_steps:
            return
        self.seconds += time.perf_counter() - self.started
        self._measure(state.global_step)
        control.should_training_stop |= self.level is not None and self.points[-1].pass_at_1 >= self.level
        self.started = time.perf_counter()

    def _measure(self, step: int) -> None:
        estimate = self._evaluate().pass_at(1)
        point = Point(step=step, seconds=self.seconds, pass_at_1=estimate.value, ci95=(estimate.low, estimate.high))
        self.points.append(point)

    def _evaluate(self) -> Evaluation:
        recipe = self.recipe
        return evaluate(
            self.policy,
            self.problems,
            PromptWriter(section=recipe.prompt, tokenizer=self.policy.tokenizer).write,
            judge_of(recipe),
            samples=recipe.evaluate.samples,
            sampling=Sampling(max_tokens=recipe.rollout.max_completion_tokens, temperature=recipe.evaluate.temperature),
            batch_size=recipe.evaluate.batch_size,
            seed=PROBLEM_SEED,
        )


def train_and_measure(name: str, plans: Plans, seed: int, level: float | None) -> dict:
    """Train under one setting, in the process that this runs in.

    Args:
        level: pass@1 at which the run ends; None: it goes to its last step.
    """
    use_threads()
    recipe = plans.recipe(seed, name)
    job = job_of(recipe, f"time-to-accuracy {name} {seed}")
    trainer = make_trainer(job, name)
    policy = Policy(model=trainer.model, tokenizer=job.policy.tokenizer, name=name)  # pyright: ignore
    curve = Curve(recipe, policy, plans.every, level)
    trainer.add_callback(curve)
    with short_products(has_short_products(name)):
        trainer.train()
    return {"points": [asdict(point) for point in curve.points], "peak_mib": peak_mib()}


def crossing(points: Sequence[dict], level: float, over: Literal["seconds", "step"] = "seconds") -> float | None:
    """Give where the straight lines between points first reach a level; None where they do not."""
    if points[0]["pass_at_1"] >= level:
        return 0.0
    for before, after in pairwise(points):
        if after["pass_at_1"] >= level:
            share = (level - before["pass_at_1"]) / (after["pass_at_1"] - before["pass_at_1"])
            return before[over] + share * (after[over] - before[over])
    return None


def show(name: str, seed: int, points: Sequence[dict]) -> None:
    """Print a curve."""
    line = "  ".join(f"{point['seconds']:.0f} s {point['pass_at_1']:.0%}" for point in points)
    print(f"  seed {seed}  {name:24} {line}", flush=True)


def run_seed(seed: int, plans: Plans, trl: str) -> dict:
    """Train both sides from one seed and compare."""
    ours = in_own_process(train_and_measure, OURS, plans, seed, None, timeout_s=TIMEOUT_S)
    show(OURS, seed, ours["points"])
    final = ours["points"][-1]["pass_at_1"]
    level = SHARE_OF_FINAL * final
    theirs = in_own_process(train_and_measure, trl, plans, seed, level, timeout_s=TIMEOUT_S)
    show(trl, seed, theirs["points"])
    sides = {
        name: {
            "seconds_to_level": crossing(side["points"], level),
            "steps_to_level": crossing(side["points"], level, over="step"),
            "seconds_to_80_percent": crossing(side["points"], ABSOLUTE),
            "seconds": side["points"][-1]["seconds"],
            **side,
        }
        for name, side in (("ours", ours), ("trl", theirs))
    }
    mine, other = sides["ours"]["seconds_to_level"], sides["trl"]["seconds_to_level"]
    return {
        "seed": seed,
        "final_pass_at_1": final,
        "level": level,
        **sides,
        # Where TRL never got there, the ratio is at least this.
        "ratio": (other if other is not None else sides["trl"]["seconds"]) / mine if mine else None,
        "is_ratio_a_least_value": other is None,
    }


def medians(runs: Sequence[dict]) -> dict[str, object]:
    """Give each figure over the seeds; None where no run has it."""

    def over(values: list[float | None]) -> dict[str, float] | None:
        known = [value for value in values if value is not None]
        return spread(known) if known else None

    return {
        "ratio": over([run["ratio"] for run in runs]),
        **{
            f"{side}_{figure}": over([run[side][figure] for run in runs])
            for figure in ("seconds_to_level", "steps_to_level", "seconds_to_80_percent")
            for side in ("ours", "trl")
        },
    }


def main() -> None:
    """Run every seed, write, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3, help="seeds, from 0 on")
    parser.add_argument("--every", type=int, default=5, help="steps between two measurements")
    parser.add_argument("--problems", type=int, default=128, help="held-out problems of a measurement")
    parser.add_argument("--samples", type=int, default=4, help="completions of each")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that the script runs")
    parser.add_argument("--json", type=Path, default=RESULTS / "time_to_accuracy.json")
    options = parser.parse_args()
    plans = Plans(changes=(), every=options.every, num_problems=options.problems, samples=options.samples)
    if options.quick:
        changes = ("train.steps=4", "train.completions_per_step=16", "train.microbatch_size=16")
        plans = Plans(changes=changes, every=2, num_problems=8, samples=2)
    trl = fastest("fastest_trl_uncompiled", TRL_DEFAULT)
    settings = {"rounds": options.rounds, "trl_setting": trl, "share_of_final": SHARE_OF_FINAL, **asdict(plans)}
    print(f"Held-out pass@1 over seconds of training, ours against {trl}:", flush=True)
    runs: list[dict] = []
    for seed in range(options.rounds):
        runs.append(run_seed(seed, plans, trl))
        result = {**described("make bench-time-to-accuracy", settings), **medians(runs), "runs": runs}
        write_json(options.json, result)  # after every seed: an interrupted benchmark keeps what it has
    for run in runs:
        mine, other = run["ours"]["seconds_to_level"], run["trl"]["seconds_to_level"]
        print(
            f"seed {run['seed']}: to {run['level']:.0%} ours {mine:.0f} s, TRL "
            + (f"{other:.0f} s" if other is not None else f"not in {run['trl']['seconds']:.0f} s")
            + (f": {run['ratio']:.1f} times" if run["ratio"] else "")
        )
    print(f"Written: {options.json}")


if __name__ == "__main__":
    main()
