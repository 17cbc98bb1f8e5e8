"""Floor 6: GRPO on TRL."""

from razona.train.run import train

__all__ = ["train"]
