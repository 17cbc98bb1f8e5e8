"""`razona chat`: questions to a model, one at a time."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from razona.cli.evaluate import RecipeOption, recipe_for
from razona.cli.options import SetOption
from razona.core.errors import RazonaError, RecipeError
from razona.core.terminal import say, say_json, visible

if TYPE_CHECKING:
    from rich.console import Console

    from razona.evaluate.chat import Answer, Settings, Speaker

INTRODUCTION = (
    "Each question stands alone: the model is trained on single problems and remembers nothing of what was said. "
    "No answer is checked. /help lists the commands."
)
HELP = """\
A line is a question; it is put in the form of the recipe, without what was said before.
  /seed N          sample with another seed, and count the questions from 0 again
  /temperature T   0 is greedy: the same answer every time; 1 is the model itself
  /help            this
  /quit            leave; so does Ctrl-D
Ctrl-C stops the answer that is being written. To ask something that begins with /, put a space before it."""
PROMPT = "> "


@dataclass(slots=True)
class Session:
    """What the commands change."""

    settings: "Settings"
    turn: int = 0
    """Questions asked since the seed was set."""


def chat_command(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="embedded, a model's or adapter's folder, a run, or a hub name.")
    ],
    versus: Annotated[
        str | None,
        typer.Option("--versus", metavar="BASE", help="A second model, or `base`: what MODEL was trained from."),
    ] = None,
    recipe_name: RecipeOption = None,
    overrides: SetOption = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", min=0.0, help="0 is greedy; default: the recipe's, of training.")
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option("--max-tokens", min=1, help="Limit of an answer; default: the recipe's, 1024 for other models."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the samples.")] = 0,
    prompt: Annotated[str | None, typer.Option("--prompt", help="Answer this one question and leave.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --prompt: print the answers as JSON.")] = False,
) -> None:
    """Ask a model questions and read along; with --versus, two models."""
    if as_json and prompt is None:
        raise RecipeError("--json prints the answers to one question. Give it with --prompt TEXT.")
    from razona.cli.talk import make_talk_console
    from razona.evaluate.chat import Settings, default_tokens, load_speakers

    recipe = recipe_for(model, recipe_name, overrides or [])
    settings = Settings(
        temperature=recipe.rollout.temperature if temperature is None else temperature,
        max_tokens=max_tokens or default_tokens(model, recipe, is_recipe_named=recipe_name is not None),
        seed=seed,
    )
    session, console = Session(settings), make_talk_console(is_quiet=as_json)
    with console.status("Loading"):
        speakers = load_speakers(model, recipe, versus)
    if prompt is None:
        console.print(f"Recipe {recipe.name}. {describe(settings)}", highlight=False, markup=False, style="dim")
        talk(speakers, session, console)
        return
    question = _clean(prompt)
    answers, is_stopped = ask(speakers, question, session, console)
    if as_json:
        figures = {
            "question": question,
            "recipe": recipe.name,
            **asdict(settings),
            "answers": [asdict(answer) for answer in answers],
        }
        say_json(figures)
    if is_stopped:
        raise typer.Exit(130)


def describe(settings: "Settings") -> str:
    """Say how answers are sampled."""
    return f"Temperature {settings.temperature:g}, seed {settings.seed}, at most {settings.max_tokens:,} tokens."


def talk(speakers: "list[Speaker]", session: Session, console: "Console") -> None:
    """Answer the questions that are typed or piped in, until they end."""
    is_typed = sys.stdin.isatty() and console.is_terminal
    if is_typed:
        with suppress(ImportError):
            import readline  # noqa: F401 - input() edits lines and knows earlier ones with it
        console.print(INTRODUCTION, style="dim")
    else:
        say(f"razona: {INTRODUCTION}", to_stderr=True)
    for line in _typed_lines() if is_typed else _piped_lines():
        if line.startswith("/"):
            if not obey(line, session, console):
                return
        elif line.strip():
            if not is_typed:
                _say(console, f"{PROMPT}{line}")
            try:
                ask(speakers, line.strip(), session, console)
            except RazonaError as error:
                if not is_typed:
                    raise
                _say(console, str(error))


def ask(speakers: "list[Speaker]", question: str, session: Session, console: "Console") -> "tuple[list[Answer], bool]":
    """Let every model answer a question.

    Returns:
        The answers, and whether the person stopped one of them.
    """
    from razona.cli.talk import show
    from razona.evaluate.chat import Talk

    with stopped_by_interrupt() as should_stop:
        talks = [
            Talk(speaker=one, question=question, settings=session.settings, turn=session.turn, should_stop=should_stop)
            for one in speakers
        ]
        show(talks, console)
    session.turn += 1
    answers = [one.answer for one in talks if one.answer is not None]
    return answers, any(answer.is_stopped for answer in answers)


@contextmanager
def stopped_by_interrupt() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C stop the answer that is being written, between two tokens; a second one in that time is an ordinary
    interrupt. The function says once whether it was pressed.
    """
    pressed = 0

    def on_interrupt(number: int, frame: object) -> None:
        nonlocal pressed
        pressed += 1
        if pressed > 1:
            raise KeyboardInterrupt

    def should_stop() -> bool:
        nonlocal pressed
        was_pressed, pressed = pressed > 0, 0
        return was_pressed

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield should_stop
    finally:
        signal.signal(signal.SIGINT, before)


def obey(line: str, session: Session, console: "Console") -> bool:
    """Do what a command says; False: it says to leave."""
    name, _, value = line.strip().partition(" ")
    value = value.strip()
    if name == "/quit":
        return False
    if name == "/help":
        _say(console, HELP)
    elif name == "/seed":
        if value.isascii() and value.isdigit():
            session.settings, session.turn = replace(session.settings, seed=int(value)), 0
            _say(console, describe(session.settings))
        else:
            _say(console, f"/seed {value}: expected a whole number from 0 on, for example /seed 7")
    elif name == "/temperature":
        temperature = _number(value)
        if temperature is None:
            _say(console, f"/temperature {value}: expected a number from 0 (greedy) on, for example /temperature 0.7")
        else:
            session.settings = replace(session.settings, temperature=temperature)
            _say(console, describe(session.settings))
    else:
        _say(
            console,
            f"{name} is no command; there are /seed, /temperature, /help and /quit. To ask it, put a space before it.",
        )
    return True


def _number(text: str) -> float | None:
    """Give a finite number from 0 on; None where the text is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def _say(console: "Console", words: str) -> None:
    from rich.text import Text

    console.print(Text(visible(words), style="dim"), soft_wrap=True)


def _typed_lines() -> Iterator[str]:
    """Give the lines that are typed; Ctrl-C empties the line, Ctrl-D ends them."""
    while True:
        try:
            yield _clean(input(PROMPT))
        except KeyboardInterrupt:
            say("\n(/quit or Ctrl-D leaves)")
        except EOFError:
            say()
            return


def _piped_lines() -> Iterator[str]:
    for line in sys.stdin:
        yield _clean(line.rstrip("\n"))


def _clean(text: str) -> str:
    """Replace what is no text: halves of characters, from bytes that are no UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
