"""How answers are shown while they are written: one under the other, or side by side where the terminal is wide.

What models write is untrusted: every character that a terminal might act on is written out (`visible`), and no text is
read as rich's markup.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from razona.cli.console import make_console
from razona.core.terminal import visible
from razona.evaluate.chat import Answer, Talk
from razona.evaluate.parts import Part, Piece

SIDE_BY_SIDE = 120
"""Columns from which two answers stand side by side."""
PLAIN_WIDTH = 100_000
"""Where the output is not a terminal, lines are as long as they are."""
REDRAWS_PER_S = 8
PANEL_LINES = 5
"""Of a terminal's height, what an answer being written leaves to frames and the prompt."""
STYLES = {Part.WORKING: "dim", Part.SOLUTION: "bold cyan", Part.OTHER: ""}
LABELS = {Part.WORKING: "working", Part.SOLUTION: "solution", Part.OTHER: "outside"}

Write = Callable[[str, str], None]
"""Takes text, safe to show, and its style."""


def make_talk_console(*, is_quiet: bool = False) -> Console:
    """Give the console that answers are shown on; without a terminal it breaks no lines."""
    return make_console(is_quiet=is_quiet, plain_width=PLAIN_WIDTH)


@dataclass(slots=True)
class Layout:
    """Puts each part of an answer on lines of its own, after its name."""

    write: Write
    _part: Part | None = None
    _space: str = ""
    """White space that was not written yet: it is left out at both ends of a part."""

    def add(self, piece: Piece) -> None:
        """Take some more of the answer."""
        text = piece.text.replace("\t", "    ")
        if piece.part is not self._part:
            text = text.lstrip()
            if not text:
                return
            if self._part is not None:
                self.write("\n", "")
            self.write(f"{LABELS[piece.part]}  ", "bold")
            self._part, self._space = piece.part, ""
        core = text.rstrip()
        if core:
            self.write(visible(self._space + core), STYLES[piece.part])
            self._space = ""
        self._space += text[len(core) :]

    def end(self, answer: Answer) -> None:
        """Close the last line and say how the answer came about."""
        self.write("\n" if self._part is not None else "", "")
        self.write(f"[{describe(answer)}]\n", "dim")


def describe(answer: Answer) -> str:
    """Say how an answer ended, how long it took, and whether it has the form asked for; not whether it is right."""
    if answer.is_stopped:
        end = "stopped"
    elif answer.is_truncated:
        end = f"cut off at {answer.max_tokens:,}"
    else:
        end = "ended by itself"
    form = "in the form asked for" if answer.has_form else "not in the form asked for"
    return f"{answer.num_tokens:,} tokens in {answer.seconds:.1f} s, {end}, {form}"


def show(talks: Sequence[Talk], console: Console) -> None:
    """Show the answers while they are written, one model after the other."""
    if console.quiet:
        for talk in talks:
            for _ in talk:
                pass
    elif len(talks) > 1 and console.is_terminal and not console.is_dumb_terminal and console.width >= SIDE_BY_SIDE:
        _show_side_by_side(talks, console)
    else:
        _show_in_turn(talks, console)


def _show_in_turn(talks: Sequence[Talk], console: Console) -> None:
    def write(text: str, style: str) -> None:
        console.print(Text(text, style=style), end="", soft_wrap=True)

    for talk in talks:
        if len(talks) > 1:
            write(f"{visible(talk.speaker.name)}\n", "bold underline")
        layout = Layout(write)
        for piece in talk:
            layout.add(piece)
        assert talk.answer is not None
        layout.end(talk.answer)


@dataclass(slots=True)
class Side:
    """One answer in its column."""

    name: str
    text: Text = field(default_factory=Text)

    def write(self, text: str, style: str) -> None:
        """Take some more of it."""
        self.text.append(text, style=style)

    def draw(self, console: Console, width: int, height: int | None) -> Panel:
        """Give the column; where `height` is given, the last lines that it has room for."""
        text = self.text.copy()
        text.rstrip()
        if height is not None:
            lines = text.wrap(console, width - 4)
            text = Text("\n").join(list(lines)[-height:])
        return Panel(text, title=Text(visible(self.name)), title_align="left", border_style="dim")


def _show_side_by_side(talks: Sequence[Talk], console: Console) -> None:
    sides = [Side(talk.speaker.name) for talk in talks]
    width = console.width // len(sides)

    def draw(height: int | None) -> RenderableType:
        table = Table.grid(expand=True)
        for _ in sides:
            table.add_column(ratio=1)
        table.add_row(*(side.draw(console, width, height) for side in sides))
        return Group(table)

    with Live(console=console, transient=True, refresh_per_second=REDRAWS_PER_S) as live:
        for talk, side in zip(talks, sides, strict=True):
            layout = Layout(side.write)
            for piece in talk:
                layout.add(piece)
                live.update(draw(max(console.height - PANEL_LINES, 3)))
            assert talk.answer is not None
            layout.end(talk.answer)
    console.print(draw(None))
