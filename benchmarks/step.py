"""One GRPO step of the demo, ours against TRL's own trainer in each of its settings, learning rate 0, turn about.

    make bench-step        writes docs/results/step.json

Both train the same policy, the embedded base after 25 steps of the demo with its adapter merged: completions have
the length and groups the signal of the middle of a run. A new adapter is trained; the learning rate is 0,
so that the policy stays where it is. Every measurement is a process of its own: it makes a trainer, warms up for a
step (compiled: four) and then runs `--steps` steps. After a first round of all settings the three fastest of TRL's go
on, the fastest that is TRL's alone and the fastest that is not compiled. `ratio` is TRL's fastest against our fastest,
by their medians, both warmed up where torch compiles; `ratio_ours_uncompiled` is TRL's fastest against our fastest that
is not compiled; `ratio_uncompiled` leaves out compiled settings on both sides; `ratio_trl_alone` is the fastest that
only sets what TRL's configuration has (others run under what our trainer does to a CPU process) against our fastest.
"""

import argparse
import statistics
from collections.abc import Mapping
from pathlib import Path

from measuring import RESULTS, FailedError, described, in_own_process, spread, use_threads
from trainers import (
    OUR_SETTINGS,
    TRL_SETTINGS,
    has_short_products,
    is_compiled,
    is_trl_alone,
    job_of,
    make_policy,
    make_trainer,
    policy_changes,
    timed_steps,
)

from razona.core.files import write_json
from razona.recipe import load

WARM_UP = 1
COMPILED_WARM_UP = 4
"""Steps of a compiled setting that do not count: torch compiles TRL's model anew for lengths that it has not met."""
TIMEOUT_S = 300
RATIOS = ("ratio", "ratio_ours_uncompiled", "ratio_uncompiled", "ratio_trl_alone")
KEPT = 3
"""Settings of TRL's that are measured more than once."""


def measure(name: str, steps: int, is_full: bool) -> dict:
    """Measure one setting, in the process that this runs in.

    Args:
        is_full: every completion has full length, and random rewards leave no group flat.
    """
    use_threads()
    warm_up = COMPILED_WARM_UP if is_compiled(name) else WARM_UP
    changes = [*policy_changes(name), f"train.steps={steps + warm_up}"]
    if is_full:
        changes += ["rewards.mix=sum", "rewards.components=[{name: random}]"]
    trainer = make_trainer(job_of(load("demo", changes), name, is_full=is_full), name)
    return timed_steps(trainer, warm_up=warm_up, has_short_products=has_short_products(name))


def trl_by_speed(median_s: Mapping[str, float]) -> list[str]:
    """Give TRL's settings, the fastest first.

    Args:
        median_s: setting, ours too -> seconds of a step.
    """
    return sorted((name for name in median_s if name in TRL_SETTINGS), key=median_s.__getitem__)


def fastest_of_each_kind(median_s: Mapping[str, float]) -> dict[str, str]:
    """Give, by their names in the result, our fastest setting and TRL's: of all, not compiled, and of TRL's alone."""
    by_speed = trl_by_speed(median_s)
    ours = sorted((name for name in median_s if name in OUR_SETTINGS), key=median_s.__getitem__)
    return {
        "ours": ours[0],
        "ours_uncompiled": next(name for name in ours if not is_compiled(name)),
        "fastest_trl": by_speed[0],
        "fastest_trl_alone": next(name for name in by_speed if is_trl_alone(name)),
        "fastest_trl_uncompiled": next(name for name in by_speed if not is_compiled(name)),
    }


def worth_repeating(median_s: Mapping[str, float]) -> list[str]:
    """Give TRL's settings that go on after a round."""
    kinds = fastest_of_each_kind(median_s).values()
    return list(dict.fromkeys([*trl_by_speed(median_s)[:KEPT], *(name for name in kinds if name in TRL_SETTINGS)]))


def medians(table: Mapping[str, Mapping]) -> dict[str, float]:
    """Give the median seconds of each setting's steps."""
    return {name: one["step_s"]["median"] for name, one in table.items()}


def compare(options: argparse.Namespace, names: list[str], *, is_full: bool) -> dict:
    """Measure settings turn about and compare the fastest ones; what TRL cannot run on this machine is left out."""
    rounds: dict[str, list[dict]] = {}
    for number in range(options.rounds):
        if number > 0:
            first_s = {name: statistics.median(measured[0]["step"]) for name, measured in rounds.items()}
            names = [*OUR_SETTINGS, *worth_repeating(first_s)]
        for name in names:
            try:
                figures = in_own_process(measure, name, options.steps, is_full, timeout_s=TIMEOUT_S)
            except FailedError as error:
                print(f"  {name}: does not run here: {error}", flush=True)
                continue
            rounds.setdefault(name, []).append(figures)
            print(f"  round {number + 1}  {name:34} {statistics.median(figures['step']):6.2f} s", flush=True)
    table = {}
    for name, measured in rounds.items():
        steps = [value for one in measured for value in one["step"]]
        sampling = [value for one in measured for value in one["sampling"]]
        table[name] = {
            "step_s": spread(steps),
            "sampling_s": {"median": statistics.median(sampling)},
            "training_s": {"median": statistics.median(a - b for a, b in zip(steps, sampling, strict=True))},
            "mean_tokens": statistics.mean(one["mean_tokens"] for one in measured),
            "share_flat_groups": statistics.mean(one["share_flat_groups"] for one in measured),
            "peak_mib": max(one["peak_mib"] for one in measured),
        }
    median_s = medians(table)
    fastest = fastest_of_each_kind(median_s)
    ours, theirs = fastest["ours"], fastest["fastest_trl"]

    def ratio(trl: str, mine: str) -> float:
        return median_s[fastest[trl]] / median_s[fastest[mine]]

    return {
        "settings": table,
        **fastest,
        "ratio": ratio("fastest_trl", "ours"),
        "ratio_ours_uncompiled": ratio("fastest_trl", "ours_uncompiled"),
        "ratio_uncompiled": ratio("fastest_trl_uncompiled", "ours_uncompiled"),
        "ratio_trl_alone": ratio("fastest_trl_alone", "ours"),
        "sampling_ratio": table[theirs]["sampling_s"]["median"] / table[ours]["sampling_s"]["median"],
        "training_ratio": table[theirs]["training_s"]["median"] / table[ours]["training_s"]["median"],
    }


def main() -> None:
    """Measure the demo's workload and the one without anything to leave out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=4, help="steps measured in each process")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path, default=RESULTS / "step.json")
    options = parser.parse_args()
    head = described("make bench-step", {"steps": options.steps, "rounds": options.rounds})
    make_policy()
    print("The demo's workload:", flush=True)
    demo = compare(options, [*OUR_SETTINGS, *TRL_SETTINGS], is_full=False)
    print("Full length, no flat group, with the fastest settings of TRL and all of ours:", flush=True)
    full = compare(options, [*OUR_SETTINGS, *worth_repeating(medians(demo["settings"]))], is_full=True)
    result = {
        **head,
        **{name: demo[name] for name in RATIOS},
        "ratio_without_dropping": full["ratio"],
        "ratio_without_dropping_ours_uncompiled": full["ratio_ours_uncompiled"],
        "share_flat_groups": demo["settings"][demo["ours"]]["share_flat_groups"],
        "demo": demo,
        "full_length": full,
    }
    write_json(options.json, result)
    for name, one in (("demo", demo), ("full length", full)):
        for side in fastest_of_each_kind(medians(one["settings"])).values():
            print(f"{name}: {side} {one['settings'][side]['step_s']['median']:.2f} s")
        ratios = ", ".join(f"{ratio} {one[ratio]:.1f}" for ratio in RATIOS)
        print(f"{name}: {ratios} (sampling {one['sampling_ratio']:.1f}, training {one['training_ratio']:.1f})")
    print(f"Written: {options.json}")


if __name__ == "__main__":
    main()
