"""`razona report`: the page of a run."""

from pathlib import Path
from typing import Annotated

import typer


def report_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    curves: Annotated[Path | None, typer.Option("--curves", help="Also write the curves as a PNG picture.")] = None,
) -> None:
    """Write the page of a run again, from what its folder holds."""
    from razona.core.rundir import RunDir
    from razona.report import write_curves_png, write_page

    print(write_page(RunDir(run)))
    if curves is not None:
        write_curves_png(RunDir(run), curves)
        print(curves)
