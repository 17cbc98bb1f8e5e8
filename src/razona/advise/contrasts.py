"""What the arms of an experiment tell when they are held against each other: paired on the same problems."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from razona.evaluate.compare import gain, is_distinguishable
from razona.evaluate.evaluation import Sides
from razona.evaluate.measure import interval_of
from razona.evaluate.stored import read_sides

QUESTIONS = (
    ("grpo", "sft", "reinforcement or fine-tuning"),
    ("sft_then_grpo", "grpo", "does a warm-up help reinforcement"),
    ("sft_then_grpo", "sft", "does reinforcement help after fine-tuning"),
)
"""(one method, the other, what their difference answers), for each number of labels."""


def contrasts(arms: Mapping[str, Mapping], folder: Path, sets: Sequence[str]) -> list[dict[str, object]]:
    """Give the paired differences that the experiment was made for, where both arms are there.

    Args:
        arms: name -> what `experiment.json` holds of it.
        folder: with the evaluations, `<arm>-<set>` each.
    """
    pairs = [("random", "base", "what a reward at random gains"), ("grpo-0", "random", "what the verifier adds to it")]
    for count in sorted({int(arm["labels"]) for arm in arms.values()}):
        pairs += [(f"{one}-{count}", f"{other}-{count}", why) for one, other, why in QUESTIONS]
    sides: dict[str, Sides] = {}

    def read(name: str) -> Sides:
        if name not in sides:
            sides[name] = read_sides(folder / name)
        return sides[name]

    return [
        {"one": one, "other": other, "question": why, "set": name, **difference(read, one, other, name)}
        for one, other, why in pairs
        for name in sets
        if one in arms and other in arms
    ]


def difference(read: Callable[[str], Sides], one: str, other: str, name: str) -> dict[str, object]:
    """Give the mean difference of pass@1 with its interval."""
    ours, theirs = read(f"{one}-{name}").sampled, read(f"{other}-{name}").sampled
    found = gain(theirs.only([problem.id for problem in ours.problems]), ours)
    return {
        "gain": round(found.value, 4),
        "ci95": interval_of(found),
        "is_distinguishable": is_distinguishable(found),
    }
