"""Figures with intervals; the methods are scipy's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

CONFIDENCE = 0.95
RESAMPLES = 2_000
FEW_PROBLEMS = 10
"""Below it a bootstrap that draws problems has too few of them to draw from."""
POWER = 0.8
"""Chance that a test finds a gain of the size that `smallest_gain` gives."""


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


def mean_share_with_interval(shares_P: Sequence[float]) -> Estimate:
    """Give the mean of shares over problems, with the bootstrap's interval or, where every share is 0 or every one 1,
    Wilson's over problems: drawing equal figures anew says nothing about what other problems would have given.
    """
    if set(shares_P) in ({0.0}, {1.0}):
        return share_with_interval(round(sum(shares_P)), len(shares_P))
    return mean_with_interval(shares_P)


def difference_with_interval(differences_P: Sequence[float], *, seed: int = 0) -> Estimate:
    """Give the mean of paired differences over problems with its interval, which is honest about few problems.

    The bootstrap of `mean_with_interval`, but below 10 problems Student's t. Where all differences are equal and not 0
    neither knows a spread: the interval then holds 0, unless a sign test would call that many problems decisive.

    >>> difference_with_interval([1.0, 1.0]).low
    -1.0
    """
    values = [float(value) for value in differences_P]
    mean, count = sum(values) / len(values), len(values)
    if len(set(values)) == 1:
        is_decisive = mean == 0 or 2 * 0.5**count < 1 - CONFIDENCE
        return Estimate(value=mean, low=mean if is_decisive else -1.0, high=mean if is_decisive else 1.0)
    if count >= FEW_PROBLEMS:
        return mean_with_interval(values, seed=seed)
    low, high = stats.t.interval(CONFIDENCE, count - 1, loc=mean, scale=stats.sem(values))
    return Estimate(value=mean, low=float(low), high=float(high))


def mcnemar_p_value(num_won: int, num_lost: int) -> float:
    """Give the chance of a split at least as uneven between won and lost problems if both models were equally good.

    The exact two-sided test: each problem that only one model solves is a fair coin. 1.0 where there is none.

    Source: McNemar 1947, Psychometrika 12(2), with the exact binomial in place of chi-square.

    >>> mcnemar_p_value(8, 0)
    0.0078125
    """
    if num_won + num_lost == 0:
        return 1.0
    return float(stats.binomtest(num_won, num_won + num_lost, 0.5).pvalue)


def smallest_gain(differences_P: Sequence[float]) -> float | None:
    """Give the smallest true mean difference that this many problems would have shown with a chance of 80 %.

    (z_0.975 + z_0.8) s / sqrt(P), with s the standard deviation of the differences over the P problems.

    Returns:
        None where all differences are equal, so that nothing is known about their spread.

    Source: the usual approximation, e.g. Miller 2024, "Adding Error Bars to Evals", arXiv:2411.00640, section 5.
    """
    array = np.asarray(differences_P, dtype=float)
    if len(array) < 2 or np.ptp(array) == 0:
        return None
    quantiles = stats.norm.ppf(1 - (1 - CONFIDENCE) / 2) + stats.norm.ppf(POWER)
    return float(quantiles * array.std(ddof=1) / np.sqrt(len(array)))
