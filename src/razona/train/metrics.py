"""One step's figures, from the rows that are stored for it."""

from collections.abc import Mapping, Sequence

from razona.core.nouns import Outcome
from razona.verify import Tags, read_form, read_steps


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def step_metrics(rows: Sequence[Mapping], group_size: int, tags: Tags) -> dict[str, float | None]:
    """Count what one step's completions say.

    Args:
        rows: as stored in `completions/step-*.jsonl`: the groups one after the other, `group_size` rows each.

    Returns:
        `reward` and `accuracy` over the completions that have a verdict; `informative_groups` is the share of
        groups whose rewards are not all equal: the others have advantages of exactly 0 and teach nothing.
    """
    judged = [row for row in rows if row["reward"] is not None]
    groups = [rows[start : start + group_size] for start in range(0, len(rows), group_size)]
    rewards = [{row["reward"] for row in group if row["reward"] is not None} for group in groups]
    outcomes = [{row["outcome"] for row in group if row["reward"] is not None} for group in groups]
    steps = [read_steps(row["completion"]) for row in rows]
    with_steps = [report for report in steps if report.count]
    names = sorted({name for row in judged for name in row["parts"]})
    return {
        "reward": _mean([row["reward"] for row in judged]),
        **{f"reward/{name}": _mean([row["parts"].get(name, 0.0) for row in judged]) for name in names},
        "accuracy": _mean([float(row["outcome"] == Outcome.CORRECT) for row in judged]),
        "unverified": 1 - len(judged) / len(rows),
        "format_rate": _mean([float(read_form(row["completion"], tags).is_exact) for row in rows]),
        "length": _mean([row["num_tokens"] for row in rows]),
        "truncated": _mean([float(row["is_truncated"]) for row in rows]),
        "worked_steps": _mean([report.count for report in steps]),
        "worked_share": len(with_steps) / len(rows),
        "steps_all_true": _mean([float(report.true == report.count) for report in with_steps]),
        "informative_groups": _mean([float(len(values) > 1) for values in rewards]),
        "all_right_groups": _mean([float(values == {Outcome.CORRECT}) for values in outcomes]),
        "all_wrong_groups": _mean([float(bool(values) and Outcome.CORRECT not in values) for values in outcomes]),
    }
