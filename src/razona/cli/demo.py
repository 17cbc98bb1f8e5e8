"""`razona demo`: the whole loop on this machine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from razona.cli.evaluate import with_interval
from razona.cli.options import JsonOption, ResumeOption, SetOption
from razona.cli.processes import way_on_of
from razona.core.leaving import leave_on_signals
from razona.core.rundir import RunDir
from razona.core.terminal import say_json, visible

INTRODUCTION = """\
A base model tries problems that it has never seen. It is measured, trained with GRPO on nothing but whether its
answers are right and in the form asked for, and measured again.
"""


def demo_command(
    recipe_name: Annotated[str, typer.Argument(metavar="[RECIPE]", help="A shipped recipe or a YAML file.")] = "demo",
    out: Annotated[Path, typer.Option("--out", help="The run folder.")] = Path("runs/demo"),
    seed: Annotated[int | None, typer.Option("--seed", help="Short for --set train.seed=N.")] = None,
    overrides: SetOption = None,
    resume: ResumeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure the embedded base model, train it with GRPO, compare the two."""
    from razona.recipe import load

    changes = [*(overrides or []), *([f"train.seed={seed}"] if seed is not None else [])]
    recipe = load(recipe_name, changes)
    from razona.advise.exhausted import explained_exhaustion
    from razona.cli.console import make_console
    from razona.cli.progress import RichWatcher
    from razona.embedded.demo import demo

    console = make_console(to_stderr=as_json)
    console.print(INTRODUCTION, soft_wrap=True)
    with explained_exhaustion(recipe), leave_on_signals(recipe.train.grace_s, way_on_of(RunDir(out))):
        summary = demo(recipe, out, resume=resume, watcher=RichWatcher(console))
    if as_json:
        say_json(summary)
        return
    print_summary(console, summary)
    console.print(
        f"\nFigures: {out}/summary.json   Page: {out}/report.html   Every completion: {out}/completions/",
        highlight=False,
        soft_wrap=True,
    )


def print_summary(console: object, summary: Mapping) -> None:
    """Print the comparison as a table, three problems side by side, and the paragraph."""
    from rich.console import Console
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    assert isinstance(console, Console)
    table = Table(title="Base and tuned on the same problems (95 % intervals)", title_justify="left")
    table.add_column("")
    for column in ("base", "tuned", "base, harder problems", "tuned, harder problems"):
        table.add_column(column, justify="right")
    sides = (summary["base"], summary["tuned"], summary["ood"]["base"], summary["ood"]["tuned"])
    k = summary["base"]["k"]
    rows = {"right in one try (pass@1)": "pass_at_1", f"right in {k} tries (pass@{k})": f"pass_at_{k}"}
    rows |= {"greedy decoding": "greedy", "in the form asked for": "format_rate"}
    for label, key in rows.items():
        table.add_row(label, *(with_interval(side, key) for side in sides))
    table.add_row("tokens an answer", *(f"{side['mean_length']:.1f}" for side in sides))
    table.add_row("worked steps an answer", *(f"{side['worked_steps']:.2f}" for side in sides))
    table.add_row("problems", *(f"{side['n']}" for side in sides))
    console.print()
    console.print(table)
    console.print("The base under other prompts: " + _prompts(summary["base_prompts"]), highlight=False, soft_wrap=True)
    for example in summary["examples"]:
        console.print()
        console.print(
            f"{example['question']}  (target {example['target']})", highlight=False, markup=False, soft_wrap=True
        )
        for side in ("base", "tuned"):
            mark = "right" if example[f"{side}_outcome"] == "correct" else "wrong"
            console.print(f"  {side:5} {mark}: {example[side].strip()}", highlight=False, markup=False, soft_wrap=True)
    console.print()
    console.print(Panel(Text(visible(summary["paragraph"])), title="In plain words", title_align="left"))


def _prompts(figures: Mapping[str, Mapping[str, float]]) -> str:
    return "; ".join(f"{name} {row['sampled']:.1%}, greedy {row['greedy']:.1%}" for name, row in figures.items()) + "."
