"""Floor 5: sample, verify, count, compare."""

from razona.evaluate.compare import Comparison, compare
from razona.evaluate.measure import Evaluation, evaluate, measure
from razona.evaluate.prompts import PROMPT_VARIANTS
from razona.evaluate.statistics import Estimate, mean_with_interval, pass_at_k, share_with_interval

__all__ = [
    "PROMPT_VARIANTS",
    "Comparison",
    "Estimate",
    "Evaluation",
    "compare",
    "evaluate",
    "mean_with_interval",
    "measure",
    "pass_at_k",
    "share_with_interval",
]
