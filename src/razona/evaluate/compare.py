"""Two policies on the same problems: what changed, for better and for worse, and how sure that is."""

from collections import defaultdict
from dataclasses import dataclass

from razona.core.errors import DataError
from razona.core.nouns import Outcome
from razona.evaluate.evaluation import Evaluation, Judged, Sides
from razona.evaluate.measure import interval_of, measure, shown
from razona.evaluate.statistics import Estimate, difference_with_interval, mcnemar_p_value, pass_at_k, smallest_gain

MAX_NAMED = 5
"""Problems that an error names."""
NOT_DISTINGUISHABLE = "not distinguishable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Sampled and greedy evaluations of two policies on the same problems, in the same order."""

    base: Sides
    tuned: Sides
    k: int
    """Of pass@k and maj@k."""

    @property
    def has_greedy(self) -> bool:
        """Say whether both were decoded greedily."""
        return self.base.greedy is not None and self.tuned.greedy is not None


def pair(base: Sides, tuned: Sides, *, base_name: str, tuned_name: str, is_intersected: bool = False) -> Comparison:
    """Put two evaluations beside each other.

    Args:
        base_name: what an error calls it, like `tuned_name`.
        is_intersected: problems that only one of them has are left out.

    Raises:
        DataError: they are not on the same problems, or a problem's question or target differs.
    """
    ours = {problem.id: problem for problem in base.sampled.problems}
    theirs = {problem.id: problem for problem in tuned.sampled.problems}
    common = [one for one in ours if one in theirs]
    only_base, only_tuned = [one for one in ours if one not in theirs], [one for one in theirs if one not in ours]
    if (only_base or only_tuned) and not (is_intersected and common):
        told = [
            f"{len(ids)} only in {name} ({', '.join(ids[:MAX_NAMED])}{', ...' if len(ids) > MAX_NAMED else ''})"
            for ids, name in ((only_base, base_name), (only_tuned, tuned_name))
            if ids
        ]
        todo = "Evaluate both on the same data" + (", or give --intersect to compare those." if common else ".")
        raise DataError(
            f"the two are not on the same problems: {' and '.join(told)}; {len(common)} are in both. {todo}"
        )
    changed = [
        one for one in common if (ours[one].question, ours[one].target) != (theirs[one].question, theirs[one].target)
    ]
    if changed:
        raise DataError(
            f"{len(changed)} problems have the same id and another question or target in {base_name} than in "
            f"{tuned_name} ({', '.join(changed[:MAX_NAMED])}); expected the same data. Evaluate both on the same file."
        )
    k = min(base.sampled.num_samples, tuned.sampled.num_samples)
    return Comparison(base=_cut(base, common), tuned=_cut(tuned, common), k=k)


def _cut(sides: Sides, ids: list[str]) -> Sides:
    return Sides(sampled=sides.sampled.only(ids), greedy=None if sides.greedy is None else sides.greedy.only(ids))


def differences(base: Evaluation, tuned: Evaluation, k: int = 1) -> list[float]:
    """Give tuned minus base pass@k of every problem."""
    pairs = zip(base.correct_PK, tuned.correct_PK, strict=True)
    return [pass_at_k(len(two), sum(two), k) - pass_at_k(len(one), sum(one), k) for one, two in pairs]


def gain(base: Evaluation, tuned: Evaluation, k: int = 1) -> Estimate:
    """Give tuned minus base pass@k, paired by problem, with its interval: a bootstrap that draws problems."""
    return difference_with_interval(differences(base, tuned, k))


def is_distinguishable(estimate: Estimate) -> bool:
    """Say whether the interval of a difference leaves 0 out."""
    return not estimate.low <= 0 <= estimate.high


def compare(comparison: Comparison, *, is_voted: bool = True) -> dict[str, object]:
    """Give the figures of both sides, their paired differences, and which problems were won and lost.

    Args:
        is_voted: maj@k has a meaning, which it has not for programs.
    """
    base, tuned, k = comparison.base, comparison.tuned, comparison.k
    figures = {
        "base": measure(base.sampled, base.greedy, k, is_voted=is_voted),
        "tuned": measure(tuned.sampled, tuned.greedy, k, is_voted=is_voted),
        "gain": describe_gain(base.sampled, tuned.sampled),
        "pass_at_k_gain": [
            {"k": number, **shown(gain(base.sampled, tuned.sampled, number))} for number in range(1, k + 1)
        ],
    }
    figures["boundary"] = boundary(figures["pass_at_k_gain"])
    if comparison.has_greedy:
        figures |= _greedy(comparison)
    return figures


def describe_gain(base: Evaluation, tuned: Evaluation) -> dict[str, object]:
    """Give the paired difference of pass@1, whether it can be told from 0, and what this many problems could show."""
    found = gain(base, tuned)
    smallest = smallest_gain(differences(base, tuned))
    return {
        "pass_at_1": round(found.value, 4),
        "ci95": interval_of(found),
        "is_distinguishable": is_distinguishable(found),
        "smallest_detectable": None if smallest is None else round(smallest, 4),
    }


def _greedy(comparison: Comparison) -> dict[str, object]:
    assert comparison.base.greedy is not None and comparison.tuned.greedy is not None
    pairs = list(zip(_is_right(comparison.base.greedy), _is_right(comparison.tuned.greedy), strict=True))
    won, lost = sum(two and not one for one, two in pairs), sum(one and not two for one, two in pairs)
    return {"greedy_won": won, "greedy_lost": lost, "mcnemar_p": float(f"{mcnemar_p_value(won, lost):.3g}")}


def _is_right(greedy: Evaluation) -> list[bool]:
    return [row[0].verdict.outcome is Outcome.CORRECT for row in greedy.judged_PK]


def boundary(gains: list[dict]) -> str:
    """Say whether what can be solved in k tries grew, shrank or cannot be told, beside pass@1: one of `wider`,
    `narrower`, `not distinguishable`.

    Pass@1 rises where a policy does surely what it did sometimes; pass@k for a large k falls where it lost ways of
    solving problems. (Yue et al. 2025, arXiv:2504.13837.)
    """
    low, high = gains[-1]["ci95"]
    if low > 0:
        return "wider"
    return "narrower" if high < 0 else NOT_DISTINGUISHABLE


def by_family(comparison: Comparison) -> dict[str, dict[str, float]]:
    """Give pass@1 of both policies for each family of problems."""
    shares: dict[str, list[tuple[float, float]]] = defaultdict(list)
    base, tuned = comparison.base.sampled, comparison.tuned.sampled
    for problem, one, two in zip(base.problems, base.share_P, tuned.share_P, strict=True):
        shares[problem.family].append((one, two))
    return {
        family: {
            "n": len(pairs),
            "base": round(sum(one for one, _ in pairs) / len(pairs), 4),
            "tuned": round(sum(two for _, two in pairs) / len(pairs), 4),
        }
        for family, pairs in shares.items()
    }


def examples(comparison: Comparison, count: int = 3) -> list[dict[str, str]]:
    """Give `count` problems with one sample of each side: the first sample, of problems spread over the set.

    They are chosen by place, not by outcome, so that a failure of the tuned policy can be among them.
    """
    total = len(comparison.base.sampled.problems)
    chosen = [min(total - 1, place * total // count + place) for place in range(min(count, total))]
    return [_example(comparison, place) for place in chosen]


def _example(comparison: Comparison, place: int) -> dict[str, str]:
    problem = comparison.base.sampled.problems[place]
    base: Judged = comparison.base.sampled.judged_PK[place][0]
    tuned: Judged = comparison.tuned.sampled.judged_PK[place][0]
    return {
        "question": problem.question,
        "target": problem.target,
        "base": base.completion.text,
        "base_outcome": str(base.verdict.outcome),
        "tuned": tuned.completion.text,
        "tuned_outcome": str(tuned.verdict.outcome),
    }


def changes(comparison: Comparison) -> list[dict[str, object]]:
    """Give every problem with both sides' share of right samples and their first sample, the largest loss first."""
    base, tuned = comparison.base.sampled, comparison.tuned.sampled
    shares = list(zip(base.share_P, tuned.share_P, strict=True))
    order = sorted(range(len(shares)), key=lambda place: shares[place][1] - shares[place][0])
    return [
        {
            **_example(comparison, place),
            "id": base.problems[place].id,
            "family": base.problems[place].family,
            "base_share": round(shares[place][0], 4),
            "tuned_share": round(shares[place][1], 4),
            "change": _change(*shares[place]),
        }
        for place in order
    ]


def _change(base_share: float, tuned_share: float) -> str:
    if base_share == tuned_share:
        return "unchanged"
    return "won" if tuned_share > base_share else "lost"
