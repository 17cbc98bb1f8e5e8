"""GRPO trainers of one recipe, ours and TRL's own in each of its settings, and how their steps are timed."""

import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import datasets
import torch
from measuring import RESULTS, ROOT, base_hash, peak_mib
from transformers import AutoTokenizer, TrainerCallback, set_seed
from transformers.trainer_callback import PrinterCallback
from trl.trainer.grpo_trainer import GRPOTrainer

from razona.core.allocator import keep_freed_memory
from razona.core.rundir import RunDir
from razona.data import tags_of
from razona.models.arithmetic import short_products
from razona.models.load import Policy, embedded_folder, load_policy, load_tuned, lora_config
from razona.recipe import Recipe, load
from razona.rewards import Mix
from razona.train import train
from razona.train.dataset import prepare_data
from razona.train.run import _make_trainer
from razona.train.trainer import Trainer
from razona.train.trl_config import grpo_config

SCRATCH = ROOT / "runs" / f"bench-step-{base_hash()}"
POLICY = SCRATCH / "policy"
TRL_DEFAULT = "trl fp32"
CONTINUOUS: dict[str, object] = {"use_transformers_continuous_batching": True}
KEPT_MEMORY = "kept memory"
TRL_SETTINGS: dict[str, dict[str, object]] = {
    TRL_DEFAULT: {},
    "trl bf16": {"bf16": True},
    "trl fp32, microbatch 32": {"per_device_train_batch_size": 32},
    "trl fp32, microbatch 256": {"per_device_train_batch_size": 256},
    "trl bf16, microbatch 256": {"bf16": True, "per_device_train_batch_size": 256},
    "trl fp32, static cache": {"cache_implementation": "static"},
    "trl bf16, continuous batching": {"bf16": True, **CONTINUOUS},
    "trl fp32, compiled": {"torch_compile": True},
    f"trl fp32, {KEPT_MEMORY}": {},
    f"trl fp32, compiled, {KEPT_MEMORY}": {"torch_compile": True},
    "trl bf16 products": {},
    f"trl bf16 products, {KEPT_MEMORY}": {},
    f"trl bf16, {KEPT_MEMORY}": {"bf16": True},
}
"""Setting -> fields of TRL's configuration. `bf16 products` and `kept memory` are no fields: they are what our trainer
does on a CPU (`razona.models.arithmetic`, `razona.core.allocator`), which TRL's does not but runs under."""
OUR_SETTINGS = {
    "ours fp32": ["train.precision=float32"],
    "ours bf16 products": ["train.precision=bfloat16"],
    "ours bf16 products, microbatch 256": ["train.precision=bfloat16", "train.microbatch_size=256"],
    "ours bf16 products, microbatch 256, compiled": [
        "train.precision=bfloat16",
        "train.microbatch_size=256",
        "rollout.compile=true",
        "train.compile=true",
    ],
}
"""Setting -> changes of the recipe."""


def make_policy() -> None:
    """Train the demo for 25 steps and keep base and adapter as one model, unless it is there."""
    if (POLICY / "model.safetensors").exists():
        return
    run = SCRATCH / "run"
    if not (run / "adapter").exists():
        train(load("demo", ["train.steps=25"]), run)
    tuned = load_tuned(load("demo", []).model, run / "adapter")
    merged = tuned.model.merge_and_unload()  # pyright: ignore[reportCallIssue]
    merged.save_pretrained(POLICY)
    AutoTokenizer.from_pretrained(embedded_folder()).save_pretrained(POLICY)


def policy_changes(name: str) -> list[str]:
    """Give what a measurement changes in the recipe `demo`: the policy, in a setting's precision, kept where it is.

    Both sides sample each problem once; TRL knows no other way.
    """
    changes = [f"model.name={POLICY}", "train.warmup_steps=0", "train.schedule=constant", "train.sampling=uniform"]
    return [*changes, *OUR_SETTINGS.get(name, [])]


def has_short_products(name: str) -> bool:
    """Say whether a setting of TRL's runs in our mode for CPUs; ours sets it itself, where it pays."""
    return "bf16 products" in name and name not in OUR_SETTINGS


def is_trl_alone(name: str) -> bool:
    """Say whether a setting of TRL's only sets what its configuration has, and borrows nothing from our trainer."""
    return name in TRL_SETTINGS and KEPT_MEMORY not in name and not has_short_products(name)


def is_compiled(name: str) -> bool:
    """Say whether torch compiles something first: TRL's model, our decoding step and our layers."""
    return bool(TRL_SETTINGS.get(name, {}).get("torch_compile")) or "rollout.compile=true" in OUR_SETTINGS.get(name, [])


def fastest(side: str, default: str) -> str:
    """Give a side's fastest setting on the demo's workload, as `make bench-step` found it; `default` before that.

    Args:
        side: `ours` or `fastest_trl`; with `_uncompiled` where steps are too few for what compiling takes.
    """
    path = RESULTS / "step.json"
    if not path.exists():
        print(f"{path} is not there (make bench-step writes it): {default} stands for the fastest setting")
        return default
    name = json.loads(path.read_text(encoding="utf-8"))["demo"][side]
    return name if name in OUR_SETTINGS or name in TRL_SETTINGS else default


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a trainer trains."""

    recipe: Recipe
    policy: Policy
    dataset: datasets.Dataset
    run: RunDir
    is_full: bool = False
    """No completion ends before the token limit."""
    max_length: int | None = None
    """Tokens of the longest prompt and completion together, for vLLM; None: as many as the model knows."""


def job_of(recipe: Recipe, name: str, *, is_full: bool = False, policy: Policy | None = None) -> Job:
    """Load the recipe's model, unless a policy is given, and its problems.

    Args:
        name: of the setting; what is written by the way goes to a folder of that name.
    """
    set_seed(recipe.train.seed)
    policy = policy or load_policy(recipe.model)
    run = RunDir(SCRATCH / "scratch" / name.replace(" ", "-").replace(",", ""))
    return Job(
        recipe=recipe, policy=policy, dataset=prepare_data(recipe, policy, run).dataset, run=run, is_full=is_full
    )


def make_trainer(job: Job, name: str) -> GRPOTrainer:
    """Give the trainer of a setting's name; no checkpoint is written.

    Args:
        name: one of `OUR_SETTINGS` or `TRL_SETTINGS`. With `kept memory` this process keeps what it frees from here on.
    """
    if KEPT_MEMORY in name:
        keep_freed_memory()
    return our_trainer(job) if name in OUR_SETTINGS else trl_trainer(job, TRL_SETTINGS[name])


def our_trainer(job: Job) -> GRPOTrainer:
    """Give Razona's trainer."""
    trainer = _make_trainer(job.recipe, job.policy, job.dataset, job.run, lambda row: None, max_length=job.max_length)
    if job.is_full:
        trainer.eos_token_ids = []
        if trainer.engine == "vllm":  # and ids that the tokenizer does not know are not to be read
            trainer.vllm_generation.generation_kwargs |= {"ignore_eos": True, "detokenize": False}
        elif trainer.engine == "generate":
            trainer.generation_config.min_new_tokens = job.recipe.rollout.max_completion_tokens
    trainer.args.save_strategy = "no"  # pyright: ignore[reportAttributeAccessIssue]
    return trainer


def trl_trainer(job: Job, settings: dict[str, object]) -> GRPOTrainer:
    """Give TRL's own trainer with our recipe, reward and data, and the given fields of its configuration."""
    recipe = job.recipe
    settings = {"save_strategy": "no", **settings}
    size = settings.get("per_device_train_batch_size")
    if isinstance(size, int):
        size = min(size, recipe.train.completions_per_step)
        passes = recipe.train.completions_per_step // size
        settings |= {
            "per_device_train_batch_size": size,
            "gradient_accumulation_steps": passes,
            "steps_per_generation": passes,
        }
    if job.is_full:
        settings["generation_kwargs"] = {"min_new_tokens": recipe.rollout.max_completion_tokens}
    args = grpo_config(recipe, job.run.checkpoints, is_packed=False, **settings)
    trainer = GRPOTrainer(
        model=job.policy.model,  # pyright: ignore[reportArgumentType]
        reward_funcs=Mix.of(recipe.rewards, tags_of(recipe.prompt)),  # pyright: ignore[reportArgumentType]
        args=args,
        train_dataset=job.dataset,
        processing_class=job.policy.tokenizer,
        peft_config=lora_config(recipe.lora) if recipe.lora else None,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def now() -> float:
    """Give seconds on a clock, after a GPU has done what it was asked."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def take_gpu_peak() -> float:
    """Give the most GiB that torch has held on the GPU since the last call; 0 without a GPU."""
    if not torch.cuda.is_available():
        return 0.0
    peak = torch.cuda.max_memory_allocated() / 2**30
    torch.cuda.reset_peak_memory_stats()
    return peak


def timed_steps(
    trainer: GRPOTrainer, *, warm_up: int, has_short_products: bool = False, at_most_s: float = math.inf
) -> dict:
    """Train, and give seconds of each step and of the sampling in it, without the first `warm_up`.

    The learning rate becomes 0, so that the policy stays where it is. Exactly 0: an adapter of 1e-30 would fill the
    products with denormal numbers, 80 times slower on a CPU.

    Args:
        has_short_products: TRL's whole step runs in the mode that our training pass asks for by itself.
        at_most_s: training stops after the step that reaches it, with one step counted at least.
    """
    end = time.perf_counter() + at_most_s
    trainer.args.learning_rate = 0.0
    steps: list[float] = []
    sampling: list[float] = []
    gpu_peaks: dict[str, list[float]] = {"sampling": [], "training": []}
    samples = "_sample" if isinstance(trainer, Trainer) else "_generate_single_turn"
    generate: Callable = getattr(trainer, samples)

    def clocked(*args, **kwargs):
        take_gpu_peak()
        started = now()
        out = generate(*args, **kwargs)
        sampling.append(now() - started)
        gpu_peaks["sampling"].append(take_gpu_peak())
        return out

    setattr(trainer, samples, clocked)

    class Clock(TrainerCallback):
        def on_step_begin(self, *args, **kwargs) -> None:
            self.started = now()

        def on_step_end(self, args, state, control, **kwargs) -> None:
            steps.append(now() - self.started)
            gpu_peaks["training"].append(take_gpu_peak())
            if time.perf_counter() > end and len(steps) > warm_up:
                control.should_training_stop = True

    trainer.add_callback(Clock())
    with short_products(has_short_products):
        trainer.train()
    metrics = trainer._metrics["train"]
    logged = trainer.state.log_history[:-1]

    def mean(name: str) -> float | None:
        values = [row[name] for row in logged if name in row] or list(metrics.get(name, []))
        return statistics.mean(values) if values else None

    return {
        "step": steps[warm_up:],
        "sampling": sampling[warm_up:],
        "mean_tokens": mean("completions/mean_length"),
        "share_flat_groups": mean("frac_reward_zero_std"),
        "peak_mib": peak_mib(),
        "gpu_peak_gib": {part: max(values) for part, values in gpu_peaks.items()},
    }
