"""A training run, from a recipe to a run folder."""

import json
import shutil
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol, cast

import datasets
import torch
import transformers
from peft import PeftModel
from transformers import PreTrainedModel

from razona.core.allocator import suit_allocator
from razona.core.errors import RecipeError
from razona.core.files import write_json
from razona.core.launch import is_main_process, num_processes, process_index, sharding
from razona.core.rundir import RunDir
from razona.core.terminal import say
from razona.data import tags_of
from razona.models.arithmetic import wants_short_products
from razona.models.load import Policy, lora_config
from razona.models.quantised import widen_adapter
from razona.recipe import Recipe
from razona.recipe.checks import check_num_processes, check_sharding
from razona.rewards import Mix
from razona.rollout import Sampling
from razona.train.best import take_best
from razona.train.collect import Choice
from razona.train.compiled import prepare_compiling
from razona.train.decisions import Kept
from razona.train.disk import check_disk, checkpoint_bytes, writing_weights
from razona.train.folder import prepare_folder
from razona.train.guard import Guard
from razona.train.loading import load_run
from razona.train.monitor import Monitor, Tell, tell_on_stderr
from razona.train.packed import unsupported_reason
from razona.train.processes import (
    in_main_process,
    join_processes,
    refuse_difference,
    reward_seed,
    stop_together,
    tell_lost_processes,
)
from razona.train.record import Enough, StepRecorder, StepWatch, StopWhen
from razona.train.sft import FineTuned, fine_tune
from razona.train.sharding import admit_sharding_on_cpu, weights_to_save
from razona.train.steps import take_steps
from razona.train.trackers import Trackers, check_trackers
from razona.train.trainer import Engine, Trainer
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
    kept: Kept | None
    """Which weights the adapter holds; None: the last, because no guard measured them."""
    guard_seconds: float
    """Of the guard's measurements; not in `seconds`."""
    fine_tuned: FineTuned | None = None
    """What supervised fine-tuning did; None where the recipe asks for none. Not in `seconds`."""


class Check(Protocol):
    """What looks at a run before its first step; called in the main process, it raises what should stop it."""

    def before_loading(self) -> None:
        """Look at what needs no model. The folder is this run's by then."""
        ...

    def with_policy(self, policy: Policy) -> None:
        """Look at the untrained policy, and leave it and every random state as they were."""
        ...


def train(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    check: Check | None = None,
    watch: StepWatch = lambda row: None,
    tell: Tell = tell_on_stderr,
    is_enough: Enough | None = None,
) -> TrainResult:
    """Train the recipe's model as `train.method` says and leave adapter, metrics, completions and checkpoints in `out`.

    Called in each process that torchrun or accelerate launch started, it trains in all of them together. The main one
    alone holds and writes the folder, which the others must be able to read, and calls `watch` and `tell`.

    Args:
        out: the run folder. It must be new or empty, unless `resume`.
        resume: go on from the last checkpoint in `out`, from the start where it has none; its recipe must be the same.
        check: looks at the run before its first step; None: nothing does.
        watch: called after each step with its metrics row.
        tell: called with each finding of a health rule, and of the guard.
        is_enough: asked after each GRPO step in the main process; True ends the run there. None: it takes all steps.

    Raises:
        RecipeError: a step cannot be shared out to the processes by whole groups.
        RunFolderError: `out` is in use, or holds another run.
        DataError: no problem is left to train on.
        ModelError: the model cannot be loaded.
        MachineError: the disk is full, another process failed, or a tracker is missing or cannot be opened.
        StoppedError: a signal ended it, where the command line handles signals.
        TrainingError: its losses or gradients were no numbers, step after step.
    """
    rollout, section, run = recipe.rollout, recipe.train, RunDir(out)
    check_trackers(recipe.report.report_to)
    check_num_processes(num_processes(), rollout.group_size, section.microbatch_size, section.completions_per_step)
    check_sharding(section.method, recipe.model.load_in_4bit, sharding())
    join_processes()
    with tell_lost_processes(), ExitStack() as held:

        def take_folder() -> None:
            held.enter_context(run.lock())
            prepare_folder(run, recipe, resume)

        in_main_process(take_folder)
        if check is not None:
            in_main_process(check.before_loading)
        return train_in(run, recipe, watch, tell, is_enough, check)


def train_in(
    run: RunDir,
    recipe: Recipe,
    watch: StepWatch,
    tell: Tell = tell_on_stderr,
    is_enough: Enough | None = None,
    check: Check | None = None,
) -> TrainResult:
    """Train in a folder that the main process holds and that `prepare_folder` has made ready."""
    with ExitStack() as held:
        with stop_together():
            trackers = held.enter_context(Trackers(recipe, run))
        return _train_in(run, recipe, trackers, watch, tell, is_enough, check)


def _train_in(
    run: RunDir,
    recipe: Recipe,
    trackers: Trackers,
    watch: StepWatch,
    tell: Tell,
    is_enough: Enough | None,
    check: Check | None,
) -> TrainResult:
    with stop_together():
        transformers.set_seed(recipe.train.seed)

    def look_at(policy: Policy) -> None:
        looks = None if check is None else check.with_policy
        if looks is not None:
            in_main_process(lambda: looks(policy))

    policy, data = load_run(recipe, run, look_at)
    refuse_difference(f"the problems of data.source = {recipe.data.source}", data.sha256)
    fine_tuned = None
    if recipe.train.method != "grpo":
        policy, fine_tuned = fine_tune(policy, recipe, data.problems, run, trackers.take_update)
    if recipe.train.method == "sft":
        if recipe.guard.every and is_main_process():
            say("razona: train.method = sft has no GRPO steps, so guard.every measures none of them", to_stderr=True)
        return in_main_process(lambda: _finish_sft(run, fine_tuned))
    with stop_together():
        monitor = Monitor(run, tell, trackers.take_measurement)
        max_length = data.longest_prompt + recipe.rollout.max_completion_tokens
        steps_watch = _all(monitor.take, trackers.take, watch)
        trainer = _make_trainer(recipe, policy, data.dataset, run, steps_watch, max_length=max_length)
        trained = cast(PreTrainedModel, trainer.model)
        guard = Guard(trainer, recipe, data.held_out, monitor) if recipe.guard.every else None
        check_disk(run.root, (3 + (guard is not None)) * checkpoint_bytes(trained))
    trainer.add_callback(trackers)
    if is_enough is not None:
        trainer.add_callback(StopWhen(is_enough))  # before the guard, which measures after the last step
    if guard is not None:
        trainer.add_callback(guard)
    checkpoint = in_main_process(run.last_checkpoint)
    started = time.monotonic()
    take_steps(trainer, checkpoint, recipe.train, is_over=guard is not None and guard.standing.is_over)
    guard_seconds = guard.seconds if guard else 0.0
    seconds = time.monotonic() - started - guard_seconds

    weights = weights_to_save(trainer.accelerator, trainer.model_wrapped)

    def finish() -> TrainResult:
        kept = guard.standing.kept() if guard else None
        if kept is not None and kept.is_best:
            take_best(run)
        else:
            with writing_weights(run.adapter):
                trained.save_pretrained(str(run.adapter), state_dict=weights)  # pyright: ignore[reportArgumentType]
                policy.tokenizer.save_pretrained(str(run.adapter))
        if kept is not None:
            manifest = json.loads(run.manifest.read_text(encoding="utf-8"))
            write_json(run.manifest, {**manifest, "adapter": asdict(kept)})
        groups_per_step = recipe.train.completions_per_step // recipe.rollout.group_size
        result = _result(run, groups_per_step, seconds=seconds, guard_seconds=guard_seconds, kept=kept)
        return replace(result, fine_tuned=fine_tuned)

    return in_main_process(finish)


def _finish_sft(run: RunDir, fine_tuned: FineTuned | None) -> TrainResult:
    """End a run that fine-tunes and no more: its weights are the run's."""
    with writing_weights(run.adapter):
        shutil.copytree(run.sft_weights, run.adapter, dirs_exist_ok=True)
    return TrainResult(
        run=run,
        steps=0,
        seconds=0.0,
        steps_with_signal=0,
        informative_groups=0,
        groups=0,
        kept=None,
        guard_seconds=0.0,
        fine_tuned=fine_tuned,
    )


def _all(*watchers: StepWatch) -> StepWatch:
    def watch(row: Mapping[str, float | None]) -> None:
        for one in watchers:
            one(row)

    return watch


def _make_trainer(
    recipe: Recipe,
    policy: Policy,
    dataset: datasets.Dataset,
    run: RunDir,
    watch: StepWatch,
    *,
    max_length: int | None = None,
) -> Trainer:
    try:
        return _trainer(recipe, policy, dataset, run, watch, max_length)
    except ValueError as error:
        if recipe.lora and "target modules" in str(error).lower():
            raise RecipeError(
                f"lora.target_modules = {recipe.lora.target_modules}: {policy.name} has no such modules. Name its own "
                "(print(model) shows them), or set lora.target_modules: all-linear."
            ) from error
        raise


def _trainer(
    recipe: Recipe,
    policy: Policy,
    dataset: datasets.Dataset,
    run: RunDir,
    watch: StepWatch,
    max_length: int | None,
) -> Trainer:
    if not torch.cuda.is_available():
        suit_allocator(sum(one.numel() for one in policy.model.parameters()))
    rollout = recipe.rollout
    is_packed = not unsupported_reason(cast(PreTrainedModel, policy.model))
    args = grpo_config(
        recipe, run.checkpoints, is_packed=is_packed, num_processes=num_processes(), max_length=max_length
    )
    if is_packed:
        args.ddp_find_unused_parameters = False  # in these families every backward pass reaches every parameter
    admit_sharding_on_cpu()
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
        engine=Engine(name=rollout.engine, max_slots=rollout.max_slots, is_compiled=rollout.compile),
        max_failed_saves=recipe.train.max_failed_saves,
        choice=_choice(recipe, dataset),
        has_short_products=wants_short_products(recipe.train.precision) and not sharding(),
        mix=Mix.of(recipe.rewards, tags_of(recipe.prompt), seed=reward_seed(recipe.train.seed)),
        model=policy.model,
        args=args,
        train_dataset=dataset,
        processing_class=policy.tokenizer,
        peft_config=lora_config(recipe.lora) if recipe.lora and not isinstance(policy.model, PeftModel) else None,
    )
    prepare_compiling(trainer, recipe)
    if recipe.model.load_in_4bit:
        widen_adapter(cast(PreTrainedModel, trainer.model))
    unpacked = trainer.unpacked_reason and f"log-probs are computed with padding: {trainer.unpacked_reason}"
    untried = "DeepSpeed has never been run with this program so far; compare the first steps with --sharding fsdp2"
    compiling = "torch compiles in the first step: up to a minute, or some seconds where it did so before"
    notes = (
        trainer.engine_note,
        compiling if rollout.compile or recipe.train.compile else "",
        unpacked,
        trainer.patch_note,
        untried if sharding() == "deepspeed" else "",
    )
    for note in notes:
        if note and is_main_process():
            say(f"razona: {note}", to_stderr=True)
    trainer.add_callback(StepRecorder(trainer, watch))
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def _choice(recipe: Recipe, dataset: datasets.Dataset) -> Choice | None:
    """Give this process's share of the problems, where groups with signal are looked for."""
    if recipe.train.sampling == "uniform":
        return None
    rows = {str(row["problem_id"]): row for row in dataset.to_list()}
    own = list(rows.values())[process_index() :: num_processes()]
    section = recipe.train
    return Choice(rows=own, max_rounds=section.sampling_rounds, resample_below=section.resample_below)


def _result(
    run: RunDir, groups_per_step: int, *, seconds: float, guard_seconds: float, kept: Kept | None
) -> TrainResult:
    rows = run.read_steps()
    informative = [round((row["informative_trained"] or 0.0) * groups_per_step) for row in rows]
    return TrainResult(
        run=run,
        steps=len(rows),
        seconds=seconds,
        steps_with_signal=sum(count > 0 for count in informative),
        informative_groups=sum(informative),
        groups=len(rows) * groups_per_step,
        kept=kept,
        guard_seconds=guard_seconds,
    )
