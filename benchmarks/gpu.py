"""GRPO steps of a model of Qwen3-4B's shape on one NVIDIA GPU: ours by three engines, TRL's in two settings, Unsloth's.

    make bench-gpu        writes docs/results/gpu.json, after every measurement what there is

Random weights in bf16, a LoRA adapter of rank 32 on all seven projections, 8 problems x 8 completions x 1,024 tokens
without an early end, random rewards, learning rate 0. Every measurement is a process of its own: a warm-up step, then
ten that count, or as many as fit into its share of `--minutes`. The share of the memory bandwidth is what decoding must
read at the least (all weights once a step, each row's keys and values), over the time that sampling took and what a
large copy reaches.

`--only NAME,NAME` measures some and keeps the others of the file, so that several short sessions add up to one result.
docs/gpu.md says in which order. Never run on a GPU so far; `--tiny` runs the same code on a CPU.
"""

import argparse
import dataclasses
import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from measuring import RESULTS, FailedError, described, in_own_process, spread
from random_model import Shape, random_policy

if TYPE_CHECKING:  # Unsloth must be imported before torch, transformers and TRL
    import torch
    from trainers import Job
    from trl.trainer.grpo_trainer import GRPOTrainer

NEEDS = {
    "ours": (),
    "ours vllm": ("vllm",),
    "ours unsloth": ("unsloth",),
    "trl generate": (),
    "trl continuous batching": (),
    "unsloth": ("unsloth",),
}
"""What is measured -> packages that it needs. `ours unsloth` is our trainer with `model.backend: unsloth`, `unsloth` is
TRL's as Unsloth rewrites it, without ours."""
NAMES = tuple(NEEDS)
QWEN3_4B = Shape(hidden=2560, layers=36, heads=32, key_heads=8, head_size=128, intermediate=9728, vocabulary=151_936)
WARM_UP = 1
LEAST_S = 60
"""A measurement is not begun with less time left."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is trained, and on how much."""

    shape: Shape = QWEN3_4B
    problems: int = 8
    group: int = 8
    tokens: int = 1024
    prompt_tokens: tuple[int, int] = (64, 256)
    """The shortest and the longest prompt."""
    microbatch: int = 8
    steps: int = 10
    side: int = 8192
    """Of the square product that measures the machine."""
    copied_mib: int = 4096
    device: str = "cuda"


TINY = Workload(
    shape=Shape(hidden=64, layers=2, heads=4, key_heads=2, head_size=16, intermediate=128, vocabulary=2048),
    problems=2,
    group=2,
    tokens=16,
    microbatch=2,
    steps=1,
    side=256,
    copied_mib=16,
    device="cpu",
)


def dtype_of(workload: Workload) -> "torch.dtype":
    """Give bf16 on a GPU, fp32 elsewhere."""
    import torch

    return torch.bfloat16 if workload.device == "cuda" else torch.float32


def prompts_of(workload: Workload, tokenizer, count: int) -> list[str]:
    """Give texts of generated questions, their lengths spread evenly over the workload's range."""
    from razona import tasks

    questions = [problem.question for problem in tasks.distinct_problems("train", 200, seed=0)]
    ids = tokenizer(" ".join(questions), add_special_tokens=False)["input_ids"]
    least, most = workload.prompt_tokens
    lengths = [
        least + (most - least) * (place % workload.problems) // (workload.problems - 1) for place in range(count)
    ]
    starts = [sum(lengths[:place]) % (len(ids) - most) for place in range(count)]
    return [tokenizer.decode(ids[start : start + length]) for start, length in zip(starts, lengths, strict=True)]


def job_of(workload: Workload, name: str) -> "Job":
    """Give model, problems and recipe."""
    import datasets
    import torch
    from trainers import SCRATCH, Job

    from razona.core.rundir import RunDir
    from razona.recipe import load

    completions = workload.problems * workload.group
    recipe = load(
        "demo",
        [
            f"train.steps={workload.steps + WARM_UP}",
            f"train.completions_per_step={completions}",
            f"train.microbatch_size={workload.microbatch}",
            "train.warmup_steps=0",
            "train.schedule=constant",
            "train.loss_type=bnpo",  # with `dapo` Unsloth leaves out completions that reach the limit: all of these
            f"rollout.group_size={workload.group}",
            f"rollout.max_completion_tokens={workload.tokens}",
            "rewards.mix=sum",
            "rewards.components=[{name: random}]",
            "train.sampling=uniform",
            "guard.every=0",
            *(["rollout.engine=vllm"] if name == "ours vllm" else []),
        ],
    )
    policy = random_policy(workload.shape, dtype_of(workload), torch.device(workload.device))
    prompts = prompts_of(workload, policy.tokenizer, workload.problems * (workload.steps + WARM_UP))
    rows = [
        {"prompt": prompt, "target": "0", "problem_id": f"{place}", "family": "random", "question": "", "extra": ""}
        for place, prompt in enumerate(prompts)
    ]
    run = RunDir(SCRATCH / "scratch" / f"gpu-{name.split()[-1]}")
    return Job(
        recipe=recipe,
        policy=policy,
        dataset=datasets.Dataset.from_list(rows),
        run=run,
        is_full=True,
        max_length=workload.prompt_tokens[1]
        + 64
        + workload.tokens,  # a prompt cut from ids may be read as more of them
    )


def trainer_of(name: str, job: "Job") -> "GRPOTrainer":
    """Give the trainer of a name."""
    from trainers import CONTINUOUS, our_trainer, trl_trainer
    from unsloth_trainer import keep_model, unsloth_trainer, with_unsloths_policy

    if name == "unsloth":
        return unsloth_trainer(job)
    if name == "ours unsloth":
        return our_trainer(with_unsloths_policy(job))
    if name == "ours vllm":
        from razona.core.launch import num_processes
        from razona.train.delegated import check_vllm_here

        check_vllm_here(job.recipe, num_processes())
        keep_model(job)
    if name.startswith("ours"):
        return our_trainer(job)
    return trl_trainer(job, CONTINUOUS if name.endswith("continuous batching") else {})


def measure(name: str, workload: Workload, at_most_s: float) -> dict:
    """Measure one trainer, in the process that this runs in, for so long; it counts one step at least."""
    if "unsloth" in NEEDS[name]:
        from unsloth_trainer import import_unsloth

        import_unsloth()  # before all that it rewrites
    from limits import decoding_work
    from trainers import timed_steps

    job = job_of(workload, name)
    config, value_bytes = job.policy.model.config, job.policy.model.dtype.itemsize
    figures = timed_steps(trainer_of(name, job), warm_up=WARM_UP, at_most_s=at_most_s)
    if figures["mean_tokens"] < 0.99 * workload.tokens:
        raise RuntimeError(f"{name}: completions of {figures['mean_tokens']} tokens, expected {workload.tokens}")
    encoded = job.policy.tokenizer(job.dataset["prompt"][:], add_special_tokens=False)["input_ids"]
    lengths = [workload.tokens] * (workload.problems * workload.group)
    work = []
    for number in range(WARM_UP, WARM_UP + len(figures["step"])):
        asked = encoded[number * workload.problems : (number + 1) * workload.problems]
        prompts = [ids for ids in asked for _ in range(workload.group)]
        work.append(dataclasses.asdict(decoding_work(config, prompts, lengths, value_bytes)))
    return {**figures, "work": work}


def measure_limits(workload: Workload) -> dict:
    """Measure what the GPU can do, in the process that this runs in."""
    import torch
    from limits import copy_rate, matrix_rate

    device = torch.device(workload.device)
    return {
        "device": torch.cuda.get_device_name() if workload.device == "cuda" else "cpu",
        "cuda": torch.version.cuda,
        "matrix_flop_s": matrix_rate(device, dtype_of(workload), workload.side),
        "copy_bytes_s": copy_rate(device, workload.copied_mib),
    }


def summary(figures: dict, limits: dict, workload: Workload) -> dict:
    """Put a trainer's figures together."""
    steps, sampling = figures["step"], figures["sampling"]
    tokens = workload.problems * workload.group * figures["mean_tokens"]
    bytes_s = [work["bytes"] / seconds for work, seconds in zip(figures["work"], sampling, strict=True)]
    flop_s = [work["flop"] / seconds for work, seconds in zip(figures["work"], sampling, strict=True)]
    return {
        "step_s": spread(steps),
        "sampling_s": spread(sampling),
        "training_s": spread([step - part for step, part in zip(steps, sampling, strict=True)]),
        "sampled_tokens_per_s": spread([tokens / seconds for seconds in sampling]),
        "step_tokens_per_s": spread([tokens / seconds for seconds in steps]),
        "mean_tokens": figures["mean_tokens"],
        "gpu_peak_gib": figures["gpu_peak_gib"],
        "host_peak_mib": figures["peak_mib"],
        "decoding_bytes_s": spread(bytes_s),
        "share_of_copy_rate": spread([rate / limits["copy_bytes_s"] for rate in bytes_s]),
        "share_of_matrix_rate": spread([rate / limits["matrix_flop_s"] for rate in flop_s]),
    }


def ratios(measured: dict[str, dict]) -> dict[str, dict[str, float]]:
    """Give how many times longer each other trainer takes than ours, for the step and its parts."""
    if "step_s" not in measured.get("ours", {}):
        return {}
    return {
        name: {
            part: one[part]["median"] / measured["ours"][part]["median"]
            for part in ("step_s", "sampling_s", "training_s")
        }
        for name, one in measured.items()
        if name != "ours" and "step_s" in one
    }


def begun(options: argparse.Namespace, settings: dict) -> dict[str, dict]:
    """Give what the file already holds, where `--only` adds to a result of the same settings."""
    if not options.only or not options.json.exists():
        return {}
    earlier = json.loads(options.json.read_text(encoding="utf-8"))
    return earlier["measured"] if earlier["settings"] == settings else {}


def measure_or_say(name: str, workload: Workload, limits: dict, left_s: float, share_s: float) -> dict:
    """Measure a trainer; where it cannot be measured, give the reason.

    Args:
        left_s: until the end of the session; the measurement's process is stopped then.
        share_s: of it this measurement's; after that it begins no further step.
    """
    missing = [package for package in NEEDS[name] if importlib.util.find_spec(package) is None]
    if missing:
        return {"failed": f"not measured: {missing[0]} is not installed here"}
    if left_s < LEAST_S and workload.device == "cuda":
        return {"failed": f"not begun: {max(0.0, left_s):.0f} s were left of --minutes"}
    try:
        figures = in_own_process(measure, name, workload, share_s, timeout_s=left_s, start="spawn")
    except FailedError as error:
        return {"failed": f"not measured: {error}"}
    return summary(figures, limits, workload)


def show(name: str, one: dict) -> None:
    """Print a trainer's line."""
    if "failed" in one:
        print(f"  {name:26} {one['failed']}", flush=True)
        return
    print(
        f"  {name:26} step {one['step_s']['median']:7.2f} s: sampling {one['sampling_s']['median']:.2f} s "
        f"({one['sampled_tokens_per_s']['median']:,.0f} tokens/s, {one['share_of_copy_rate']['median']:.0%} of the "
        f"bandwidth), training {one['training_s']['median']:.2f} s, n = {one['step_s']['n']}; "
        f"{max(one['gpu_peak_gib'].values()):.1f} GiB",
        flush=True,
    )


def main() -> None:
    """Measure the machine, then every trainer, and write after each."""
    import torch

    from razona.core.files import write_json

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=Workload().steps, help="steps measured in each process, at most")
    parser.add_argument("--microbatch", type=int, default=Workload().microbatch, help="completions of a backward pass")
    parser.add_argument("--minutes", type=float, default=28.0, help="no measurement goes on beyond this")
    parser.add_argument("--only", default="", help=f"some of: {', '.join(NAMES)}")
    parser.add_argument("--tiny", action="store_true", help="the same code with a tiny model on the CPU")
    parser.add_argument("--json", type=Path, default=RESULTS / "gpu.json")
    options = parser.parse_args()
    if not options.tiny and not torch.cuda.is_available():
        print(
            f"bench-gpu measures on an NVIDIA GPU, and torch {torch.__version__} finds none here. Run it on a machine "
            "that has one, or see with --tiny that the script runs.",
            file=sys.stderr,
        )
        sys.exit(2)
    wanted = [name.strip() for name in options.only.split(",") if name.strip()] or list(NAMES)
    unknown = [name for name in wanted if name not in NAMES]
    if unknown:
        print(f"--only {options.only}: there is no {unknown[0]!r}. Give some of: {', '.join(NAMES)}", file=sys.stderr)
        sys.exit(2)
    workload = TINY
    if not options.tiny:
        workload = Workload(steps=options.steps, microbatch=options.microbatch)
    end = time.monotonic() + 60 * options.minutes
    limits = in_own_process(measure_limits, workload, timeout_s=300, start="spawn")
    print(
        f"{limits['device']}: {limits['matrix_flop_s'] / 1e12:.1f} TFLOP/s in a large product, "
        f"{limits['copy_bytes_s'] / 1e9:,.0f} GB/s copied",
        flush=True,
    )
    settings = json.loads(json.dumps(dataclasses.asdict(workload)))
    measured = begun(options, settings)
    for place, name in enumerate(wanted):
        print(f"  {name} ...", flush=True)
        left_s = end - time.monotonic()
        measured[name] = measure_or_say(name, workload, limits, left_s, left_s / (len(wanted) - place))
        show(name, measured[name])
        result = {**described("make bench-gpu", settings), "limits": limits, "ratios": ratios(measured)}
        write_json(options.json, {**result, "measured": measured})
    for name, ratio in ratios(measured).items():
        print(f"ours against {name}: {ratio['step_s']:.2f} times (sampling {ratio['sampling_s']:.2f})")
    print(f"Written: {options.json}")


if __name__ == "__main__":
    main()
