"""`razona compare`: two models, or two runs, on the same problems."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from razona.cli.evaluate import (
    BatchOption,
    DataOption,
    FolderOption,
    GreedyOption,
    ProblemsOption,
    RecipeOption,
    SamplesOption,
    SeedOption,
    SplitOption,
    TemperatureOption,
    TokensOption,
    figure_rows,
    recipe_for,
    stages,
)
from razona.cli.options import JsonOption, SetOption
from razona.core.errors import DataError, RecipeError
from razona.core.markdown import plain
from razona.core.rundir import RunDir
from razona.core.terminal import say, say_json, visible

if TYPE_CHECKING:
    from rich.console import Console

    from razona.evaluate.contest import Contest
    from razona.evaluate.named import Wanted


MEASURING = {
    "data": "--data",
    "folder": "--data-folder",
    "split": "--split",
    "problems": "--problems",
    "samples": "--samples",
    "temperature": "--temperature",
    "greedy": "--greedy",
    "max_tokens": "--max-tokens",
    "batch_size": "--batch-size",
    "seed": "--seed",
    "recipe_name": "--recipe",
    "overrides": "--set",
    "best_prompt": "--best-prompt",
}
"""Parameters that say how to measure -> options."""
MISSING = "\u2013"


def compare_command(
    context: typer.Context,
    base: Annotated[
        str,
        typer.Argument(
            metavar="BASE", help="What `razona eval` wrote, a run's folder, stored completions, or a model."
        ),
    ],
    tuned: Annotated[
        str | None, typer.Argument(metavar="[TUNED]", help="The same; left out: BASE is a run, base against tuned.")
    ] = None,
    data: DataOption = "tasks",
    folder: FolderOption = None,
    split: SplitOption = None,
    problems: ProblemsOption = None,
    samples: SamplesOption = 8,
    temperature: TemperatureOption = 1.0,
    greedy: GreedyOption = True,
    max_tokens: TokensOption = None,
    batch_size: BatchOption = 256,
    seed: SeedOption = 0,
    recipe_name: RecipeOption = None,
    overrides: SetOption = None,
    best_prompt: Annotated[
        bool, typer.Option("--best-prompt/--no-best-prompt", help="Measure a base model under its best prompt, too.")
    ] = True,
    intersect: Annotated[bool, typer.Option("--intersect", help="Compare on the problems that both have.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where page and figures are written; comparisons/... by default.")
    ] = None,
    layout: Annotated[
        Literal["text", "md"], typer.Option("--format", help="text, or md: Markdown for a pull request.")
    ] = "text",
    picture: Annotated[Path | None, typer.Option("--png", help="Also write bars and pass@k as a picture.")] = None,
    gate: Annotated[bool, typer.Option("--gate", help="End with 1 if TUNED is distinguishably worse.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare two models on the same problems: paired differences with intervals, and a page.

    Models that are not evaluated yet are evaluated first, with the options of `razona eval`.
    """
    from razona.cli.console import make_console
    from razona.data.benchmarks import Asked
    from razona.evaluate.contest import is_worse, summarise
    from razona.report.comparison import write_comparison_page, write_comparison_png

    console = make_console(to_stderr=as_json or layout == "md")
    place = out or Path("comparisons") / "-vs-".join(_short(one) for one in (base, tuned) if one)
    contest = find_stored_sides(base, tuned)
    given = [option for name, option in MEASURING.items() if _is_given(context, name)]
    if contest is not None and given:
        raise RecipeError(
            f"razona compare {base} {tuned or ''}: both sides are measured already, so {', '.join(given)} would change "
            "nothing. Leave them out; or evaluate with them (razona eval ... --out) and compare what that writes."
        )
    if contest is None:
        assert tuned is not None

        def wanted(model: str) -> "Wanted":
            from razona.evaluate.named import Wanted

            return Wanted(
                asked=Asked(data=data, folder=folder, num_problems=problems, split=split),
                recipe=recipe_for(model, recipe_name, overrides or []),
                samples=samples,
                temperature=temperature,
                is_greedy_too=greedy,
                max_tokens=max_tokens,
                batch_size=batch_size,
                seed=seed,
            )

        contest = evaluate_missing(console, [base, tuned], wanted, place, with_best_prompt=best_prompt)
    summary, changes = summarise(contest, is_intersected=intersect)
    page = write_comparison_page(place, summary, changes)
    if picture is not None:
        write_comparison_png(summary, picture)
    if as_json:
        say_json(summary)
    elif layout == "md":
        say(markdown(summary))
    else:
        print_comparison(console, summary)
        console.print(f"Page: {page}   Figures: {place}/summary.json", highlight=False, soft_wrap=True)
    if gate and is_worse(summary):
        raise typer.Exit(1)


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def find_stored_sides(base: str, tuned: str | None) -> "Contest | None":
    """Read two sides that are measured already; None where one of them is not.

    Raises:
        DataError: one name alone, and it is no run that has measured base and tuned.
    """
    from razona.evaluate.contest import Contest
    from razona.evaluate.sources import BASE, BEST, find_in_run, find_stored

    if tuned is None:
        one, two = find_in_run(Path(base), BASE), find_stored(base)
        if one is None or two is None:
            raise DataError(
                f"razona compare {base}: expected the folder of a run that has measured base and tuned (razona demo "
                "does); name two models, evaluations or runs instead: razona compare BASE TUNED"
            )
        return Contest(
            base=replace(one, name="the base"),
            tuned=replace(two, name="the tuned model"),
            best=find_in_run(Path(base), BEST),
        )
    first, second = find_stored(base), find_stored(tuned)
    return Contest(base=first, tuned=second) if first and second else None


def evaluate_missing(
    console: "Console",
    names: list[str],
    wanted: Callable[[str], "Wanted"],
    place: Path,
    *,
    with_best_prompt: bool,
) -> "Contest":
    """Measure the models that are not measured yet, on the same problems.

    What a run has measured are its own problems: beside a model that is yet to be measured, a run is a model, too.

    Args:
        wanted: what to measure a model on, and how.
    """
    from razona.cli.progress import RichWatcher
    from razona.evaluate.contest import Contest
    from razona.evaluate.named import Models, evaluate_named, load_wanted, screen_prompts
    from razona.evaluate.prompts import TRAINING_PROMPT
    from razona.evaluate.sources import Found, find_stored
    from razona.evaluate.stored import read_sides

    stored = [None if RunDir(Path(name)).recipe.exists() else find_stored(name) for name in names]
    asked = [wanted(name) for name in names]
    loaded = load_wanted(asked[1].asked, asked[1].recipe)
    best, screening, models = None, {}, Models()
    with stages(RichWatcher(console)) as stage:

        def measured(side: int, prompt: str, part: str) -> Found:
            how = replace(asked[side], prompt=prompt)
            settings = evaluate_named(names[side], how, loaded, place / part, stage, models)
            return Found(name=_short(names[side]), sides=read_sides(place / part), settings=settings)

        base = stored[0] or measured(0, TRAINING_PROMPT, "base")
        if with_best_prompt and stored[0] is None:
            screening = screen_prompts(names[0], asked[0], loaded, place / "prompts", stage, models)
            winner = max(screening, key=lambda name: screening[name]["pass_at_1"])
            if winner != TRAINING_PROMPT:
                best = measured(0, winner, "base-best-prompt")
        tuned = stored[1] or measured(1, TRAINING_PROMPT, "tuned")
    return Contest(base=base, tuned=tuned, best=best, screening=screening)


def _short(name: str) -> str:
    return Path(name).resolve().name if Path(name).exists() else name.replace("/", "--")


def table_rows(summary: Mapping) -> list[tuple[str, str, str]]:
    """Give label and both sides' figures; a dash where one side has none."""
    one, two = (dict(figure_rows(summary[side])) for side in ("base", "tuned"))
    return [(label, one.get(label, MISSING), two.get(label, MISSING)) for label in {**one, **two}]


def print_comparison(console: "Console", summary: Mapping) -> None:
    """Print both sides' figures as a table, and what they say."""
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{summary['base']['n']} problems, 95 % intervals", title_justify="left")
    for column in ("", summary["names"]["base"], summary["names"]["tuned"]):
        table.add_column(Text(visible(column)), justify="right" if column else "left")
    for row in table_rows(summary):
        table.add_row(*row)
    console.print(table)
    console.print(Panel(Text(visible(summary["paragraph"])), title="In plain words", title_align="left"))


def markdown(summary: Mapping) -> str:
    """Give the comparison as Markdown."""
    names = {side: plain(name) for side, name in summary["names"].items()}
    lines = [f"| | {names['base']} | {names['tuned']} |", "|---|---:|---:|"]
    lines += [f"| {label} | {one} | {two} |" for label, one, two in table_rows(summary)]
    return "\n".join([f"**{summary['base']['n']} problems, 95 % intervals**", "", *lines, "", summary["paragraph"]])
