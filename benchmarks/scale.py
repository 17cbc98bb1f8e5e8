"""One whole GRPO step by batch, completion length, group size and model size, ours against TRL's own trainer.

    make bench-scale        writes docs/results/scale.json; exit code 1 where a row is slower than TRL

TRL runs in its default setting and in the one that `make bench-step` found fastest; the faster one of the two counts.
No completion ends early, rewards are random and the learning rate is 0: every row is trained on, and nothing changes
from step to step. One value is varied at a time. Rows of model sizes have random Qwen3 weights, few completions and
short ones. Every measurement is a process of its own: a warm-up step, then the steps that count.
"""

import argparse
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from measuring import RESULTS, FailedError, described, in_own_process, spread, use_threads
from random_model import Shape, random_policy
from trainers import (
    TRL_DEFAULT,
    fastest,
    has_short_products,
    job_of,
    make_policy,
    make_trainer,
    policy_changes,
    timed_steps,
)

from razona.core.files import write_json
from razona.recipe import load

OURS = fastest("ours_uncompiled", "ours fp32")
WARM_UP = 1
TIMEOUT_S = 600
MICROBATCH = 64
"""The demo's."""


SIZES = {  # weights without the embedding's 792 rows
    "1 M": Shape(hidden=128, layers=4, heads=4, key_heads=2, head_size=32, intermediate=448),
    "10 M": Shape(hidden=320, layers=8, heads=10, key_heads=2, head_size=32, intermediate=1024),
    "50 M": Shape(hidden=640, layers=12, heads=10, key_heads=2, head_size=64, intermediate=1664),
    "300 M": Shape(hidden=1024, layers=20, heads=16, key_heads=4, head_size=64, intermediate=4032),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is measured together."""

    varied: str
    """Which value differs from the common one."""
    completions: int = 64
    tokens: int = 96
    group: int = 8
    model: str = "policy"
    """The policy of `make bench-step`, or one of `SIZES`."""
    steps: int = 2
    """Measured in each process; 1 where a step takes long."""

    @property
    def title(self) -> str:
        """Give the row in words."""
        model = "" if self.model == "policy" else f", {self.model} weights"
        return f"{self.completions} x {self.tokens} tokens, groups of {self.group}{model}"


ROWS = (
    Row(varied="common"),
    Row(varied="completions", completions=256),
    Row(varied="completions", completions=512, steps=1),
    Row(varied="tokens", tokens=32),
    Row(varied="tokens", tokens=256),
    Row(varied="group", group=2),
    Row(varied="group", group=32),
    *(Row(varied="model", completions=16, tokens=32, model=name, steps=1 if name == "300 M" else 2) for name in SIZES),
)
QUICK = (
    Row(varied="common", completions=8, tokens=8, group=4, steps=1),
    Row(varied="model", completions=4, tokens=4, group=2, model="1 M", steps=1),
)


def measure(name: str, row: Row) -> dict:
    """Measure a row under one setting, in the process that this runs in."""
    use_threads()
    changes = [
        *policy_changes(name),
        f"train.steps={row.steps + WARM_UP}",
        f"train.completions_per_step={row.completions}",
        f"train.microbatch_size={min(MICROBATCH, row.completions)}",
        f"rollout.group_size={row.group}",
        f"rollout.max_completion_tokens={row.tokens}",
        "rewards.mix=sum",
        "rewards.components=[{name: random}]",
    ]
    policy = None
    if row.model != "policy":
        policy = random_policy(SIZES[row.model], torch.float32, torch.device("cpu"))
    job = job_of(load("demo", changes), f"scale {name}", is_full=True, policy=policy)
    num_weights = sum(weight.numel() for weight in job.policy.model.parameters())
    figures = timed_steps(make_trainer(job, name), warm_up=WARM_UP, has_short_products=has_short_products(name))
    if figures["mean_tokens"] != row.tokens:
        raise RuntimeError(f"{name}: completions of {figures['mean_tokens']} tokens, expected {row.tokens}")
    return {**figures, "num_weights": num_weights}


def measure_row(row: Row, names: list[str], rounds: int) -> dict:
    """Measure ours and TRL's settings turn about and compare."""
    measured: dict[str, list[dict]] = {}
    for _ in range(rounds):
        for name in names:
            try:
                measured.setdefault(name, []).append(in_own_process(measure, name, row, timeout_s=TIMEOUT_S))
            except FailedError as error:
                print(f"  {row.title}  {name}: {error}", flush=True)
    measured = {name: figures for name, figures in measured.items() if figures}
    seconds = {name: spread([value for one in figures for value in one["step"]]) for name, figures in measured.items()}
    peak = {name: max(one["peak_mib"] for one in figures) for name, figures in measured.items()}
    sampling = {
        name: statistics.median(value for one in figures for value in one["sampling"])
        for name, figures in measured.items()
    }
    result = {
        **asdict(row),
        "num_weights": next((one["num_weights"] for figures in measured.values() for one in figures), None),
        "settings": {
            name: {"step_s": seconds[name], "sampling_s": sampling[name], "peak_mib": peak[name]} for name in seconds
        },
    }
    theirs = min((name for name in seconds if name != OURS), key=lambda name: seconds[name]["median"], default=None)
    if theirs is None or OURS not in seconds:
        return {**result, "ratio": None}
    return {
        **result,
        "fastest_trl": theirs,
        "ours_s": seconds[OURS]["median"],
        "trl_s": seconds[theirs]["median"],
        "trl_default_s": seconds[TRL_DEFAULT]["median"] if TRL_DEFAULT in seconds else None,
        "ratio": seconds[theirs]["median"] / seconds[OURS]["median"],
        "ours_peak_mib": peak[OURS],
        "trl_peak_mib": peak[theirs],
        "n": seconds[OURS]["n"],
    }


def main() -> None:
    """Measure every row, write, and say where TRL is faster."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="two tiny rows, to see that the script runs")
    parser.add_argument("--json", type=Path, default=RESULTS / "scale.json")
    options = parser.parse_args()
    make_policy()
    names = list(dict.fromkeys([OURS, TRL_DEFAULT, fastest("fastest_trl_uncompiled", TRL_DEFAULT)]))
    print(f"Ours against {', '.join(names[1:])}, seconds a step:", flush=True)
    rows = []
    for row in QUICK if options.quick else ROWS:
        rows.append(measure_row(row, names, options.rounds))
        one = rows[-1]
        if one["ratio"] is None:
            print(f"  {row.title:56} no comparison", flush=True)
            continue
        print(
            f"  {row.title:56} {one['ours_s']:7.2f} against {one['trl_s']:7.2f}: {one['ratio']:.2f} times   "
            f"{one['ours_peak_mib']:,.0f} against {one['trl_peak_mib']:,.0f} MiB",
            flush=True,
        )
    slower = [row for row in rows if row["ratio"] is None or row["ratio"] < 1]
    result = {
        **described(
            "make bench-scale", {"rounds": options.rounds, "warm_up_steps": WARM_UP, "trl_settings": names[1:]}
        ),
        "least_ratio": min((row["ratio"] for row in rows if row["ratio"] is not None), default=None),
        "is_never_slower": not slower,
        "rows": rows,
    }
    write_json(options.json, result)
    print(f"Written: {options.json}")
    print(
        f"Verdict: {len(slower)} of {len(rows)} rows are slower than TRL, or could not be compared"
        if slower
        else f"Verdict: never slower than TRL on {len(rows)} rows; the least ratio is {result['least_ratio']:.2f}"
    )
    sys.exit(1 if slower else 0)


if __name__ == "__main__":
    main()
