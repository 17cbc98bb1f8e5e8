"""Figures with intervals; the methods are scipy's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

CONFIDENCE = 0.95
RESAMPLES = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """Give the chance that at least one of `k` samples is right, without bias, from `num_samples >= k` of them.

    1 - C(n - c, k) / C(n, k).

    Source: Chen et al. 2021, arXiv:2107.03374, equation 1.

    >>> pass_at_k(8, 1, 1)
    0.125
    """
    if k > num_samples:
        raise ValueError(f"pass@{k} needs at least {k} samples a problem, there are {num_samples}")
    return 1.0 - float(special.comb(num_samples - num_correct, k) / special.comb(num_samples, k))


def mean_with_interval(values_P: Sequence[float], *, seed: int = 0) -> Estimate:
    """Give the mean over problems with a bootstrap interval that resamples problems.

    Samples of one problem are alike, so the problem, not the sample, is what is drawn anew (a cluster bootstrap).

    Args:
        values_P: one figure a problem, for example its share of right samples.
    """
    array = np.asarray(values_P, dtype=float)
    mean = float(array.mean())
    if len(array) < 2 or np.ptp(array) == 0:
        return Estimate(value=mean, low=mean, high=mean)
    result = stats.bootstrap(
        (array,),
        np.mean,
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(seed),
        batch=200,
    )
    return Estimate(value=mean, low=float(result.confidence_interval.low), high=float(result.confidence_interval.high))


def share_with_interval(num_true: int, num: int) -> Estimate:
    """Give a share of independent yes-or-no outcomes with its Wilson interval."""
    interval = stats.binomtest(num_true, num).proportion_ci(confidence_level=CONFIDENCE, method="wilson")
    return Estimate(value=num_true / num, low=float(interval.low), high=float(interval.high))
