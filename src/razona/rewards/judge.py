"""The verdict on each completion of a batch, by the kind of problem."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from razona.core.activity import moved
from razona.core.errors import DataError, RazonaError, RewardError
from razona.core.nouns import Outcome, Verdict
from razona.recipe import VerifySection
from razona.verify import Settings, Tags, check

if TYPE_CHECKING:
    from razona.verify.code import CodeOptions

MAX_REASON_CHARACTERS = 300
TEST_COLUMNS = ("tests", "test_list", "test")
"""A code problem has one of these columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What was found out about one completion."""

    verdict: Verdict
    tests_passed: int = 0
    tests_run: int = 0
    """0 for problems without tests, and where the code did not get as far as a test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problems:
    """What a batch is checked against, one entry a completion."""

    targets: Sequence[str]
    rows: Sequence[Mapping[str, object]]
    """All columns of the problem."""


def settings_of(section: VerifySection, tags: Tags) -> Settings:
    """Give the verifier's settings for a recipe."""
    return Settings(
        tags=tags,
        percent=section.percent,
        order=section.order,
        units=section.units,
        relation_as_set=section.relation_as_set,
        tolerance=section.tolerance,
    )


def judge_batch(
    kind: str,
    texts: Sequence[str],
    problems: Problems,
    section: VerifySection,
    tags: Tags,
    *,
    is_unmarked_allowed: bool = False,
) -> list[Judged]:
    """Give the verdict on each completion, in order.

    A row whose tests or puzzle cannot be read is UNVERIFIED, as a target that cannot be read is.

    Args:
        is_unmarked_allowed: read an answer that nothing marks, as evaluations do; rewards do not.

    Raises:
        RewardError: the rows have no column that a problem of this kind needs: that is the data set, not a row.
    """
    if kind == "code":
        return _judge_code(texts, problems.rows, section, tags)
    if kind == "logic":
        rows = zip(texts, problems.rows, strict=True)
        return [_verdict_or_none(_judge_logic, *one, tags, is_unmarked_allowed) for one in rows]
    settings = replace(settings_of(section, tags), is_unmarked_allowed=is_unmarked_allowed)
    targets = zip(texts, problems.targets, strict=True)
    return [_verdict_or_none(_judge_math, *one, settings) for one in targets]


def _verdict_or_none(judge: Callable[..., Judged], *arguments: object) -> Judged:
    """Give the verdict; where the verifier itself fails, UNVERIFIED: one text must not end a run of hours."""
    moved()
    try:
        return judge(*arguments)
    except RazonaError:  # the data set's fault, or the machine's: no row's
        raise
    except Exception as error:
        reason = f"our verifier failed: {type(error).__name__}: {error}"
        return Judged(verdict=Verdict(outcome=Outcome.UNVERIFIED, reason=reason[:MAX_REASON_CHARACTERS]))


def _judge_math(text: str, target: str, settings: Settings) -> Judged:
    return Judged(verdict=check(text, target, settings))


def _judge_logic(text: str, row: Mapping[str, object], tags: Tags, is_unmarked_allowed: bool) -> Judged:
    from razona.verify.logic import check_logic, read_puzzle

    if set(row) <= {"question", "target"}:
        raise RewardError(
            "rewards.kind = logic, and the problems have no column but target; expected those of their puzzle, such as "
            "nums and target, or names and statements. Name the data set's, or set rewards.kind: math."
        )
    try:
        return Judged(verdict=check_logic(text, read_puzzle(row), tags, is_unmarked_allowed=is_unmarked_allowed))
    except DataError as error:
        return Judged(verdict=Verdict(outcome=Outcome.UNVERIFIED, reason=str(error)))


def require_sandbox(kind: str, section: VerifySection) -> None:
    """Refuse to go on where code cannot be judged: before anything is sampled, not when its verdict is due.

    Raises:
        MachineError: the problems are of kind `code`, and this machine has no sandbox of the kind asked for.
    """
    if kind == "code":
        from razona.verify.code import Isolation, choose_isolation

        choose_isolation(Isolation(section.code_isolation))


def _judge_code(
    texts: Sequence[str], rows: Sequence[Mapping[str, object]], section: VerifySection, tags: Tags
) -> list[Judged]:
    """Run the completions' code a few at a time: most of a verdict is waiting for a process."""
    from razona.verify.code import CodeOptions, Isolation

    for row in rows[:1]:
        if not any(name in row for name in TEST_COLUMNS):
            raise RewardError(
                f"rewards.kind = code, and the problems' columns are {', '.join(sorted(row))}; expected one of "
                f"{', '.join(TEST_COLUMNS)} with the tests. Name the data set's so, or set rewards.kind: math."
            )
    options = CodeOptions(isolation=Isolation(section.code_isolation), timeout_s=section.code_timeout_s, tags=tags)
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        return list(pool.map(lambda text, row: _verdict_or_none(_judge_one_code, text, row, options), texts, rows))


def _judge_one_code(text: str, row: Mapping[str, object], options: "CodeOptions") -> Judged:
    from razona.verify.code import check_code, read_code_row

    try:
        problem = read_code_row(row)
    except DataError as error:
        return Judged(verdict=Verdict(outcome=Outcome.UNVERIFIED, reason=str(error)))
    report = check_code(text, problem, options)
    passed = sum(test.outcome is Outcome.CORRECT for test in report.tests)
    return Judged(verdict=report.verdict, tests_passed=passed, tests_run=len(report.tests))
