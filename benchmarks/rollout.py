"""Sampled tokens a second, our engine against transformers' `generate` and continuous batching.

    make bench-rollout        writes docs/results/rollout.json

The demo's workload has the prompts, the policy and the end tokens of `make bench-step`; the others sample from the
embedded base and never end early. Prompts come in groups of 8, as GRPO needs them. Only real tokens count, the end
token included. Every measurement is a process of its own, the engines turn about; a first call warms up, four where
torch compiles. `ratio_demo` is that of the fastest engines, `ratio_demo_uncompiled` of the fastest that torch does not
compile. What an engine has to do at the least is set against what the machine can do, both from the same run.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from engines import ENGINES, FP32, OURS, PLAIN, PRODUCTS, engine_of, is_compiled, precision_of
from limits import copy_rate, decoding_work, matrix_rate, model_rate
from measuring import (
    RESULTS,
    FailedError,
    StoppedError,
    described,
    in_own_process,
    peak_mib,
    spread,
    stop_in,
    use_threads,
)
from trainers import POLICY, job_of, make_policy
from transformers import AutoConfig

from razona.core.allocator import keep_freed_memory
from razona.core.files import write_json
from razona.models.arithmetic import short_products
from razona.models.load import EMBEDDED, embedded_folder
from razona.recipe import load
from razona.rollout.engine import end_ids

GROUP = 8
TIMEOUT_S = 600
"""Of a whole process; each call in it has `--limit`."""
COMPILED_WARM_UP, COMPILING_S = 4, 120
"""Calls of a compiled engine that do not count, and seconds that each of them may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is sampled."""

    name: str
    model: Literal["policy", "embedded"]
    """The policy of `make bench-step`, or the base."""
    num_completions: int
    max_tokens: int
    has_ends: bool
    """Completions may end before `max_tokens`."""


def grid(options: argparse.Namespace) -> list[Workload]:
    """Give the workloads without end tokens: batch sizes at one length, lengths at one batch size."""
    cells = [(8, 16), (16, 8)] if options.quick else [(8, 128), (64, 128), (256, 128), (512, 128), (64, 32), (64, 512)]
    return [
        Workload(name=f"{rows} x {tokens}", model="embedded", num_completions=rows, max_tokens=tokens, has_ends=False)
        for rows, tokens in cells
    ]


def measure(name: str, workload: Workload, repeats: int, limit_s: float) -> dict:
    """Sample `repeats` times, or until half of `limit_s` is over, in the process that this runs in.

    A call that takes longer than `limit_s` ends the process.
    """
    use_threads()
    keep_freed_memory()  # for every engine, as in our trainer
    groups = -(-workload.num_completions // GROUP)
    recipe = load(
        "demo",
        [
            f"model.name={POLICY if workload.model == 'policy' else EMBEDDED}",
            f"model.dtype={precision_of(name)}",
            f"train.steps={repeats + COMPILED_WARM_UP + 1}",
            f"train.completions_per_step={groups * GROUP}",
            f"train.microbatch_size={groups * GROUP}",
            f"rollout.group_size={GROUP}",
        ],
    )
    job = job_of(recipe, f"rollout {name}")
    policy = job.policy
    ends = end_ids(policy.model, policy.tokenizer) if workload.has_ends else []
    if not ends:
        policy.model.config.eos_token_id = policy.model.generation_config.eos_token_id = None  # pyright: ignore
    policy.model.eval()
    asked = policy.tokenizer(job.dataset["prompt"][:], add_special_tokens=False)["input_ids"]
    engine = engine_of(name, policy, ends)

    def prompts_of(call: int) -> list[list[int]]:
        return [ids for ids in asked[call * groups : (call + 1) * groups] for _ in range(GROUP)]

    warm_up = COMPILED_WARM_UP if is_compiled(name) else 1
    for number in range(warm_up):
        stop_in(max(limit_s, COMPILING_S) if is_compiled(name) else limit_s)
        with short_products(name.endswith(PRODUCTS) and name not in OURS):
            engine(prompts_of(number), workload.max_tokens, number)
    seconds, tokens, flop, traffic = [], [], [], []
    for number in range(COMPILED_WARM_UP, COMPILED_WARM_UP + repeats):  # the same prompts for all engines
        prompts = prompts_of(number)
        stop_in(limit_s)
        started = time.perf_counter()
        with short_products(name.endswith(PRODUCTS) and name not in OURS):
            completions = engine(prompts, workload.max_tokens, number)
        seconds.append(time.perf_counter() - started)
        stop_in(0)
        lengths = check_lengths(completions, prompts, workload, ends)
        work = decoding_work(policy.model.config, prompts, lengths, policy.model.dtype.itemsize)
        tokens.append(sum(lengths))
        flop.append(work.flop / seconds[-1])
        traffic.append(work.bytes / seconds[-1])
        if sum(seconds) > limit_s / 2:
            break
    return {"seconds": seconds, "tokens": tokens, "flop_s": flop, "bytes_s": traffic, "peak_mib": peak_mib()}


def check_lengths(
    completions: Sequence[Sequence[int]], prompts: Sequence[Sequence[int]], workload: Workload, ends: Sequence[int]
) -> list[int]:
    """Give the completions' lengths.

    Raises:
        FailedError: an engine left out completions, ended one without an end token, or went on behind one.
    """
    is_whole = len(completions) == len(prompts) and all(
        (ids[-1] in ends or len(ids) == workload.max_tokens) and not set(ids[:-1]) & set(ends) for ids in completions
    )
    if not is_whole:
        raise FailedError(
            f"{len(completions)} completions of {[len(ids) for ids in completions][:8]}... tokens for {len(prompts)} "
            f"prompts: expected one each, that ends with {list(ends)} or has {workload.max_tokens} tokens"
        )
    return [len(ids) for ids in completions]


def measure_limits(sizes: Sequence[int]) -> dict:
    """Measure what the machine can do, in the process that this runs in."""
    use_threads()
    config = AutoConfig.from_pretrained(embedded_folder())
    here = torch.device("cpu")
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    return {
        "matrix_flop_s": {name: matrix_rate(here, dtype) for name, dtype in dtypes.items()},
        "model_shapes_flop_s": {
            name: {str(size): model_rate(config, size, here, dtype) for size in sizes} for name, dtype in dtypes.items()
        },
        "copy_bytes_s": copy_rate(here),
    }


def run_workload(workload: Workload, engines: Sequence[str], limits: dict, options: argparse.Namespace) -> dict:
    """Measure every engine, turn about, and compare."""
    measured: dict[str, list[dict]] = {}
    stopped: dict[str, dict] = {}
    for number in range(options.rounds if workload.has_ends else 1):
        for name in engines:
            if name in stopped:
                continue
            try:
                figures = in_own_process(measure, name, workload, options.repeats, options.limit, timeout_s=TIMEOUT_S)
            except StoppedError:
                at_most = workload.num_completions * workload.max_tokens / options.limit
                stopped[name] = {"stopped_after_s": options.limit, "tokens_per_s_at_most": at_most}
                print(f"  {workload.name:10} {name:24} no answer in {options.limit:.0f} s", flush=True)
                continue
            except FailedError as error:
                stopped[name] = {"failed": str(error)}
                print(f"  {workload.name:10} {name:24} does not run here: {error}", flush=True)
                continue
            measured.setdefault(name, []).append(figures)
            speed = sum(figures["tokens"]) / sum(figures["seconds"])
            print(f"  {workload.name:10} {name:24} round {number + 1} {speed:9,.0f} tokens/s", flush=True)
    table = {
        name: {**summary(rounds, workload), **shares(rounds, workload, limits, precision_of(name))}
        for name, rounds in measured.items()
    }
    return {**asdict(workload), "engines": {**table, **stopped}, **ratios(table)}


def summary(rounds: Sequence[dict], workload: Workload) -> dict:
    """Put an engine's rounds together."""
    seconds = [value for one in rounds for value in one["seconds"]]
    tokens = [value for one in rounds for value in one["tokens"]]
    return {
        "tokens_per_s": spread([count / time_s for count, time_s in zip(tokens, seconds, strict=True)]),
        "seconds": spread(seconds),
        "mean_tokens": statistics.mean(tokens) / workload.num_completions,
        "peak_mib": max(one["peak_mib"] for one in rounds),
    }


def shares(rounds: Sequence[dict], workload: Workload, limits: dict, precision: str) -> dict[str, float]:
    """Give the least work a second, and its share of what the machine can do in that precision.

    Weights of a few MiB stay in a processor's cache, so a share of the copy rate may exceed 1.
    """
    flop_s = statistics.median(value for one in rounds for value in one["flop_s"])
    bytes_s = statistics.median(value for one in rounds for value in one["bytes_s"])
    return {
        "flop_s": flop_s,
        "bytes_s": bytes_s,
        "share_of_matrix_rate": flop_s / limits["matrix_flop_s"][precision],
        "share_of_model_shapes_rate": flop_s / limits["model_shapes_flop_s"][precision][str(workload.num_completions)],
        "share_of_copy_rate": bytes_s / limits["copy_bytes_s"],
    }


def ratios(table: dict[str, dict]) -> dict[str, object]:
    """Set our fastest engine against their fastest and against plain `generate`."""
    speeds = {name: one["tokens_per_s"]["median"] for name, one in table.items() if "tokens_per_s" in one}
    ours = max((name for name in speeds if name in OURS), key=speeds.__getitem__, default=None)
    theirs = max((name for name in speeds if name not in OURS), key=speeds.__getitem__, default=None)
    if ours is None or theirs is None:
        return {"ours": ours, "fastest_of_theirs": theirs, "ratio": None, "ratio_to_generate": None}
    return {
        "ours": ours,
        "fastest_of_theirs": theirs,
        "ratio": speeds[ours] / speeds[theirs],
        "ratio_to_generate": speeds[ours] / speeds[PLAIN] if PLAIN in speeds else None,
    }


def main() -> None:
    """Measure the demo's workload, then batch sizes and lengths."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=2, help="of the demo's workload; the others have one")
    parser.add_argument("--repeats", type=int, default=4, help="calls measured in each process")
    parser.add_argument("--limit", type=float, default=30, help="seconds after which a call is stopped")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that the script runs")
    parser.add_argument("--json", type=Path, default=RESULTS / "rollout.json")
    options = parser.parse_args()
    make_policy()
    demo = Workload(
        name="demo",
        model="policy",
        num_completions=16 if options.quick else 256,
        max_tokens=32 if options.quick else 96,
        has_ends=True,
    )
    cells = grid(options)
    sizes = sorted({demo.num_completions, *(cell.num_completions for cell in cells)})
    limits = in_own_process(measure_limits, sizes, timeout_s=120)
    print(
        f"This machine: {limits['matrix_flop_s']['float32'] / 1e9:.0f} GFLOP/s in fp32, "
        f"{limits['copy_bytes_s'] / 1e9:.1f} GB/s copied",
        flush=True,
    )
    demo_row = run_workload(demo, ENGINES, limits, options)
    uncompiled = ratios({name: one for name, one in demo_row["engines"].items() if not is_compiled(name)})
    settings = {"rounds": options.rounds, "repeats": options.repeats, "limit_s": options.limit, "group": GROUP}
    result = {
        **described("make bench-rollout", settings),
        "ratio_demo": demo_row["ratio"],
        "ratio_demo_to_generate": demo_row["ratio_to_generate"],
        "ratio_demo_uncompiled": uncompiled["ratio"],
        "ratio_demo_to_generate_uncompiled": uncompiled["ratio_to_generate"],
        "ratio_demo_fp32": ratios({name: one for name, one in demo_row["engines"].items() if name in FP32})["ratio"],
        "limits": limits,
        "demo": demo_row,
        "grid": [],
    }
    write_json(options.json, result)  # after every part: an interrupted benchmark keeps what it has
    for cell in cells:
        result["grid"].append(run_workload(cell, FP32, limits, options))
        write_json(options.json, result)
    for row in [demo_row, *result["grid"]]:
        if row["ratio"] is not None:
            print(
                f"{row['name']:10} {row['ours']} "
                f"{row['engines'][row['ours']]['tokens_per_s']['median']:,.0f} tokens/s: "
                f"{row['ratio']:.1f} times {row['fastest_of_theirs']}, {row['ratio_to_generate']:.1f} times generate"
            )
    print(f"Written: {options.json}")


if __name__ == "__main__":
    main()
