"""`razona experiment`: ways to train, held against each other at an equal budget."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from razona.cli.options import JsonOption, SetOption
from razona.core.errors import RecipeError
from razona.core.terminal import say, say_json

if TYPE_CHECKING:
    from razona.cli.progress import RichWatcher

app = typer.Typer(help="Hold ways to train against each other.", no_args_is_help=True)


@app.callback()
def _root() -> None:
    """Hold ways to train against each other."""


@app.command(name="rft-vs-sft")
def rft_vs_sft(
    recipe_name: Annotated[str, typer.Argument(metavar="[RECIPE]", help="A shipped recipe or a YAML file.")] = "demo",
    labels: Annotated[
        str, typer.Option("--labels", help="Numbers of labelled problems; 0: the verifier alone.")
    ] = "0,32,128,512,2048",
    problems: Annotated[int, typer.Option("--problems", min=8, help="Problems of each of the two sets.")] = 256,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Completions of each problem.")] = 4,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder; experiments/NAME by default. A second call goes on in it.")
    ] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Base, SFT, GRPO, SFT then GRPO and a random reward, at an equal budget of tokens, for several label counts."""
    from razona.recipe import load

    recipe, counts = load(recipe_name, overrides or []), read_counts(labels)  # before what takes seconds to import
    from razona.cli.console import import_libraries, make_console

    import_libraries()
    from razona.advise.experiment import Design, run_and_write
    from razona.cli.progress import RichWatcher
    from razona.report.experiment import contrast_table, experiment_table

    console = make_console(to_stderr=True)
    place = out or Path("experiments") / f"rft-vs-sft-{recipe.name}"
    design = Design(recipe=recipe, labels=counts, num_problems=problems, samples=samples)
    found = run_and_write(design, place, Told(RichWatcher(console)))
    if as_json:
        say_json(found)
        return
    say(experiment_table(found))
    say(contrast_table(found))
    say(f"{place}/experiment.md, experiment.svg, experiment.json")


def read_counts(text: str) -> list[int]:
    """Read the numbers of labels.

    Raises:
        RecipeError: they are no whole numbers from 0.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdigit() for part in parts):
        raise RecipeError(f"--labels {text}: expected whole numbers from 0, such as 0,32,128")
    return [int(part) for part in parts]


class Told:
    """Draws the experiment's progress."""

    def __init__(self, watcher: "RichWatcher") -> None:
        self.watcher = watcher

    def arm(self, name: str, number: int, total: int) -> None:
        """Print which arm begins."""
        self.watcher.console.print(f"Arm {number} of {total}: {name}", highlight=False)

    def stage(self, title: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Open a progress bar."""
        return self.watcher.stage(title, total)
