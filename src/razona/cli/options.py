"""Options that several verbs share."""

from pathlib import Path
from typing import Annotated

import typer

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change one value of the recipe, e.g. --set train.steps=20. Repeatable."
    ),
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in the run folder.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the figures as JSON and nothing else.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="The run folder; runs/<recipe name> by default.")]
AllowOption = Annotated[
    list[str] | None,
    typer.Option("--allow", metavar="RULE", help="A rule of the check whose errors do not stop. Repeatable."),
]
AgainstOption = Annotated[
    list[str] | None,
    typer.Option(
        "--against", help="An evaluation set that must not be in the data: a file or a benchmark. Repeatable."
    ),
]
