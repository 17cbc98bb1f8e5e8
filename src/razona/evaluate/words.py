"""What a comparison says, in plain words."""

from collections.abc import Mapping

from razona.evaluate.compare import NOT_DISTINGUISHABLE
from razona.evaluate.prompts import TRAINING_PROMPT


def paragraph(summary: Mapping[str, dict]) -> str:
    """Say in plain words what changed, from the figures of `summary.json`."""
    parts = [_headline(summary), _boundary_words(summary), _length_words(summary), _harder_words(summary)]
    return " ".join(part for part in parts if part)


def _headline(summary: Mapping[str, dict]) -> str:
    base, tuned, found = summary["base"], summary["tuned"], summary["gain"]
    best = summary.get("base_best")
    against = found if best is None else best["gain"]
    points = f"(95 % interval {100 * against['ci95'][0]:+.1f} to {100 * against['ci95'][1]:+.1f} points)"
    low, high = against["ci95"]
    before = f"{base['pass_at_1']:.0%} of the time before"
    if best is not None and best["prompt"] == TRAINING_PROMPT:
        before += " (no other prompt that was tried suits the base better)"
    elif best is not None:
        before = (
            f"{best['pass_at_1']:.0%} of the time before under the prompt that suits the base best ({best['prompt']}; "
            f"{base['pass_at_1']:.0%} under the training's own)"
        )
    if low <= 0 <= high:
        return (
            f"On {base['n']} held-out problems the two models are {NOT_DISTINGUISHABLE}: one answer in one try is "
            f"right {before} and {tuned['pass_at_1']:.0%} after {points}.{_power_words(against)}"
        )
    return (
        f"Given one try at each of {base['n']} problems that it was not trained on, the model was right {before} and "
        f"is right {tuned['pass_at_1']:.0%} of the time now: {100 * against['pass_at_1']:+.0f} points {points}."
    )


def _power_words(found: Mapping) -> str:
    smallest = found.get("smallest_detectable")
    if smallest is None:
        return ""
    return f" This many problems would have shown a difference of {100 * smallest:.1f} points four times in five."


def _boundary_words(summary: Mapping[str, dict]) -> str:
    base, tuned, found = summary["base"], summary["tuned"], summary["gain"]
    k, low = base["k"], found["ci95"][0]
    before, after = base[f"pass_at_{k}"], tuned[f"pass_at_{k}"]
    if k == 1 or low <= 0:
        return ""
    if summary.get("boundary") == "narrower":
        return f"Given {k} tries it solves fewer problems than before, {after:.0%} and not {before:.0%}: it lost ways."
    return (
        f"Given {k} tries, the base already found a right answer for {before:.0%} of them; training moves what it can "
        "do sometimes towards every time."
    )


def _length_words(summary: Mapping[str, dict]) -> str:
    base, tuned = summary["base"], summary["tuned"]
    return (
        f"It now writes {tuned['mean_length']:.0f} tokens an answer instead of {base['mean_length']:.0f} and shows "
        f"{tuned['worked_steps']:.1f} worked steps instead of {base['worked_steps']:.1f}; no reward counts either."
    )


def _harder_words(summary: Mapping[str, dict]) -> str:
    if "ood" not in summary:
        return ""
    base, tuned = summary["ood"]["base"], summary["ood"]["tuned"]
    return (
        f"On {base['n']} harder problems than any it was trained on, it went from {base['pass_at_1']:.0%} to "
        f"{tuned['pass_at_1']:.0%}."
    )


def describe(summary: Mapping[str, dict], base: str, tuned: str) -> str:
    """Say in plain words how two models differ, whatever they are.

    Args:
        base: what the first is called, like `tuned` the second.
    """
    parts = [
        _difference(summary, base, tuned),
        _tries(summary, base, tuned),
        _greedy(summary, base, tuned),
        f"{tuned} writes {summary['tuned']['mean_length']:.0f} tokens an answer and {base} "
        f"{summary['base']['mean_length']:.0f}.",
    ]
    return " ".join(part for part in parts if part)


def _difference(summary: Mapping[str, dict], base: str, tuned: str) -> str:
    """Tell the difference of pass@1, against the base's best prompt first where that was sought."""
    one, two, found = summary["base"], summary["tuned"], summary["gain"]
    best = summary.get("base_best")
    before = f"{base} {one['pass_at_1']:.1%}"
    if best is not None and best["prompt"] != TRAINING_PROMPT:
        before = (
            f"{base} {best['pass_at_1']:.1%} under the prompt that suits it best ({best['prompt']}; "
            f"{one['pass_at_1']:.1%} under the training's own)"
        )
        found = best["gain"]
    low, high = found["ci95"]
    points = f"(95 % interval {100 * low:+.1f} to {100 * high:+.1f} points)"
    shares = f"{tuned} is right {two['pass_at_1']:.1%} of the time in one try and {before}"
    if low <= 0 <= high:
        return (
            f"On these {one['n']} problems the two are {NOT_DISTINGUISHABLE}: {shares} {points}.{_power_words(found)}"
        )
    return f"On {one['n']} problems {shares}: {100 * found['pass_at_1']:+.1f} points {points}."


def _tries(summary: Mapping[str, dict], base: str, tuned: str) -> str:
    k, last = summary["base"]["k"], summary["pass_at_k_gain"][-1]
    if k == 1:
        return ""
    low, high = last["ci95"]
    told = f"{100 * last['value']:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"
    if low <= 0 <= high:
        return f"In {k} tries they are {NOT_DISTINGUISHABLE}: {told}."
    is_crossed = (last["value"] > 0) != (summary["gain"]["pass_at_1"] > 0)
    return f"In {k} tries the difference is {told}{', the other way round' if is_crossed else ''}."


def _greedy(summary: Mapping[str, dict], base: str, tuned: str) -> str:
    if "mcnemar_p" not in summary:
        return ""
    return (
        f"Decoded greedily, {tuned} solves {summary['greedy_won']} problems that {base} does not, and {base} "
        f"{summary['greedy_lost']} that {tuned} does not (exact McNemar test, p = {summary['mcnemar_p']:.2g})."
    )
