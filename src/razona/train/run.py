"""A training run, from a recipe to a run folder."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import datasets
import transformers
from transformers import PreTrainedModel

from razona.core.environment import describe_environment
from razona.core.errors import DataError, RunFolderError
from razona.core.files import write_json, write_text
from razona.core.nouns import Problem
from razona.core.rundir import RunDir
from razona.data import PromptWriter, load_problems, tags_of
from razona.models.load import Policy, load_policy, lora_config
from razona.recipe import Recipe, dump
from razona.rewards import Mix
from razona.rollout import Sampling
from razona.train.trainer import StepRecorder, StepWatch, Trainer, check_disk, checkpoint_bytes
from razona.train.trl_config import grpo_config


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What a run ended with."""

    run: RunDir
    steps: int
    seconds: float
    """Of training alone, loading not counted."""
    steps_with_signal: int
    """Steps in which at least one group's rewards were not all equal."""
    informative_groups: int
    """Groups whose rewards were not all equal, over all steps of this run."""
    groups: int


def train(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    watch: StepWatch = lambda row: None,
) -> TrainResult:
    """Train the recipe's model with GRPO and leave adapter, metrics, completions and checkpoints in `out`.

    Args:
        out: the run folder. It must be new or empty, unless `resume`.
        resume: go on from the last checkpoint in `out`; its recipe must be the same.
        watch: called after each step with its metrics row.

    Raises:
        RunFolderError: `out` is in use, or holds another run.
        DataError: no problem is left to train on.
        ModelError: the model cannot be loaded.
        MachineError: the disk is full.
    """
    run = RunDir(out)
    with run.lock():
        checkpoint = _prepare_folder(run, recipe, resume)
        transformers.set_seed(recipe.train.seed)
        policy = load_policy(recipe.model)
        dataset = _dataset(recipe, policy, run)
        trainer = _make_trainer(recipe, policy, dataset, run, watch)
        trained = cast(PreTrainedModel, trainer.model)
        check_disk(run.root, 3 * checkpoint_bytes(trained))
        started = time.monotonic()
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        seconds = time.monotonic() - started
        trained.save_pretrained(str(run.adapter))
        policy.tokenizer.save_pretrained(str(run.adapter))
        return _result(run, seconds, recipe.train.completions_per_step // recipe.rollout.group_size)


def _prepare_folder(run: RunDir, recipe: Recipe, resume: bool) -> Path | None:
    """Write what describes the run, and give the checkpoint to go on from, None for a run from the start."""
    text = dump(recipe)
    if resume:
        checkpoint = last_checkpoint(run)
        if not run.recipe.exists() or checkpoint is None:
            raise RunFolderError(
                f"--resume: {run.root} holds no checkpoint to go on from (looked in {run.checkpoints}). "
                "Start the run without --resume."
            )
        if run.recipe.read_text(encoding="utf-8") != text:
            raise RunFolderError(
                f"--resume: the recipe is not the one that {run.recipe} was started with. "
                "Give the same recipe and --set options, or another --out."
            )
        run.forget_steps_after(int(checkpoint.name.rsplit("-", 1)[1]))
        return checkpoint
    if run.metrics.exists() or run.checkpoints.exists():
        raise RunFolderError(
            f"{run.root} already holds a run. Go on with it (--resume), remove it, or give another folder with --out."
        )
    write_text(run.recipe, text)
    write_json(run.environment, describe_environment({"train": recipe.train.seed}))
    return None


def last_checkpoint(run: RunDir) -> Path | None:
    """Give the checkpoint of the highest step, None where there is none."""
    found = [path for path in run.checkpoints.glob("checkpoint-*") if (path / "trainer_state.json").exists()]
    return max(found, key=lambda path: int(path.name.rsplit("-", 1)[1]), default=None)


def _dataset(recipe: Recipe, policy: Policy, run: RunDir) -> datasets.Dataset:
    """Give the run's problems as the rows TRL wants, and write the manifest."""
    groups_per_step = recipe.train.completions_per_step // recipe.rollout.group_size
    wanted = recipe.train.steps * groups_per_step
    problems = load_problems(recipe.data, count=wanted, seed=recipe.train.seed)
    writer = PromptWriter(section=recipe.prompt, tokenizer=policy.tokenizer)
    prompts = [writer.write(problem) for problem in problems]
    lengths = writer.count_tokens(prompts)
    limit = recipe.data.max_prompt_tokens
    rows = [
        _row(problem, prompt)
        for problem, prompt, length in zip(problems, prompts, lengths, strict=True)
        if limit is None or length <= limit
    ]
    write_json(
        run.manifest,
        {
            "source": recipe.data.source,
            "problems": len(rows),
            "left_out_as_too_long": len(problems) - len(rows),
            "prompt_tokens": {"min": min(lengths), "max": max(lengths), "mean": sum(lengths) / len(lengths)},
        },
    )
    if len(rows) < groups_per_step:
        raise DataError(
            f"{len(rows)} problems are left to train on ({len(problems) - len(rows)} had prompts of more than "
            f"data.max_prompt_tokens = {limit}); a step needs {groups_per_step}. Raise data.max_prompt_tokens, or "
            "lower train.completions_per_step."
        )
    return datasets.Dataset.from_list(rows)


def _row(problem: Problem, prompt: str) -> dict[str, str]:
    return {
        "prompt": prompt,
        "target": problem.target,
        "problem_id": problem.id,
        "family": problem.family,
        "question": problem.question,
    }


def _make_trainer(
    recipe: Recipe,
    policy: Policy,
    dataset: datasets.Dataset,
    run: RunDir,
    watch: StepWatch,
) -> Trainer:
    rollout = recipe.rollout
    trainer = Trainer(
        run=run,
        group_size=rollout.group_size,
        sampling=Sampling(
            max_tokens=rollout.max_completion_tokens,
            temperature=rollout.temperature,
            top_p=rollout.top_p,
            top_k=rollout.top_k,
            min_p=rollout.min_p,
        ),
        mix=Mix(recipe.rewards.components, tags_of(recipe.prompt)),
        model=policy.model,
        args=grpo_config(recipe, run.checkpoints),
        train_dataset=dataset,
        processing_class=policy.tokenizer,
        peft_config=lora_config(recipe.lora) if recipe.lora else None,
    )
    trainer.add_callback(StepRecorder(trainer, watch))
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def _result(run: RunDir, seconds: float, groups_per_step: int) -> TrainResult:
    rows = run.read_steps()
    informative = [round((row["informative_groups"] or 0.0) * groups_per_step) for row in rows]
    return TrainResult(
        run=run,
        steps=len(rows),
        seconds=seconds,
        steps_with_signal=sum(count > 0 for count in informative),
        informative_groups=sum(informative),
        groups=len(rows) * groups_per_step,
    )
