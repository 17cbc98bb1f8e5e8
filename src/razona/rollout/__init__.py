"""Floor 4: engines that sample completions from a policy."""

from razona.rollout.transformers_engine import Sampling, sample

__all__ = ["Sampling", "sample"]
