"""Published rules on reinforcement or supervised fine-tuning, each with its source, its threshold and what it saw.

They disagree with each other, and are shown side by side; `razona.advise.decision` says which are followed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from razona.advise.evidence import BAND, Evidence, expected_signal

FEW_LABELS, ENOUGH_LABELS = 100, 50
FORM_ONLY = 0.3
"""Right anywhere less right as paid, from which on the form is what is missing (our choice)."""
RANK = 32

PREDIBASE = "Predibase, How reinforcement learning beats supervised fine-tuning, 2025-02-11"
AZURE = "Microsoft azure-skills, training-types.md and grader-design.md"
NOVA = "AWS Bedrock, Nova reinforcement fine-tuning, evaluation first"
LUCY = "Lucy decision tree (public repository, third party)"
COOKBOOK = "OpenAI cookbook, reinforcement fine-tuning"
CHU = "Chu et al. 2025, arXiv:2501.17161"
YUE = "Yue et al. 2025, arXiv:2504.13837"
BAE = "prime-rl; Bae et al. 2025, arXiv:2504.03380"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """One rule, and what it says of this evidence."""

    rule: str
    """Its number and name."""
    threshold: str
    saw: str
    fired: bool
    says: str
    """What follows where it fired."""
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRule:
    """One published rule."""

    rule: str
    threshold: str
    source: str
    says: str
    see: Callable[[Evidence], tuple[bool, str]]
    """Evidence -> (it fired, what it saw)."""


def percent(value: float) -> str:
    """Write a share."""
    return f"{value:.1%}" if 0 < value < 0.1 else f"{value:.0%}"


def _cot(found: Evidence) -> tuple[bool, str]:
    gain = found.working_gain
    if gain is None:
        return False, "not measured"
    told = f"{100 * gain.value:+.1f} points ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
    return gain.low > 0, f"working gains {told} over blurting"


def _many(found: Evidence) -> tuple[bool, str]:
    if found.right_in_many is None or found.beyond_chance is None:
        return False, "not needed"
    told = (
        f"{percent(found.right_in_many.value)} solved in {found.many} tries, {percent(found.right_by_chance)} by chance"
    )
    return found.beyond_chance.value < 0.1, told


def _form_only(found: Evidence) -> tuple[bool, str]:
    missing = found.best_prompt_right - found.paid.value
    return (
        found.worked_solutions >= ENOUGH_LABELS and missing > FORM_ONLY,
        f"{found.worked_solutions:,} worked solutions; right {percent(found.best_prompt_right)} under its best prompt, "
        f"paid {percent(found.paid.value)}",
    )


PUBLISHED_RULES: Sequence[PublishedRule] = (
    PublishedRule(
        rule="R1 not verifiable",
        threshold="no program can check the answers",
        source=PREDIBASE,
        says="not RFT; with demonstrations SFT",
        see=lambda found: (found.verifiable < 0.5, f"{percent(found.verifiable)} of targets verify"),
    ),
    PublishedRule(
        rule="R2 no labels, but verifiable",
        threshold="no worked solutions",
        source=PREDIBASE,
        says="RFT",
        see=lambda found: (
            found.worked_solutions == 0 and found.verifiable >= 0.5,
            f"{found.worked_solutions:,} worked solutions",
        ),
    ),
    PublishedRule(
        rule="R3 few labels",
        threshold=f"fewer than {FEW_LABELS}",
        source=PREDIBASE,
        says="RFT",
        see=lambda found: (found.worked_solutions < FEW_LABELS, f"{found.worked_solutions:,} worked solutions"),
    ),
    PublishedRule(
        rule="R3b fewer than a thousand labels",
        threshold="fewer than about 1,000, and an automatic score",
        source="A public fine-tuning skill for Fireworks",
        says="RFT",
        see=lambda found: (found.worked_solutions < 1_000, f"{found.worked_solutions:,} worked solutions"),
    ),
    PublishedRule(
        rule="R4 working helps",
        threshold="accuracy with working above accuracy without; the interval excludes 0",
        source=PREDIBASE,
        says="RFT, even with labels",
        see=_cot,
    ),
    PublishedRule(
        rule="R5 labels, and the form is what is missing",
        threshold=f"50 labels and more; {FORM_ONLY:.0%} right that are not paid (ours)",
        source=AZURE,
        says="SFT",
        see=_form_only,
    ),
    PublishedRule(
        rule="R6 too little data",
        threshold="fewer than 50 problems: do not tune; fewer than 100: few",
        source=f"{AZURE}; {NOVA}; {LUCY}",
        says="collect more problems first",
        see=lambda found: (
            not found.is_endless and found.problems < 100,
            "made as needed" if found.is_endless else f"{found.problems:,} problems",
        ),
    ),
    PublishedRule(
        rule="R7 nothing is paid",
        threshold="reward of the base 0 %",
        source=NOVA,
        says="SFT first",
        see=lambda found: (found.paid.value == 0, f"{percent(found.paid.value)} paid as correct"),
    ),
    PublishedRule(
        rule="R7b solved already",
        threshold="above 95 %",
        source=NOVA,
        says="RFT is not needed",
        see=lambda found: (found.paid.value > 0.95, f"{percent(found.paid.value)} paid as correct"),
    ),
    PublishedRule(
        rule="R8 too hard to begin with",
        threshold="mean below 10 % stops, below 25 % warns",
        source=LUCY,
        says="not RFT yet",
        see=lambda found: (found.paid.value < 0.25, f"{percent(found.paid.value)} paid as correct"),
    ),
    PublishedRule(
        rule="R8b too easy",
        threshold="mean above 85 %",
        source=LUCY,
        says="harder problems",
        see=lambda found: (found.paid.value > 0.85, f"{percent(found.paid.value)} paid as correct"),
    ),
    PublishedRule(
        rule="R8c too few problems within reach",
        threshold="at most 10 % of problems above zero, or half of them perfect",
        source=LUCY,
        says="other problems",
        see=lambda found: (
            found.above_zero <= 0.1 or found.perfect >= 0.5,
            f"{percent(found.above_zero)} above zero, {percent(found.perfect)} perfect",
        ),
    ),
    PublishedRule(
        rule="R9 failures outside of the good band",
        threshold="25 to 50 % of completions failing is good, above 70 % too hard",
        source=AZURE,
        says="problems of another difficulty",
        see=lambda found: (not 0.25 <= 1 - found.paid.value <= 0.5, f"{percent(1 - found.paid.value)} fail"),
    ),
    PublishedRule(
        rule="R10 it never succeeds",
        threshold="no completion right",
        source=COOKBOOK,
        says="no signal to climb on",
        see=lambda found: (found.right.value == 0, f"{percent(found.right.value)} right in any form"),
    ),
    PublishedRule(
        rule="R11 problems in the band",
        threshold=f"pass rate {BAND[0]:.0%} to {BAND[1]:.0%}",
        source=BAE,
        says="RFT learns most from these",
        see=lambda found: (found.in_band >= 0.3, f"{percent(found.in_band)} of problems"),
    ),
    PublishedRule(
        rule="R12 groups with signal",
        threshold="half of the groups (ours); 1 - p^G - (1 - p)^G if all problems were alike",
        source="exact for rewards of 0 and 1",
        says="RFT has something to learn from",
        see=lambda found: (
            found.signal.value >= 0.5,
            f"{percent(found.signal.value)} at group size {found.group_size} (alike: "
            f"{percent(expected_signal(found.paid.value, found.group_size))})",
        ),
    ),
    PublishedRule(
        rule="R13 it does not follow the form",
        threshold="form rate below 50 % (no source: see docs/advise.md)",
        source=CHU,
        says="a short SFT warm-up, then RFT",
        see=lambda found: (found.form.value < 0.5, f"{percent(found.form.value)} in the form"),
    ),
    PublishedRule(
        rule="R15 rules or inputs will shift",
        threshold="the person's word",
        source=CHU,
        says="RFT",
        see=lambda found: (bool(found.inputs_shift), {None: "not asked", True: "yes", False: "no"}[found.inputs_shift]),
    ),
    PublishedRule(
        rule="R17 beyond its reach",
        threshold="fewer than 10 % solved in 64 tries, beyond chance",
        source=YUE,
        says="distil from a stronger model; RFT adds no ability",
        see=_many,
    ),
    PublishedRule(
        rule="R19 chain them",
        threshold="worked solutions, and room above SFT",
        source="verl baselines: gemma-2-2b-it on GSM8K 23.9, SFT 52.1, then PPO 64.0",
        says="SFT, then RFT",
        see=lambda found: (
            found.worked_solutions >= ENOUGH_LABELS and found.paid.value < 0.9,
            f"{found.worked_solutions:,} worked solutions, {percent(found.paid.value)} paid",
        ),
    ),
    PublishedRule(
        rule="R22 cut off",
        threshold="more than 30 % of completions reach the limit",
        source="Axolotl, training_stability.qmd",
        says="raise rollout.max_completion_tokens first",
        see=lambda found: (found.truncated > 0.3, f"{percent(found.truncated)} cut off"),
    ),
    PublishedRule(
        rule="V1 the verifier fails",
        threshold="more than 2 % of completions unverified (no source: ours)",
        source="NeMo-RL#431, verl#5635: failures that were scored as wrong",
        says="mend the verifier or the targets first",
        see=lambda found: (found.unverified > 0.02, f"{percent(found.unverified)} unverified"),
    ),
)
"""By our numbers. Rules of which nothing can be measured before training are in docs/advise.md."""


def apply_rules(found: Evidence) -> list[Ruling]:
    """Let every rule look at the evidence."""
    rulings = []
    for rule in PUBLISHED_RULES:
        fired, saw = rule.see(found)
        rulings.append(
            Ruling(rule=rule.rule, threshold=rule.threshold, saw=saw, fired=fired, says=rule.says, source=rule.source)
        )
    return rulings
