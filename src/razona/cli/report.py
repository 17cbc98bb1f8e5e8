"""`razona report`: the page of a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from razona.core.terminal import say

if TYPE_CHECKING:
    from razona.core.rundir import RunDir

DEFAULT_PORT = 8765


def report_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    curves: Annotated[Path | None, typer.Option("--curves", help="Also write the curves as a PNG picture.")] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Serve the page to this machine's browser and keep it new, until Ctrl-C.")
    ] = False,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help=f"Port of --watch; {DEFAULT_PORT} by default, 0 any free one."),
    ] = None,
) -> None:
    """Write the page of a run again, from what its folder holds."""
    from razona.core.errors import RecipeError
    from razona.core.rundir import RunDir
    from razona.report import write_curves_png, write_page

    if port is not None and not watch:
        raise RecipeError(f"--port {port} was given without --watch, so nothing would be served. Add --watch.")
    if not watch:
        say(write_page(RunDir(run)))
    if curves is not None:
        write_curves_png(RunDir(run), curves)
        say(curves)
    if watch:
        watch_page(RunDir(run), DEFAULT_PORT if port is None else port)
        raise typer.Exit(130)


def watch_page(run: "RunDir", port: int) -> None:
    """Serve the page of `run` until the person interrupts."""
    from razona.report.serve import PageServer, follow

    with PageServer(run, port) as server:
        try:
            say(f"The page of {run.root}: {server.address}   (this machine only; Ctrl-C ends it)", flush=True)
            follow(server, say=lambda line: say(f"razona: {line}", to_stderr=True, flush=True))
        except KeyboardInterrupt:
            say(f"\nNo longer served. The page as a file: {run.report}", flush=True)
