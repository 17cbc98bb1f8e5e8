"""What a run keeps of each step: its completions and its row of metrics."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from razona.core.allocator import hand_back_free_pages
from razona.rewards.mix import parts_row
from razona.train.collect import Collected
from razona.train.processes import in_main_process

if TYPE_CHECKING:
    from razona.train.trainer import Trainer

NAMES_OF_TRL = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "entropy": "entropy",
    "kl": "kl",
    **{f"sampling/importance_sampling_ratio/{one}": f"importance_ratio_{one}" for one in ("min", "mean", "max")},
}
"""TRL's name of a logged figure -> ours. All other figures of a step are counted from its stored rows."""
KEPT_LOGS = 100
"""Steps whose log the trainer keeps. It would keep all, and write them into each checkpoint."""
TIDY_EVERY = 20
"""Steps between two times that free memory goes back to the system."""


def stored_rows(
    collected: Collected, advantages: Sequence[float], *, step: int, process: int, ends: Collection[int]
) -> list[dict]:
    """Put together what is stored of each completion, in the order of the groups.

    Args:
        advantages: of the completions that are trained on.
        process: number of the process that sampled them.
        ends: ids that end a completion.
    """
    left = iter(advantages)
    trained = set(collected.trained)
    return [
        {
            "step": step,
            "group": number,
            "round": group.round,
            "is_trained": number in trained,
            "process": process,
            **{name: group.problem[name] for name in ("problem_id", "family", "question", "target", "prompt")},
            "completion": text,
            **parts_row(receipt),
            "advantage": next(left) if number in trained else None,
            "num_tokens": len(one.ids),
            "is_truncated": not one.ids or one.ids[-1] not in ends,
        }
        for number, group in enumerate(collected.groups)
        for one, text, receipt in zip(group.sampled, group.texts, group.receipts, strict=True)
    ]


StepWatch = Callable[[Mapping[str, float | None]], None]
"""What a run calls with each step's metrics row; the command line hands in one that draws a progress bar."""


Enough = Callable[[int], bool]
"""Asked with the number of the step that has ended whether the run may end there."""


class StopWhen(TrainerCallback):
    """Ends a run after the step that is enough."""

    def __init__(self, is_enough: Enough) -> None:
        self.is_enough = is_enough

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> TrainerControl:
        """Ask, in the main process, for all."""
        if in_main_process(lambda: self.is_enough(state.global_step)):
            control.should_training_stop = True
        return control


class StepRecorder(TrainerCallback):
    """Appends one row a step to `metrics.jsonl` and tells whoever watches."""

    def __init__(self, trainer: "Trainer", watch: StepWatch) -> None:
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
        of_tokens = self.trainer.token_figures.take()
        del state.log_history[:-KEPT_LOGS]
        if state.global_step % TIDY_EVERY == 0:
            hand_back_free_pages()
        if not state.is_world_process_zero:
            return
        ours = {ours: logs[theirs] for theirs, ours in NAMES_OF_TRL.items() if theirs in logs}
        figures = {**self.trainer.step_figures, **ours, **of_tokens, "seconds": logs.get("step_time")}
        figures |= self.trainer.events.take()
        finite = {name: None if value is None or not math.isfinite(value) else value for name, value in figures.items()}
        row = {"step": state.global_step, **finite}
        self.trainer.run.append_step(row)
        self.watch(row)
