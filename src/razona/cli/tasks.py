"""`razona tasks`: what the generators make."""

from typing import Annotated

import typer

from razona.cli.options import JsonOption
from razona.core.terminal import say, say_json


def tasks_command(
    family: Annotated[str | None, typer.Argument(help="Show problems of this family.")] = None,
    level: Annotated[int, typer.Option(min=1, max=3, help="Difficulty.")] = 1,
    count: Annotated[int, typer.Option(min=1, help="How many problems.")] = 3,
    split: Annotated[str, typer.Option(help="corpus, train, evaluation or ood.")] = "train",
    seed: Annotated[int, typer.Option(help="Which problems.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """List the task families, or show problems of one with their worked steps."""
    from razona import tasks

    if family is None:
        rows = [
            {"family": name, "description": made.description, "distinct": dict(made.distinct)}
            for name, made in tasks.FAMILIES.items()
        ]
        if as_json:
            say_json(rows)
            return
        for row in rows:
            counts = ", ".join(f"level {key}: {number:,}" for key, number in row["distinct"].items())
            say(f"{row['family']:18} {row['description']}\n{'':18} at least this many different ones: {counts}")
        return
    for problem in tasks.distinct_problems(split, count, seed=seed, families=[family], levels=[level]):
        if as_json:
            say_json({"question": problem.question, "steps": problem.steps, "target": problem.target}, indent=None)
        else:
            say(f"{problem.question}\n  {'. '.join(problem.steps)}.\n  Target: {problem.target}\n")
