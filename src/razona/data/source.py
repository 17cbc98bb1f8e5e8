"""Problems from wherever the recipe says: our generators, a file, the hub."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from razona import tasks
from razona.core.errors import ColumnError, DataError
from razona.core.nouns import Problem
from razona.core.seeds import derive_rng
from razona.data.layouts import plain_row, strip_wrapper
from razona.recipe import DataSection

TASKS = "tasks"
INDENTATION = "    "
"""What a target that is the rest of a program begins with, and keeps."""
FILE_SUFFIXES = (".jsonl", ".csv", ".parquet")
"""A source that ends in one of these is a file; a hub name may hold a dot, too."""


def load_problems(
    section: DataSection, *, count: int, seed: int, at_least: int | None = None, split: str = "train"
) -> list[Problem]:
    """Give the problems of the recipe's source: all that a file or data set holds, or `count` generated ones.

    Args:
        at_least: this many will do where the generators do not hold `count`; None: they must.
        count: how many to generate. `data.max_problems` cuts both, after files are shuffled by the seed.
        split: of the generators: `train`, `evaluation` or `ood`. Files and hub data sets have `data.split`.

    Raises:
        DataError: the file, the data set or the named column is not there, or a row has no target.
    """
    limit = section.max_problems
    if section.source == TASKS:
        count = count if limit is None else min(count, limit)
        return tasks.distinct_problems(
            split,
            count,
            seed=seed,
            at_least=count if at_least is None else min(count, at_least),
            families=list(section.families),
            levels=list(section.levels),
        )
    problems = read_problems(section)
    derive_rng("data", seed).shuffle(problems)
    return problems[:limit]


def read_problems(section: DataSection) -> list[Problem]:
    """Give every problem of a file or hub data set, in its order.

    Rows in the layouts of `razona.data.layouts` are read as they are; instructions that a data set wraps around its
    questions are taken off.

    Raises:
        DataError: the file, the data set or the named column is not there, a row has no target, or ids repeat.
    """
    path = Path(section.source)
    found = list(_read_file(path) if is_file_source(section.source) else _read_hub(section))
    if not found:
        raise DataError(f"data.source = {section.source} holds no rows; expected at least one problem")
    rows = [plain_row(row) for row in found]
    question = _column(section.question_column, rows[0], "data.question_column", section.source)
    target = _column(section.target_column, rows[0], "data.target_column", section.source)
    _check_ids(rows, section.source)
    return [_problem(row, number, question, target, section) for number, row in enumerate(rows, start=1)]


def is_file_source(source: str) -> bool:
    """Say whether a source names a file, and not a hub data set."""
    path = Path(source)
    return path.suffix in FILE_SUFFIXES or path.exists() or source.startswith(("/", "./", "../"))


def _check_ids(rows: Sequence[Mapping[str, object]], source: str) -> None:
    """Refuse ids that do not tell problems apart; rows that all have none are numbered."""
    with_id = [number for number, row in enumerate(rows, start=1) if row.get("id") not in (None, "")]
    if not with_id:
        return
    if len(with_id) < len(rows):
        first = next(number for number, row in enumerate(rows, start=1) if row.get("id") in (None, ""))
        raise DataError(
            f"{source}, row {first}: the column id is empty, and {len(with_id)} of {len(rows)} rows have one. Give "
            "every row an id of its own, or none any: then they are numbered."
        )
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        before = seen.setdefault(str(row["id"]), number)
        if before != number:
            raise DataError(
                f"{source}, rows {before} and {number} have the same id, {row['id']!r}; expected one of its own for "
                "every problem. Rename or remove the column id: without one, rows are numbered."
            )


def _read_file(path: Path) -> Iterable[Mapping[str, object]]:
    if not path.is_file():
        raise DataError(
            f"data.source = {path}: there is no such file (looked in {path.parent.resolve()}). "
            "Give a .jsonl, .csv or .parquet file, a hub data set, or `tasks`."
        )
    if path.suffix == ".jsonl":
        return _read_jsonl(path)
    if path.suffix not in FILE_SUFFIXES:
        raise DataError(f"data.source = {path}: expected a .jsonl, .csv or .parquet file, got {path.suffix}")
    from datasets import load_dataset

    loaded = load_dataset(path.suffix[1:], data_files=str(path), split="train")
    return [dict(row) for row in loaded]


def _read_jsonl(path: Path) -> list[Mapping[str, object]]:
    rows = []
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines() would also cut at U+2028 inside a text
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {number}: not JSON ({error.msg} at column {error.colno})") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: expected an object with named columns, got {type(row).__name__}")
        rows.append(row)
    return rows


def _read_hub(section: DataSection) -> list[Mapping[str, object]]:
    from datasets import load_dataset

    try:
        loaded = load_dataset(section.source, section.config, split=section.split)
    except Exception as error:
        # The hub client has no common error class: names, network, credentials and formats all differ.
        raise DataError(
            f"data.source = {section.source} cannot be loaded from the hub: {type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else ''} Without network, point it at a local copy: "
            "--set data.source=FILE.jsonl"
        ) from error
    return [dict(row) for row in loaded]


def _column(wanted: str | Sequence[str], row: Mapping[str, object], key: str, source: str) -> str:
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    for name in names:
        if name in row:
            return name
    raise ColumnError(
        f"{key} = {wanted if isinstance(wanted, str) else ' or '.join(names)}: {source} has no such column; "
        f"its columns are {', '.join(row)}. Name the right one with --set {key}=NAME"
    )


def _problem(row: Mapping[str, object], number: int, question: str, target: str, section: DataSection) -> Problem:
    for name in (question, target):
        if row.get(name) in (None, ""):
            raise DataError(
                f"{section.source}, row {number}: column {name!r} is empty; every problem needs a question and a target"
            )
    working, mark, answer = str(row[target]).rpartition("####")  # GSM8K writes the working, then `#### target`
    is_indented = not mark and answer.lstrip("\r\n").startswith(INDENTATION)
    truth = answer.strip("\r\n").rstrip() if is_indented else answer.strip()
    if not truth.strip():
        raise DataError(f"{section.source}, row {number}: column {target!r} holds no target: {str(row[target])!r}")
    extra = {name: value for name, value in row.items() if name not in (question, target, "id")}
    if mark:
        extra.setdefault("solution", working.strip())
    return Problem(
        id=str(row.get("id") or f"row-{number:06d}"),
        question=strip_wrapper(_question_text(row[question])),
        target=truth,
        family=Path(section.source).stem,
        extra=extra,
    )


def _question_text(value: object) -> str:
    """Give the question of a plain column, or of the last message where the column holds a conversation."""
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        return str(value[-1].get("content", ""))
    return str(value)
