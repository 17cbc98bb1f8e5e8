"""Supervised fine-tuning on TRL's SFTTrainer: the policy learns to write the solutions that it is shown."""

import json
import math
import shutil
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from typing import cast

import datasets
import torch
from peft import PeftModel, get_peft_model
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from razona.core.errors import DataError, TrainingError
from razona.core.files import append_jsonl, write_json, write_jsonl
from razona.core.launch import is_main_process, num_processes
from razona.core.nouns import Problem
from razona.core.rundir import RunDir
from razona.core.terminal import say
from razona.data import PromptWriter
from razona.models.arithmetic import wants_autocast
from razona.models.load import Policy, load_policy, lora_config
from razona.recipe import Recipe, SftSection
from razona.train.cost import Cost
from razona.train.disk import writing_weights
from razona.train.processes import in_main_process
from razona.train.solutions import Found, Solution, given_solutions, in_order, own_solutions

IGNORED = -100
"""Label of a token that no loss is computed of: the prompt's."""
UpdateWatch = Callable[[Mapping[str, float | None]], None]
"""What is told of every update's row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuned:
    """What a supervised fine-tuning did."""

    solutions: int
    updates: int
    trained_tokens: int
    """Of the solutions, with repetition: those that the loss is computed of."""
    sampled_tokens: int
    """Sampled, and read as prompts, in search of own solutions; 0 with given ones."""
    token_passes: int
    """1 for each sampled token, 3 for each that was trained on, the prompts' among them."""
    seconds: float
    """With the sampling of own solutions."""
    last_loss: float | None
    """Mean negative log-likelihood of a token of the last update, in nats."""


def fine_tune(
    policy: Policy,
    recipe: Recipe,
    problems: Sequence[Problem],
    run: RunDir,
    watch: UpdateWatch = lambda row: None,
) -> tuple[Policy, FineTuned]:
    """Fine-tune the policy on solutions of the problems, as the section `sft` says; give it with its new weights.

    An adapter is put upon the model where the recipe asks for one. Solutions, one row an update, the figures and the
    weights are stored in the run folder; where a run that is resumed finds them there, they are read.

    Raises:
        DataError: there is no solution to learn from, or none fits into the model.
    """
    if in_main_process(run.sft_summary.exists):
        return _load(policy, recipe, run)
    started = time.monotonic()
    found = in_main_process(lambda: _solutions(policy, recipe, problems, run))
    solutions = found.solutions
    model = policy.model
    if recipe.lora is not None and not isinstance(model, PeftModel):
        model = cast(PeftModel, get_peft_model(cast(PreTrainedModel, model), lora_config(recipe.lora)))
    rows = [token_row(one, policy) for one in in_order(solutions, recipe.sft.epochs, recipe.train.seed)]
    batch_size = min(recipe.sft.batch_size, len(solutions))
    updates = num_updates([len(row["input_ids"]) for row in rows], batch_size, recipe.sft, found.sampled_tokens)
    config = sft_config(recipe, run, batch_size=batch_size, updates=updates, num_processes=num_processes())
    if is_main_process():
        origins = Counter(one.origin for one in solutions)
        told = ", ".join(f"{count} {origin}" for origin, count in origins.items())
        say(f"razona: fine-tuning on {len(solutions)} solutions ({told}), {updates} updates", to_stderr=True)
    recorder = _Recorder(run, watch)
    trainer = SFTTrainer(
        model=model,  # pyright: ignore[reportArgumentType]
        args=config,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=policy.tokenizer,
        callbacks=[recorder],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    used = rows[: updates * batch_size]
    read = sum(len(row["input_ids"]) for row in used)
    done = FineTuned(
        solutions=len(solutions),
        updates=updates,
        trained_tokens=sum(sum(label != IGNORED for label in row["labels"]) for row in used),
        sampled_tokens=found.sampled_tokens,
        token_passes=Cost(forward=found.sampled_tokens, trained=read).passes,
        seconds=time.monotonic() - started,
        last_loss=recorder.last_loss,
    )
    tuned = Policy(model=cast(PreTrainedModel, model), tokenizer=policy.tokenizer, name=policy.name)
    in_main_process(lambda: _save(tuned, done, run))
    return tuned, done


def _save(policy: Policy, found: FineTuned, run: RunDir) -> None:
    """Write the weights, then the summary, which says that they are whole."""
    shutil.rmtree(run.sft_weights, ignore_errors=True)
    with writing_weights(run.sft_weights):
        policy.model.save_pretrained(str(run.sft_weights))
        policy.tokenizer.save_pretrained(str(run.sft_weights))
    write_json(run.sft_summary, asdict(found))


def _load(policy: Policy, recipe: Recipe, run: RunDir) -> tuple[Policy, FineTuned]:
    found = FineTuned(**json.loads(run.sft_summary.read_text(encoding="utf-8")))
    if recipe.lora is None:
        section = recipe.model.model_copy(update={"name": str(run.sft_weights), "revision": None})
        return replace(load_policy(section, trains_all_weights=True), name=policy.name), found
    model = PeftModel.from_pretrained(policy.model, str(run.sft_weights), is_trainable=True)
    return replace(policy, model=model), found


def _solutions(policy: Policy, recipe: Recipe, problems: Sequence[Problem], run: RunDir) -> Found:
    if recipe.sft.source == "given":
        writer = PromptWriter(section=recipe.prompt, tokenizer=policy.tokenizer)
        found = given_solutions(problems, recipe, writer)
    else:
        found = own_solutions(problems, recipe, policy)
    longest = getattr(policy.model.config, "max_position_embeddings", None) or math.inf
    fitting = [one for one in found.solutions if len(token_row(one, policy)["input_ids"]) <= longest]
    if not fitting:
        raise DataError(
            f"none of {len(found.solutions)} solutions fits into {policy.name}, which reads {longest} tokens. Choose "
            "shorter problems (data.max_prompt_tokens)."
        )
    run.sft_metrics.unlink(missing_ok=True)
    write_jsonl(run.sft_solutions, [one.as_row() for one in fitting])
    return replace(found, solutions=fitting)


def token_row(solution: Solution, policy: Policy) -> dict[str, list[int]]:
    """Give prompt, solution and end of text as token ids, with a label for each token that is learned.

    Prompt and solution are split into tokens each for itself, as they are when the policy writes after a prompt.
    """
    tokenizer = policy.tokenizer
    prompt = tokenizer(solution.prompt, add_special_tokens=False)["input_ids"]
    answer = [*tokenizer(solution.text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return {"input_ids": [*prompt, *answer], "labels": [*[IGNORED] * len(prompt), *answer]}


def num_updates(lengths: Sequence[int], batch_size: int, section: SftSection, sampled_tokens: int) -> int:
    """Give the optimizer updates: all that the rows hold, or as many as the limits of the section allow, at least one.

    Args:
        lengths: tokens of each row, in the order in which they are trained on.
        sampled_tokens: that the budget has paid already.
    """
    batches = [sum(lengths[start : start + batch_size]) for start in range(0, len(lengths), batch_size)]
    if section.max_steps is not None:
        batches = batches[: section.max_steps]
    if section.max_token_passes is not None:
        spent = [Cost(forward=sampled_tokens, trained=trained).passes for trained in accumulate(batches)]
        batches = batches[: max(1, bisect_right(spent, section.max_token_passes))]
    return len(batches)


def sft_config(recipe: Recipe, run: RunDir, *, batch_size: int, updates: int, num_processes: int = 1) -> SFTConfig:
    """Give TRL's configuration of the fine-tuning that a recipe asks for.

    Args:
        batch_size: solutions of an update, over all processes.
    """
    section, train = recipe.sft, recipe.train
    share = max(1, batch_size // num_processes)
    passes = next(
        count for count in range(1, share + 1) if share % count == 0 and share // count <= train.microbatch_size
    )
    is_cpu = not torch.cuda.is_available()
    return SFTConfig(
        output_dir=str(run.sft_weights.parent),
        seed=train.seed,
        data_seed=train.seed,
        max_steps=updates,
        per_device_train_batch_size=share // passes,
        gradient_accumulation_steps=passes,
        train_sampling_strategy="sequential",  # the rows come in the order in which they are trained on
        learning_rate=section.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=min(section.warmup_steps, updates // 2),
        weight_decay=train.weight_decay,
        max_grad_norm=train.max_grad_norm,
        max_length=None,
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},  # token ids and labels are ours
        use_cpu=is_cpu,
        bf16=wants_autocast(train.precision, is_packed=False),
        gradient_checkpointing=not is_cpu,
        dataloader_pin_memory=not is_cpu,
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        report_to="none",
    )


class _Recorder(TrainerCallback):
    """Stores one row an update and tells whoever watches."""

    def __init__(self, run: RunDir, watch: UpdateWatch) -> None:
        self.run, self.watch = run, watch
        self.last_loss: float | None = None
        self._before = time.monotonic()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        """Take TRL's figures of an update; the call at the end brings totals."""
        if not logs or "loss" not in logs:
            return
        if not all(math.isfinite(logs.get(name, 0.0)) for name in ("loss", "grad_norm")):
            raise TrainingError(
                f"the fine-tuning was stopped at update {state.global_step}: its loss or gradient is NaN or infinite, "
                "and so are the weights by now. Start a new run with a lower sft.learning_rate, or with "
                "train.precision: float32."
            )
        if not is_main_process():
            return
        now = time.monotonic()
        self.last_loss = logs["loss"]
        row = {
            "step": state.global_step,
            "loss": self.last_loss,
            "grad_norm": logs.get("grad_norm"),
            "learning_rate": logs.get("learning_rate"),
            "seconds": round(now - self._before, 3),
        }
        self._before = now
        append_jsonl(self.run.sft_metrics, row)
        self.watch(row)
