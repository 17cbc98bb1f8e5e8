"""`razona`: the verbs, and how a mistake is told."""

import os
import sys
import warnings

import typer

from razona import __version__
from razona.cli import (
    advise,
    base,
    chat,
    check,
    compare,
    data,
    demo,
    evaluate,
    experiment,
    export,
    redteam,
    report,
    tasks,
    train,
    verify,
)
from razona.core.errors import RazonaError
from razona.core.launch import (
    end_several,
    is_main_process,
    num_processes,
    process_index,
    refuse_several_processes,
)
from razona.core.terminal import say

app = typer.Typer(
    name="razona",
    help="Teach a base language model to reason, with verifiable rewards and GRPO.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command(name="demo")(demo.demo_command)
app.command(name="check")(check.check_command)
app.command(name="train")(train.train_command)
app.command(name="eval")(evaluate.eval_command)
app.command(name="compare")(compare.compare_command)
app.command(name="advise")(advise.advise_command)
app.command(name="export")(export.export_command)
app.command(name="chat")(chat.chat_command)
app.command(name="report")(report.report_command)
app.command(name="tasks")(tasks.tasks_command)
app.command(name="verify")(verify.verify_command)
app.command(name="redteam")(redteam.redteam_command)
app.add_typer(data.app, name="data")
app.add_typer(experiment.app, name="experiment")
app.add_typer(base.app, name="base")


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context, version: bool = typer.Option(False, "--version", help="Print the version and leave.")
) -> None:
    if version:
        say(__version__)
        raise typer.Exit
    if context.invoked_subcommand not in (None, "train"):
        refuse_several_processes(f"razona {context.invoked_subcommand}")


def main() -> None:
    """Run a verb.

    Exit codes: 0 done, 1 the machine failed or a finding should stop you, 2 a mistake in what was asked,
    130 interrupted, 143 terminated (SIGTERM, SIGUSR1).
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # TRL still uses two names that transformers renames; nothing the person could do about it.
    warnings.filterwarnings("ignore", message=r".*gradient_checkpointing. is deprecated", category=FutureWarning)
    if not is_main_process():  # which has the same warnings
        warnings.simplefilter("ignore")
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    try:
        app()
    except RazonaError as error:
        who = "razona" if is_main_process() else f"razona (process {process_index()} of {num_processes()})"
        say(f"{who}: {error}", to_stderr=True)
        end_several(error.exit_code)
        sys.exit(error.exit_code)
    except OSError as error:
        say(f"razona: the system refused: {error}", to_stderr=True)
        sys.exit(1)
