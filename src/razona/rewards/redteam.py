"""Attacks on a recipe's rewards: is every right completion paid more than every wrong one?

The completions and what they are worth come from `attacks.py` and its like; the pay comes from the recipe's own mix.

Does not cover: the reward `length`, since every completion counts as one token here; a person's function that reads
columns of the data set other than `target`; targets other than those of the attacks.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from razona.core.errors import RecipeError, RewardError
from razona.recipe import RewardsSection
from razona.rewards.attacks import Case, Exam, math_exams
from razona.rewards.attacks_code import code_exams
from razona.rewards.attacks_logic import logic_exams
from razona.rewards.mix import Mix
from razona.verify import Tags

DEADLINE_S = 1.0
"""For one completion, text in, pay out."""
CODE_TIMEOUT_S = 1.0
"""For the tests of one program here, where the recipe allows more; one that takes it all may take DEADLINE_S longer."""
NUM_WORST = 5
SHOWN_CHARACTERS = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A wrong completion that is paid as much as a right one, or more."""

    problem: str
    wrong_pattern: str
    wrong_text: str
    """Shortened, as Python would write it."""
    wrong_pay: float
    right_pattern: str
    right_text: str
    right_pay: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that rewards must hold."""

    name: str
    is_passed: bool
    finding: str
    """A sentence with the numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreCard:
    """What the red team found."""

    kind: str
    num_patterns: int
    num_right: int
    num_wrong: int
    num_pairs: int
    """Of one right and one wrong completion of the same problem."""
    num_violations: int
    checks: tuple[Check, ...]
    worst: tuple[Pair, ...]
    """The pairs in which the wrong one leads the most, no two of the same wrong pattern."""

    @property
    def is_passed(self) -> bool:
        """Say whether every check passed."""
        return all(check.is_passed for check in self.checks)

    def as_row(self) -> dict[str, object]:
        """Give the card as plain values."""
        return {**asdict(self), "is_passed": self.is_passed}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Paid:
    case: Case
    pay: float | None


def red_team(section: RewardsSection, tags: Tags) -> ScoreCard:
    """Attack the rewards of a recipe.

    Raises:
        RecipeError: a reward is drawn at random, so that no pay means anything; or the mix cannot be made.
        RewardError: a person's function breaks its contract on one of the completions.
    """
    if any(component.name == "random" for component in section.components):
        raise RecipeError(
            "rewards.components has random, whose pay means nothing, so these rewards cannot be judged. "
            "Judge the recipe without it: --set 'rewards.components=[...]'."
        )
    verify = section.verify.model_copy(update={"code_timeout_s": min(section.verify.code_timeout_s, CODE_TIMEOUT_S)})
    mix = Mix.of(section.model_copy(update={"verify": verify}), tags)
    exams = _exams(section, tags)
    deadline_s = DEADLINE_S + (verify.code_timeout_s if section.kind == "code" else 0.0)
    alone, slowest = _pay_alone(mix, exams)
    together = [_pay(mix, exam, exam.cases) for exam in exams]
    again = [_pay(mix, exam, exam.cases) for exam in exams]
    backwards = [_pay(mix, exam, exam.cases[::-1])[::-1] for exam in exams]
    paid = [
        [_Paid(case=case, pay=pay) for case, pay in zip(exam.cases, pays, strict=True)]
        for exam, pays in zip(exams, together, strict=True)
    ]
    pairs = sorted(_violations(exams, paid), key=lambda pair: pair.right_pay - pair.wrong_pay)
    cases = [case for exam in exams for case in exam.cases]
    num_pairs = sum(_count(exam, is_right=True) * _count(exam, is_right=False) for exam in exams)
    checks = (
        _check("order", not pairs, f"{len(pairs)} of {num_pairs} pairs pay a wrong completion as much as a right one"),
        _check_maximum(exams, paid),
        _check_verdicts(paid),
        _check(
            "deadline", slowest < deadline_s, f"the slowest pay took {slowest:.2f} s; the limit is {deadline_s:g} s"
        ),
        _check("determinism", together == again, _alike(together, again, "a second time")),
        _check("row order", together == backwards, _alike(together, backwards, "in reverse order")),
        _check("batch", together == alone, _alike(together, alone, "each alone")),
        _check_wrong_length(mix, exams[0]),
    )
    return ScoreCard(
        kind=section.kind,
        num_patterns=len({case.pattern for case in cases}),
        num_right=sum(case.is_right for case in cases),
        num_wrong=sum(not case.is_right for case in cases),
        num_pairs=num_pairs,
        num_violations=len(pairs),
        checks=checks,
        worst=_worst(pairs),
    )


def _exams(section: RewardsSection, tags: Tags) -> list[Exam]:
    match section.kind:
        case "math":
            return math_exams(tags, section.verify)
        case "code":
            return code_exams(tags)
        case "logic":
            return logic_exams(tags)


def _count(exam: Exam, *, is_right: bool) -> int:
    return sum(case.is_right is is_right for case in exam.cases)


def _pay(mix: Mix, exam: Exam, cases: Sequence[Case]) -> list[float | None]:
    count = len(cases)
    return mix(
        completions=[case.text for case in cases],
        target=[exam.target] * count,
        prompts=[""] * count,
        completion_ids=[[0]] * count,
        extra=[json.dumps(dict(exam.row))] * count,
    )


def _pay_alone(mix: Mix, exams: Sequence[Exam]) -> tuple[list[list[float | None]], float]:
    """Give the pay of each completion in a batch of its own, and the longest time that one took."""
    pays, slowest = [], 0.0
    for exam in exams:
        pays.append([])
        for case in exam.cases:
            started = time.perf_counter()
            pays[-1] += _pay(mix, exam, [case])
            slowest = max(slowest, time.perf_counter() - started)
    return pays, slowest


def _violations(exams: Sequence[Exam], paid: Sequence[Sequence[_Paid]]) -> list[Pair]:
    return [
        Pair(
            problem=exam.name,
            wrong_pattern=wrong.case.pattern,
            wrong_text=_shown(wrong.case.text),
            wrong_pay=wrong.pay,
            right_pattern=right.case.pattern,
            right_text=_shown(right.case.text),
            right_pay=right.pay,
        )
        for exam, rows in zip(exams, paid, strict=True)
        for right in rows
        if right.case.is_right and right.pay is not None
        for wrong in rows
        if not wrong.case.is_right and wrong.pay is not None and wrong.pay >= right.pay
    ]


def _shown(text: str) -> str:
    shown = repr(text if len(text) < 10 * SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + text[-SHOWN_CHARACTERS:])
    half = SHOWN_CHARACTERS // 2
    return shown if len(shown) <= SHOWN_CHARACTERS else f"{shown[:half]} ... {shown[-half:]}"


def _worst(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    chosen: dict[str, Pair] = {}
    for pair in pairs:
        chosen.setdefault(pair.wrong_pattern, pair)
    return tuple(chosen.values())[:NUM_WORST]


def _check(name: str, is_passed: bool, finding: str) -> Check:
    return Check(name=name, is_passed=is_passed, finding=finding)


def _alike(pays: Sequence[Sequence[float | None]], others: Sequence[Sequence[float | None]], how: str) -> str:
    pairs = [pair for left, right in zip(pays, others, strict=True) for pair in zip(left, right, strict=True)]
    return f"{sum(left != right for left, right in pairs)} of {len(pairs)} completions are paid otherwise {how}"


def _check_maximum(exams: Sequence[Exam], paid: Sequence[Sequence[_Paid]]) -> Check:
    """The plain right completion in the form asked for, the first of its exam, is paid the most."""
    outdone = [
        f"{row.case.pattern} ({exam.name})"
        for exam, rows in zip(exams, paid, strict=True)
        for row in rows
        if row.pay is not None and rows[0].pay is not None and row.pay > rows[0].pay
    ]
    finding = f"{len(outdone)} completions are paid more than the plain right one in the form asked for"
    return _check("maximum", not outdone, finding + (f": {', '.join(outdone[:3])}" if outdone else ""))


def _check_verdicts(paid: Sequence[Sequence[_Paid]]) -> Check:
    missing = [row.case.pattern for rows in paid for row in rows if row.pay is None]
    finding = f"{len(missing)} completions got no verdict"
    return _check("verdicts", not missing, finding + (f": {', '.join(missing[:3])}" if missing else ""))


def _check_wrong_length(mix: Mix, exam: Exam) -> Check:
    """Two completions with the columns of one must be refused, not paid."""
    row = {name: [value] for name, value in exam.row.items()}
    try:
        pays = mix(
            completions=[exam.cases[0].text] * 2, **{**row, "target": [exam.target], "completion_ids": [[0], [0]]}
        )
    except RewardError:
        return _check("wrong length", True, "2 completions with 1 target are refused")
    return _check("wrong length", False, f"2 completions with 1 target were paid {pays}")
