"""How a run ends before its last step with nothing lost: by a signal, or by an error in the middle of a step."""

import random
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate.utils import gather_object
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from razona.core.activity import ACTIVITY
from razona.core.errors import StoppedError, TrainingError
from razona.core.launch import num_processes
from razona.core.leaving import Leaving, When, current_leaving, describe_end, exit_code_of
from razona.core.rundir import step_of
from razona.core.terminal import say
from razona.train.progress import Progress

if TYPE_CHECKING:
    from razona.train.trainer import Trainer


class StepLeft(BaseException):
    """The step was left in its middle, because the run was told to end and the step takes too long.

    No `Exception`, which a reward function that is interrupted would take for an error of its own.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a step began with, beside the weights and the optimizer's state, which change only at its end."""

    step: int
    """Steps done."""
    python_state: tuple
    numpy_state: dict
    torch_state: torch.Tensor
    cuda_states: list[torch.Tensor]
    progress: Progress
    tokens_seen: int | float

    @classmethod
    def of(cls, trainer: "Trainer") -> "Mark":
        """Take it, between two steps."""
        return cls(
            step=trainer.state.global_step,
            python_state=random.getstate(),
            numpy_state=np.random.get_state(legacy=False),
            torch_state=torch.get_rng_state(),
            cuda_states=torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            progress=trainer.progress(),
            tokens_seen=trainer.state.num_input_tokens_seen,
        )

    def restore(self, trainer: "Trainer") -> None:
        """Bring the random states and the place in the data back."""
        random.setstate(self.python_state)
        np.random.set_state(self.numpy_state)
        torch.set_rng_state(self.torch_state)
        if self.cuda_states:
            torch.cuda.set_rng_state_all(self.cuda_states)
        trainer.take_up(self.progress)
        trainer.state.num_input_tokens_seen = self.tokens_seen  # pyright: ignore[reportAttributeAccessIssue]


class Interruption(TrainerCallback):
    """Ends the run after the step in which a process was told to, and saves what an error in a step would cost.

    In one process a step that is not done after half of the time of grace is left at the next sign of life: between two
    tokens, two verdicts or two microbatches. Until the optimizer moves, weights and optimizer are those that the step
    began with; with the random states of that moment they are the checkpoint of the step before, and the run goes on
    from it bit by bit as it would have. Several processes would have to leave at the same place, so their step is never
    left: the processes agree at its end.

    It must be the last callback: the guard, whose measurement belongs to the step, comes before.
    """

    def __init__(self, trainer: "Trainer", max_left_out: int) -> None:
        self.trainer, self.max_left_out = trainer, max_left_out
        self.leaving: Leaving | None = current_leaving()
        self.mark: Mark | None = None
        self._is_in_step = False
        """The step has begun and the optimizer has not moved."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """From here on there is a step to end."""
        if self.leaving is not None:
            self.leaving.when = When.AFTER_STEP
        ACTIVITY.may_leave = self._may_leave if num_processes() == 1 else None

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Begin no step after a signal; several processes may not all have heard of it yet, and take one more."""
        self._is_in_step = True
        if self._is_told() and num_processes() == 1:
            raise StepLeft
        if self.leaving is not None:
            self.leaving.when = When.AFTER_STEP

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """From here on the step cannot be left."""
        self._is_in_step = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> TrainerControl:
        """Agree with the other processes whether to go on; what is saved now may take longer than the time of grace."""
        if self._is_told_anywhere() or self._is_stuck():
            control.should_training_stop = control.should_save = True
        else:
            self.mark = Mark.of(self.trainer)
        if control.should_save and self.leaving is not None:
            self.leaving.when = When.ONCE_SAVED
        return control

    def save_before(self, error: BaseException) -> None:
        """Write the checkpoint of the last whole step, where an error or a signal ended the one after it.

        Only in one process: the others of several may be anywhere. What goes wrong here is told, and `error` stays
        what ended the run.
        """
        mark, last = self.mark, self.trainer.run.last_checkpoint()
        is_saved = mark is None or (last is not None and step_of(last) >= mark.step)
        if is_saved or not self._is_in_step or num_processes() > 1:
            return
        if self.leaving is not None:
            self.leaving.when = When.ONCE_SAVED
        ACTIVITY.may_leave = None
        assert mark is not None and mark.step == self.trainer.state.global_step
        mark.restore(self.trainer)
        trainer = self.trainer
        assert trainer.model_wrapped is not None
        trainer.control.should_training_stop = True
        try:
            trainer._save_checkpoint(trainer.model_wrapped, None)
        except Exception as failure:
            say(
                f"razona: the checkpoint of step {mark.step} could not be written: {failure}. The run ended for "
                f"another reason: {error or type(error).__name__}",
                to_stderr=True,
            )
            return
        is_there = (trainer.run.checkpoints / f"checkpoint-{mark.step}").exists()
        if is_there and not isinstance(error, StepLeft):
            say(f"razona: step {mark.step + 1} failed; the checkpoint of step {mark.step} is saved", to_stderr=True)

    def end(self) -> None:
        """Raise why the training ended, where it was before its time; called in all processes.

        Raises:
            StoppedError: a signal told it to.
            TrainingError: updates in a row were left out.
        """
        ACTIVITY.may_leave = None
        trainer, step = self.trainer, self.trainer.state.global_step
        if self.leaving is not None and self._is_told_anywhere():
            trainer.accelerator.wait_for_everyone()  # who leaves first must not have the others killed while they write
            received = self.leaving.received
            assert received is not None
            done = f"after step {step}" if step else "before the first step was done"
            raise StoppedError(f"{describe_end(received)} {done}. {self.leaving.way_on()}", exit_code_of(received))
        if self.leaving is not None:
            self.leaving.when = When.AT_ONCE
        if self._is_stuck():
            last = trainer.run.last_checkpoint()
            saved = "with a checkpoint" if last is not None and step_of(last) == step else "its checkpoint not written"
            raise TrainingError(
                f"the run was stopped after step {step}, {saved}: {trainer.left_out_in_a_row} updates in a "
                f"row were left out, because a loss or a gradient was NaN or infinite ({trainer.run.events} has each). "
                "The weights are those before them. Start a new run with a lower train.learning_rate, a smaller "
                "train.max_grad_norm or train.precision: float32; train.max_updates_left_out is how many are borne."
            )

    def _is_stuck(self) -> bool:
        return self.trainer.left_out_in_a_row >= self.max_left_out

    def _is_told(self) -> bool:
        return self.leaving is not None and self.leaving.received is not None

    def _is_told_anywhere(self) -> bool:
        """Take over what any process was told; all of them ask at the same place."""
        own = self.leaving.received if self.leaving is not None else None
        if num_processes() == 1:
            return own is not None
        numbers: list[int] = gather_object([int(own or 0)])
        told = next((number for number in numbers if number), 0)
        if told and self.leaving is not None:
            self.leaving.adopt(signal.Signals(told))
        return bool(told)

    def _may_leave(self) -> None:
        leaving = self.leaving
        if leaving is None or not self._is_in_step:
            return
        left_s = leaving.seconds_left()
        if left_s is not None and left_s <= leaving.grace_s / 2:
            raise StepLeft
