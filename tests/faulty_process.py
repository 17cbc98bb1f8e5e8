"""A reward that, by being loaded, plants a fault in one of two processes: its second update has a loss that is NaN."""

import math
import os

import torch

from razona.train.trainer import Trainer

compute = Trainer._compute_loss


def spoilt(trainer: Trainer, model: torch.nn.Module, inputs: dict) -> torch.Tensor:
    loss = compute(trainer, model, inputs)
    is_here = os.environ.get("RANK") == "1" and trainer.state.global_step == 1
    return loss + math.nan if is_here else loss  # the gradient is as it was: the processes must tell each other


Trainer._compute_loss = spoilt  # pyright: ignore[reportAttributeAccessIssue]


def half(completions: list[str], **columns: object) -> list[float]:
    return [0.5] * len(completions)
