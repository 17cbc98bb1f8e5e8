"""`razona check`: what is wrong with a recipe before anything is spent on it."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from razona.cli.options import AgainstOption, AllowOption, JsonOption, OutOption, SetOption
from razona.core.terminal import say_json, visible

if TYPE_CHECKING:
    from rich.console import Console

    from razona.advise.check import CheckOptions, CheckResult
    from razona.advise.checks.finding import Finding
    from razona.core.rundir import RunDir
    from razona.models.load import Policy
    from razona.recipe import Recipe

DEFAULT_PROBLEMS, DEFAULT_BUDGET_S = 32, 60.0
"""Problems that are sampled, and the longest that it may take, unless `--samples` says otherwise."""
STYLES = {"error": "bold red", "warning": "yellow"}


def check_command(
    recipe_name: Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe or a YAML file.")],
    overrides: SetOption = None,
    allow: AllowOption = None,
    against: AgainstOption = None,
    samples: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help=f"Problems that the untrained model is sampled on, however long it takes; by default "
            f"{DEFAULT_PROBLEMS}, or as many as {DEFAULT_BUDGET_S:g} s allow.",
        ),
    ] = None,
    no_model: Annotated[
        bool, typer.Option("--no-model", help="Look at data, rewards and the model's files; load no weights.")
    ] = False,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look for what dooms a run before its first step: data, rewards, prompt, signal, versions, memory, disk.

    Ends with 1 where there is an error. Every rule is in docs/check.md.
    """
    from pathlib import Path

    from razona.advise.check import CheckOptions, check, explain_refusal
    from razona.advise.checks.samples import Effort
    from razona.core.errors import RecipeError
    from razona.recipe import load

    if no_model and samples is not None:
        raise RecipeError(f"--samples {samples} samples a model, and --no-model loads none. Leave one of them out.")
    try:
        recipe = load(recipe_name, overrides or [])
    except RecipeError:
        explained = explain_refusal(recipe_name, overrides or [])
        if explained is None:
            raise
        _finish(explained, recipe_name, as_json)
        return
    effort = Effort(num_problems=DEFAULT_PROBLEMS, budget_s=DEFAULT_BUDGET_S)
    if samples is not None:
        effort = Effort(num_problems=samples, budget_s=None)
    options = CheckOptions(
        allow=allow or [], against=against or [], effort=effort, folder=out or Path("runs") / recipe.name
    )
    _finish(check(recipe, options, load_policy=None if no_model else lambda: _load(recipe)), recipe.name, as_json)


def _load(recipe: "Recipe") -> "Policy":
    from razona.models.load import load_policy

    return load_policy(recipe.model, trains_all_weights=recipe.lora is None)


def _finish(result: "CheckResult", name: str, as_json: bool) -> None:
    """Print a result and end with 1 where it has errors."""
    if as_json:
        say_json({"recipe": name, **result.as_row()})
    else:
        from razona.cli.console import make_console

        print_result(make_console(), result, name)
    if result.errors:
        raise typer.Exit(1)


def print_result(console: "Console", result: "CheckResult", name: str) -> None:
    """Print every finding with all that is known about it, what was measured, and what was not looked at."""
    from rich.table import Table
    from rich.text import Text

    for finding in result.findings:
        console.print(_head(finding, result))
        table = Table.grid(padding=(0, 1))
        for label, text in (
            ("saw", finding.saw),
            ("why", finding.why),
            ("change", finding.change),
            ("not if", finding.wrong_when),
            ("source", finding.source),
        ):
            table.add_row(Text(f"  {label}", style="dim"), Text(visible(text)))
        console.print(table)
        console.print()
    for note in result.notes:
        console.print(visible(note), highlight=False, soft_wrap=True, markup=False)
    for reason in result.not_looked_at:
        console.print(f"not looked at: {visible(reason)}", highlight=False, soft_wrap=True, markup=False)
    errors, allowed = len(result.errors), sum(one.rule in result.allowed for one in result.findings)
    warnings = sum(one.severity == "warning" for one in result.findings)
    told = f"{errors} error{'s'[: errors != 1]}, {warnings} warning{'s'[: warnings != 1]}"
    console.print(
        f"{name}: {told}{f', {allowed} allowed by name' if allowed else ''} ({result.seconds:.1f} s)", highlight=False
    )


def _head(finding: "Finding", result: "CheckResult") -> object:
    from rich.text import Text

    is_allowed = finding.rule in result.allowed
    head = Text(str(finding.severity), style="dim" if is_allowed else STYLES[str(finding.severity)])
    return head.append(f"  {finding.rule}{'  (allowed)' if is_allowed else ''}", style="bold")


class RunCheck:
    """The check in the first seconds of `razona train`: prints warnings, keeps the result in the run folder."""

    def __init__(self, run: "RunDir", recipe: "Recipe", options: "CheckOptions", console: "Console") -> None:
        from razona.advise.check import Check

        self._check = Check(recipe, options)
        self._run, self._console, self._num_told = run, console, 0

    @staticmethod
    def was_passed(run: "RunDir") -> bool:
        """Say whether the folder's run was checked whole, and may go on."""
        return run.check.exists() and bool(json.loads(run.check.read_text(encoding="utf-8")).get("is_passed"))

    def before_loading(self) -> None:
        """Apply the rules that need no model."""
        self._check.before_loading()
        if self._check.result.errors:
            self._keep()
        self._tell()

    def with_policy(self, policy: "Policy") -> None:
        """Apply those on prompts, and sample the untrained model."""
        self._check.with_policy(policy)
        self._keep()
        self._tell()
        result = self._check.result
        for line in (*result.notes, *(f"not looked at: {reason}" for reason in result.not_looked_at)):
            self._console.print(f"  {visible(line)}", highlight=False, soft_wrap=True, markup=False)

    def _keep(self) -> None:
        from razona.core.files import write_json

        write_json(self._run.check, self._check.result.as_row())

    def _tell(self) -> None:
        """Stop where there are errors; else print what is new."""
        from rich.text import Text

        result = self._check.result
        result.raise_errors()
        for finding in result.findings[self._num_told :]:
            told = f"  ! {finding.rule}: {finding.saw}. {finding.change}."
            self._console.print(Text(visible(told), style="yellow"), soft_wrap=True)
        self._num_told = len(result.findings)
