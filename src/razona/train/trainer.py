"""TRL's GRPO trainer, with every completion and its receipt stored."""

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import DistributedType
from peft import PeftModel
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import split_tensor_dict

from razona.core.errors import MachineError
from razona.core.files import write_jsonl
from razona.core.rundir import RunDir
from razona.core.seeds import derive_seed
from razona.rewards import Mix
from razona.rewards.mix import parts_row
from razona.rollout import Sampled, Sampling, choose_engine, generate
from razona.train.metrics import step_metrics
from razona.train.packed import install, is_installed, logprobs_of_rows, rows_of, shuffle_groups, unsupported_reason
from razona.train.processes import gather_rows, gather_values

NAMES_OF_TRL = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "entropy": "entropy",
    "kl": "kl",
}
"""TRL's name of a logged figure -> ours. All other figures of a step are counted from its stored rows."""
WHOLE_MODEL_ON_EACH_PROCESS = (DistributedType.NO, DistributedType.MULTI_GPU, DistributedType.MULTI_CPU)
"""Where a process can sample on its own. Sharded models (FSDP, DeepSpeed) are sampled by TRL's own code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What samples, as the recipe asks for it."""

    name: str
    max_slots: int | None
    """Completions at a time; None: all of a step."""


class Trainer(GRPOTrainer):
    """GRPOTrainer that samples with our engine and keeps what it samples.

    Advantages and loss are TRL's own code. After each generation the completions are written to the
    run folder with verdict, receipt and advantage, and the step's figures are counted from those rows.
    """

    def __init__(
        self, *, run: RunDir, mix: Mix, group_size: int, sampling: Sampling, engine: Engine, **kwargs: object
    ) -> None:
        super().__init__(reward_funcs=mix, **kwargs)  # pyright: ignore[reportArgumentType]
        self.run, self.mix, self.group_size, self.sampling = run, mix, group_size, sampling
        self.engine, self.engine_note = choose_engine(self.accelerator.unwrap_model(self.model), engine.name)
        self.max_slots = engine.max_slots
        self.unpacked_reason = unsupported_reason(self._plain_model())
        """Why log-probs are computed by TRL's padded forward; "" where by ours."""
        if not self.unpacked_reason:
            install(self._plain_model())
        self._sampled: list[Sampled] = []
        self._rollout_logprobs: torch.Tensor | None = None
        self.logprob_gaps: list[torch.Tensor] = []
        """|log-prob at sampling - log-prob in training| of the tokens that this step has trained on so far."""
        self._flat_rows: torch.Tensor | None = None
        self._old_logprobs: torch.Tensor | None = None
        self.step_figures: dict[str, float | None] = {}

    def _tokenize_prompts(self, prompts: list) -> tuple[list[list[int]], None, dict]:
        """Tokenize rendered prompts as they stand: the chat template has already written what begins a text."""
        return self._tokenizer(prompts, add_special_tokens=False)["input_ids"], None, {}

    def _generate_single_turn(
        self,
        prompt_ids: list[list[int]],
        images: object,
        multimodal_fields: dict,
        num_generations: int,
        has_tool_images: bool = False,
    ) -> tuple[list[list[int]], list | None]:
        """Sample with our engine: a group's prompt is read once, and finished rows leave the batch."""
        if images is not None or self.accelerator.distributed_type not in WHOLE_MODEL_ON_EACH_PROCESS:
            return super()._generate_single_turn(
                prompt_ids, images, multimodal_fields, num_generations, has_tool_images
            )
        model = self.accelerator.unwrap_model(self.model_wrapped)
        seed = derive_seed("rollout", self.args.seed, self.state.global_step, self.accelerator.process_index)
        was_training = model.training
        model.eval()
        padding, checkpointing = self._tokenizer.pad_token_id, self.args.gradient_checkpointing_kwargs
        assert isinstance(padding, int) and not isinstance(checkpointing, str)
        with self.accelerator.autocast(), disable_gradient_checkpointing(model, checkpointing):
            sampled = generate(
                model,
                prompt_ids,
                engine=self.engine,
                padding=padding,
                ends=self.eos_token_ids,
                sampling=self.sampling,
                seed=seed,
                max_slots=self.max_slots,
            )
        model.train(was_training)
        self._sampled = sampled
        return [one.ids for one in sampled], None

    def _plain_model(self) -> PreTrainedModel:
        model = self.accelerator.unwrap_model(self.model)
        return model.get_base_model() if isinstance(model, PeftModel) else model  # pyright: ignore[reportReturnType]

    def _prepare_inputs(self, generation_batch: dict | list[dict]) -> dict:
        """Sample when the buffer is used up, as TRL does, but shuffle groups, not rows: they share a prompt."""
        if self.unpacked_reason or not self.is_training():
            return super()._prepare_inputs(generation_batch)
        microbatches = getattr(self.args, "steps_per_generation")  # noqa: B009 - of GRPOConfig, not of its base
        assert isinstance(microbatches, int) and isinstance(generation_batch, list)
        if self._step % (microbatches * self.num_iterations) == 0 or self._buffered_inputs is None:
            scored = self._generate_and_score_completions(generation_batch)
            self._buffered_inputs = split_tensor_dict(shuffle_groups(scored, self.group_size), microbatches)
        return self._buffered_inputs[self._step % microbatches]

    def _compute_loss(self, model: torch.nn.Module, inputs: dict) -> torch.Tensor:
        """Give TRL's loss; rows of no advantage, whose gradient is 0, are not computed where nothing needs them."""
        self._old_logprobs, self._rollout_logprobs = inputs.get("old_per_token_logps"), inputs.get("rollout_logprobs")
        if self.beta == 0.0 and self.top_entropy_quantile == 1.0 and not self.unpacked_reason:
            advantages = inputs["advantages"]
            self._flat_rows = advantages == 0 if advantages.dim() == 1 else (advantages == 0).all(dim=1)
        try:
            return super()._compute_loss(model, inputs)
        finally:
            self._flat_rows = self._old_logprobs = self._rollout_logprobs = None

    def _get_per_token_logps_and_entropies(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        model: torch.nn.Module,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **multimodal: object,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Compute log-probs from packed rows; what that does not cover goes to TRL's padded forward."""
        is_plain = not compute_aux_loss and all(value is None for value in multimodal.values())
        if self.unpacked_reason or not is_plain or not is_installed(self.accelerator.unwrap_model(model)):
            return super()._get_per_token_logps_and_entropies(  # pyright: ignore[reportArgumentType]
                model,
                input_ids,
                attention_mask,
                logits_to_keep,
                batch_size,
                compute_entropy,
                compute_aux_loss,
                **multimodal,
            )
        rows = rows_of(input_ids, attention_mask, logits_to_keep)
        logprobs_parts, entropy_parts = [], []
        size = batch_size or len(rows)
        for start in range(0, len(rows), size):
            skipped = None if self._flat_rows is None else self._flat_rows[start : start + size].tolist()
            with self.accelerator.autocast():
                logprobs, entropy = logprobs_of_rows(model, rows[start : start + size], logits_to_keep, skipped)
            logprobs_parts.append(logprobs)
            entropy_parts.append(entropy)
        logprobs_BC, entropy_BC = torch.cat(logprobs_parts), torch.cat(entropy_parts)
        if self._rollout_logprobs is not None:
            is_computed_BC = (logprobs_BC != 0) & (self._rollout_logprobs != 0)
            gap_BC = (logprobs_BC.detach().float() - self._rollout_logprobs).abs()
            self.logprob_gaps.append(gap_BC[is_computed_BC])
        if self._flat_rows is not None and self._old_logprobs is not None:  # a ratio of 1
            logprobs_BC = torch.where(self._flat_rows[:, None], self._old_logprobs, logprobs_BC)
        return logprobs_BC, entropy_BC if compute_entropy else None, None

    def _generate_and_score_completions(self, inputs: list[dict]) -> dict:
        self._sampled = []
        output = super()._generate_and_score_completions(inputs)
        if not self.is_training():
            return output
        if self._sampled and self._sampled[0].logprobs is not None:
            output["rollout_logprobs"] = _padded(self._sampled, output["completion_ids"])
        flat = flat_rows([receipt.reward.total for receipt in self.mix.receipts], self.group_size)
        output["advantages"][flat.to(output["advantages"].device)] = 0.0
        step = self.state.global_step + 1
        rows = gather_rows(self._rows(step, inputs, output), self.group_size)
        if self.accelerator.is_main_process:
            write_jsonl(self.run.completions(step), rows)
            self.step_figures = step_metrics(rows, self.group_size, self.mix.tags)
        return output

    def is_training(self) -> bool:
        """Say whether the policy is in training mode, which an evaluation of TRL's own leaves."""
        assert self.model is not None
        return self.model.training

    def _rows(self, step: int, inputs: Sequence[Mapping], output: Mapping[str, torch.Tensor]) -> list[dict]:
        """Put together what is stored of each of this process's completions, in the order of the groups."""
        lengths = output["completion_mask"].sum(dim=1).tolist()
        last_ids = [
            ids[max(0, length - 1)].item() for ids, length in zip(output["completion_ids"], lengths, strict=True)
        ]
        first = len(inputs) * (self.accelerator.process_index - self.accelerator.num_processes)
        texts = list(self._logs["completion"])[first:][: len(inputs)]  # TRL keeps those of all processes
        rows = []
        for place, problem in enumerate(inputs):
            rows.append(
                {
                    "step": step,
                    "group": place // self.group_size,
                    "problem_id": problem["problem_id"],
                    "family": problem["family"],
                    "question": problem["question"],
                    "target": problem["target"],
                    "prompt": problem["prompt"],
                    "completion": texts[place],
                    **parts_row(self.mix.receipts[place]),
                    "advantage": output["advantages"][place].item(),
                    "num_tokens": int(lengths[place]),
                    "is_truncated": last_ids[place] not in self.eos_token_ids,
                }
            )
        return rows

    def take_logprob_gaps(self) -> dict[str, float]:
        """Give mean and 99th percentile of the step's gaps over all processes, in nats, and forget them.

        Empty where none was measured. Every process must call it.
        """
        gaps = gather_values(torch.cat(self.logprob_gaps) if self.logprob_gaps else torch.empty(0))
        self.logprob_gaps = []
        if not len(gaps):
            return {}
        place = min(len(gaps) - 1, int(0.99 * len(gaps)))
        return {"logprob_gap_mean": gaps.mean().item(), "logprob_gap_p99": gaps.sort().values[place].item()}

    def _save_checkpoint(self, model: torch.nn.Module, trial: object) -> None:
        check_disk(self.run.checkpoints, checkpoint_bytes(model))
        super()._save_checkpoint(model, trial)


def flat_rows(rewards: Sequence[float | None], group_size: int) -> torch.Tensor:
    """Say which completions stand in a group whose rewards are all equal, [B] of bool.

    Their advantage is 0 by definition. In floats TRL's mean of eight times 1.2 is not 1.2, and the difference, divided
    by a spread of nearly nothing, is a gradient that means nothing.
    """
    flags = []
    for start in range(0, len(rewards), group_size):
        group = rewards[start : start + group_size]
        flags += [len({reward for reward in group if reward is not None}) < 2] * len(group)
    return torch.tensor(flags, dtype=torch.bool)


def _padded(sampled: Sequence[Sampled], like_BC: torch.Tensor) -> torch.Tensor:
    """Give the log-probs of sampled completions in the shape of their ids, 0 beyond their end."""
    width = like_BC.shape[1]
    rows = [[*(one.logprobs or []), *[0.0] * (width - len(one.logprobs or []))] for one in sampled]
    return torch.tensor(rows, device=like_BC.device)


def checkpoint_bytes(model: torch.nn.Module) -> int:
    """Estimate a checkpoint: the trained parameters, AdamW's two moments in fp32, and 20 MiB for the rest."""
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return trained * 12 + 20 * 2**20


def check_disk(folder: Path, needed: int) -> None:
    """Refuse to start a write that the disk cannot hold.

    Raises:
        MachineError: less than `needed` bytes are free where `folder` lies.
    """
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise MachineError(
            f"no disk space for a checkpoint in {folder}: it needs about {needed / 2**20:.0f} MiB, "
            f"{free / 2**20:.0f} MiB are free. Free some space, or give the run another place with --out; "
            "--resume then goes on from the last checkpoint."
        )


StepWatch = Callable[[Mapping[str, float | None]], None]
"""What a run calls with each step's metrics row; the command line hands in one that draws a progress bar."""


class StepRecorder(TrainerCallback):
    """Appends one row a step to `metrics.jsonl` and tells whoever watches."""

    def __init__(self, trainer: Trainer, watch: StepWatch) -> None:
        self.trainer, self.watch = trainer, watch

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        """Take TRL's figures once a step; the call at the end brings totals, which are not a step's."""
        if not logs or "loss" not in logs:
            return
        gaps = self.trainer.take_logprob_gaps()
        if not state.is_world_process_zero:
            return
        ours = {ours: logs[theirs] for theirs, ours in NAMES_OF_TRL.items() if theirs in logs}
        figures = {**self.trainer.step_figures, **ours, **gaps, "seconds": logs.get("step_time")}
        finite = {name: None if value is None or not math.isfinite(value) else value for name, value in figures.items()}
        row = {"step": state.global_step, **finite}
        self.trainer.run.append_step(row)
        self.watch(row)
