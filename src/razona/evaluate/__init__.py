"""Floor 5: sample, verify, count, compare."""

from razona.evaluate.compare import Comparison, compare, pair
from razona.evaluate.evaluation import Evaluation, Judged, Sides
from razona.evaluate.measure import measure
from razona.evaluate.prompts import PROMPT_VARIANTS
from razona.evaluate.sampling import Judge, evaluate, judge_of
from razona.evaluate.statistics import (
    Estimate,
    difference_with_interval,
    mean_with_interval,
    pass_at_k,
    share_with_interval,
)

__all__ = [
    "PROMPT_VARIANTS",
    "Comparison",
    "Estimate",
    "Evaluation",
    "Judge",
    "Judged",
    "Sides",
    "compare",
    "difference_with_interval",
    "evaluate",
    "judge_of",
    "mean_with_interval",
    "measure",
    "pair",
    "pass_at_k",
    "share_with_interval",
]
