"""`razona compare`: two models, or two runs, on the same problems."""

import json
from collections.abc import Mapping
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
    TemperatureOption,
    TokensOption,
    figure_rows,
    recipe_for,
    stages,
)
from razona.cli.options import JsonOption, SetOption

if TYPE_CHECKING:
    from rich.console import Console

    from razona.evaluate.contest import Contest
    from razona.evaluate.named import Wanted
    from razona.evaluate.sources import Found


def compare_command(
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
    from razona.data.benchmarks import Asked
    from razona.evaluate.named import Wanted

    wanted = Wanted(
        asked=Asked(data=data, folder=folder, num_problems=problems),
        recipe=recipe_for(tuned or base, recipe_name, overrides or []),
        samples=samples,
        temperature=temperature,
        is_greedy_too=greedy,
        max_tokens=max_tokens,
        batch_size=batch_size,
        seed=seed,
    )
    from razona.cli.progress import make_console
    from razona.evaluate.contest import is_worse, summarise
    from razona.report.comparison import write_comparison_page, write_comparison_png

    console = make_console(to_stderr=as_json or layout == "md")
    place = out or Path("comparisons") / "-vs-".join(_short(one) for one in (base, tuned) if one)
    contest = find_sides(console, base, tuned, wanted, place, with_best_prompt=best_prompt)
    summary, changes = summarise(contest, is_intersected=intersect)
    page = write_comparison_page(place, summary, changes)
    if picture is not None:
        write_comparison_png(summary, picture)
    if as_json:
        print(json.dumps(summary, indent=2, ensure_ascii=False))
    elif layout == "md":
        print(markdown(summary))
    else:
        print_comparison(console, summary)
        console.print(f"Page: {page}   Figures: {place}/summary.json", highlight=False, soft_wrap=True)
    if gate and is_worse(summary):
        raise typer.Exit(1)


def find_sides(
    console: "Console", base: str, tuned: str | None, wanted: "Wanted", place: Path, *, with_best_prompt: bool
) -> "Contest":
    """Read what is stored, and evaluate what is not."""
    from razona.core.errors import DataError
    from razona.core.rundir import RunDir
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
    stored = [find_stored(base), find_stored(tuned)]
    if all(stored):
        return Contest(base=stored[0], tuned=stored[1])  # pyright: ignore[reportArgumentType]
    # What a run has measured are its own problems: beside a model that is yet to be measured, it is a model, too.
    stored = [
        None if RunDir(Path(name)).recipe.exists() else one for name, one in zip((base, tuned), stored, strict=True)
    ]
    return _evaluate_missing(console, [base, tuned], stored, wanted, place, with_best_prompt=with_best_prompt)


def _evaluate_missing(
    console: "Console",
    names: list[str],
    stored: list["Found | None"],
    wanted: "Wanted",
    place: Path,
    *,
    with_best_prompt: bool,
) -> "Contest":
    from razona.cli.progress import RichWatcher
    from razona.evaluate.contest import Contest
    from razona.evaluate.named import Models, evaluate_named, load_wanted, screen_prompts
    from razona.evaluate.prompts import TRAINING_PROMPT
    from razona.evaluate.sources import Found
    from razona.evaluate.stored import read_sides

    loaded = load_wanted(wanted.asked, wanted.recipe)
    best, screening, models = None, {}, Models(recipe=wanted.recipe)
    with stages(RichWatcher(console)) as stage:

        def measured(name: str, prompt: str, part: str) -> Found:
            settings = evaluate_named(name, replace(wanted, prompt=prompt), loaded, place / part, stage, models)
            return Found(name=_short(name), sides=read_sides(place / part), settings=settings)

        base = stored[0] or measured(names[0], TRAINING_PROMPT, "base")
        if with_best_prompt and stored[0] is None:
            screening = screen_prompts(names[0], wanted, loaded, place / "prompts", stage, models)
            winner = max(screening, key=lambda name: screening[name]["pass_at_1"])
            if winner != TRAINING_PROMPT:
                best = measured(names[0], winner, "base-best-prompt")
        tuned = stored[1] or measured(names[1], TRAINING_PROMPT, "tuned")
    return Contest(base=base, tuned=tuned, best=best, screening=screening)


def _short(name: str) -> str:
    return Path(name).resolve().name if Path(name).exists() else name.replace("/", "--")


def print_comparison(console: "Console", summary: Mapping) -> None:
    """Print both sides' figures as a table, and what they say."""
    from rich.panel import Panel
    from rich.table import Table

    names = summary["names"]
    table = Table(title=f"{summary['base']['n']} problems, 95 % intervals", title_justify="left")
    for column in ("", names["base"], names["tuned"]):
        table.add_column(column, justify="right" if column else "left")
    for (label, one), (_, two) in zip(*(figure_rows(summary[side]) for side in ("base", "tuned")), strict=True):
        table.add_row(label, one, two)
    console.print(table)
    console.print(Panel(summary["paragraph"], title="In plain words", title_align="left"))


def markdown(summary: Mapping) -> str:
    """Give the comparison as Markdown."""
    names = summary["names"]
    lines = [f"| | {names['base']} | {names['tuned']} |", "|---|---:|---:|"]
    rows = zip(*(figure_rows(summary[side]) for side in ("base", "tuned")), strict=True)
    lines += [f"| {label} | {one} | {two} |" for (label, one), (_, two) in rows]
    return "\n".join([f"**{summary['base']['n']} problems, 95 % intervals**", "", *lines, "", summary["paragraph"]])
