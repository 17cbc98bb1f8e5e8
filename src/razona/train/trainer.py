"""TRL's GRPO trainer, with every completion and its receipt stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from transformers import PreTrainedModel
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import split_tensor_dict

from razona.core.activity import in_stage
from razona.core.errors import MachineError
from razona.core.files import write_jsonl
from razona.core.rundir import RunDir, step_of
from razona.core.seeds import derive_seed
from razona.rewards import Mix
from razona.rollout import OnFinished, Room, Sampled, Sampling, choose_engine, generate
from razona.train.attention import install
from razona.train.checkpoints import Saver
from razona.train.collect import Choice, Collected, Collector, Group, Row
from razona.train.delegated import BY_TRL, as_sampled, unpatched_note
from razona.train.disk import checkpoint_bytes
from razona.train.events import Events
from razona.train.head import speed_up_head
from razona.train.metrics import step_metrics, timing_metrics
from razona.train.packed import is_installed, logprobs_of_rows, rows_of, shuffle_groups, unsupported_reason
from razona.train.problems import ProblemQueue, has_signal
from razona.train.processes import gather_rows
from razona.train.progress import Progress
from razona.train.ready import ReadyRewards
from razona.train.record import stored_rows
from razona.train.sharding import is_sampled_here, unpackable_reason, whole_weights
from razona.train.steady import SteadyTrainer
from razona.train.token_figures import TokenFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What samples, as the recipe asks for it."""

    name: str
    max_slots: int | None
    """Completions at a time; None: all of a step."""
    is_compiled: bool = False
    """torch compiles the decoding step."""


class Trainer(SteadyTrainer):
    """GRPOTrainer that samples with our engine and keeps what it samples.

    Advantages and loss are TRL's own code. After each generation the completions are written to the
    run folder with verdict, receipt and advantage, and the step's figures are counted from those rows.
    """

    def __init__(
        self,
        *,
        run: RunDir,
        mix: Mix,
        group_size: int,
        sampling: Sampling,
        engine: Engine,
        max_failed_saves: int = 3,
        choice: Choice | None = None,
        has_short_products: bool = False,
        **kwargs: object,
    ) -> None:
        self._ready = ReadyRewards(mix)
        super().__init__(reward_funcs=self._ready, **kwargs)  # pyright: ignore[reportArgumentType]
        self.run, self.mix, self.group_size, self.sampling = run, mix, group_size, sampling
        self.saver = Saver(run, max_failed_saves)
        self.add_callback(self.saver)
        self.events = Events(run)
        self.engine, self.engine_note = choose_engine(self.accelerator.unwrap_model(self.model), engine.name)
        self._room = Room() if self.accelerator.device.type == "cpu" else None
        self.max_slots, self.is_compiled = engine.max_slots, engine.is_compiled
        self.has_short_products = has_short_products
        self.unpacked_reason = unsupported_reason(self._plain_model()) or unpackable_reason(self.accelerator)
        """Why log-probs are computed by TRL's padded forward; "" where by ours."""
        self.filled_to = 1
        """Packed rows are filled up to a multiple of it."""
        self.patch_note = unpatched_note(self._plain_model(), GRPOTrainer)
        if not self.unpacked_reason:
            install(self._plain_model(), has_short_products=has_short_products)
            if self.accelerator.device.type == "cpu" and not self._has_entropy_bonus():
                speed_up_head(self._plain_model(), self.temperature, has_short_products=has_short_products)
        self.is_sampled_here = is_sampled_here(self.accelerator, self.engine)
        if choice and not self.is_sampled_here:
            raise MachineError(
                "train.sampling: informative needs our own sampling, and with "
                f"{self.accelerator.distributed_type} and rollout.engine: {self.engine} TRL samples. Set "
                "train.sampling: uniform."
            )
        self.choice, self.queue = choice, ProblemQueue(len(choice.rows)) if choice else None
        self._collected: Collected | None = None
        self._rollout_logprobs: torch.Tensor | None = None
        self.token_figures = TokenFigures()
        self._flat_rows: torch.Tensor | None = None
        self._old_logprobs: torch.Tensor | None = None
        self.step_figures: dict[str, float | None] = {}

    def _tokenize_prompts(self, prompts: list) -> tuple[list[list[int]], None, dict]:
        """Tokenize rendered prompts as they stand: the chat template has already written what begins a text."""
        distinct = list(dict.fromkeys(prompts))
        ids = dict(zip(distinct, self._tokenizer(distinct, add_special_tokens=False)["input_ids"], strict=True))
        return [list(ids[prompt]) for prompt in prompts], None, {}

    def _generate_single_turn(
        self,
        prompt_ids: list[list[int]],
        images: object,
        multimodal_fields: dict,
        num_generations: int,
        has_tool_images: bool = False,
    ) -> tuple[list[list[int]], list | None]:
        """Give what was collected; where that is left to TRL, let it sample."""
        if self._collected is None:
            return super()._generate_single_turn(
                prompt_ids, images, multimodal_fields, num_generations, has_tool_images
            )
        sampled = [one for group in self._collected.chosen for one in group.sampled]
        # With vLLM, TRL weighs the loss by what these are away from the policy's own.
        return [one.ids for one in sampled], [one.logprobs for one in sampled] if self.use_vllm else None

    def _sample(self, prompt_ids: list[list[int]], round_of_step: int, on_finished: OnFinished) -> list[Sampled]:
        """Sample with our engine: a group's prompt is read once, and finished rows leave the batch."""
        if self.engine in BY_TRL:
            return as_sampled(*super()._generate_single_turn(prompt_ids, None, {}, self.group_size), on_finished)
        model = self.accelerator.unwrap_model(self.model_wrapped)
        place = (self.state.global_step, self.accelerator.process_index, round_of_step)
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
                seed=derive_seed("rollout", self.args.seed, *place),
                max_slots=self.max_slots,
                has_short_products=self.has_short_products,
                is_compiled=self.is_compiled,
                room=self._room,
                on_finished=on_finished,
            )
        model.train(was_training)
        return sampled

    def _collect(self, inputs: Sequence[Row]) -> Collected:
        collector = Collector(
            tokenizer=self._tokenizer,
            mix=self.mix,
            group_size=self.group_size,
            generate=self._sample,
            columns={"trainer_state": self.state, "log_metric": self._log_metric},
        )
        problems = inputs[:: self.group_size]
        if self.choice is None or self.queue is None:
            return collector.collect(problems)
        return collector.collect_informative(self.choice, self.queue, wanted=len(problems))

    def _plain_model(self) -> PreTrainedModel:
        model = self.accelerator.unwrap_model(self.model)
        return model.get_base_model() if isinstance(model, PeftModel) else model  # pyright: ignore[reportReturnType]

    def _prepare_inputs(self, generation_batch: dict | list[dict]) -> dict:
        """Sample when the buffer is used up, as TRL does, but shuffle groups, not rows: they share a prompt."""
        microbatches = getattr(self.args, "steps_per_generation")  # noqa: B009 - of GRPOConfig, not of its base
        if self.is_begun_again and self._buffered_inputs is not None:
            return self._buffered_inputs[self._step % microbatches]
        if self.unpacked_reason or not self.is_training():
            return super()._prepare_inputs(generation_batch)
        assert isinstance(microbatches, int) and isinstance(generation_batch, list)
        if self._step % (microbatches * self.num_iterations) == 0 or self._buffered_inputs is None:
            scored = self._generate_and_score_completions(generation_batch)
            self._buffered_inputs = split_tensor_dict(shuffle_groups(scored, self.group_size), microbatches)
        return self._buffered_inputs[self._step % microbatches]

    def _compute_loss(self, model: torch.nn.Module, inputs: dict) -> torch.Tensor:
        """Give TRL's loss; rows of no advantage, whose gradient is 0, are not computed where nothing needs them."""
        self._old_logprobs, self._rollout_logprobs = inputs.get("old_per_token_logps"), inputs.get("rollout_logprobs")
        if not self.unpacked_reason and self._may_leave_rows_out():
            advantages = inputs["advantages"]
            self._flat_rows = advantages == 0 if advantages.dim() == 1 else (advantages == 0).all(dim=1)
        try:
            return super()._compute_loss(model, inputs)
        finally:
            self._flat_rows = self._old_logprobs = self._rollout_logprobs = None

    def _may_leave_rows_out(self) -> bool:
        """Say whether the loss of a row is 0 where its advantage is: KL and entropy terms have a loss of their own."""
        return self.beta == 0.0 and self.top_entropy_quantile == 1.0 and not self._has_entropy_bonus()

    def _has_entropy_bonus(self) -> bool:
        return getattr(self.args, "entropy_coef", 0.0) != 0 or getattr(self.args, "use_adaptive_entropy", False)

    def _get_per_token_logps_and_entropies(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        model: torch.nn.Module,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        *others: object,
        **named: object,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Compute log-probs from packed rows; what that does not cover goes to TRL's padded forward.

        Args:
            others: handed on as they came, like `named`: after `compute_entropy` TRL has `compute_aux_loss` and
                Unsloth's trainer `compute_efficient`. Any that is set is none of ours.
        """
        is_plain = not any(others) and all(value is None or value is False for value in named.values())
        if self.unpacked_reason or not is_plain or not is_installed(self.accelerator.unwrap_model(model)):
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, *others, **named
            )
        rows = rows_of(input_ids, attention_mask, logits_to_keep)
        logprobs_parts, entropy_parts = [], []
        size = batch_size or len(rows)
        for start in range(0, len(rows), size):
            skipped = None if self._flat_rows is None else self._flat_rows[start : start + size].tolist()
            with self.accelerator.autocast():
                logprobs, entropy = logprobs_of_rows(
                    model, rows[start : start + size], logits_to_keep, skipped, filled_to=self.filled_to
                )
            logprobs_parts.append(logprobs)
            entropy_parts.append(entropy)
        logprobs_BC, entropy_BC = torch.cat(logprobs_parts), torch.cat(entropy_parts)
        if self._rollout_logprobs is not None:
            is_computed_BC = (logprobs_BC != 0) & (self._rollout_logprobs != 0)
            gap_BC = (logprobs_BC.detach().float() - self._rollout_logprobs).abs()
            self.token_figures.note_gaps(gap_BC[is_computed_BC])
        if self._flat_rows is not None:
            is_read_BC = attention_mask[:, -logits_to_keep:].bool() & ~self._flat_rows[:, None]
            self.token_figures.note_entropies(entropy_BC.detach()[is_read_BC])
        if self._flat_rows is not None and self._old_logprobs is not None:  # a ratio of 1
            logprobs_BC = torch.where(self._flat_rows[:, None], self._old_logprobs, logprobs_BC)
        return logprobs_BC, entropy_BC if compute_entropy else None, None

    def _generate_and_score_completions(self, inputs: list[dict]) -> dict:
        if not self.is_training():
            return super()._generate_and_score_completions(inputs)
        collected = None
        if self.is_sampled_here:
            with in_stage("sampling"), whole_weights(self.accelerator.unwrap_model(self.model_wrapped)):
                collected = self._collect(inputs)
        try:
            if collected is not None:
                self._hand_over(collected)
                inputs = [dict(group.problem) for group in collected.chosen for _ in range(self.group_size)]
            output = super()._generate_and_score_completions(inputs)
        finally:
            self._collected = self._ready.receipts = None
        if collected is None:
            collected = self._read_back(inputs, output)
        sampled = [one for group in collected.chosen for one in group.sampled]
        if sampled[0].logprobs is not None:
            output["rollout_logprobs"] = _padded(sampled, output["completion_ids"])
        flat = flat_rows([receipt.reward.total for receipt in self.mix.receipts], self.group_size)
        output["advantages"][flat.to(output["advantages"].device)] = 0.0
        step = self.state.global_step + 1
        own = stored_rows(
            collected,
            output["advantages"].tolist(),
            step=step,
            process=self.accelerator.process_index,
            ends=self.eos_token_ids,
        )
        rows = gather_rows(own, self.group_size)
        if self.accelerator.is_main_process:
            write_jsonl(self.run.completions(step), rows)
            self.events.note_unverified(rows)
            self.step_figures = step_metrics(rows, self.group_size, self.mix.tags) | timing_metrics(collected)
        return output

    def progress(self) -> Progress:
        """Give this process's place in the run, between two steps."""
        steps_per_generation = getattr(self.args, "steps_per_generation")  # noqa: B009 - of GRPOConfig
        is_mid_batch = self._step % (steps_per_generation * self.num_iterations) != 0
        return Progress(
            processes=self.accelerator.num_processes,
            microbatches=self._step,
            buffered=self._buffered_inputs if is_mid_batch else None,  # pyright: ignore[reportArgumentType]
            figures=self.step_figures if is_mid_batch else {},
            queue=self.queue.state() if self.queue else None,
        )

    def recall(self, checkpoint: Path) -> None:
        """Go on where a checkpoint was written, in what transformers does not restore."""
        found = Progress.load(checkpoint, self.accelerator.device)
        self._step = step_of(checkpoint) * self.args.gradient_accumulation_steps
        if found is not None:
            self.take_up(found)

    def take_up(self, found: Progress) -> None:
        """Go back to a place between two steps."""
        self._step, self._buffered_inputs = found.microbatches, found.buffered  # pyright: ignore[reportAttributeAccessIssue]
        self.step_figures = found.figures
        if self.queue and found.queue:
            self.queue.restore(found.queue)

    def _hand_over(self, collected: Collected) -> None:
        """Make ready what TRL will ask for: completions, rewards, and columns that reward functions logged."""
        self._collected = collected
        self._ready.receipts = self.mix.receipts = [one for group in collected.chosen for one in group.receipts]
        for column in sorted({name for group in collected.chosen for name in group.extras}):
            values = [
                value for group in collected.chosen for value in group.extras.get(column, [None] * self.group_size)
            ]
            self._log_completion_extra(column, values)

    def _read_back(self, inputs: Sequence[Row], output: Mapping[str, torch.Tensor]) -> Collected:
        """Put together what TRL has sampled by itself."""
        first = len(inputs) * (self.accelerator.process_index - self.accelerator.num_processes)
        texts = list(self._logs["completion"])[first:][: len(inputs)]  # TRL keeps those of all processes
        lengths = output["completion_mask"].sum(dim=1).tolist()
        ids = [row[:length] for row, length in zip(output["completion_ids"].tolist(), lengths, strict=True)]
        starts = range(0, len(inputs), self.group_size)
        groups = [
            Group(
                problem=inputs[start],
                sampled=[Sampled(ids=one, logprobs=None) for one in ids[start : start + self.group_size]],
                texts=texts[start : start + self.group_size],
                receipts=self.mix.receipts[start : start + self.group_size],
                extras={},
                round=0,
            )
            for start in starts
        ]
        return Collected(
            groups=groups,
            trained=list(range(len(groups))),
            seconds=self.mix.seconds,
            sampling_s=0.0,
            scoring_wait_s=0.0,
        )

    def is_training(self) -> bool:
        """Say whether the policy is in training mode, which an evaluation of TRL's own leaves."""
        assert self.model is not None
        return self.model.training

    def load_weights(self, folder: Path) -> None:
        """Put the trained weights of a checkpoint, or of the run's best, into the model, as resuming does."""
        self._load_from_checkpoint(str(folder))

    def _get_output_dir(self, trial: object) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Have transformers write a checkpoint, and remove older ones, where none is in its place yet."""
        return str(self.saver.folder)

    def create_model_card(self, *others: object, **named: object) -> None:
        """Write none: TRL's says of a checkpoint what `razona export` says of the model."""

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        with self.saver.noting():  # of a sharded model the other processes are on their way to its optimizer
            super()._save(output_dir, state_dict)

    def _save_checkpoint(self, model: torch.nn.Module, trial: object) -> None:
        step = self.state.global_step

        def write() -> None:
            super(Trainer, self)._save_checkpoint(model, trial)  # pyright: ignore[reportArgumentType]
            self.progress().save(self.saver.folder / f"checkpoint-{step}")

        with in_stage("saving a checkpoint"):
            self.saver.save(step, checkpoint_bytes(model), write, is_last=self.control.should_training_stop)


def flat_rows(rewards: Sequence[float | None], group_size: int) -> torch.Tensor:
    """Say which completions stand in a group whose rewards are all equal, [B] of bool.

    Their advantage is 0 by definition. In floats TRL's mean of eight times 1.2 is not 1.2, and the difference, divided
    by a spread of nearly nothing, is a gradient that means nothing.
    """
    flags = []
    for start in range(0, len(rewards), group_size):
        group = rewards[start : start + group_size]
        flags += [not has_signal(group)] * len(group)
    return torch.tensor(flags, dtype=torch.bool)


def _padded(sampled: Sequence[Sampled], like_BC: torch.Tensor) -> torch.Tensor:
    """Give the log-probs of sampled completions in the shape of their ids, 0 beyond their end."""
    width = like_BC.shape[1]
    rows = [[*(one.logprobs or []), *[0.0] * (width - len(one.logprobs or []))] for one in sampled]
    return torch.tensor(rows, device=like_BC.device).nan_to_num(nan=0.0)  # vLLM's word for "not known" is NaN
