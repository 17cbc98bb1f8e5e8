"""Rules on sampling: groups that can be compared, and options that the engine and the trainer know."""

from collections.abc import Iterator, Mapping

from razona.advise.checks.finding import Finding, error
from razona.recipe import Recipe

HONOURED: Mapping[str, frozenset[str]] = {
    "native": frozenset({"top_p", "top_k", "min_p"}),
    "transformers": frozenset({"top_p", "top_k", "min_p"}),
    "vllm": frozenset({"top_p", "top_k", "min_p"}),
}
"""Engine -> options that it draws with. Another engine honours none."""
OFF: Mapping[str, float] = {"top_p": 1.0, "top_k": 0, "min_p": 0.0}
"""Option -> the value that leaves no token out."""
SMALLEST_GROUP = 2
USUAL_GROUP = 8


def check_engine(recipe: Recipe, honoured: Mapping[str, frozenset[str]] = HONOURED) -> Iterator[Finding]:
    """Find options that leave tokens out: ignored by the engine, or drawn with and unknown to the trainer's log-probs.

    Args:
        honoured: engine -> options that it draws with.
    """
    rollout = recipe.rollout
    asked = {name: getattr(rollout, name) for name, off in OFF.items() if getattr(rollout, name) != off}
    known = honoured.get(rollout.engine, frozenset())
    ignored = {name: value for name, value in asked.items() if name not in known}
    if ignored:
        yield error(
            "engine-ignores-option",
            f"rollout.engine = {rollout.engine} does not draw with {_told(ignored)}",
            f"{_off(ignored)}, or another rollout.engine",
        )
    drawn = {name: value for name, value in asked.items() if name in known}
    if drawn:
        yield error(
            "engine-ignores-option",
            f"rollout.engine = {rollout.engine} draws with {_told(drawn)}, and the trainer ignores it: its log-probs "
            "are those of the whole distribution",
            _off(drawn),
        )


def small_group(group_size: object) -> Finding | None:
    """Find a group that a recipe may not even have: fewer than two completions."""
    if not isinstance(group_size, int) or isinstance(group_size, bool) or group_size >= SMALLEST_GROUP:
        return None
    return error(
        "group-size",
        f"rollout.group_size = {group_size}: a completion has no other of its problem to be compared with, so every "
        "advantage is 0",
        f"--set rollout.group_size={USUAL_GROUP}",
    )


def _told(options: Mapping[str, float]) -> str:
    return ", ".join(f"rollout.{name} = {value:g}" for name, value in options.items())


def _off(options: Mapping[str, float]) -> str:
    return " ".join(f"--set rollout.{name}={OFF[name]:g}" for name in options)
