"""The steps of a run: from its last checkpoint to its last step, or to an end before it that loses nothing."""

from pathlib import Path

from razona.core.activity import ACTIVITY, in_stage
from razona.core.errors import DiskError, RewardError
from razona.core.files import write_jsonl
from razona.core.rundir import step_of
from razona.core.terminal import say
from razona.recipe.training import TrainSection
from razona.train.interruption import Interruption, StepLeft
from razona.train.trainer import Trainer
from razona.train.watchdog import watch_over


def take_steps(trainer: Trainer, checkpoint: Path | None, section: TrainSection, *, is_over: bool) -> None:
    """Train from the checkpoint to the last step; where the run has ended already, load what it ended with.

    Call it when all other callbacks are there.

    Args:
        is_over: the guard has ended the run.

    Raises:
        StoppedError: a signal told the run to end.
        TrainingError: too many updates in a row had no numbers.
    """
    interruption = Interruption(trainer, section.max_updates_left_out)
    trainer.add_callback(interruption)
    limit_s = None if section.watchdog_minutes is None else 60 * section.watchdog_minutes
    with in_stage("training"), watch_over(trainer.run, trainer.events, limit_s, lambda: trainer.state.global_step):
        try:
            if checkpoint is None:
                trainer.train()
            elif step_of(checkpoint) < section.steps and not is_over:
                trainer.recall(checkpoint)
                trainer.train(resume_from_checkpoint=str(checkpoint))
            else:
                trainer.load_weights(checkpoint)
        except StepLeft as left:
            interruption.save_before(left)
        except Exception as error:
            interruption.save_before(error)
            if isinstance(error, RewardError):
                _note_failed_reward(trainer, error)
            raise
        finally:
            ACTIVITY.may_leave = None
    interruption.end()


def _note_failed_reward(trainer: Trainer, error: RewardError) -> None:
    """Keep what the reward was called with: the step is never stored, and the person will want to call it again."""
    step, process = trainer.state.global_step + 1, trainer.accelerator.process_index
    path = trainer.run.failed_batch(step, process)
    try:
        if error.batch:
            write_jsonl(path, error.batch)
            say(f"razona: the batch that the reward failed on is in {path}", to_stderr=True)
        trainer.events.write("reward_failed", step, str(error), row=error.row, batch=str(path) if error.batch else None)
    except DiskError as full:
        say(f"razona: {full}", to_stderr=True)
