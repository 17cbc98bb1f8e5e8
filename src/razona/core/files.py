"""Files that are whole or absent: written under a temporary name, flushed to disk, renamed."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_HALVES = re.compile("[\ud800-\udfff]")
"""Halves of surrogate pairs: a text may hold one alone, UTF-8 may not."""


def to_json(value: object, *, indent: int | None = None) -> str:
    r"""Give a value as JSON that UTF-8 can hold: half of a surrogate pair stands there as its escape, `\ud800`.

    It is read back as it was, but for two halves that stand side by side and make a character: that character.

    Raises:
        ValueError: NaN or an infinity, which are no JSON.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    return _HALVES.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


def write_text(path: Path, text: str) -> None:
    r"""Replace `path` with `text`; a crash leaves the old file or the new one, never half of either.

    Half of a surrogate pair, which has no UTF-8, is written out as `\ud800`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Replace `path` with `value` as indented JSON; NaN and infinity are refused."""
    write_text(path, to_json(value, indent=2) + "\n")


def write_jsonl(path: Path, rows: Iterable[object]) -> None:
    """Replace `path` with one JSON value a line."""
    write_text(path, "".join(to_json(row) + "\n" for row in rows))


def read_jsonl(path: Path) -> Iterator[dict]:
    """Yield the rows of a JSON-lines file written by `write_jsonl` or `append_jsonl`."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)


def append_jsonl(path: Path, row: object) -> None:
    """Add one line to `path` and hand it to the operating system at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(to_json(row) + "\n")
