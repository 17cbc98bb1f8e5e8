"""Files of rows in, the same rows with their verdicts out."""

import dataclasses
import difflib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from razona.core.errors import DataError, RecipeError
from razona.core.nouns import Outcome, Verdict
from razona.verify.answers import check
from razona.verify.settings import Settings

POLICIES = {
    "percent": ("strict", "lenient"),
    "order": ("set", "ordered"),
    "units": ("lenient", "required"),
    "relation_as_set": ("true", "false"),
    "tolerance": (),
}
"""Switch of `Settings` -> what it may be; a number for `tolerance`."""
MAX_REASONS = 5
"""Printed."""
Row = Mapping[str, object]
Judge = Callable[[Row, str], Verdict]
"""Gives the verdict on a row; the text says where the row stands, for an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """How a file of rows is judged."""

    kind: str = "math"
    is_unmarked_allowed: bool | None = None
    """None: in `prediction`, not in `completion`."""
    policies: Mapping[str, object] = field(default_factory=dict)
    """Arguments of `Settings`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySummary:
    """What became of a file's rows."""

    outcomes: Mapping[str, int]
    reasons: Mapping[str, int]
    """Why rows are UNVERIFIED, with their number."""
    seconds: float
    """Of the verdicts alone."""
    agreement: tuple[int, int] | None
    """Rows whose `expected` is met, and rows that have one; None where none has."""
    out: Path | None

    def as_row(self) -> dict[str, object]:
        """Give the figures as JSON prints them."""
        total = sum(self.outcomes.values())
        return {
            "rows": total,
            "outcomes": dict(self.outcomes),
            "unverified": dict(self.reasons),
            "seconds": self.seconds,
            "verdicts_per_second": total / self.seconds if self.seconds else None,
            "expected": None if self.agreement is None else {"met": self.agreement[0], "rows": self.agreement[1]},
            "out": None if self.out is None else str(self.out),
        }

    def lines(self) -> Iterator[str]:
        """Give the figures for a person."""
        total = sum(self.outcomes.values())
        counts = ", ".join(f"{self.outcomes.get(str(outcome), 0)} {outcome}" for outcome in Outcome)
        yield f"{total:,} rows: {counts}"
        for reason, count in list(self.reasons.items())[:MAX_REASONS]:
            yield f"  unverified, {count} rows: {reason}"
        if self.agreement is not None:
            met, rows = self.agreement
            yield f"As expected: {met} of {rows} ({met / rows:.1%})"
        if self.seconds:
            yield f"{total / self.seconds:,.0f} verdicts/s ({self.seconds:.2f} s)"
        if self.out is not None:
            yield f"Written: {self.out}"


def parse_policies(assignments: list[str]) -> dict[str, object]:
    """Read `percent=lenient` and its like.

    Raises:
        RecipeError: an unknown policy, or a value it does not have.
    """
    found: dict[str, object] = {}
    for assignment in assignments:
        key, _, value = assignment.partition("=")
        if key not in POLICIES:
            near = difflib.get_close_matches(key, POLICIES, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise RecipeError(
                f"--set {assignment}: there is no policy {key!r}{hint} The policies are {', '.join(POLICIES)}."
            )
        if key == "tolerance":
            found[key] = _tolerance(assignment, value)
        elif value not in POLICIES[key]:
            raise RecipeError(f"--set {assignment}: {key} is one of {', '.join(POLICIES[key])}; given was {value!r}")
        else:
            found[key] = {"true": True, "false": False}.get(value, value)
    return found


def _tolerance(assignment: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 < number < 1:
        raise RecipeError(
            f"--set {assignment}: tolerance is a number between 0 and 1, relative to the target, e.g. tolerance=0.01"
        )
    return number


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Give every row with its line number.

    Raises:
        DataError: no such file, or a line that is no JSON object.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    with path.open(encoding="utf-8", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(
                    f"{path}, line {number}: this is no JSON ({error}); every line must be one JSON object"
                ) from None
            if not isinstance(row, dict):
                given = f"{type(row).__name__}: {line.strip()[:60]}"
                raise DataError(f"{path}, line {number}: a JSON object was expected, given was {given}")
            yield number, row


def text_of(row: Row, where: str) -> tuple[str, bool]:
    """Give what the model wrote, and whether it is a bare `prediction`."""
    for name in ("completion", "prediction"):
        if name in row:
            value = row[name]
            if not isinstance(value, str):
                raise DataError(f"{where}: {name} is {type(value).__name__}; it must be text")
            return value, name == "prediction"
    raise DataError(f"{where}: there is no `completion` and no `prediction`; the fields are {', '.join(row) or 'none'}")


def math_judge(options: VerifyOptions) -> Judge:
    """Give the judgement of a row with `gold`."""
    marked = dataclasses.replace(Settings(), **options.policies)
    unmarked = dataclasses.replace(marked, is_unmarked_allowed=True)

    def judge(row: Row, where: str) -> Verdict:
        completion, is_bare = text_of(row, where)
        gold = row.get("gold", row.get("target"))
        if isinstance(gold, int | float) and not isinstance(gold, bool):
            gold = str(gold)
        if not isinstance(gold, str):
            raise DataError(f"{where}: `gold` must be text or a number; the fields are {', '.join(row)}")
        is_unmarked = is_bare if options.is_unmarked_allowed is None else options.is_unmarked_allowed
        return check(completion, gold, unmarked if is_unmarked else marked)

    return judge


def code_judge(options: VerifyOptions) -> Judge:
    """Give the judgement of a row with `tests`."""
    from razona.verify.code import check_code, read_code_row

    def judge(row: Row, where: str) -> Verdict:
        completion, _ = text_of(row, where)
        try:
            problem = read_code_row(row)
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
        return check_code(completion, problem).verdict

    return judge


def logic_judge(options: VerifyOptions) -> Judge:
    """Give the judgement of a row with a puzzle's fields."""
    from razona.verify.logic import check_logic, read_puzzle
    from razona.verify.tags import Tags

    def judge(row: Row, where: str) -> Verdict:
        completion, is_bare = text_of(row, where)
        try:
            puzzle = read_puzzle(row)
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
        is_unmarked = is_bare if options.is_unmarked_allowed is None else options.is_unmarked_allowed
        return check_logic(completion, puzzle, Tags(), is_unmarked_allowed=is_unmarked)

    return judge


JUDGES: dict[str, Callable[[VerifyOptions], Judge]] = {"math": math_judge, "code": code_judge, "logic": logic_judge}


def verify_file(path: Path, out: Path | None, options: VerifyOptions) -> VerifySummary:
    """Judge every row of a file, in order, and write the rows with their verdicts.

    Raises:
        RecipeError: an unknown kind.
        DataError: a line that cannot be read or lacks a field, with its number. Nothing is written then.
    """
    if options.kind not in JUDGES:
        raise RecipeError(f"--kind {options.kind}: the kinds are {', '.join(JUDGES)}")
    judge = JUDGES[options.kind](options)
    outcomes: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    expected = met = 0
    written: list[str] = []
    seconds = 0.0
    for number, row in read_rows(path):
        started = time.perf_counter()
        verdict = judge(row, f"{path}, line {number}")
        took = time.perf_counter() - started
        seconds += took
        outcomes[str(verdict.outcome)] += 1
        if verdict.outcome is Outcome.UNVERIFIED:
            reasons[verdict.reason] += 1
        if isinstance(row.get("expected"), bool):
            expected += 1
            met += row["expected"] == (verdict.outcome is Outcome.CORRECT)
        if out is not None:
            verdict = dataclasses.replace(verdict, seconds=verdict.seconds or took)
            written.append(json.dumps({**row, **_columns(verdict)}, ensure_ascii=True))
    if out is not None:
        from razona.core.files import write_text

        write_text(out, "".join(line + "\n" for line in written))
    return VerifySummary(
        outcomes=outcomes,
        reasons=dict(reasons.most_common()),
        seconds=seconds,
        agreement=(met, expected) if expected else None,
        out=out,
    )


def _columns(verdict: Verdict) -> dict[str, object]:
    return {
        "outcome": str(verdict.outcome),
        "answer": verdict.answer,
        "reason": verdict.reason,
        "seconds": round(verdict.seconds, 6),
    }
