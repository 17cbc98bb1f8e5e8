"""Steps that survive: an update without numbers is left out, a microbatch without room is read in parts."""

import gc
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from accelerate import DistributedType
from trl.trainer.grpo_trainer import GRPOTrainer

from razona.core.activity import in_stage, moved
from razona.core.exhaustion import is_exhaustion
from razona.core.launch import is_main_process, num_processes
from razona.train.token_figures import TokenFigures

if TYPE_CHECKING:
    from razona.train.events import Events

BY_ROWS = ("grpo", "sapo", "dr_grpo", "luspo")
"""Loss types that TRL averages over the rows of a microbatch."""
BY_TOKENS = ("bnpo",)
"""Over its tokens. The others are sums over a divisor of the whole step, and their parts add up as they are."""


class SteadyTrainer(GRPOTrainer):
    """GRPOTrainer whose step ends in an update, or in none that is told of.

    **Numbers.** Where a loss or the norm of the gradients is NaN or infinite, in any process, all of them forget their
    gradients: the optimizer then changes neither weights nor moments. transformers would clip with that norm, which
    turns every weight into NaN, and its filter of such losses hides them from the log. DeepSpeed takes its own updates,
    which this does not reach.

    **Memory.** Where a microbatch does not fit, the step is begun again with its microbatches in two parts each, then
    four, down to one row; from then on the run keeps to that. Each part's loss has the weight with which loss and
    gradient are those of the whole microbatch. In one process only: TRL exchanges figures at every microbatch, and the
    other processes would wait for the parts.
    """

    events: "Events"
    token_figures: TokenFigures
    left_out_in_a_row: int = 0
    """Updates, up to the latest."""
    parts: int = 1
    """In which each microbatch is read."""

    is_begun_again: bool = False
    """The microbatches of the step are those that were sampled already."""
    _are_losses_finite: bool = True
    _is_in_pass: bool = False
    """What is sampled and scored is in the buffer."""

    def training_step(
        self, model: torch.nn.Module, inputs: dict, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Read one microbatch, and where memory runs out, all those of the step so far once more in smaller parts."""
        moved()
        place = self._step % self.current_gradient_accumulation_steps
        if place == 0:
            self._are_losses_finite = True
        self._is_in_pass = False
        with in_stage("training pass"):
            try:
                loss = super().training_step(model, inputs, num_items_in_batch)
            except (MemoryError, RuntimeError) as error:
                if not (is_exhaustion(error) and self._is_in_pass and self._can_take_less()):
                    raise
                self._tell_want_of_memory(str(error))
            else:
                self._are_losses_finite &= bool(torch.isfinite(loss))
                return loss
        # Outside of the `except`, whose error holds on to the tensors of the pass that failed.
        self._forget_step(model, place)
        was_begun_again, self.is_begun_again = self.is_begun_again, True
        try:
            losses = [self.training_step(model, inputs, num_items_in_batch) for _ in range(place + 1)]
        finally:
            self.is_begun_again = was_begun_again
        return losses[-1]

    def _can_take_less(self) -> bool:
        has_entropy_bonus = (
            getattr(self.args, "entropy_coef", 0.0) != 0 or self.use_adaptive_entropy
        )  # a mean by itself
        return num_processes() == 1 and not has_entropy_bonus and self.parts < self.args.train_batch_size

    def _tell_want_of_memory(self, words: str) -> None:
        self.parts = min(2 * self.parts, self.args.train_batch_size)
        rows = -(-self.args.train_batch_size // self.parts)
        self.events.note(
            "out_of_memory",
            self.state.global_step + 1,
            f"the training pass did not fit; the step is begun again, with {rows} completions at a time (same loss, "
            f"same gradient). To begin so: train.microbatch_size={rows}. {' '.join(words.split())[:200]}",
            rows=rows,
        )

    def _forget_step(self, model: torch.nn.Module, place: int) -> None:
        """Forget what the step's microbatches left: gradients, and the figures that TRL and we average over them."""
        model.zero_grad()
        self._step -= place
        figures = self._metrics["train"]
        for name in list(figures):
            del figures[name][self._figures_before.get(name, 0) :]
        self.token_figures.forget()
        self._current_train_step_time = 0.0
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Give TRL's loss; of a microbatch in parts, all but the last have been through their backward pass then."""
        self._is_in_pass = True
        if self._step % self.current_gradient_accumulation_steps == 0:  # what sampling has noted stays
            self._figures_before = {name: len(values) for name, values in self._metrics["train"].items()}
        if self.parts == 1 or not model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        done = None
        for part, weight, is_last in parts_of(inputs, self.parts, self.loss_type):
            loss = weight * super().compute_loss(model, part, return_outputs, num_items_in_batch)
            if is_last:
                return loss if done is None else loss + done
            self.accelerator.backward(loss)
            done = loss.detach() if done is None else done + loss.detach()
            moved()
        raise AssertionError("a microbatch has a last part")

    def _get_grad_norm(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, model: torch.nn.Module, grad_norm: torch.Tensor | float | None = None
    ) -> torch.Tensor | float:
        norm = super()._get_grad_norm(model, grad_norm)  # pyright: ignore[reportArgumentType]
        if self.accelerator.distributed_type is DistributedType.DEEPSPEED:
            return norm  # pyright: ignore[reportReturnType]
        assert norm is not None
        is_sound = self._are_losses_finite and math.isfinite(norm)
        if num_processes() > 1:
            failures = torch.tensor(float(not is_sound), device=self.accelerator.device)
            found = self.accelerator.reduce(failures, reduction="sum")
            assert isinstance(found, torch.Tensor)
            is_sound = found.item() == 0
        if is_sound:
            self.left_out_in_a_row = 0
            return norm
        self.left_out_in_a_row += 1
        model.zero_grad(set_to_none=True)
        if is_main_process():
            here = "the norm of the gradients" if self._are_losses_finite else "a loss"
            what = here if not (self._are_losses_finite and math.isfinite(norm)) else "a loss of another process"
            self.events.note(
                "update_left_out",
                self.state.global_step + 1,
                f"{what} was NaN or infinite, so the weights stay as they were",
                grad_norm=str(float(norm)),
                in_a_row=self.left_out_in_a_row,
            )
        return norm

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log a step's figures; the loss that transformers puts in the place of one that is no number is none."""
        if "loss" in logs and self.left_out_in_a_row:
            logs["loss"] = float("nan")
        super().log(logs, start_time)


def parts_of(
    inputs: Mapping[str, object], count: int, loss_type: str
) -> Iterator[tuple[dict[str, object], float, bool]]:
    """Cut a microbatch into parts of consecutive rows; give each with its weight in the loss, and whether it is last.

    Args:
        count: of parts, where there are as many rows.
    """
    completion_mask = inputs["completion_mask"]
    assert isinstance(completion_mask, torch.Tensor)
    rows, tokens = len(completion_mask), completion_mask.sum().item()
    size = -(-rows // count)
    for start in range(0, rows, size):
        chosen = slice(start, min(start + size, rows))
        part = {name: _part(value, chosen, rows) for name, value in inputs.items()}
        weight = 1.0
        if loss_type in BY_ROWS:
            weight = (chosen.stop - start) / rows
        elif loss_type in BY_TOKENS:
            weight = completion_mask[chosen].sum().item() / max(tokens, 1)
        yield part, weight, chosen.stop == rows


def _part(value: object, chosen: slice, rows: int) -> object:
    if isinstance(value, torch.Tensor) and value.dim() > 0 and len(value) == rows:
        return value[chosen]
    return value[chosen] if isinstance(value, list) and len(value) == rows else value
