"""Rules that read a run's metrics while it trains: each says what it sees, why it hurts and what to change.

They are pure: from the rows of `metrics.jsonl` and `guard.jsonl` up to a step. A figure that a row does not have, as
`kl` without a reference, breaks no rule.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Rows = Sequence[Mapping[str, Any]]

START = 3
"""Steps whose mean is what a run began with."""
RECENT = 3
"""Steps whose mean must pass a fixed limit: one odd step is none of a rule's business."""
LATE = 5
"""Steps whose mean is compared with the beginning; a step's accuracy on 32 groups varies by several points."""
LONG = 10
"""Steps that a rule about signal or progress waits for."""
LEAST_SIGNAL = 0.2
"""Share of groups with signal. Axolotl's guide calls a run healthy below 0.8 groups without (training_stability)."""
VARIES = "informative/"
"""What the figure of a component begins with: the share of groups in which it makes a difference."""
NEVER = 0.02
"""Share of groups in which a component makes a difference, below which it makes none. Ours: 1 group in 50."""
FORM_LEARNT = 0.2
"""Rise of the form rate that is more than noise. Ours."""
FORM_HIGH = 0.8
"""Share of completions in the form asked for that counts as mastered. Ours."""
FOLLOWS = 0.2
"""Accuracy follows the form where it rises by this share of the form's rise. Ours; in the demo it is 0.9."""
NONE_RIGHT = 0.02
"""Accuracy that is as good as none. Ours."""
TRUNCATED = 0.3
"""Share of completions at the token limit. Axolotl's guide: healthy below 0.3, alarming above 0.8."""
ENTROPY_LEFT = 0.1
"""Share of the entropy at the start. Ours: absolute bounds (Axolotl: 0.05 to 0.5 nats) depend on model and task."""
MASTERED = 0.9
"""Accuracy above which little entropy is no loss: the policy is certain because it is right. Ours."""
KL_FAR = 2.0
"""Mean KL a token, in nats. Axolotl's guide: healthy below 0.5, alarming above 2."""
GAP_MEAN = 0.02
"""Mean |log-prob at sampling - in training|, in nats. Ours: 60 times what bf16 products give in the demo (3e-4)."""
GAP_P99 = 0.5
"""Its 99th percentile. Ours: a ratio of exp(0.5) = 1.65 lies far outside every clip range (1.28)."""
UNVERIFIED = 0.02
"""Share of completions without a verdict. Ours, without a source: below it, groups of 8 rarely lose a member."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One rule that a run broke at one step."""

    step: int
    rule: str
    sees: str
    why: str
    change: str

    def __str__(self) -> str:
        return f"step {self.step}: {self.rule}: {self.sees}. {self.why}. {self.change}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule."""

    name: str
    sees: Callable[[Rows, Rows], str]
    """(metrics rows, guard rows) -> what is wrong at the last step, "" where nothing is."""
    why: str
    change: str
    wrong_when: str
    """In which case its finding means nothing."""


def condensed(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give what rules read of a row that is neither among the first nor among the last `LONG` of a run.

    A long run holds all its rows in memory; whole, 1,000 of them take 4 MB.
    """
    return {name: value for name, value in row.items() if name in ("step", "reward") or name.startswith(VARIES)}


def examine(steps: Rows, guard: Rows = ()) -> list[Finding]:
    """Give the rules that a run breaks at its last step.

    Args:
        steps: rows of `metrics.jsonl`, from step 1 on.
        guard: rows of `guard.jsonl`; later ones than the last step are not looked at.

    >>> rows = [{"step": step, "truncated": 0.4} for step in (1, 2, 3)]
    >>> [(finding.rule, finding.sees) for finding in examine(rows)]
    [('truncation', "40% of the last 3 steps' completions ran out of tokens")]
    """
    if not steps:
        return []
    step = int(steps[-1]["step"])
    known = [row for row in guard if row["step"] <= step]
    found = [(rule.name, rule.sees(steps, known), rule.why, rule.change) for rule in RULES]
    found += [(f"{FLAT_COMPONENT}/{name}", sees, FLAT_WHY, FLAT_CHANGE) for name, sees in _flat_components(steps)]
    return [
        Finding(step=step, rule=name, sees=sees, why=why, change=change) for name, sees, why, change in found if sees
    ]


def _mean(rows: Rows, name: str, count: int) -> float | None:
    """Give the mean of a figure over `count` rows; None where there are not so many, or one lacks it."""
    values = [row.get(name) for row in rows]
    present = [value for value in values if value is not None]
    return math.fsum(present) / count if len(present) == len(values) == count else None


def _latest(steps: Rows, name: str, count: int) -> float | None:
    return _mean(steps[-count:], name, count)


def _first(steps: Rows, name: str) -> float | None:
    return _mean(steps[:START], name, START)


def _over(steps: Rows, name: str, limit: float) -> float | None:
    """Give the figure's mean over the last steps where it is above the limit."""
    value = _latest(steps, name, RECENT)
    return value if value is not None and value > limit else None


def _flat_groups(steps: Rows, guard: Rows) -> str:
    share = _latest(steps, "informative_groups", LONG)
    if share is None or share >= LEAST_SIGNAL:
        return ""
    sides = [
        f"{value:.0%} were all {side}"
        for side in ("right", "wrong")
        if (value := _latest(steps, f"all_{side}_groups", LONG)) is not None
    ]
    return f"only {share:.0%} of the last {LONG} steps' groups had rewards that differ" + (
        f" ({', '.join(sides)})" if sides else ""
    )


def _flat_components(steps: Rows) -> Iterator[tuple[str, str]]:
    """Give the reward components that have never told a group's completions apart.

    Never, not of late: one that did so earlier has been learnt, and has done its work.
    """
    names = [name for name in steps[-1] if name.startswith(VARIES)]
    if len(names) < 2:
        return  # the rule for groups says it all
    for name in names:
        values = [row[name] for row in steps if row.get(name) is not None]
        if len(values) >= LONG and (share := sum(values) / len(values)) < NEVER:
            yield (
                name.removeprefix("informative/"),
                f"it was the same for all completions in {1 - share:.0%} of the groups of all {len(values)} steps",
            )


def _form_without_accuracy(steps: Rows, guard: Rows) -> str:
    """See form that was learnt, or is mastered, while right answers do not follow."""
    before, now = _first(steps, "format_rate"), _latest(steps, "format_rate", LATE)
    right_before, right_now = _first(steps, "accuracy"), _latest(steps, "accuracy", LATE)
    if len(steps) < LONG or before is None or now is None or right_before is None or right_now is None:
        return ""
    is_learnt = now - before >= FORM_LEARNT and right_now - right_before < FOLLOWS * (now - before)
    if not is_learnt and not (now >= FORM_HIGH and right_now < NONE_RIGHT):
        return ""
    return (
        f"the form asked for went from {before:.0%} to {now:.0%} of the completions, right answers from "
        f"{right_before:.0%} to {right_now:.0%}"
    )


def _truncation(steps: Rows, guard: Rows) -> str:
    share = _over(steps, "truncated", TRUNCATED)
    return "" if share is None else f"{share:.0%} of the last {RECENT} steps' completions ran out of tokens"


def _entropy_collapse(steps: Rows, guard: Rows) -> str:
    # `entropy` counts rows that were left out as 0; where some were, `entropy_trained` does not.
    name = "entropy_trained" if "entropy_trained" in steps[0] else "entropy"
    before, now, right = _first(steps, name), _latest(steps, name, LATE), _latest(steps, "accuracy", LATE)
    if before is None or now is None or right is None or now >= ENTROPY_LEFT * before or right >= MASTERED:
        return ""
    return f"entropy fell from {before:.3g} to {now:.3g} nats a token, at {right:.0%} right answers"


def _kl_out_of_range(steps: Rows, guard: Rows) -> str:
    value = _over(steps, "kl", KL_FAR)
    return "" if value is None else f"the KL to the untrained model is {value:.3g} nats a token"


def _logprob_gap(steps: Rows, guard: Rows) -> str:
    mean, p99 = _latest(steps, "logprob_gap_mean", RECENT), _latest(steps, "logprob_gap_p99", RECENT)
    if mean is None or p99 is None or (mean <= GAP_MEAN and p99 <= GAP_P99):
        return ""
    return f"log-probs at sampling and in training are {mean:.2g} nats apart (99th percentile {p99:.2g})"


def _reward_without_accuracy(steps: Rows, guard: Rows) -> str:
    """See a reward above that of the best measurement while held-out accuracy is below it beyond its interval."""
    if not guard or guard[-1]["below_best_ci95"][0] <= 0 or guard[-1]["action"] == "rolled_back":
        return ""
    measured = guard[-1]
    first = max(0, measured["best_step"] - LATE)
    before, now = _mean(steps[first : first + LATE], "reward", LATE), _latest(steps, "reward", LATE)
    if before is None or now is None or now <= before or len(steps) < first + 2 * LATE:
        return ""
    was, is_now = measured["best_accuracy"], measured["accuracy"]
    return (
        f"reward rose from {before:.2f} to {now:.2f}, while held-out accuracy fell from {was:.0%} (step "
        f"{measured['best_step']}) to {is_now:.0%} (step {measured['step']})"
    )


def _unverified(steps: Rows, guard: Rows) -> str:
    share = _over(steps, "unverified", UNVERIFIED)
    return "" if share is None else f"{share:.1%} of the last {RECENT} steps' completions have no verdict"


FLAT_COMPONENT = "flat-component"
FLAT_WHY = "What is the same for all completions of a group cancels out of their advantages: the component adds nothing"
FLAT_CHANGE = "Look at `receipt` in completions/. Never earned: it asks for what is never done. Always earned: drop it"
RULES = (
    Rule(
        name="flat-groups",
        sees=_flat_groups,
        why="Equal rewards give advantages of 0: most of what is sampled changes no weight",
        change=(
            "All right: harder problems (data.levels, other data). All wrong: easier ones, a larger "
            "rollout.group_size, or supervised fine-tuning first. Either way: train.sampling: informative"
        ),
        wrong_when="the policy has mastered the data: then it is done",
    ),
    Rule(
        name="form-without-accuracy",
        sees=_form_without_accuracy,
        why="The policy is paid for how an answer looks; it learns the look",
        change=(
            "Pay form only to right answers (when: correct, mix: sound), and try `razona redteam RECIPE`. If "
            "nothing is ever right, the problems are too hard, or the targets are not what the verifier reads"
        ),
        wrong_when="form comes first and accuracy some steps later: look again after ten more",
    ),
    Rule(
        name="truncation",
        sees=_truncation,
        why="A completion that is cut off has no answer, so it is paid as a wrong one, however good its working is",
        change="Raise rollout.max_completion_tokens, or ask for shorter working in prompt.system",
        wrong_when="the policy is not yet used to ending its text: it should fall within the first steps",
    ),
    Rule(
        name="entropy-collapse",
        sees=_entropy_collapse,
        why="A policy that always writes the same finds nothing new, and its groups become flat",
        change="Lower train.learning_rate, raise train.clip_high, or set train.kl_weight",
        wrong_when="the task has one right text: then certainty is what is wanted",
    ),
    Rule(
        name="kl-out-of-range",
        sees=_kl_out_of_range,
        why="So far from the model it came from, the policy has mostly lost what that could do",
        change="Lower train.learning_rate or raise train.kl_weight; go back to an earlier checkpoint",
        wrong_when="the form asked for is far from what the model writes by itself: the first tokens then carry it all",
    ),
    Rule(
        name="logprob-gap",
        sees=_logprob_gap,
        why="The policy that sampled is not the one that is trained: ratios are off, clipping and gradients with them",
        change=(
            "Set rollout.temperature: 1.0, top_p: 1.0, top_k: 0, min_p: 0 and lora.dropout: 0; then train.precision: "
            "float32; then rollout.engine: transformers"
        ),
        wrong_when=(
            "never seen to be with our engine: at equal weights the gap is rounding. vLLM rounds elsewhere than the "
            "policy, and rollout.vllm.correction weighs the loss for it"
        ),
    ),
    Rule(
        name="reward-without-accuracy",
        sees=_reward_without_accuracy,
        why="Something else than right answers wins the reward, or the training problems are being memorised",
        change=(
            "Read the best paid completions in report.html, try `razona redteam RECIPE`; stop here and take the best "
            "weights (guard.patience); more or other problems"
        ),
        wrong_when="training has moved on to problems of another kind than the held-out ones",
    ),
    Rule(
        name="unverified",
        sees=_unverified,
        why="Our verifier failed on them: they are left out of their groups, and what is left is no fair sample",
        change="Read `reason` of these rows in completions/; mend the targets, or report it as a bug of the verifier",
        wrong_when="never: each one is a failure of ours",
    ),
)
