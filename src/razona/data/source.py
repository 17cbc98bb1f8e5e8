"""Problems from wherever the recipe says: our generators, a file, the hub, a function of the person's own."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path

from razona import tasks
from razona.core.errors import ColumnError, DataError
from razona.core.functions import is_function_name
from razona.core.hub import settle_hub
from razona.core.nouns import Problem
from razona.core.seeds import derive_rng, derive_seed
from razona.data.generator import yielded
from razona.data.layouts import plain_row, strip_wrapper, with_test
from razona.recipe import DataSection

TASKS = "tasks"
INDENTATION = "    "
"""What a target that is the rest of a program begins with, and keeps."""
FILE_SUFFIXES = (".jsonl", ".csv", ".parquet")
"""A source that ends in one of these is a file; a hub name may hold a dot, too."""
UNASKED = 1_000
"""Problems that a person's function is asked for where nobody says how many: to look through, to measure on."""
NESTED = " (read from reward_model.ground_truth, ground_truth or reference_answer where a row has no column answer)"
MAX_CELL = 2**30
"""Characters of a cell of a CSV file; Python's own limit of 131,072 cuts long test programs off."""


def load_problems(
    section: DataSection, *, count: int, seed: int, at_least: int | None = None, split: str = "train"
) -> list[Problem]:
    """Give the problems of the recipe's source: all that a file or data set holds, or `count` generated ones.

    Args:
        at_least: this many will do where the generators do not hold `count`; None: they must.
        count: how many to generate. `data.max_problems` cuts both, after files are shuffled by the seed.
        split: of the generators: `train`, `evaluation` or `ood`; a person's function is called with another seed for
            each. Files and hub data sets have `data.split`.

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
    problems = read_problems(section, count=count, seed=seed if split == "train" else derive_seed("data", split, seed))
    derive_rng("data", seed).shuffle(problems)
    return problems[:limit]


def read_problems(section: DataSection, *, count: int = UNASKED, seed: int = 0) -> list[Problem]:
    """Give every problem of a file or hub data set, in its order, or those that a person's function yields.

    Rows in the layouts of `razona.data.layouts` are read as they are; instructions that a data set wraps around its
    questions are taken off.

    Args:
        count: what such a function is asked for, and with which `seed`.

    Raises:
        DataError: the file, the data set or the named column is not there, a row has no target, or ids repeat.
        RecipeError: there is no such function.
    """
    found = list(_read(section, count, seed))
    if not found:
        raise DataError(f"data.source = {section.source} holds no rows; expected at least one problem")
    rows = [one if isinstance(one, Problem) else plain_row(one) for one in found]
    _check_ids([one.id if isinstance(one, Problem) else one.get("id") for one in rows], section.source)
    question, target = _columns(rows, section)
    return [
        one if isinstance(one, Problem) else _problem(one, number, question, target, section)
        for number, one in enumerate(rows, start=1)
    ]


def _read(section: DataSection, count: int, seed: int) -> Iterable[Problem | Mapping[str, object]]:
    if is_function_name(section.source):
        return yielded(section.source, count=count, seed=seed)
    return _read_file(Path(section.source)) if is_file_source(section.source) else _read_hub(section)


def is_file_source(source: str) -> bool:
    """Say whether a source names a file, and not a hub data set."""
    path = Path(source)
    return path.suffix in FILE_SUFFIXES or path.exists() or source.startswith(("/", "./", "../"))


def _check_ids(ids: Sequence[object], source: str) -> None:
    """Refuse ids that do not tell problems apart; rows that all have none are numbered."""
    with_id = [number for number, one in enumerate(ids, start=1) if one not in (None, "")]
    if not with_id:
        return
    if len(with_id) < len(ids):
        first = next(number for number, one in enumerate(ids, start=1) if one in (None, ""))
        raise DataError(
            f"{source}, row {first}: the column id is empty, and {len(with_id)} of {len(ids)} rows have one. Give "
            "every row an id of its own, or none any: then they are numbered."
        )
    seen: dict[str, int] = {}
    for number, one in enumerate(ids, start=1):
        before = seen.setdefault(str(one), number)
        if before != number:
            raise DataError(
                f"{source}, rows {before} and {number} have the same id, {one!r}; expected one of its own for "
                "every problem. Rename or remove the column id: without one, rows are numbered."
            )


def _read_file(path: Path) -> Iterable[Mapping[str, object]]:
    if not path.is_file():
        raise DataError(
            f"data.source = {path}: there is no such file (looked in {path.parent.resolve()}). "
            "Give a .jsonl, .csv or .parquet file, a hub data set, or `tasks`."
        )
    if path.suffix not in FILE_SUFFIXES:
        raise DataError(f"data.source = {path}: expected a .jsonl, .csv or .parquet file, got {path.suffix}")
    if path.suffix != ".parquet":
        return _read_jsonl(path) if path.suffix == ".jsonl" else _read_csv(path)
    from datasets import load_dataset

    loaded = load_dataset("parquet", data_files=str(path), split="train")
    return [dict(row) for row in loaded]


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None


def _read_csv(path: Path) -> list[Mapping[str, object]]:
    """Give every cell as the text that stands there: `007`, `1.50` and `NA` are no numbers to be tidied up."""
    limit = csv.field_size_limit(MAX_CELL)
    rows: list[Mapping[str, object]] = []
    try:
        for number, row in enumerate(csv.DictReader(StringIO(_read_text(path), newline=""), strict=True), start=1):
            if None in row:
                raise DataError(
                    f"{path}, row {number}: {len(row) - 1 + len(row[None])} cells for {len(row) - 1} columns. Put a "
                    "text with commas in double quotes."
                )
            rows.append(row)
    except csv.Error as error:
        raise DataError(f"{path}, row {len(rows) + 1}: not CSV: {error}. Double the quotes within a text.") from None
    finally:
        csv.field_size_limit(limit)
    return rows


def _read_jsonl(path: Path) -> list[Mapping[str, object]]:
    rows = []
    text = _read_text(path)
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

    settle_hub()
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


def _columns(rows: Sequence[Problem | Mapping[str, object]], section: DataSection) -> tuple[str, str]:
    """Give the columns of question and target, by the first row; of problems alone there are none."""
    number, row = next(((n, one) for n, one in enumerate(rows, start=1) if not isinstance(one, Problem)), (0, None))
    if row is None:
        return "", ""
    shown = f"{section.source}, row {number}," if is_function_name(section.source) else section.source
    return (
        _column(section.question_column, row, "data.question_column", shown),
        _column(section.target_column, row, "data.target_column", shown),
    )


def _column(wanted: str | Sequence[str], row: Mapping[str, object], key: str, shown: str) -> str:
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    for name in names:
        if name in row:
            return name
    raise ColumnError(
        f"{key} = {wanted if isinstance(wanted, str) else ' or '.join(names)}: {shown} has no such column; "
        f"its columns are {', '.join(row)}. Name the right one with --set {key}=NAME"
    )


def _problem(row: Mapping[str, object], number: int, question: str, target: str, section: DataSection) -> Problem:
    for name, key in ((question, "question_column"), (target, "target_column")):
        if row.get(name) in (None, ""):
            raise DataError(
                f"{section.source}, row {number}: column {name!r} is empty or missing; every problem needs a question "
                f"and a target{NESTED if name == 'answer' else ''}. Fill it in, leave the row out, or name another "
                f"column with data.{key}."
            )
    working, mark, answer = _split_target(str(row[target]))
    is_indented = not mark and answer.lstrip("\r\n").startswith(INDENTATION)
    truth = answer.strip("\r\n").rstrip() if is_indented else answer.strip()
    if not truth.strip():
        raise DataError(
            f"{section.source}, row {number}: column {target!r} holds no target: {str(row[target])!r:.200}; expected "
            "one after the last ####. Fill it in, or leave the row out."
        )
    asked = _question_text(row[question])
    for name, text in ((question, asked), (target, str(row[target])), ("id", str(row.get("id")))):
        _refuse_half_characters(text, f"{section.source}, row {number}: column {name!r}")
    extra = {name: value for name, value in row.items() if name not in (question, target, "id")}
    if mark:
        extra.setdefault("solution", working.strip())
    return Problem(
        id=str(row.get("id") or f"row-{number:06d}"),
        question=with_test(strip_wrapper(asked), row),
        target=truth,
        family=_family(section.source),
        extra=extra,
    )


def _refuse_half_characters(text: str, where: str) -> None:
    r"""Refuse what JSON's `\ud83d` on its own makes: no tokenizer and no table takes it, and each says so elsewhere."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where} holds half of a character, U+{ord(text[error.start]):04X}, at place {error.start + 1}; expected "
            "text that UTF-8 can hold. It was cut there: mend the row or leave it out."
        ) from None


def _split_target(text: str) -> tuple[str, str, str]:
    """Give working, mark and answer: GSM8K writes the working, then `#### target` on the last line."""
    working, mark, answer = text.rpartition("####")
    is_comment = "\n" in answer.strip()  # of a program
    return ("", "", text) if is_comment else (working, mark, answer)


def _family(source: str) -> str:
    return source.rpartition(":")[2] if is_function_name(source) else Path(source).stem


def _question_text(value: object) -> str:
    """Give the question of a plain column, or of the last message where the column holds a conversation."""
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        return str(value[-1].get("content", ""))
    return str(value)
