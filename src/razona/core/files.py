"""Files that are whole or absent: written under a temporary name, flushed to disk, renamed."""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from razona.core.errors import DiskError

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Full, over the quota, over the largest file allowed, or broken."""
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

    Raises:
        DiskError: the disk does not take it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with told_of_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
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
    """Add one line to `path` and hand it to the operating system at once.

    Raises:
        DiskError: the disk does not take it. Part of the line may stand in the file.
    """
    line = to_json(row) + "\n"
    with told_of_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(line)


@contextmanager
def told_of_disk(path: Path) -> Iterator[None]:
    """Run the body, which writes `path`; turn the errors of a disk that does not take it into one that says what to do.

    Raises:
        DiskError: in their place. Other errors of the system, a missing permission for example, go on as they are.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise DiskError(
            f"{path} could not be written: {error.strerror} ({free_mib(path)} MiB are free). Make room there. A run "
            "goes on from its last checkpoint with --resume."
        ) from error


def free_mib(path: Path) -> int:
    """Give the free room of the disk on which `path` lies or is to lie, in MiB."""
    place = path
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free // 2**20
