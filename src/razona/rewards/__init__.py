"""Floor 4: rewards as callables that plain TRL accepts, and their mix with a receipt a completion."""

from razona.rewards.catalogue import COMPONENTS
from razona.rewards.mix import Mix, Receipt

__all__ = ["COMPONENTS", "Mix", "Receipt"]
