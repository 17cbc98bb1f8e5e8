"""Base against tuned, on the same problems, and what a newcomer should take from it."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from razona.core.nouns import Outcome
from razona.evaluate.measure import Evaluation, Judged, measure
from razona.evaluate.statistics import Estimate, mean_with_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Sampled and greedy evaluations of two policies on the same problems."""

    base: Evaluation
    base_greedy: Evaluation
    tuned: Evaluation
    tuned_greedy: Evaluation
    k: int


def gain(comparison: Comparison) -> Estimate:
    """Give tuned minus base pass@1, paired by problem, with its interval."""
    pairs = zip(comparison.base.correct_PK, comparison.tuned.correct_PK, strict=True)
    return mean_with_interval([sum(tuned) / len(tuned) - sum(base) / len(base) for base, tuned in pairs])


def by_family(comparison: Comparison) -> dict[str, dict[str, float]]:
    """Give pass@1 of both policies for each family of problems."""
    shares: dict[str, list[tuple[float, float]]] = defaultdict(list)
    rows = zip(comparison.base.problems, comparison.base.correct_PK, comparison.tuned.correct_PK, strict=True)
    for problem, base, tuned in rows:
        shares[problem.family].append((sum(base) / len(base), sum(tuned) / len(tuned)))
    return {
        family: {
            "n": len(pairs),
            "base": round(sum(base for base, _ in pairs) / len(pairs), 4),
            "tuned": round(sum(tuned for _, tuned in pairs) / len(pairs), 4),
        }
        for family, pairs in shares.items()
    }


def examples(comparison: Comparison, count: int = 3) -> list[dict[str, str]]:
    """Give `count` problems with one sample of each side: the first sample, of problems spread over the set.

    They are chosen by place, not by outcome, so that a failure of the tuned policy can be among them.
    """
    total = len(comparison.base.problems)
    chosen = [min(total - 1, place * total // count + place) for place in range(min(count, total))]
    return [_example(comparison, place) for place in chosen]


def _example(comparison: Comparison, place: int) -> dict[str, str]:
    problem = comparison.base.problems[place]
    base: Judged = comparison.base.judged_PK[place][0]
    tuned: Judged = comparison.tuned.judged_PK[place][0]
    return {
        "question": problem.question,
        "target": problem.target,
        "base": base.completion.text,
        "base_outcome": str(base.verdict.outcome),
        "tuned": tuned.completion.text,
        "tuned_outcome": str(tuned.verdict.outcome),
    }


def compare(comparison: Comparison) -> dict[str, object]:
    """Give the figures of both sides, their paired difference, and how many problems were won and lost (greedy)."""
    difference = gain(comparison)
    pairs = list(
        zip(
            (row[0].verdict.outcome is Outcome.CORRECT for row in comparison.base_greedy.judged_PK),
            (row[0].verdict.outcome is Outcome.CORRECT for row in comparison.tuned_greedy.judged_PK),
            strict=True,
        )
    )
    return {
        "base": measure(comparison.base, comparison.base_greedy, comparison.k),
        "tuned": measure(comparison.tuned, comparison.tuned_greedy, comparison.k),
        "gain": {
            "pass_at_1": round(difference.value, 4),
            "ci95": [round(difference.low, 4), round(difference.high, 4)],
        },
        "greedy_won": sum(tuned and not base for base, tuned in pairs),
        "greedy_lost": sum(base and not tuned for base, tuned in pairs),
    }


def paragraph(summary: Mapping[str, dict]) -> str:
    """Say in plain words what changed, from the figures of `summary.json`."""
    base, tuned, difference = summary["base"], summary["tuned"], summary["gain"]
    low, high = difference["ci95"]
    k = base["k"]
    points = f"(95 % interval {100 * low:+.1f} to {100 * high:+.1f} points)"
    if low <= 0 <= high:
        verdict = (
            f"On {base['n']} held-out problems the two models are not distinguishable: one answer in one try is right "
            f"{base['pass_at_1']:.0%} of the time before and {tuned['pass_at_1']:.0%} after {points}."
        )
    else:
        verdict = (
            f"Given one try at each of {base['n']} problems that it was not trained on, the model was right "
            f"{base['pass_at_1']:.0%} of the time before training and is right {tuned['pass_at_1']:.0%} of the time "
            f"now: {100 * difference['pass_at_1']:+.0f} points {points}."
        )
    boundary = ""
    if low > 0:
        boundary = (
            f" Given {k} tries, the base already found a right answer for {base[f'pass_at_{k}']:.0%} of them; training "
            "moves what it can do sometimes towards every time."
        )
    length = (
        f" It now writes {tuned['mean_length']:.0f} tokens an answer instead of {base['mean_length']:.0f} and shows "
        f"{tuned['worked_steps']:.1f} worked steps instead of {base['worked_steps']:.1f}; no reward counts either."
    )
    outside = ""
    if "ood" in summary:
        ood_base, ood_tuned = summary["ood"]["base"], summary["ood"]["tuned"]
        outside = (
            f" On {ood_base['n']} harder problems than any it was trained on, it went from "
            f"{ood_base['pass_at_1']:.0%} to {ood_tuned['pass_at_1']:.0%}."
        )
    return verdict + boundary + length + outside
