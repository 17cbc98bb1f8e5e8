"""`razona data`: what a data set holds."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from razona.cli.options import JsonOption

if TYPE_CHECKING:
    from razona.data.inspect import Finding, Inspection

app = typer.Typer(help="Inspect data sets.", no_args_is_help=True)

LABELS: Mapping[str, str] = {
    "duplicates": "repeat an earlier question",
    "contradictions": "of these, with another target",
    "near_duplicates": "nearly repeat one (same numbers)",
    "other_numbers": "are variants of one (other numbers)",
    "unverifiable": "have a target that is not judged right",
}


@app.callback()
def _root() -> None:
    """Inspect data sets."""


@app.command()
def inspect(
    source: Annotated[
        str, typer.Argument(metavar="DATA", help="A .jsonl, .csv or .parquet file, a hub name, or a benchmark's.")
    ],
    against: Annotated[
        list[str] | None,
        typer.Option("--against", help="An evaluation set that must not be in it: a file or a benchmark. Repeatable."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--data-folder", help="With local copies of the benchmarks; default: the hub.")
    ] = None,
    kind: Annotated[Literal["math", "code", "logic"], typer.Option("--kind", help="How its rows are judged.")] = "math",
    as_json: JsonOption = False,
) -> None:
    """Count duplicates, contradictions, unreadable targets, and overlap with evaluation sets."""
    from razona.core.errors import DataError
    from razona.data.benchmarks import BENCHMARKS, Asked, read_in_order
    from razona.data.inspect import inspect_problems

    names = [source, *(against or [])]
    if folder is not None and not any(name in BENCHMARKS for name in names):
        raise DataError(f"--data-folder {folder}: neither DATA nor an --against names a benchmark. Leave it out.")

    def asked(name: str) -> Asked:
        return Asked(data=name, folder=folder if name in BENCHMARKS else None, kind=kind)

    loaded = read_in_order(asked(source))
    held_out = {name: read_in_order(asked(name)).problems for name in against or []}
    found = inspect_problems(loaded.problems, loaded.source, held_out, is_math=loaded.kind == "math")
    if as_json:
        print(json.dumps(found.as_row(), indent=2, ensure_ascii=False))
        return
    for line in report(found):
        print(line)


def report(found: "Inspection") -> list[str]:
    """Give the findings for a person."""
    characters = ", ".join(f"{name} {value:,}" for name, value in found.question_characters.items())
    lines = [f"{found.source}: {found.problems:,} problems", f"characters of a question: {characters}"]
    for name, label in LABELS.items():
        lines += _lines(label, getattr(found, name), found.problems)
    for name, finding in found.overlaps.items():
        lines += _lines(f"share words with {name}", finding, found.problems)
    return [*lines, f"sha256 {found.sha256}"]


def _lines(label: str, finding: "Finding | None", total: int) -> list[str]:
    if finding is None:
        return [f"{'not looked at':>15}  {label}"]
    told = "; ".join(finding.examples)
    return [f"{finding.count:>7,} {finding.count / total:>7.2%}  {label}" + (f"  ({told})" if told else "")]
