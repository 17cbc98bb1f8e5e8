"""`razona advise`: reinforcement or supervised fine-tuning?"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from razona.cli.options import JsonOption, SetOption
from razona.core.errors import RecipeError
from razona.core.terminal import say, say_json


def advise_command(
    recipe_name: Annotated[
        str | None, typer.Argument(metavar="[RECIPE]", help="A shipped recipe or a YAML file.")
    ] = None,
    minutes: Annotated[float, typer.Option("--minutes", min=0.1, help="Budget of the measurement.")] = 5.0,
    interval: Annotated[
        float, typer.Option("--interval", min=0.01, max=0.5, help="Half the width allowed to pass@1's 95 % interval.")
    ] = 0.1,
    inputs_shift: Annotated[
        bool | None,
        typer.Option("--inputs-shift/--inputs-stay", help="Whether rules or inputs will differ from the training's."),
    ] = None,
    worked: Annotated[
        int | None,
        typer.Option("--worked-solutions", min=0, help="Worked solutions that you could get; default: the data's."),
    ] = None,
    questions: Annotated[
        bool, typer.Option("--questions", help="Answer five questions instead: no model is loaded.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder; advice/NAME by default. A second call goes on in it.")
    ] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the base model on its problems and say: RFT, SFT, both, a stronger model, or neither."""
    from razona.advise.advice import advise, lines_of, told_without_model
    from razona.advise.decision import Answer, Asked
    from razona.advise.measuring import Budget
    from razona.advise.page import lines_of_tree
    from razona.advise.questions import answer, ask_all

    if questions and recipe_name:
        raise RecipeError(f"--questions asks for no model, and {recipe_name} names one. Leave one of the two out.")
    if not questions and not recipe_name:
        raise RecipeError("razona advise: expected a RECIPE whose model is measured, or --questions")
    page = None
    if questions:
        told = told_without_model(answer(ask_all(_ask)))
    else:
        from razona.cli.console import make_console
        from razona.recipe import load

        recipe = load(str(recipe_name), overrides or [])  # before what takes seconds to import
        from razona.cli.progress import RichWatcher

        place = out or Path("advice") / recipe.name
        told = advise(
            recipe,
            place,
            Budget(minutes=minutes, interval=interval),
            RichWatcher(make_console(to_stderr=True)),
            inputs_shift=inputs_shift,
            worked_solutions=worked,
        )
        page = place / "advice.html"
    if as_json:
        say_json(told, default=asdict)
        return
    for line in lines_of(told):
        say(line)
    say()
    for line in lines_of_tree([Asked(**one) for one in told["path"]], Answer(told["answer"])):  # pyright: ignore
        say(line)
    if page:
        say(f"\nPage: {page}")


def _ask(question) -> str:
    choices = f" [{' / '.join(question.choices)}]" if question.choices else ""
    hint = f"\n  ({question.hint})" if question.hint else ""
    return typer.prompt(f"{question.text}{choices}{hint}")
