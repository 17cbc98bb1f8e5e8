"""The guard of a run: it measures the policy on held-out problems, keeps the best weights, and goes back to them."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate.optimizer import AcceleratedOptimizer
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl.models.utils import disable_gradient_checkpointing

from razona.core.activity import in_stage
from razona.core.errors import MachineError
from razona.core.files import append_jsonl
from razona.core.launch import num_processes, process_index
from razona.core.nouns import Problem
from razona.data import PromptWriter
from razona.evaluate import evaluate, judge_of
from razona.evaluate.held_out import GUARD_SEED
from razona.models.load import Policy
from razona.recipe import Recipe
from razona.rollout import Sampling
from razona.train.best import keep_with_checkpoint, save_best
from razona.train.decisions import Action, Decision, Measured, Standing
from razona.train.health import Finding
from razona.train.monitor import Monitor
from razona.train.processes import gather_values, in_main_process, stop_together
from razona.train.sharding import weights_to_save, whole_weights

if TYPE_CHECKING:
    from razona.train.trainer import Trainer

SLOWER = 0.5
"""What the learning rate is multiplied with at each return to the best weights: the steps that led away were too long.
Our choice; no source gives a number."""


class Guard(TrainerCallback):
    """Measures every `guard.every` steps, before the first and after the last, and acts on what it finds.

    All processes share the problems out, and the main one decides for all. Sampling, data order and random states of
    the training are untouched: a run in which nothing collapses trains as it would without a guard.

    Raises:
        MachineError: the model is sharded, so that no process can sample from it.
    """

    def __init__(self, trainer: "Trainer", recipe: Recipe, problems: Sequence[Problem], monitor: Monitor) -> None:
        if not trainer.is_sampled_here:
            raise MachineError(
                f"guard.every = {recipe.guard.every} needs our own sampling, and with "
                f"{trainer.accelerator.distributed_type} and rollout.engine: {trainer.engine} TRL samples. Set "
                "guard.every: 0."
            )
        self.trainer, self.recipe, self.problems, self.monitor = trainer, recipe, problems, monitor
        self.section, self.run = recipe.guard, trainer.run
        self.standing = Standing.of(self.run.read_guard())
        trainer.saver.additions.append(self.keep_best)
        self.seconds = 0.0
        """Spent on measuring and what followed from it, by this process since it started."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Measure what training starts from, so that it can be gone back to."""
        if self.standing.last is None:
            started = time.monotonic()
            self._look(state.global_step)
            self.seconds += time.monotonic() - started

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        optimizer: Optimizer | AcceleratedOptimizer | None = None,
        lr_scheduler: LRScheduler | None = None,
        **kwargs: object,
    ) -> TrainerControl:
        """Measure when it is time to, and go back or stop where the measurement says so."""
        is_last = state.global_step >= state.max_steps or control.should_training_stop
        if state.global_step % self.section.every and not is_last:
            return control
        started = time.monotonic()
        action = self._look(state.global_step)
        if action is Action.ROLLED_BACK:
            assert optimizer is not None and lr_scheduler is not None
            with stop_together():
                self.trainer.load_weights(self.run.best)
            start_anew(optimizer, lr_scheduler)
        if action is Action.STOPPED:
            control.should_training_stop = control.should_save = True
        self.seconds += time.monotonic() - started
        return control

    def keep_best(self, checkpoint: Path) -> None:
        """Give a checkpoint the best weights of its time."""
        if self.standing.best is not None:
            keep_with_checkpoint(self.run, checkpoint)

    def _look(self, step: int) -> Action:
        """Measure, and let the main process decide, keep what is the best, and write it down."""
        started = time.monotonic()
        measured = self._measure(step)
        weights = weights_to_save(self.trainer.accelerator, self.trainer.model_wrapped)

        def settle() -> str:
            decision = self.standing.decide(measured, self.section)
            if decision.action is Action.BEST:
                save_best(self.run, self._model(), self.trainer._tokenizer, measured, weights)
            row = self._row(measured, decision, time.monotonic() - started)
            append_jsonl(self.run.guard, row)
            self.monitor.take_measurement(row)
            self._tell(measured, decision)
            return str(decision.action)

        action = Action(in_main_process(settle))
        self.standing = self.standing.after(measured, action)
        return action

    def _measure(self, step: int) -> Measured:
        """Count right answers to each problem; each process samples its part of them."""
        count, parts = len(self.problems), num_processes()
        own = self.problems[count * process_index() // parts : count * (process_index() + 1) // parts]
        with in_stage("the guard's measurement"), stop_together(), whole_weights(self._model()):
            right = self._count_right(own)
        right_P = gather_values(torch.tensor(right, dtype=torch.float64))
        return Measured(step=step, right_P=tuple(int(one) for one in right_P), samples=self.section.samples)

    def _count_right(self, problems: Sequence[Problem]) -> list[int]:
        if not problems:
            return []
        recipe, trainer, model = self.recipe, self.trainer, self._model()
        checkpointing = trainer.args.gradient_checkpointing_kwargs
        assert not isinstance(checkpointing, str)
        policy = Policy(model=model, tokenizer=trainer._tokenizer, name=recipe.model.name)
        with trainer.accelerator.autocast(), disable_gradient_checkpointing(model, checkpointing):
            evaluation = evaluate(
                policy,
                problems,
                PromptWriter(section=recipe.prompt, tokenizer=policy.tokenizer).write,
                judge_of(recipe),
                samples=self.section.samples,
                sampling=Sampling(
                    max_tokens=recipe.rollout.max_completion_tokens, temperature=recipe.evaluate.temperature
                ),
                batch_size=recipe.evaluate.batch_size,
                seed=GUARD_SEED,
            )
        return [sum(row) for row in evaluation.correct_PK]

    def _model(self) -> PreTrainedModel:
        """Give the policy, which PEFT may have wrapped."""
        return self.trainer.accelerator.unwrap_model(self.trainer.model_wrapped)

    def _row(self, measured: Measured, decision: Decision, seconds: float) -> dict[str, object]:
        estimate, standing = measured.estimate(), self.standing.after(measured, decision.action)
        assert standing.best is not None
        fall = measured.behind(standing.best)
        return {
            "step": measured.step,
            "accuracy": measured.accuracy,
            "ci95": [round(estimate.low, 4), round(estimate.high, 4)],
            "n": len(measured.right_P),
            "samples": measured.samples,
            "best_step": standing.best.step,
            "best_accuracy": standing.best.accuracy,
            "below_best": round(fall.value, 4),
            "below_best_ci95": [round(fall.low, 4), round(fall.high, 4)],
            "action": str(decision.action),
            "why": decision.why,
            "rollbacks": standing.rollbacks,
            "seconds": round(seconds, 3),
            "right": list(measured.right_P),
        }

    def _tell(self, measured: Measured, decision: Decision) -> None:
        """Tell of a collapse, and of an early end."""
        best = self.standing.best
        if best is None or (decision.action is not Action.STOPPED and not decision.is_collapse):
            return
        if decision.action is Action.ROLLED_BACK and measured.step >= self.recipe.train.steps:
            done = f"That was the last step: the run ends with the weights of step {best.step}"
        elif decision.action is Action.ROLLED_BACK:
            done = (
                f"Training goes on from the weights of step {best.step} with a new optimizer state and {SLOWER:g} "
                "times the learning rate. If it comes again: lower train.learning_rate, or set train.kl_weight"
            )
        else:
            done = "Training ends here with the better of the best and the last weights. To go further: " + (
                "lower train.learning_rate, or set train.kl_weight" if decision.is_collapse else "raise guard.patience"
            )
        self.monitor.note(
            Finding(
                step=measured.step,
                rule="collapse" if decision.is_collapse else "no-progress",
                sees=f"held-out accuracy {measured.accuracy:.1%}, {decision.why}",
                why="The policy no longer solves what it solved, and each further step learns from what it samples now"
                if decision.is_collapse
                else "Further steps cost time and have brought nothing on problems that are not trained on",
                change=done,
            )
        )


def start_anew(optimizer: Optimizer | AcceleratedOptimizer, scheduler: LRScheduler) -> None:
    """Forget the optimizer's moments and slow the learning rate down from here on, through checkpoints too.

    The moments are means of the gradients that broke the policy; with them the next steps would go on that way.
    """
    optimizer.state.clear()
    scheduler.base_lrs = [SLOWER * rate for rate in scheduler.base_lrs]
    for group in optimizer.param_groups:
        group["lr"] = SLOWER * group["lr"]
    scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]  # what is logged at the next step
