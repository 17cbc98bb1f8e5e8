"""Taking a completion apart while it is written, and laying the parts out."""

from io import StringIO

import pytest
from rich.console import Console

from razona.cli.talk import Layout, Side
from razona.evaluate.parts import Part, PartReader, Piece
from razona.verify import Tags

# text after the opened working -> parts of text in order, joined where one part follows itself
CASES = [
    ("2+2=4<end_working_out><SOLUTION>4</SOLUTION>", [("working", "2+2=4"), ("solution", "4")]),
    ("a<end_working_out>\nso\n<SOLUTION>4</SOLUTION> end", [
        ("working", "a"), ("other", "\nso\n"), ("solution", "4"), ("other", " end"),
    ]),
    ("never ends", [("working", "never ends")]),
    ("a<end_working_out>b<end_working_out>c", [("working", "a"), ("other", "b<end_working_out>c")]),
    ("a<SOLUTION>1</SOLUTION><SOLUTION>2", [("working", "a"), ("solution", "1"), ("solution", "2")]),
    ("a<end_working_out>b<start_working_out>c", [("working", "a"), ("other", "b"), ("working", "c")]),
    ("a<start_working_out>b", [("working", "a<start_working_out>b")]),
    ("a<end_working_ou", [("working", "a<end_working_ou")]),
    ("1 < 2 <<end_working_out>", [("working", "1 < 2 <")]),
    ("", []),
]  # fmt: skip


def joined(pieces: list[Piece]) -> list[tuple[str, str]]:
    """Join neighbours of one part; two solution blocks are told apart nowhere."""
    parts: list[tuple[str, str]] = []
    for piece in pieces:
        if parts and parts[-1][0] == piece.part:
            parts[-1] = (piece.part, parts[-1][1] + piece.text)
        else:
            parts.append((str(piece.part), piece.text))
    return parts


def in_pieces(text: str, size: int) -> list[tuple[str, str]]:
    reader = PartReader(Tags())
    pieces = [piece for start in range(0, len(text), size) for piece in reader.add(text[start : start + size])]
    return joined(pieces + reader.end())


@pytest.mark.parametrize(("text", "parts"), CASES)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_parts_do_not_depend_on_how_the_text_comes(text: str, parts: list[tuple[str, str]], size: int):
    assert in_pieces(text, size) == joined([Piece(part=Part(part), text=words) for part, words in parts])


def test_text_that_cannot_begin_a_mark_is_told_at_once():
    reader = PartReader(Tags())
    assert joined(reader.add("12 <")) == [("working", "12 ")]
    assert joined(reader.add("13 and <end")) == [("working", "<13 and ")]


def test_each_part_stands_on_lines_of_its_own_without_white_space_around_it():
    written: list[str] = []
    layout = Layout(lambda text, style: written.append(text))
    for part, text in [
        (Part.WORKING, "  a \n"), (Part.WORKING, "\nb"), (Part.WORKING, "\n"), (Part.OTHER, "\n  "),
        (Part.SOLUTION, "\n 4"), (Part.SOLUTION, " m \n"), (Part.OTHER, "\nbye"),
    ]:  # fmt: skip
        layout.add(Piece(part=part, text=text))
    assert "".join(written) == "working  a \n\nb\nsolution  4 m\noutside  bye"


def test_a_column_shows_the_end_of_what_does_not_fit():
    side = Side("model")
    side.write("one\ntwo\nthree\nfour", "")
    console = Console(width=40, height=10, file=StringIO())

    def shown(height: int | None) -> str:
        with console.capture() as capture:
            console.print(side.draw(console, 40, height))
        return capture.get()

    clipped, whole = shown(2), shown(None)
    assert "two" not in clipped and "three" in clipped and "four" in clipped
    assert "one" in whole and "four" in whole
