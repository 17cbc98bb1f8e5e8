"""The console that verbs draw on: whatever is drawn, no character of it is an order to the terminal."""

import sys
from collections.abc import Iterable
from contextlib import redirect_stdout

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from razona.core.terminal import visible

PLAIN_WIDTH = 116
"""Columns where the output is no terminal: the comparison's table fits."""


class SafeConsole(Console):
    """A console that writes out every character a terminal might act on, in tables, panels and live views too.

    What it draws is the last place where that can be done: a name that a verb forgot to make `visible` ends here. Its
    own colours and movements of the cursor are no text and stay what they are.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Give the pieces of what is drawn."""
        for piece in super().render(renderable, options):
            yield piece if piece.control else Segment(visible(piece.text), piece.style)


def make_console(*, to_stderr: bool = False, is_quiet: bool = False, plain_width: int = PLAIN_WIDTH) -> Console:
    """Give the console that a verb prints on; a quiet one shows nothing. No text is read as rich's markup.

    Args:
        plain_width: columns where the output is not a terminal.
    """

    def made(width: int | None) -> SafeConsole:
        return SafeConsole(stderr=to_stderr, quiet=is_quiet, width=width, markup=False, highlight=False, emoji=False)

    console = made(None)
    return console if console.is_terminal else made(plain_width)


def import_libraries() -> None:
    """Import what takes seconds (torch, transformers, TRL): with `WANDB_MODE=offline` transformers prints a line then.

    It goes to stderr, for stdout may be read by a program.
    """
    with redirect_stdout(sys.stderr):
        import razona.train  # noqa: F401
