"""The estimate of a run's memory against what the run takes: models of several sizes, each in a process of its own.

    make bench-memory        writes docs/results/memory.json

Random weights are saved as a model folder, loaded as `razona train` loads them, and trained for two steps in which no
completion ends early. The peak is the kernel's own count of resident memory (what `getrusage` gives as `ru_maxrss`),
set back at each border of a phase (`/proc/self/clear_refs`), so that loading, sampling and training have a peak each.
A GPU's memory is torch's count.
"""

import argparse
import dataclasses
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from measuring import RESULTS, described, in_own_process
from random_model import Shape, random_policy

STEPS = 2
"""In the first there are no moments of AdamW yet."""
ALLOWED = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is trained."""

    name: str
    shape: Shape
    changes: tuple[str, ...] = ()
    """Of the recipe."""
    problems: int = 2
    group: int = 8
    microbatch: int = 8
    tokens: int = 256
    prompt: int = 64
    """Tokens of each prompt."""
    is_counted: bool = True
    """It is one of the three sizes that the aim is about."""


M30 = Shape(hidden=512, layers=8, heads=8, key_heads=4, head_size=64, intermediate=1536, vocabulary=8192)
M120 = Shape(hidden=768, layers=12, heads=12, key_heads=4, head_size=64, intermediate=3072, vocabulary=32_768)
M400 = Shape(hidden=1024, layers=24, heads=16, key_heads=8, head_size=64, intermediate=3584, vocabulary=65_536)
SMALL = Shape(hidden=256, layers=4, heads=4, key_heads=2, head_size=64, intermediate=768)
CASES = [
    Case(name="30 M", shape=M30),
    Case(name="120 M", shape=M120),
    Case(name="400 M", shape=M400, microbatch=4),
    Case(name="30 M, products in fp32", shape=M30, changes=("train.precision=float32",), is_counted=False),
    Case(name="30 M, weights in bf16", shape=M30, changes=("model.dtype=bfloat16",), is_counted=False),
    Case(name="120 M, weights in bf16", shape=M120, changes=("model.dtype=bfloat16",), is_counted=False),
    Case(name="30 M, all weights trained", shape=M30, changes=("lora=null",), is_counted=False),
    Case(name="120 M, all weights trained", shape=M120, changes=("lora=null",), is_counted=False),
    Case(name="120 M, long completions", shape=M120, tokens=1024, microbatch=2, group=2, is_counted=False),
    Case(name="3 M, memory kept", shape=SMALL, is_counted=False),
]


def save_model(case: Case, folder: Path) -> dict:
    """Write a case's random model, in a process of its own: what it takes must not be measured."""
    import torch

    dtype = torch.bfloat16 if "model.dtype=bfloat16" in case.changes else torch.float32
    policy = random_policy(case.shape, dtype, torch.device("cpu"))
    policy.model.save_pretrained(str(folder))
    policy.tokenizer.save_pretrained(str(folder))
    return {}


def resident_mib(key: str = "VmRSS") -> float:
    """Give what this process holds, or, with `VmHWM`, has held at most since `forget_peak`."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1024


def forget_peak() -> None:
    """Let the peak begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


def recipe_of(case: Case, folder: Path):
    """Give the case's recipe; rewards are random, so that every group teaches."""
    from razona.recipe import load

    return load(
        "demo",
        [
            f"model.name={folder}",
            f"train.steps={STEPS}",
            f"train.completions_per_step={case.problems * case.group}",
            f"train.microbatch_size={case.microbatch}",
            "train.warmup_steps=0",
            "train.learning_rate=1e-6",
            "train.sampling=uniform",
            "guard.every=0",
            f"rollout.group_size={case.group}",
            f"rollout.max_completion_tokens={case.tokens}",
            f"data.max_prompt_tokens={case.prompt}",
            "rewards.mix=sum",
            "rewards.components=[{name: random}]",
            *case.changes,
        ],
    )


def measure(case: Case, folder: Path) -> dict:
    """Train, and give the peak of every phase in MiB, in the process that this runs in."""
    import datasets
    import torch
    import transformers
    from trainers import SCRATCH, Job, our_trainer

    from razona.core.rundir import RunDir
    from razona.models.load import load_policy
    from razona.train.trainer import Trainer

    recipe = recipe_of(case, folder)
    imported = resident_mib()
    forget_peak()
    policy = load_policy(recipe.model, trains_all_weights=recipe.lora is None)
    loading = resident_mib("VmHWM")
    ids = policy.tokenizer("the quick brown fox " * case.prompt, add_special_tokens=False)["input_ids"]
    prompts = [policy.tokenizer.decode(ids[place : place + case.prompt]) for place in range(case.problems * STEPS)]
    lengths = [len(policy.tokenizer(prompt, add_special_tokens=False)["input_ids"]) for prompt in prompts]
    rows = [
        {"prompt": prompt, "target": "0", "problem_id": f"{place}", "family": "random", "question": "", "extra": ""}
        for place, prompt in enumerate(prompts)
    ]
    run = RunDir(SCRATCH / "scratch" / "memory")
    job = Job(recipe=recipe, policy=policy, dataset=datasets.Dataset.from_list(rows), run=run, is_full=True)
    trainer = our_trainer(job)
    assert isinstance(trainer, Trainer)
    ready = resident_mib()
    peaks: dict[str, list[float]] = {"sampling": [], "training": []}
    sample = trainer._sample

    def sampled(*args, **kwargs):
        forget_peak()
        out = sample(*args, **kwargs)
        peaks["sampling"].append(resident_mib("VmHWM"))
        forget_peak()
        return out

    trainer._sample = sampled

    class Watch(transformers.TrainerCallback):
        def on_step_end(self, *args, **kwargs) -> None:
            peaks["training"].append(resident_mib("VmHWM"))

    trainer.add_callback(Watch())
    trainer.train()
    model, room = trainer.model, trainer._room
    assert model is not None and isinstance(trainer.optimizer, torch.optim.Optimizer)
    numbers = [(one.numel() * one.itemsize, one.requires_grad) for one in model.parameters()]
    state = [value for one in trainer.optimizer.state.values() for value in one.values() if torch.is_tensor(value)]
    return {
        "prompt_tokens": max(lengths),
        "imported": imported,
        "loading": loading,
        "ready": ready,
        "sampling": max(peaks["sampling"]),
        "training": max(peaks["training"]),
        "peak": max(loading, *peaks["sampling"], *peaks["training"]),
        "weights": sum(count for count, is_trained in numbers if recipe.lora is None or not is_trained) / 2**20,
        "adapter": sum(count for count, is_trained in numbers if is_trained and recipe.lora) / 2**20,
        "optimizer": sum(value.numel() * value.itemsize for value in state) / 2**20,
        "keys and values": sum(one.numel() * one.itemsize for one in room._kept) / 2**20 if room else 0.0,
    }


def compared(case: Case, folder: Path) -> dict:
    """Measure a case and put the estimate beside it."""
    from razona.advise.devices import cpu
    from razona.advise.memory import estimate_memory
    from razona.advise.shape import ModelShape, config_of

    in_own_process(save_model, case, folder, timeout_s=300, start="spawn")
    measured = in_own_process(measure, case, folder, timeout_s=1800, start="spawn")
    recipe = recipe_of(case, folder)
    shape = ModelShape.of_config(config_of(recipe.model))
    estimate = estimate_memory(recipe, shape, cpu(), prompt_tokens=measured["prompt_tokens"])
    mib = {part.name: part.bytes / 2**20 for part in estimate.parts}
    always = estimate.of_phase("always") / 2**20
    phases = {f"{name}, all": always + estimate.of_phase(name) / 2**20 for name in ("sampling", "training")}
    libraries = measured["imported"]
    return {
        **dataclasses.asdict(case),
        "num_parameters": shape.num_parameters,
        "estimate_mib": {"peak": estimate.total / 2**20, **phases, **mib},
        "measured_mib": measured,
        "error": estimate.total / 2**20 / measured["peak"] - 1,
        "error_without_libraries": (estimate.total / 2**20 - mib["overhead"]) / (measured["peak"] - libraries) - 1,
    }


def main() -> None:
    """Measure every case, write, and say whether the three sizes are within the aim."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default="", help="names, divided by ';'")
    parser.add_argument("--json", type=Path, default=RESULTS / "memory.json")
    options = parser.parse_args()
    names = [name.strip() for name in options.only.split(";") if name.strip()]
    before = json.loads(options.json.read_text())["cases"] if names and options.json.exists() else []
    rows = {row["name"]: row for row in before}
    print("Peak of resident memory, MiB: estimated, measured", flush=True)
    for case in CASES:
        if names and case.name not in names:
            continue
        with tempfile.TemporaryDirectory(prefix="razona-memory-") as folder:
            rows[case.name] = row = compared(case, Path(folder))
        estimate, measured = row["estimate_mib"], row["measured_mib"]
        print(
            f"  {case.name:30} {estimate['peak']:8,.0f} {measured['peak']:8,.0f}  {row['error']:+6.1%}  "
            f"without libraries {row['error_without_libraries']:+6.1%}   "
            f"sampling {estimate['sampling, all']:,.0f} {measured['sampling']:,.0f}",
            flush=True,
        )
    counted = [row for row in rows.values() if row["is_counted"]]
    worst = max((abs(row["error"]) for row in counted), default=None)
    result = {
        **described("make bench-memory", {"steps": STEPS, "allowed_error": ALLOWED}),
        "worst_error": worst,
        "cases": [rows[case.name] for case in CASES if case.name in rows],
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"Written: {options.json}")
    is_met = worst is not None and worst <= ALLOWED
    print(f"Verdict: the three sizes are {'within' if is_met else 'not within'} {ALLOWED:.0%}")
    sys.exit(0 if is_met else 1)


if __name__ == "__main__":
    main()
