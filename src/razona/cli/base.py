"""`razona base`: the embedded base model."""

from pathlib import Path
from typing import Annotated

import typer

from razona.core.terminal import say

app = typer.Typer(help="Rebuild and describe the embedded base model.", no_args_is_help=True)


@app.callback()
def _root() -> None:
    """Rebuild and describe the embedded base model."""


@app.command()
def build(
    out: Annotated[Path, typer.Option("--out", help="Where the model folder is written.")] = Path("build/base"),
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Optimizer updates, half of them in each round; the full build by default."),
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0.1, help="Decide the updates by the clock.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights and corpus.")] = 0,
    evaluate_every: Annotated[
        int, typer.Option(min=1, help="Updates between two checkpoints with their pass@k.")
    ] = 1000,
    evaluate_problems: Annotated[int, typer.Option(min=8, help="Problems of the final evaluation.")] = 512,
) -> None:
    """Pretrain the base model from nothing on text that Razona generates."""
    from razona.embedded.build import BuildOptions, build_base

    options = BuildOptions(
        seed=seed, steps=steps, minutes=minutes, evaluate_every=evaluate_every, evaluate_problems=evaluate_problems
    )
    build_base(out, options, say=lambda line: say(line, flush=True))
