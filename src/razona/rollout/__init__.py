"""Floor 4: engines that sample completions from a policy."""

from razona.rollout.engine import choose_engine, generate, sample
from razona.rollout.native import OnFinished, Room, Sampled
from razona.rollout.sampling import Sampling

__all__ = ["OnFinished", "Room", "Sampled", "Sampling", "choose_engine", "generate", "sample"]
