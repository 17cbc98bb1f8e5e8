"""Floor 4: engines that sample completions from a policy."""

from razona.rollout.transformers_engine import Sampling, decode, sample

__all__ = ["Sampling", "decode", "sample"]
