"""One GRPO step of the demo, ours against TRL's own trainer in each of its settings, learning rate 0, turn about.

    make bench-step        writes docs/results/step.json

Both train the same policy, the embedded base after 25 steps of the demo with its adapter merged: completions have
the length and groups the signal of the middle of a run. A new adapter is trained; the learning rate is 0,
so that the policy stays where it is. Every measurement is a process of its own: it makes a trainer, runs a
warm-up step and then `--steps` steps. The fastest setting of TRL, by its median, is what we are compared with.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
POLICY = ROOT / "runs" / "bench-step" / "policy"
WARM_UP = 1
TRL_SETTINGS = {
    "trl fp32": {},
    "trl bf16": {"bf16": True},
    "trl fp32, microbatch 256": {"per_device_train_batch_size": 256},
    "trl bf16, microbatch 256": {"bf16": True, "per_device_train_batch_size": 256},
    "trl fp32, static cache": {"cache_implementation": "static"},
    "trl bf16, continuous batching": {"bf16": True, "use_transformers_continuous_batching": True},
}
OUR_SETTINGS = {"ours fp32": "float32", "ours bf16": "bfloat16"}


def make_policy() -> None:
    """Train the demo for 25 steps and keep base and adapter as one model."""
    if (POLICY / "model.safetensors").exists():
        return
    from transformers import AutoTokenizer

    from razona.models.load import embedded_folder, load_tuned
    from razona.recipe import load
    from razona.train import train

    run = POLICY.parent / "run"
    if not (run / "adapter").exists():
        train(load("demo", ["train.steps=25"]), run)
    tuned = load_tuned(load("demo", []).model, run / "adapter")
    merged = tuned.model.merge_and_unload()  # pyright: ignore[reportCallIssue]
    merged.save_pretrained(POLICY)
    AutoTokenizer.from_pretrained(embedded_folder()).save_pretrained(POLICY)


def recipe_of(options: argparse.Namespace):
    """Give the demo's recipe with the benchmark's policy."""
    from razona.recipe import load

    changes = [
        f"model.name={POLICY}",
        f"train.steps={options.steps + WARM_UP}",
        "train.warmup_steps=0",
        "train.schedule=constant",
    ]
    if options.full:  # every completion has full length, and random rewards leave no group flat
        changes += ["rewards.mix=sum", "rewards.components=[{name: random}]"]
    if options.name in OUR_SETTINGS:
        changes.append(f"train.precision={OUR_SETTINGS[options.name]}")
    return load("demo", changes)


def timed(trainer) -> dict[str, list[float]]:
    """Time a trainer's steps, and the sampling in each."""
    from transformers import TrainerCallback

    figures: dict[str, list[float]] = {"step": [], "sampling": []}
    generate: Callable = trainer._generate_single_turn

    def clocked(*args, **kwargs):
        started = time.perf_counter()
        out = generate(*args, **kwargs)
        figures["sampling"].append(time.perf_counter() - started)
        return out

    trainer._generate_single_turn = clocked

    class Clock(TrainerCallback):
        def on_step_begin(self, *args, **kwargs) -> None:
            self.started = time.perf_counter()

        def on_step_end(self, *args, **kwargs) -> None:
            figures["step"].append(time.perf_counter() - self.started)

    trainer.add_callback(Clock())
    trainer.train()
    return figures


def work(options: argparse.Namespace) -> None:
    """Measure one setting and print it as JSON."""
    import torch
    from transformers.trainer_callback import PrinterCallback

    from razona.core.rundir import RunDir
    from razona.data import tags_of
    from razona.models.load import load_policy, lora_config
    from razona.rewards import Mix
    from razona.train.run import _dataset, _make_trainer
    from razona.train.trl_config import grpo_config

    torch.set_num_threads(2)
    torch.manual_seed(0)
    recipe = recipe_of(options)
    run = RunDir(ROOT / "runs" / "bench-step" / "scratch" / options.name.replace(" ", "-").replace(",", ""))
    policy = load_policy(recipe.model)
    dataset = _dataset(recipe, policy, run)
    is_ours = options.name in OUR_SETTINGS
    if is_ours:
        trainer = _make_trainer(recipe, policy, dataset, run, lambda row: None)
        if options.full:
            trainer.eos_token_ids = []
    else:
        from trl.trainer.grpo_trainer import GRPOTrainer

        args = grpo_config(recipe, run.checkpoints)
        settings = dict(TRL_SETTINGS[options.name])
        size = settings.get("per_device_train_batch_size")
        if size:
            passes = recipe.train.completions_per_step // int(size)
            settings |= {"gradient_accumulation_steps": passes, "steps_per_generation": passes}
        if options.full:
            settings["generation_kwargs"] = {"min_new_tokens": recipe.rollout.max_completion_tokens}
        for name, value in settings.items():
            setattr(args, name, value)
        trainer = GRPOTrainer(
            model=policy.model,  # pyright: ignore[reportArgumentType]
            reward_funcs=Mix.of(recipe.rewards, tags_of(recipe.prompt)),  # pyright: ignore[reportArgumentType]
            args=args,
            train_dataset=dataset,
            processing_class=policy.tokenizer,
            peft_config=lora_config(recipe.lora) if recipe.lora else None,
        )
        trainer.remove_callback(PrinterCallback)
    trainer.args.save_strategy = "no"  # pyright: ignore[reportAttributeAccessIssue]
    # Exactly 0: an adapter of 1e-30 would fill the products with denormal numbers, 80 times slower on a CPU.
    trainer.args.learning_rate = 0.0
    figures = timed(trainer)
    metrics = trainer._metrics["train"]
    logged = trainer.state.log_history[:-1]

    def mean(name: str) -> float | None:
        values = [row[name] for row in logged if name in row] or list(metrics.get(name, []))
        return statistics.mean(values) if values else None

    print(
        json.dumps(
            {
                "step": figures["step"][WARM_UP:],
                "sampling": figures["sampling"][WARM_UP:],
                "mean_tokens": mean("completions/mean_length"),
                "share_flat_groups": mean("frac_reward_zero_std"),
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


def measure(name: str, options: argparse.Namespace, *, full: bool) -> dict | None:
    """Measure one setting in a process of its own; None where TRL cannot run it on this machine."""
    command = [sys.executable, __file__, "--worker", name, "--steps", str(options.steps)] + ["--full"] * full
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode:
        print(f"  {name}: does not run here: {done.stderr.strip().splitlines()[-1][:160]}", flush=True)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def compare(options: argparse.Namespace, names: list[str], *, full: bool) -> dict:
    """Measure settings turn about and compare the fastest ones."""
    rounds: dict[str, list[dict]] = {}
    for number in range(options.rounds):
        for name in names:
            figures = measure(name, options, full=full)
            if figures is not None:
                rounds.setdefault(name, []).append(figures)
                print(f"  round {number + 1}  {name:34} {statistics.median(figures['step']):6.2f} s", flush=True)
    table = {}
    for name, measured in rounds.items():
        steps = [value for one in measured for value in one["step"]]
        sampling = [value for one in measured for value in one["sampling"]]
        table[name] = {
            "step_s": {"median": statistics.median(steps), "min": min(steps), "max": max(steps), "n": len(steps)},
            "sampling_s": {"median": statistics.median(sampling)},
            "training_s": {"median": statistics.median(a - b for a, b in zip(steps, sampling, strict=True))},
            "mean_tokens": statistics.mean(one["mean_tokens"] for one in measured),
            "share_flat_groups": statistics.mean(one["share_flat_groups"] for one in measured),
            "peak_mib": max(one["peak_mib"] for one in measured),
        }
    ours = min((name for name in table if name in OUR_SETTINGS), key=lambda name: table[name]["step_s"]["median"])
    theirs = min((name for name in table if name in TRL_SETTINGS), key=lambda name: table[name]["step_s"]["median"])
    return {
        "settings": table,
        "ours": ours,
        "fastest_trl": theirs,
        "ratio": table[theirs]["step_s"]["median"] / table[ours]["step_s"]["median"],
        "sampling_ratio": table[theirs]["sampling_s"]["median"] / table[ours]["sampling_s"]["median"],
        "training_ratio": table[theirs]["training_s"]["median"] / table[ours]["training_s"]["median"],
    }


def main() -> None:
    """Measure the demo's workload and the one without anything to leave out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--worker", dest="name", help=argparse.SUPPRESS)
    parser.add_argument("--full", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, default=2, help="steps measured in each process")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path, default=ROOT / "docs" / "results" / "step.json")
    options = parser.parse_args()
    if options.name:
        work(options)
        return
    from razona.core.environment import describe_hardware

    make_policy()
    print("The demo's workload:", flush=True)
    demo = compare(options, [*OUR_SETTINGS, *TRL_SETTINGS], full=False)
    by_speed = sorted(demo["settings"], key=lambda name: demo["settings"][name]["step_s"]["median"])
    print("Full length, no flat group, with the three fastest settings of TRL and both of ours:", flush=True)
    full = compare(options, [*OUR_SETTINGS, *[name for name in by_speed if name in TRL_SETTINGS][:3]], full=True)
    result = {
        "command": "make bench-step",
        "hardware": describe_hardware(),
        "ratio": demo["ratio"],
        "ratio_without_dropping": full["ratio"],
        "share_flat_groups": demo["settings"][demo["ours"]]["share_flat_groups"],
        "demo": demo,
        "full_length": full,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for name, one in (("demo", demo), ("full length", full)):
        print(
            f"{name}: {one['ours']} {one['settings'][one['ours']]['step_s']['median']:.2f} s, "
            f"{one['fastest_trl']} {one['settings'][one['fastest_trl']]['step_s']['median']:.2f} s: "
            f"{one['ratio']:.1f} times "
            f"(sampling {one['sampling_ratio']:.1f}, training {one['training_ratio']:.1f})"
        )
    print(f"Written: {options.json}")


if __name__ == "__main__":
    main()
