"""What `razona compare` finds out, as its page and its files hold it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from razona.core.errors import DataError
from razona.evaluate.compare import Comparison, by_family, changes, compare, describe_gain, examples, pair
from razona.evaluate.evaluation import Evaluation, Sides
from razona.evaluate.measure import measure
from razona.evaluate.sources import Found
from razona.evaluate.words import describe

COMPARED_SETTINGS = ("kind", "prompt", "temperature", "max_tokens", "is_greedy_too", "form")
"""Settings of an evaluation that two comparable ones share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Two evaluations to be compared."""

    base: Found
    tuned: Found
    best: Found | None = None
    """The base under the prompt that suits it best; None where that is the prompt of `base`, or was not sought."""
    screening: Mapping[str, Mapping] = field(default_factory=dict)
    """Name of the prompt -> figures of the base on a part of the problems."""


def summarise(contest: Contest, *, is_intersected: bool = False) -> tuple[dict[str, object], list[dict[str, object]]]:
    """Compare, and give the figures and every problem with what became of it.

    Raises:
        DataError: the two are not on the same problems.
    """
    one, two = contest.base, contest.tuned
    found = pair(one.sides, two.sides, base_name=one.name, tuned_name=two.name, is_intersected=is_intersected)
    names = {"base": one.name, "tuned": two.name}
    if one.name == two.name:
        names = {"base": f"{one.name} (first)", "tuned": f"{two.name} (second)"}
    left_out = len({*_ids(one), *_ids(two)}) - len(found.base.sampled.problems)
    summary: dict[str, object] = {
        "names": names,
        "settings": {"base": one.settings, "tuned": two.settings},
        "left_out_problems": left_out,
        **compare(found, is_voted=one.is_voted and two.is_voted),
        "families": by_family(found),
        "examples": examples(found),
    }
    if contest.best is not None:
        summary["base_best"] = _best(contest.best, found)
    if contest.screening:
        summary["base_prompts"] = {name: prompt_row(figures) for name, figures in contest.screening.items()}
    words = describe(summary, names["base"], names["tuned"])  # pyright: ignore[reportArgumentType]
    differing = [key for key in COMPARED_SETTINGS if _differ(one.settings, two.settings, key)]
    summary["different_settings"] = differing
    if differing:
        words += f" The two were not measured alike: {', '.join(differing)} differ."
    if left_out:
        words += f" {left_out} problems that only one of them has are left out."
    return {**summary, "paragraph": words}, changes(found)


def _differ(one: Mapping, two: Mapping, key: str) -> bool:
    return key in one and key in two and one[key] != two[key]


def is_worse(summary: Mapping) -> bool:
    """Say whether the second is distinguishably worse than the first, under the prompt that suits the first best too:
    one of the two intervals lies below 0 as a whole.
    """
    gains = [summary["gain"], *([summary["base_best"]["gain"]] if "base_best" in summary else [])]
    return any(gain["ci95"][1] < 0 for gain in gains)


def _ids(found: Found) -> list[str]:
    return [problem.id for problem in found.sides.sampled.problems]


def _best(best: Found, found: Comparison) -> dict[str, object]:
    ids = [problem.id for problem in found.base.sampled.problems]
    known = set(_ids(best))
    if not known.issuperset(ids):
        raise DataError(
            f"{best.name}: the evaluation under the best prompt lacks {len(set(ids) - known)} of {len(ids)} problems. "
            "Evaluate again."
        )
    sides = Sides(sampled=best.sides.sampled.only(ids), greedy=None)
    prompt = str(best.settings.get("prompt", "its best prompt"))
    k = min(found.k, sides.sampled.num_samples)
    return best_figures(prompt, sides, found.tuned.sampled, k, is_voted=best.is_voted)


def best_figures(prompt: str, base: Sides, tuned: Evaluation, k: int, *, is_voted: bool = True) -> dict[str, object]:
    """Give the figures of a base under the prompt that suits it best, and the gain over them.

    Args:
        tuned: sampled on the same problems, in the same order.
        k: of pass@k and maj@k.
        is_voted: maj@k has a meaning.
    """
    return {
        "prompt": prompt,
        **measure(base.sampled, base.greedy, k, is_voted=is_voted),
        "gain": describe_gain(base.sampled, tuned),
    }


def prompt_row(figures: Mapping) -> dict[str, object]:
    """Give what the table of prompts holds of one."""
    row = {"sampled": figures["pass_at_1"], "sampled_ci95": figures["ci95"]["pass_at_1"], "n": figures["n"]}
    if "greedy" in figures:
        row |= {"greedy": figures["greedy"], "greedy_ci95": figures["ci95"]["greedy"]}
    return row
