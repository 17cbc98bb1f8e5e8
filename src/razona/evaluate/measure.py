"""The figures of an evaluation, as files and pages hold them."""

from razona.evaluate.evaluation import Evaluation
from razona.evaluate.statistics import Estimate


def measure(
    sampled: Evaluation, greedy: Evaluation | None, k: int | None = None, *, is_voted: bool = True
) -> dict[str, object]:
    """Give the figures of one policy as `summary.json` holds them, every share with its 95 % interval.

    Args:
        k: of pass@k and maj@k; None: the samples that every problem has. maj@k is there where that is k.
        is_voted: maj@k has a meaning, which it has not for programs.
    """
    k = k or sampled.num_samples
    estimates = {"pass_at_1": sampled.pass_at(1), f"pass_at_{k}": sampled.pass_at(k)}
    if is_voted and k == sampled.num_samples:
        estimates[f"maj_at_{k}"] = sampled.majority()
    estimates["format_rate"] = sampled.form_rate()
    if greedy is not None:
        estimates["greedy"] = greedy.share_correct()
    curve = [sampled.pass_at(number) for number in range(1, k + 1)]
    tokens = sampled.tokens_per_correct()
    return {
        **{name: round(estimate.value, 4) for name, estimate in estimates.items()},
        "ci95": {name: interval_of(estimate) for name, estimate in estimates.items()},
        "n": len(sampled.problems),
        "k": k,
        "pass_at": [{"k": place, **shown(one)} for place, one in enumerate(curve, start=1)],
        "mean_length": round(sampled.mean_length(), 2),
        "tokens_per_correct": None if tokens is None else round(tokens, 1),
        "worked_steps": round(sampled.mean_steps(), 3),
        "truncated": round(sampled.truncation_rate(), 4),
        "unverified": round(sampled.unverified_rate(), 4),
    }


def interval_of(estimate: Estimate) -> list[float]:
    """Give the two ends of an interval as they are stored."""
    return [round(estimate.low, 4), round(estimate.high, 4)]


def shown(estimate: Estimate) -> dict[str, object]:
    """Give a figure and its interval as they are stored."""
    return {"value": round(estimate.value, 4), "ci95": interval_of(estimate)}
