"""One step's figures, from the rows that are stored for it."""

import math
from collections.abc import Mapping, Sequence

from razona.core.nouns import Outcome
from razona.train.collect import Collected
from razona.train.problems import has_signal
from razona.verify import Tags, read_form, read_steps


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def step_metrics(rows: Sequence[Mapping], group_size: int, tags: Tags) -> dict[str, float | None]:
    """Count what one step's completions say.

    Args:
        rows: as stored in `completions/step-*.jsonl`: the groups one after the other, `group_size` rows each.

    Returns:
        `reward` and `accuracy` over the completions that have a verdict; `informative_groups` is the share of
        groups whose rewards are not all equal: the others have advantages of exactly 0 and teach nothing. All are
        over what was sampled; `informative_trained` is that share among the groups that the step trained on.
        `informative/NAME` is the share of groups in which the reward component NAME is not the same for all.
        `signal/NAME` is the component's share of the variance of the advantages, from which the step learns.
    """
    judged = [row for row in rows if row["reward"] is not None]
    groups = [rows[start : start + group_size] for start in range(0, len(rows), group_size)]
    signal = [has_signal(row["reward"] for row in group) for group in groups]
    trained = [found for found, group in zip(signal, groups, strict=True) if group[0]["is_trained"]]
    outcomes = [{row["outcome"] for row in group if row["reward"] is not None} for group in groups]
    steps = [read_steps(row["completion"]) for row in rows]
    with_steps = [report for report in steps if report.count]
    names = sorted({name for row in judged for name in row["parts"]})
    taught = [group for found, group in zip(signal, groups, strict=True) if found and group[0]["is_trained"]]
    shares = [variance_shares([row for row in group if row["reward"] is not None], names) for group in taught]
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
        "informative_groups": _mean([float(found) for found in signal]),
        **{f"informative/{name}": _mean([float(_varies(name, group)) for group in groups]) for name in names},
        **{f"signal/{name}": _mean([share[name] for share in shares]) for name in names},
        "informative_trained": _mean([float(found) for found in trained]),
        "groups_sampled": len(groups),
        "all_right_groups": _mean([float(values == {Outcome.CORRECT}) for values in outcomes]),
        "all_wrong_groups": _mean([float(bool(values) and Outcome.CORRECT not in values) for values in outcomes]),
    }


def variance_shares(group: Sequence[Mapping], names: Sequence[str]) -> dict[str, float]:
    """Give each component's share of the variance of a group's rewards: cov(component, reward) / var(reward).

    The components add up to the reward, so the shares add up to 1; one below 0 works against the others.

    Args:
        group: rows of one group that have a reward; not all rewards are equal.
    """
    rewards = [row["reward"] for row in group]
    mean = sum(rewards) / len(rewards)
    variance = sum((reward - mean) ** 2 for reward in rewards)
    return {
        name: sum(row["parts"].get(name, 0.0) * (row["reward"] - mean) for row in group) / variance for name in names
    }


def _varies(component: str, group: Sequence[Mapping]) -> bool:
    """Say whether a reward component tells the completions of a group apart."""
    return has_signal(row["parts"].get(component, 0.0) for row in group if row["reward"] is not None)


def timing_metrics(collected: Collected) -> dict[str, float | None]:
    """Give a step's seconds: sampling, waiting for verdicts, and per reward component the median and the slowest.

    Returns:
        `seconds/sampling`, `seconds/scoring_wait`; for `verdict` and each component `seconds/NAME_p50`, `_p99`, `_max`,
        and `slowest/NAME`: the row of the step's completions, from 0, that took longest.
    """
    figures: dict[str, float | None] = {
        "seconds/sampling": collected.sampling_s,
        "seconds/scoring_wait": collected.scoring_wait_s,
    }
    for name, values in collected.seconds.items():
        taken = sorted((seconds, row) for row, seconds in enumerate(values) if seconds is not None)
        if taken:
            figures[f"seconds/{name}_p50"] = taken[(len(taken) - 1) // 2][0]
            figures[f"seconds/{name}_p99"] = taken[math.ceil(0.99 * len(taken)) - 1][0]
            figures[f"seconds/{name}_max"], figures[f"slowest/{name}"] = taken[-1]
    return figures
