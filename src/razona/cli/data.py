"""`razona data`: what a data set holds, and what a recipe makes of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from razona.cli.options import JsonOption, SetOption
from razona.core.terminal import say, say_json
from razona.data.inspect import MAX_NAMED, Finding

if TYPE_CHECKING:
    from razona.core.nouns import Problem
    from razona.data.inspect import Inspection
    from razona.train.selection import Selection

app = typer.Typer(help="Inspect data sets, and run a recipe's data pipeline.", no_args_is_help=True)

LABELS: Mapping[str, str] = {
    "duplicates": "repeat an earlier question",
    "contradictions": "of these, with another target",
    "near_duplicates": "nearly repeat one (same numbers)",
    "other_numbers": "are variants of one (other numbers)",
    "unverifiable": "have a target that is not judged right",
}


@app.callback()
def _root() -> None:
    """Inspect data sets, and run a recipe's data pipeline."""


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
        say_json(found.as_row())
        return
    for line in report(found):
        say(line)


@app.command()
def prepare(
    recipe_name: Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe or a YAML file.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.jsonl", help="Write the problems to train on there.")
    ] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read, filter and count a recipe's problems as training would; needs the model's tokenizer alone."""
    import time

    from razona.core.errors import DataError
    from razona.core.files import write_jsonl
    from razona.models.load import load_tokenizer
    from razona.recipe import load
    from razona.train.selection import select

    if out is not None and out.suffix != ".jsonl":
        raise DataError(f"--out {out}: expected a file that ends in .jsonl; problems are written a line each.")
    recipe = load(recipe_name, overrides or [])
    tokenizer = load_tokenizer(recipe.model)
    started = time.monotonic()
    selection = select(recipe, tokenizer)
    figures = {"source": recipe.data.source, **selection.manifest(), "seconds": round(time.monotonic() - started, 1)}
    if out is not None:
        write_jsonl(out, [_problem_row(one.problem) for one in selection.to_train_on])
    if as_json:
        say_json(figures)
        return
    for line in prepared(selection):
        say(line)
    say(f"{figures['seconds']} s" + (f"; written to {out}" if out else ""))


def _problem_row(problem: "Problem") -> dict[str, object]:
    """Give a problem as `data.source` reads it back."""
    return {**problem.extra, "id": problem.id, "question": problem.question, "answer": problem.target}


def prepared(selection: "Selection") -> list[str]:
    """Give the counts of a selection for a person, in the order in which problems were left out."""
    total, limit = selection.usable.num_read, selection.longest_allowed
    lines = [f"{total:>7,}          problems read"]
    lines += [
        _lines(one.why, Finding(count=one.count, examples=one.named[:MAX_NAMED]), total)[0]
        for one in selection.usable.left_out
    ]
    if limit is not None:
        lines += _lines(f"have prompts of more than {limit} tokens", Finding(count=selection.too_long), total)
    if selection.held_out:
        lines += _lines("are for the guard to measure on", Finding(count=len(selection.held_out)), total)
    if selection.twins:
        lines += _lines("ask what a held-out one asks", Finding(count=selection.twins), total)
    lines += _lines("are left to train on", Finding(count=len(selection.to_train_on)), total)
    manifest = selection.manifest()
    return [*lines, f"sha256 read {manifest['sha256_read']}", f"sha256 kept {manifest['sha256_kept']}"]


def report(found: "Inspection") -> list[str]:
    """Give the findings for a person."""
    characters = ", ".join(f"{name} {value:,}" for name, value in found.question_characters.items())
    lines = [f"{found.source}: {found.problems:,} problems", f"characters of a question: {characters}"]
    for name, label in LABELS.items():
        lines += _lines(label, getattr(found, name), found.problems)
    for name, finding in found.overlaps.items():
        lines += _lines(f"share words with {name}", finding, found.problems)
    return [*lines, f"sha256 {found.sha256}"]


def _lines(label: str, finding: Finding | None, total: int) -> list[str]:
    if finding is None:
        return [f"{'not looked at':>15}  {label}"]
    told = "; ".join(finding.examples)
    return [f"{finding.count:>7,} {finding.count / total:>7.2%}  {label}" + (f"  ({told})" if told else "")]
