"""One GRPO step of a model of Qwen3-4B's exact shape on a CPU, in bf16, within 20 GiB.

    make bench-four-billion        writes docs/results/four_billion.json

Random weights, a shard in memory at a time, are written as a model folder (8 GB, removed at the end). The function that
`razona train` calls loads it and takes one step of 4 problems x 4 completions x 64 tokens, with a LoRA adapter of rank
32 on all seven projections. The tokenizer is the embedded model's; no completion ends early, for among 151,936 equal
words the end is never drawn. Rewards are random, so that every group has a gradient.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from measuring import NUM_THREADS, RESULTS, described, in_own_process
from memory import forget_peak, resident_mib
from random_model import Shape

from razona.advise.devices import cpu
from razona.advise.memory import estimate_memory
from razona.advise.shape import ModelShape, config_of
from razona.recipe import Recipe, load

LIMIT_GIB = 20.0
SPARE_GIB = 1.0
"""Free memory beyond the limit that it is not begun without."""
SHAPES = {
    "4 B": Shape(hidden=2560, layers=36, heads=32, key_heads=8, head_size=128, intermediate=9728, vocabulary=151_936),
    "0.3 B": Shape(hidden=1024, layers=12, heads=16, key_heads=8, head_size=128, intermediate=3072, vocabulary=151_936),
}
SHARD_BYTES = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One step."""

    problems: int = 4
    group: int = 4
    tokens: int = 64
    microbatch: int = 4


def write_model(shape: Shape, folder: Path) -> dict:
    """Write a model folder of random bf16 weights, without ever holding the model."""
    import torch
    from random_model import config_and_tokenizer
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM

    config, tokenizer = config_and_tokenizer(shape)
    config.dtype = torch.bfloat16
    tokenizer.save_pretrained(str(folder))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    config.architectures = [type(model).__name__]
    config.save_pretrained(str(folder))
    generator = torch.Generator().manual_seed(0)
    places: dict[str, str] = {}
    shard: dict[str, torch.Tensor] = {}

    def write() -> None:
        name = f"model-{len(set(places.values())) + 1:05}.safetensors"
        save_file(shard, folder / name, metadata={"format": "pt"})
        places.update(dict.fromkeys(shard, name))
        shard.clear()

    for name, one in model.named_parameters():  # a head that is the embedding is not among them
        value = torch.empty(one.shape, dtype=torch.bfloat16)
        shard[name] = value.fill_(1) if one.dim() == 1 else value.normal_(0, 0.02, generator=generator)
        if sum(value.nbytes for value in shard.values()) >= SHARD_BYTES:
            write()
    if shard:
        write()
    total = sum(one.numel() * 2 for one in model.parameters())
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return {"bytes": total}


def recipe_of(workload: Workload, folder: Path) -> Recipe:
    """Give the recipe of the step."""
    return load(
        "demo",
        [
            f"model.name={folder}",
            "model.dtype=bfloat16",
            "lora.rank=32",
            "lora.alpha=64",
            "train.steps=1",
            f"train.completions_per_step={workload.problems * workload.group}",
            f"train.microbatch_size={workload.microbatch}",
            "train.warmup_steps=0",
            "train.schedule=constant",
            "train.sampling=uniform",
            "guard.every=0",
            f"rollout.group_size={workload.group}",
            f"rollout.max_completion_tokens={workload.tokens}",
            "rewards.mix=sum",
            "rewards.components=[{name: random}]",
        ],
    )


def measure(workload: Workload, folder: Path, out: Path) -> dict:
    """Train for one step in the process that this runs in; give seconds, tokens, and peaks in GiB."""
    import torch

    from razona.core.files import read_jsonl
    from razona.train import train
    from razona.train import trainer as trainer_module

    torch.set_num_threads(NUM_THREADS)
    recipe = recipe_of(workload, folder)
    peaks = {"imported": resident_mib()}
    seconds: dict[str, float] = {}
    sample = trainer_module.Trainer._sample

    def sampled(self, *args, **kwargs):
        peaks["loading"] = resident_mib("VmHWM")
        forget_peak()
        started = time.monotonic()
        found = sample(self, *args, **kwargs)
        seconds["sampling"] = time.monotonic() - started
        peaks["sampling"] = resident_mib("VmHWM")
        forget_peak()
        return found

    trainer_module.Trainer._sample = sampled
    forget_peak()
    started = time.monotonic()
    result = train(recipe, out)
    seconds["all"] = time.monotonic() - started
    seconds["step"] = result.seconds
    peaks["training"] = resident_mib("VmHWM")
    rows = list(read_jsonl(result.run.completions(1)))
    prompts = [len(row["prompt"]) for row in rows if isinstance(row.get("prompt"), str)]
    metrics = result.run.read_steps()[0]
    return {
        "seconds": {**seconds, "training": seconds["step"] - seconds["sampling"]},
        "peak_gib": {name: mib / 1024 for name, mib in peaks.items()},
        "tokens": sum(row["num_tokens"] for row in rows),
        "prompt_characters": max(prompts, default=None),
        "loss": metrics.get("loss"),
        "grad_norm": metrics.get("grad_norm"),
        "logprob_gap_mean": metrics.get("logprob_gap_mean"),
    }


def available_gib() -> float:
    """Give the memory that the system could still hand out."""
    line = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
    return int(line.split()[1]) / 2**20


def main() -> None:
    """Write the model, take the step, compare with the limit and with the estimate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--shape", choices=SHAPES, default="4 B")
    parser.add_argument("--scratch", type=Path, default=None, help="a folder with 10 GB free; else the system's")
    parser.add_argument("--json", type=Path, default=RESULTS / "four_billion.json")
    options = parser.parse_args()
    shape, workload = SHAPES[options.shape], Workload()
    if options.shape == "4 B" and available_gib() < LIMIT_GIB + SPARE_GIB:
        sys.exit(f"{available_gib():.1f} GiB of memory are available, and {LIMIT_GIB + SPARE_GIB:.0f} are needed")
    scratch = Path(tempfile.mkdtemp(prefix="razona-4b-", dir=options.scratch))
    try:
        folder = scratch / "model"
        folder.mkdir()
        if shutil.disk_usage(scratch).free < 10 * 2**30:
            sys.exit(f"{scratch} has less than 10 GiB free; name another place with --scratch")
        written = in_own_process(write_model, shape, folder, timeout_s=900, start="spawn")
        print(f"Model of {written['bytes'] / 2**30:.1f} GiB written to {folder}", flush=True)
        found = in_own_process(measure, workload, folder, scratch / "run", timeout_s=3000, start="spawn")
        sizes = ModelShape.of_config(config_of(recipe_of(workload, folder).model))
        estimate = estimate_memory(recipe_of(workload, folder), sizes, cpu(), prompt_tokens=128)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    peak = max(found["peak_gib"].values())
    result = {
        **described("make bench-four-billion", {"shape": options.shape, **asdict(workload), "limit_gib": LIMIT_GIB}),
        "num_parameters": sizes.num_parameters,
        **found,
        "peak": peak,
        "estimate_gib": {"peak": estimate.total / 2**30} | {part.name: part.bytes / 2**30 for part in estimate.parts},
        "estimate_error": estimate.total / 2**30 / peak - 1,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    seconds, gib = found["seconds"], found["peak_gib"]
    print(
        f"One step: {seconds['step']:.0f} s, sampling {seconds['sampling']:.0f} s of it, {found['tokens']:,} tokens. "
        f"Peak {peak:.1f} GiB, estimated {estimate.total / 2**30:.1f} "
        f"(loading {gib['loading']:.1f}, sampling {gib['sampling']:.1f}, training {gib['training']:.1f})."
    )
    print(f"Written: {options.json}")
    is_met = peak <= LIMIT_GIB
    print(f"Verdict: {'within' if is_met else 'beyond'} {LIMIT_GIB:.0f} GiB")
    sys.exit(0 if is_met else 1)


if __name__ == "__main__":
    main()
