"""What `razona compare` finds out, as its page and its files hold it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from razona.core.errors import DataError
from razona.evaluate.compare import by_family, changes, compare, describe_gain, examples, pair
from razona.evaluate.evaluation import Evaluation
from razona.evaluate.measure import measure
from razona.evaluate.sources import Found
from razona.evaluate.words import describe


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
        summary["base_best"] = _best(contest.best, found.base.sampled, found.tuned.sampled)
    if contest.screening:
        summary["base_prompts"] = {name: _prompt_row(figures) for name, figures in contest.screening.items()}
    words = describe(summary, names["base"], names["tuned"])  # pyright: ignore[reportArgumentType]
    if left_out:
        words += f" {left_out} problems that only one of them has are left out."
    return {**summary, "paragraph": words}, changes(found)


def is_worse(summary: Mapping) -> bool:
    """Say whether the second is distinguishably worse than the first: the whole interval lies below 0."""
    return summary["gain"]["ci95"][1] < 0


def _ids(found: Found) -> list[str]:
    return [problem.id for problem in found.sides.sampled.problems]


def _best(best: Found, base: Evaluation, tuned: Evaluation) -> dict[str, object]:
    ids = [problem.id for problem in base.problems]
    known = set(_ids(best))
    if not known.issuperset(ids):
        raise DataError(
            f"{best.name}: the evaluation under the best prompt lacks {len(set(ids) - known)} of {len(ids)} problems. "
            "Evaluate again."
        )
    sampled = best.sides.sampled.only(ids)
    return {
        "prompt": best.settings.get("prompt", "its best prompt"),
        **measure(sampled, None, is_voted=best.is_voted),
        "gain": describe_gain(sampled, tuned),
    }


def _prompt_row(figures: Mapping) -> dict[str, object]:
    row = {"sampled": figures["pass_at_1"], "sampled_ci95": figures["ci95"]["pass_at_1"], "n": figures["n"]}
    if "greedy" in figures:
        row |= {"greedy": figures["greedy"], "greedy_ci95": figures["ci95"]["greedy"]}
    return row
