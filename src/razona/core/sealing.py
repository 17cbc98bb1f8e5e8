"""Folders that are whole or absent: flushed to disk, listed with checksums, and only then given their name."""

import json
import os
import shutil
from hashlib import file_digest
from pathlib import Path

CHECKSUMS = "checksums.json"
"""In a sealed folder: path of each file in it -> its bytes and sha256. Written last."""
OLD = ".old-"
"""Before the name of a folder that is being replaced or removed."""


def seal(folder: Path) -> None:
    """Flush every file of a folder to disk, and list them with their checksums."""
    sums: dict[str, dict[str, object]] = {}
    for path in _files_of(folder):
        flush(path)
        sums[str(path.relative_to(folder))] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
    with (folder / CHECKSUMS).open("w", encoding="utf-8") as file:
        file.write(json.dumps({"files": sums}, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    for inner in {folder, *(path.parent for path in _files_of(folder))}:
        flush(inner)


def put_in_place(sealed: Path, place: Path) -> None:
    """Give a sealed folder its name; a crash leaves it under one of both, and whole.

    What has the name already is first moved to `aside(place)`: see `bring_back`.
    """
    if place.exists():
        take_away(place)
    sealed.rename(place)
    flush(place.parent)
    shutil.rmtree(aside(place), ignore_errors=True)


def take_away(place: Path) -> None:
    """Remove a folder from under its name at once, and its files after that: it is never half of itself."""
    shutil.rmtree(aside(place), ignore_errors=True)
    place.rename(aside(place))


def aside(place: Path) -> Path:
    """Give the name of a folder that is being replaced or removed."""
    return place.with_name(OLD + place.name)


def bring_back(folder: Path) -> None:
    """Undo what a crash left half done in `folder`: what lies aside is named again where its name is free."""
    for old in sorted(folder.glob(f"{OLD}*")):
        place = old.with_name(old.name.removeprefix(OLD))
        if not place.exists() and (old / CHECKSUMS).exists() and not flaw_of(old):
            old.rename(place)
        else:
            shutil.rmtree(old)


def flaw_of(folder: Path) -> str:
    """Say which file of a sealed folder is not as it was sealed, and how it differs; "" where all are.

    A folder without `checksums.json` was never sealed, and nothing can be said about it: "" as well.
    """
    listed = folder / CHECKSUMS
    if not listed.exists():
        return ""
    try:
        sums = json.loads(listed.read_text(encoding="utf-8"))["files"]
        expected = {name: (entry["bytes"], entry["sha256"]) for name, entry in sums.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{CHECKSUMS} cannot be read"
    for name, (size, digest) in expected.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes, {size} were written"
        if _sha256(path) != digest:
            return f"{name} has another sha256 than was written"
    return ""


def flush(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / CHECKSUMS)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
