"""`razona eval`: a model on problems, with intervals."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from razona.cli.options import JsonOption, SetOption
from razona.core.terminal import say_json

if TYPE_CHECKING:
    from rich.console import Console

    from razona.cli.progress import RichWatcher
    from razona.evaluate.named import Wanted
    from razona.recipe import Recipe

DataOption = Annotated[
    str,
    typer.Option(
        "--data",
        help="tasks, gsm8k, math500, aime24, amc23, mbpp, humaneval, knights-knaves, a .jsonl, .csv or .parquet file, "
        "or a hub name.",
    ),
]
FolderOption = Annotated[
    Path | None, typer.Option("--data-folder", help="With local copies of these data sets; default: the hub.")
]
SplitOption = Annotated[str | None, typer.Option("--split", help="Of a hub data set; default: the recipe's.")]
ProblemsOption = Annotated[int | None, typer.Option("--problems", min=1, help="A part of the problems; default: all.")]
SamplesOption = Annotated[int, typer.Option("--samples", min=1, help="Completions a problem, the k of pass@k.")]
TemperatureOption = Annotated[float, typer.Option("--temperature", min=0.01, help="Of these samples.")]
GreedyOption = Annotated[bool, typer.Option("--greedy/--no-greedy", help="Decode each problem greedily, too.")]
TokensOption = Annotated[
    int | None,
    typer.Option("--max-tokens", min=1, help="Limit of a completion; default: 96 with tasks, 1024 with other data."),
]
BatchOption = Annotated[int, typer.Option("--batch-size", min=1, help="Completions sampled at a time.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Of the samples.")]
RecipeOption = Annotated[
    str | None,
    typer.Option("--recipe", help="For the form of prompts and the verifier; default: a run's own, else demo."),
]


def eval_command(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="embedded, a model's or adapter's folder, a run, or a hub name.")
    ],
    data: DataOption = "tasks",
    folder: FolderOption = None,
    split: SplitOption = None,
    problems: ProblemsOption = None,
    samples: SamplesOption = 8,
    temperature: TemperatureOption = 1.0,
    greedy: GreedyOption = True,
    prompt: Annotated[
        str,
        typer.Option("--prompt", help="training (the recipe's), bare, question-answer, working, few-shot or chat."),
    ] = "training",
    max_tokens: TokensOption = None,
    batch_size: BatchOption = 256,
    seed: SeedOption = 0,
    recipe_name: RecipeOption = None,
    overrides: SetOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where completions and figures are kept; evaluations/... by default.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a model: pass@k and maj@k with intervals, every completion and verdict stored.

    Interrupted, it goes on where it stopped when the same is asked again.
    """
    from razona.data.benchmarks import Asked
    from razona.evaluate.named import Wanted, evaluate_named, load_wanted
    from razona.evaluate.prompts import check_prompt

    check_prompt(prompt)
    wanted = Wanted(
        asked=Asked(data=data, folder=folder, num_problems=problems, split=split),
        recipe=recipe_for(model, recipe_name, overrides or []),
        prompt=prompt,
        samples=samples,
        temperature=temperature,
        is_greedy_too=greedy,
        max_tokens=max_tokens,
        batch_size=batch_size,
        seed=seed,
    )
    loaded = load_wanted(wanted.asked, wanted.recipe)
    place = out or default_folder(model, wanted)
    from razona.cli.console import make_console
    from razona.cli.progress import RichWatcher

    console = make_console(to_stderr=as_json)
    with stages(RichWatcher(console)) as stage:
        figures = evaluate_named(model, wanted, loaded, place, stage)
    if as_json:
        say_json(figures)
        return
    print_figures(console, figures)
    console.print(f"Completions and figures: {place}", highlight=False, soft_wrap=True)


def recipe_for(model: str, name: str | None, overrides: list[str]) -> "Recipe":
    """Load the recipe that says how prompts are written: the one named, a run's own, or the demo's."""
    from razona.core.rundir import RunDir
    from razona.recipe import load

    run = RunDir(Path(model))
    return load(name or (run.recipe if run.recipe.exists() else "demo"), overrides)


def default_folder(model: str, wanted: "Wanted") -> Path:
    """Give where an evaluation is kept if nobody says."""
    parts = [Path(model).resolve().name if Path(model).exists() else model.replace("/", "--")]
    parts += [
        Path(wanted.asked.data).stem if Path(wanted.asked.data).exists() else wanted.asked.data.replace("/", "--")
    ]
    return Path("evaluations") / "-".join([*parts, wanted.prompt])


@contextmanager
def stages(watcher: "RichWatcher") -> Iterator[Callable[[str, int], Callable[[int], None]]]:
    """Give a function that opens a progress bar of its own for each evaluation, and close the last one."""
    from contextlib import ExitStack

    with ExitStack() as held:

        def stage(title: str, total: int) -> Callable[[int], None]:
            held.close()
            return held.enter_context(watcher.stage(title, total))

        yield stage


def print_figures(console: "Console", figures: Mapping) -> None:
    """Print one model's figures as a table."""
    from rich.table import Table

    console.print(
        f"{figures['model']} on {figures['n']} problems of {figures['data']} (95 % intervals)",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    table = Table(show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    for label, value in figure_rows(figures):
        table.add_row(label, value)
    console.print(table)
    if figures["completions_per_second"]:
        console.print(
            f"{figures['sampled_in_last_session']:,} completions in {figures['seconds']:.0f} s "
            f"({figures['completions_per_second']:.1f} a second).",
            highlight=False,
        )


def figure_rows(figures: Mapping) -> list[tuple[str, str]]:
    """Give the rows of one model's table."""
    k = figures["k"]
    shares = [("right in one try (pass@1)", "pass_at_1")]
    shares += [(f"right in {k} tries (pass@{k})", f"pass_at_{k}")] * (k > 1)
    shares += [(f"majority of {k} (maj@{k})", f"maj_at_{k}")] * (k > 1) + [("greedy decoding", "greedy")]
    shares += [("in the form asked for", "format_rate")]
    rows = [(label, with_interval(figures, key)) for label, key in shares if key in figures]
    tokens = figures["tokens_per_correct"]
    return [
        *rows,
        ("tokens an answer", f"{figures['mean_length']:.1f}"),
        ("tokens a right answer", "none is right" if tokens is None else f"{tokens:,.1f}"),
        ("cut off at the limit", f"{figures['truncated']:.1%}"),
        ("not verified (our side failed)", f"{figures['unverified']:.1%}"),
    ]


def with_interval(side: Mapping, key: str) -> str:
    """Write a share with its interval."""
    low, high = side["ci95"][key]
    return f"{side[key]:.1%} ({100 * low:.1f}-{100 * high:.1f})"
