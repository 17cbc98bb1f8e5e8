"""`razona advise`: reinforcement or supervised fine-tuning, answered from measurements of the person's own model."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from razona.advise.decision import MEANING, Answer, Decision, decide, first_mend
from razona.advise.evidence import Evidence
from razona.advise.measuring import Budget, Watcher, gather
from razona.advise.page import write_advice_page
from razona.advise.published import apply_rules, percent
from razona.core.environment import describe_hardware
from razona.core.files import write_json
from razona.evaluate.statistics import Estimate
from razona.recipe import Recipe

FEWEST_STEPS, MOST_STEPS, PASSES = 50, 300, 3
"""Steps in which gains have been seen: 32 points in 50 (Raschka, reasoning-from-scratch, chapter 6, where 100 were
worse), while Unsloth advises 300 and more; and passes over the problems that carry signal (our choice)."""


def advise(
    recipe: Recipe,
    out: Path,
    budget: Budget,
    watcher: Watcher,
    *,
    inputs_shift: bool | None = None,
    worked_solutions: int | None = None,
) -> dict[str, object]:
    """Measure the recipe's model on its problems, apply the rules, and write the advice with its page.

    Args:
        out: the folder in which everything that is sampled is stored; a second call goes on in it.
        inputs_shift: the person's word on whether rules or inputs will differ later. None: not asked.
        worked_solutions: that the person could get. None: those in the data.

    Returns:
        What `advice.json` holds.

    Raises:
        DataError: no problem is left.
        RecipeError: the budget is too small for the interval asked for.
        ModelError: the model cannot be loaded.
    """
    found = gather(recipe, out, budget, watcher, inputs_shift, worked_solutions)
    decision = decide(found)
    told = told_of(recipe, found, decision) | {"hardware": describe_hardware()}
    write_json(out / "advice.json", told)
    write_advice_page(told, decision.path, decision.answer, out / "advice.html")
    return told


def told_of(recipe: Recipe, found: Evidence, decision: Decision) -> dict[str, object]:
    """Give what an advice says of its evidence; `advice.json` adds the hardware."""
    return {
        "answer": str(decision.answer),
        "meaning": MEANING[decision.answer],
        "expect": expectation(recipe, found, decision.answer),
        "first": first_mend(found),
        "model": recipe.model.name,
        "source": recipe.data.source,
        "path": [asdict(one) for one in decision.path],
        "rulings": [asdict(one) for one in apply_rules(found)],
        "figures": figures_of(found),
        "evidence": found.as_row(),
    }


def told_without_model(decision: Decision) -> dict[str, object]:
    """Give an answer from questions alone in the shape of `advise`."""
    return {
        "answer": str(decision.answer),
        "meaning": MEANING[decision.answer],
        "expect": "Nothing was measured: razona advise RECIPE answers from your own model and problems.",
        "first": [],
        "model": "(not measured)",
        "source": "your answers",
        "path": [asdict(one) for one in decision.path],
        "rulings": [],
        "figures": [],
    }


def useful_steps(recipe: Recipe, found: Evidence) -> tuple[int, int]:
    """Give from how many to how many GRPO steps are worth planning.

    At most so many that each problem with signal is seen `PASSES` times, and never more than the field has seen pay.
    """
    groups = recipe.train.completions_per_step // recipe.rollout.group_size
    if found.is_endless:
        return FEWEST_STEPS, MOST_STEPS
    seen = max(1, round(PASSES * found.problems * found.signal.value / groups))
    return min(FEWEST_STEPS, seen), min(MOST_STEPS, seen)


def expectation(recipe: Recipe, found: Evidence, answer: Answer) -> str:
    """Say what a run of the advised kind can be expected to take; empty where none is advised."""
    if answer not in (Answer.RFT, Answer.SFT_THEN_RFT):
        return ""
    low, high = useful_steps(recipe, found)
    span = f"{low} to {high} GRPO steps" if low < high else f"about {high} GRPO steps"
    return (
        f"Plan for {span}, and let the guard keep the best weights: gains come early, and the last weights are often "
        f"not the best. {percent(found.signal.value)} of groups will carry signal at the start. razona check says how "
        "long they take on this machine. Published gains of RFT are 0 to 15 % on reasoning, of SFT 5 to 30 % "
        "(azure-skills). A gain needs a random-reward control before it is believed (arXiv:2506.10947): razona "
        "experiment rft-vs-sft makes one."
    )


def figures_of(found: Evidence) -> list[tuple[str, str]]:
    """Give what was measured, in words."""
    k = found.samples
    rows = [
        ("problems that can be trained on", "made as needed" if found.is_endless else f"{found.problems:,}"),
        ("of their targets, verify against themselves", percent(found.verifiable)),
        ("worked solutions", f"{found.worked_solutions:,}"),
        ("measured on", f"{found.num_sampled:,} problems, {k} samples each"),
        ("paid as correct by the reward", with_ends(found.paid)),
        ("right wherever the answer stands (pass@1)", with_ends(found.right)),
        (f"right in {k} tries (pass@{k})", with_ends(found.right_in_k)),
        (f"groups of {found.group_size} with signal", with_ends(found.signal)),
        ("the same, judged by another problem's target: chance", percent(found.signal_by_chance)),
        ("in the form asked for", with_ends(found.form)),
        ("problems solved at least once, always, in 20 to 80 % of tries", _shares(found)),
        ("tokens of a completion, mean and 90th percentile", f"{found.mean_tokens:.0f}, {found.tokens_p90:,}"),
        ("cut off at the limit", percent(found.truncated)),
        ("not verified (our side failed)", percent(found.unverified)),
        ("best prompt", f"{found.best_prompt}: {percent(found.best_prompt_right)} right in one try"),
    ]
    if found.working_gain is not None:
        gain = found.working_gain
        ends = f"{100 * gain.low:+.1f} to {100 * gain.high:+.1f}"
        rows.append(("working gains over blurting, points", f"{100 * gain.value:+.1f} ({ends})"))
    if found.right_in_many is not None:
        rows.append((f"problems solved in {found.many} tries", with_ends(found.right_in_many)))
        rows.append(("the same, judged by another problem's target: chance", percent(found.right_by_chance)))
    return rows


def with_ends(estimate: Estimate) -> str:
    """Write a share with its interval."""
    return f"{estimate.value:.1%} ({100 * estimate.low:.1f}-{100 * estimate.high:.1f})"


def _shares(found: Evidence) -> str:
    return ", ".join(percent(share) for share in (found.above_zero, found.perfect, found.in_band))


def lines_of(told: Mapping) -> list[str]:
    """Give the advice for a terminal, the tree apart."""
    lines = [told["answer"].upper(), told["meaning"]]
    lines += [told["expect"]] if told["expect"] else []
    lines += ["", "First:", *(f"  - {one}" for one in told["first"])] if told["first"] else []
    if told["figures"]:
        width = max(len(label) for label, _ in told["figures"])
        lines += ["", *(f"  {label:<{width}}  {value}" for label, value in told["figures"])]
    fired = [one for one in told["rulings"] if one["fired"]]
    if fired:
        lines += ["", "Rules that fired (the page has them all, with their sources):"]
        lines += [f"  {one['rule']}: {one['saw']} -> {one['says']}" for one in fired]
    return lines
