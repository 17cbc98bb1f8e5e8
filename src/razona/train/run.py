"""A training run, from a recipe to a run folder."""

import json
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import cast

import datasets
import torch
import transformers
from transformers import PreTrainedModel

from razona.core.allocator import keep_freed_memory
from razona.core.environment import describe_environment
from razona.core.errors import DataError, RecipeError, RunFolderError
from razona.core.files import write_json, write_text
from razona.core.launch import is_main_process, num_processes, process_index
from razona.core.nouns import Problem
from razona.core.rundir import RunDir
from razona.core.seeds import derive_rng
from razona.data import PromptWriter, load_problems, tags_of
from razona.models.arithmetic import wants_short_products
from razona.models.load import Policy, load_policy, lora_config
from razona.recipe import Recipe, dump
from razona.recipe.checks import check_num_processes
from razona.rewards import Mix
from razona.rollout import Sampling
from razona.train.disk import check_disk, checkpoint_bytes
from razona.train.packed import unsupported_reason
from razona.train.processes import in_main_process, join_processes, reward_seed, stop_together
from razona.train.record import StepRecorder, StepWatch
from razona.train.trainer import Choice, Engine, Trainer
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

    Called in each process that torchrun or accelerate launch started, it trains in all of them together. The main one
    alone holds and writes the folder, which the others must be able to read, and calls `watch`.

    Args:
        out: the run folder. It must be new or empty, unless `resume`.
        resume: go on from the last checkpoint in `out`, from the start where it has none; its recipe must be the same.
        watch: called after each step with its metrics row.

    Raises:
        RecipeError: a step cannot be shared out to the processes by whole groups.
        RunFolderError: `out` is in use, or holds another run.
        DataError: no problem is left to train on.
        ModelError: the model cannot be loaded.
        MachineError: the disk is full, or another process failed.
    """
    rollout, section, run = recipe.rollout, recipe.train, RunDir(out)
    check_num_processes(num_processes(), rollout.group_size, section.microbatch_size, section.completions_per_step)
    join_processes()
    with ExitStack() as held:

        def take_folder() -> None:
            held.enter_context(run.lock())
            prepare_folder(run, recipe, resume)

        in_main_process(take_folder)
        return train_in(run, recipe, watch)


def train_in(run: RunDir, recipe: Recipe, watch: StepWatch) -> TrainResult:
    """Train in a folder that the main process holds and that `prepare_folder` has made ready."""
    with stop_together():
        transformers.set_seed(recipe.train.seed)
        policy = load_policy(recipe.model, trains_all_weights=recipe.lora is None)
        dataset = _dataset(recipe, policy, run)
        trainer = _make_trainer(recipe, policy, dataset, run, watch)
        trained = cast(PreTrainedModel, trainer.model)
        check_disk(run.root, 3 * checkpoint_bytes(trained))
    checkpoint = in_main_process(lambda: last_checkpoint(run))
    started = time.monotonic()
    if checkpoint is not None:
        trainer.recall(step_of(checkpoint))
    if checkpoint is None or step_of(checkpoint) < recipe.train.steps:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    seconds = time.monotonic() - started

    def finish() -> TrainResult:
        trained.save_pretrained(str(run.adapter))
        policy.tokenizer.save_pretrained(str(run.adapter))
        return _result(run, seconds, recipe.train.completions_per_step // recipe.rollout.group_size)

    return in_main_process(finish)


def prepare_folder(run: RunDir, recipe: Recipe, resume: bool) -> None:
    """Make the folder ready: a new run describes itself, a resumed one forgets what came after its last checkpoint.

    Raises:
        RunFolderError: there is nothing to go on from, another recipe was used, or the folder holds a run already.
    """
    text = dump(recipe)
    if resume:
        if not run.recipe.exists():
            raise RunFolderError(f"--resume: {run.root} holds no run to go on with. Start it without --resume.")
        if run.recipe.read_text(encoding="utf-8") != text:
            raise RunFolderError(
                f"--resume: the recipe is not the one that {run.recipe} was started with. "
                "Give the same recipe and --set options, or another --out."
            )
        checkpoint = last_checkpoint(run)
        run.forget_steps_after(step_of(checkpoint) if checkpoint else 0)
        _note_other_processes(run)
        return
    if run.metrics.exists() or run.checkpoints.exists():
        raise RunFolderError(
            f"{run.root} already holds a run. Go on with it (--resume), remove it, or give another folder with --out."
        )
    write_json(run.environment, describe_environment({"train": recipe.train.seed}))
    write_text(run.recipe, text)  # last: where a recipe lies, the rest of the description does too


def _note_other_processes(run: RunDir) -> None:
    began_with = json.loads(run.environment.read_text(encoding="utf-8")).get("processes", 1)
    if began_with != num_processes():
        print(
            f"razona: this run began with {began_with} processes and goes on with {num_processes()}: it samples other "
            "completions than it would have.",
            file=sys.stderr,
        )


def step_of(checkpoint: Path) -> int:
    """Give the number of steps after which a checkpoint was written."""
    return int(checkpoint.name.rsplit("-", 1)[1])


def last_checkpoint(run: RunDir) -> Path | None:
    """Give the checkpoint of the highest step, None where there is none."""
    found = [path for path in run.checkpoints.glob("checkpoint-*") if (path / "trainer_state.json").exists()]
    return max(found, key=step_of, default=None)


def _dataset(recipe: Recipe, policy: Policy, run: RunDir) -> datasets.Dataset:
    """Give the run's problems in the order in which they are trained on, a row a group, and write the manifest.

    With `train.sampling: informative` there are more than the steps hold, where the source has them: every round of a
    step takes fresh ones while there are any. A source that holds fewer than the run needs is gone through again, in
    another order each time. The whole order is fixed here, so that a resumed run sees the problems that the
    uninterrupted one would have seen.
    """
    groups_per_step = recipe.train.completions_per_step // recipe.rollout.group_size
    wanted = recipe.train.steps * groups_per_step
    has_choice = recipe.train.sampling == "informative"
    count = wanted * recipe.train.sampling_rounds if has_choice else wanted
    problems = load_problems(recipe.data, count=count, at_least=wanted, seed=recipe.train.seed)
    writer = PromptWriter(section=recipe.prompt, tokenizer=policy.tokenizer)
    prompts = [writer.write(problem) for problem in problems]
    lengths = writer.count_tokens(prompts)
    limit = recipe.data.max_prompt_tokens
    rows = [
        _row(problem, prompt)
        for problem, prompt, length in zip(problems, prompts, lengths, strict=True)
        if limit is None or length <= limit
    ]
    if len(rows) < groups_per_step:
        raise DataError(
            f"{len(rows)} problems are left to train on ({len(problems) - len(rows)} had prompts of more than "
            f"data.max_prompt_tokens = {limit}); a step needs {groups_per_step}. Raise data.max_prompt_tokens, or "
            "lower train.completions_per_step."
        )
    order: list[dict[str, str]] = []
    most = min(count, max(wanted, len(rows)))
    while len(order) < most:
        again = list(rows)
        derive_rng("order", recipe.train.seed, len(order)).shuffle(again)
        order += again
    manifest = {
        "source": recipe.data.source,
        "problems": len(problems),
        "left_out_as_too_long": len(problems) - len(rows),
        "to_sample_from": min(most, len(rows)),
        "prompt_tokens": {"min": min(lengths), "max": max(lengths), "mean": sum(lengths) / len(lengths)},
        "sha256": sha256(json.dumps(rows, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest(),
    }
    if is_main_process():
        write_json(run.manifest, manifest)
    return datasets.Dataset.from_list(order[:most])


def _row(problem: Problem, prompt: str) -> dict[str, str]:
    return {
        "prompt": prompt,
        "target": problem.target,
        "problem_id": problem.id,
        "family": problem.family,
        "question": problem.question,
        # As text: a table's column cannot hold a list in one row and a text in the next.
        "extra": json.dumps(dict(problem.extra), ensure_ascii=False, default=str) if problem.extra else "",
    }


def _make_trainer(
    recipe: Recipe,
    policy: Policy,
    dataset: datasets.Dataset,
    run: RunDir,
    watch: StepWatch,
) -> Trainer:
    try:
        return _trainer(recipe, policy, dataset, run, watch)
    except ValueError as error:
        if recipe.lora and "target modules" in str(error).lower():
            raise RecipeError(
                f"lora.target_modules = {recipe.lora.target_modules}: {policy.name} has no such modules. Name its own "
                "(print(model) shows them), or set lora.target_modules: all-linear."
            ) from error
        raise


def _trainer(recipe: Recipe, policy: Policy, dataset: datasets.Dataset, run: RunDir, watch: StepWatch) -> Trainer:
    if not torch.cuda.is_available():
        keep_freed_memory()
    rollout = recipe.rollout
    is_packed = not unsupported_reason(cast(PreTrainedModel, policy.model))
    args = grpo_config(recipe, run.checkpoints, is_packed=is_packed, num_processes=num_processes())
    if is_packed:
        args.ddp_find_unused_parameters = False  # in these families every backward pass reaches every parameter
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
        engine=Engine(name=rollout.engine, max_slots=rollout.max_slots),
        choice=_choice(recipe, dataset),
        has_short_products=wants_short_products(recipe.train.precision),
        mix=Mix.of(recipe.rewards, tags_of(recipe.prompt), seed=reward_seed(recipe.train.seed)),
        model=policy.model,
        args=args,
        train_dataset=dataset,
        processing_class=policy.tokenizer,
        peft_config=lora_config(recipe.lora) if recipe.lora else None,
    )
    unpacked = trainer.unpacked_reason and f"log-probs are computed with padding: {trainer.unpacked_reason}"
    for note in (trainer.engine_note, unpacked):
        if note and is_main_process():
            print(f"razona: {note}", file=sys.stderr)
    trainer.add_callback(StepRecorder(trainer, watch))
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def _choice(recipe: Recipe, dataset: datasets.Dataset) -> Choice | None:
    """Give this process's share of the problems, where groups with signal are looked for."""
    if recipe.train.sampling == "uniform":
        return None
    rows = {str(row["problem_id"]): row for row in dataset.to_list()}
    own = list(rows.values())[process_index() :: num_processes()]
    return Choice(rows=own, max_rounds=recipe.train.sampling_rounds)


def _result(run: RunDir, seconds: float, groups_per_step: int) -> TrainResult:
    rows = run.read_steps()
    informative = [round((row["informative_trained"] or 0.0) * groups_per_step) for row in rows]
    return TrainResult(
        run=run,
        steps=len(rows),
        seconds=seconds,
        steps_with_signal=sum(count > 0 for count in informative),
        informative_groups=sum(informative),
        groups=len(rows) * groups_per_step,
    )
