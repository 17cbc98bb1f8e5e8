"""`razona verify`: verdicts for a file of rows."""

from pathlib import Path
from typing import Annotated

import typer

from razona.cli.options import JsonOption
from razona.core.terminal import say, say_json


def verify_command(
    file: Annotated[Path, typer.Argument(metavar="FILE.jsonl", help="One JSON object a line.")],
    out: Annotated[Path | None, typer.Option("--out", help="Where the rows with their verdicts are written.")] = None,
    kind: Annotated[str, typer.Option("--kind", help="What the rows hold: math, code or logic.")] = "math",
    unmarked: Annotated[
        bool | None,
        typer.Option(
            "--unmarked/--marked",
            help="Read answers that nothing marks. Default: in `prediction`, not in `completion`.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a policy, e.g. --set percent=lenient. Repeatable."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say of every row whether its completion is right.

    Rows of kind math have `gold` and `completion`, or `prediction`: the same, a text that holds an answer. Rows of kind
    code have `tests`, rows of kind logic their puzzle's fields (docs/verify.md). Every row keeps its fields and gets
    `outcome`, `answer`, `reason` and `seconds`.
    """
    from razona.verify.rows import VerifyOptions, parse_policies, verify_file

    options = VerifyOptions(kind=kind, is_unmarked_allowed=unmarked, policies=parse_policies(settings or []))
    summary = verify_file(file, out, options)
    if as_json:
        say_json(summary.as_row(), indent=None)
        return
    for line in summary.lines():
        say(line)
