"""`razona redteam`: attacks on a recipe's rewards."""

from typing import TYPE_CHECKING, Annotated

import typer

from razona.cli.options import JsonOption, SetOption
from razona.core.terminal import say_json, visible

if TYPE_CHECKING:
    from rich.console import Console

    from razona.rewards.redteam import ScoreCard


def redteam_command(
    recipe_name: Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe or a YAML file.")],
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Attack the rewards of a recipe: every right completion must be paid more than every wrong one.

    Ends with 1 where a check fails.
    """
    from razona.data import tags_of
    from razona.recipe import load
    from razona.rewards.redteam import red_team

    recipe = load(recipe_name, overrides or [])
    card = red_team(recipe.rewards, tags_of(recipe.prompt))
    if as_json:
        say_json(card.as_row())
    else:
        from razona.cli.console import make_console

        print_card(make_console(), card, recipe.name)
    if not card.is_passed:
        raise typer.Exit(1)


def print_card(console: "Console", card: "ScoreCard", recipe_name: str) -> None:
    """Print the checks as a table, and the worst pairs below it."""
    from rich.table import Table
    from rich.text import Text

    num_passed = sum(check.is_passed for check in card.checks)
    console.print(
        f"Rewards of {recipe_name}, kind {card.kind}: {card.num_right} right and {card.num_wrong} wrong completions "
        f"from {card.num_patterns} patterns.",
        highlight=False,
        soft_wrap=True,
    )
    table = Table(title=f"{num_passed} of {len(card.checks)} checks passed", title_justify="left")
    for column in ("check", "", "finding"):
        table.add_column(column)
    for check in card.checks:
        mark = Text("passed", "green") if check.is_passed else Text("FAILED", "bold red")
        table.add_row(check.name, mark, Text(visible(check.finding)))
    console.print(table)
    if not card.worst:
        return
    pairs = Table(title=f"The worst of {card.num_violations} violating pairs", title_justify="left", show_lines=True)
    for column in ("problem", "wrong, and its pay", "right, and its pay"):
        pairs.add_column(column, overflow="fold")
    for pair in card.worst:
        pairs.add_row(
            Text(visible(pair.problem)),
            Text(visible(f"{pair.wrong_pay:g}  {pair.wrong_pattern}\n{pair.wrong_text}")),
            Text(visible(f"{pair.right_pay:g}  {pair.right_pattern}\n{pair.right_text}")),
        )
    console.print(pairs)
