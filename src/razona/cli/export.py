"""`razona export`: what a run has trained, in formats that others load."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from razona.cli.options import JsonOption, SetOption
from razona.core.terminal import say_json

if TYPE_CHECKING:
    from rich.console import Console


def export_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    formats: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="FORMAT", help="adapter, merged (default) or gguf. Repeatable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Each format gets a folder of its own in it; RUN/export by default.")
    ] = None,
    dtype: Annotated[
        str,
        typer.Option("--dtype", help="Of merged weights and GGUF: float32, bfloat16, float16 or auto, as the base's."),
    ] = "auto",
    problems: Annotated[
        int, typer.Option("--problems", min=1, help="Problems that each export solves again, as a proof.")
    ] = 50,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write adapter, merged weights or GGUF, each with a model card; loads each again and compares it with the run.

    Ends with 1, and leaves no folder, where what it wrote is not what was trained.
    """
    from razona.export import Wanted, export

    wanted = Wanted(
        formats=tuple(formats or ("merged",)), dtype=dtype, num_problems=problems, overrides=tuple(overrides or ())
    )
    from razona.cli.console import import_libraries, make_console

    console = make_console(to_stderr=as_json)
    import_libraries()
    found = export(run, wanted, out, lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True))
    if as_json:
        say_json(found)
        return
    print_exports(console, found, out or run / "export")


def print_exports(console: "Console", found: Mapping, root: Path) -> None:
    """Print what was proven of each format as a table, and where it is."""
    from rich.table import Table

    table = Table(title="Loaded again and compared with the run's own policy", title_justify="left")
    for column in (
        "",
        "stored in",
        "MB",
        "logits differ by",
        "allowed",
        "effect kept",
        "right (run)",
        "right (export)",
    ):
        table.add_column(column, justify="left" if column in ("", "stored in") else "right")
    for name, one in found.items():
        logits, score = one["logits"], one["score"]
        table.add_row(
            name,
            one["dtype"],
            f"{sum(file['bytes'] for file in one['files'].values()) / 1e6:,.1f}",
            f"{logits['relative_error']:.1e}",
            f"{logits['tolerance']:.1e}",
            f"{logits['effect_kept']:.1%}",
            f"{score['run']['value']:.0%} of {score['n']}",
            f"{score['export']['value']:.0%} of {score['n']}",
        )
    console.print(table)
    for name in found:
        console.print(f"{root / name}", highlight=False, markup=False, soft_wrap=True)
