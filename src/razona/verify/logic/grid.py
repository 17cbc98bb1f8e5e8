r"""Grids: sudokus of any size and Latin squares, checked against the givens.

Fields of a row with `puzzle: "grid"`:

- `grid`: the givens, a list of n rows of n cells, n at most 25; 0, null, "", ".", "_" and "?" are empty cells. A text
  of n lines will do too (cells by spaces or commas, or one character a cell);
- `box`: `[rows, columns]` of a box, such as `[3, 3]`; a Latin square has no boxes and no such field;
- `symbols`: what the cells hold, n different words; 1 to n where the field is missing.

An answer is right when it keeps every given and has each symbol once in every row, column and box; any such grid
counts. It is read row by row: n x n symbols, by spaces, commas, bars or line ends, as nested lists, as a LaTeX array,
or without separators where every symbol is one character. Nothing but symbols and rulings may stand there.

Does not cover: regions of other shapes, diagonals, sums, inequalities, attribute grids ("zebra" puzzles).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from razona.core.nouns import Outcome, Verdict
from razona.verify.logic.rows import UnreadableText, is_integer, list_field, row_error, shortened

KIND = "grid"
MAX_SIDE = 25
_EMPTY = frozenset({"", "0", ".", "_", "?", "None"})
_LAYOUT = re.compile(
    r"\\begin (?:array|tabular)\s+[clr|]+(?=\s)"
    r"|\\(?:begin|end) (?:array|tabular|[pbvB]?matrix)|\\hline"
    r"|[|&,;\[\]\"'()+]|(?<![0-9A-Za-z])[-=─━│┼]+"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GridPuzzle:
    """The givens of a square grid and what each of its units holds."""

    givens: tuple[str, ...]
    """Row by row, an empty text where nothing is given."""
    symbols: tuple[str, ...]
    box: tuple[int, int] | None
    """Rows and columns of a box; None for a Latin square."""

    @property
    def side(self) -> int:
        """Rows of the grid, which are its columns and symbols too."""
        return len(self.symbols)


def _read_cells(row: Mapping[str, object]) -> list[list[str]]:
    expected = f"a square of at most {MAX_SIDE} rows, as a list of lists or as lines of text"
    value = row.get("grid")
    if isinstance(value, str) and not value.lstrip().startswith(("[", "(")):
        lines = [line.replace(",", " ").split() for line in value.splitlines() if line.strip()]
        cells = [list(line[0]) if len(line) == 1 < len(lines) else line for line in lines]
    else:
        rows = list_field(row, KIND, "grid", expected)
        cells = [[str(cell) for cell in line] for line in rows if isinstance(line, list | tuple)]
        if len(cells) < len(rows):
            raise row_error(row, KIND, "grid", expected)
    if not 1 <= len(cells) <= MAX_SIDE or any(len(line) != len(cells) for line in cells):
        raise row_error(row, KIND, "grid", expected)
    return cells


def read_grid(row: Mapping[str, object]) -> GridPuzzle:
    """Read a row of the kind `grid`; its fields stand at this file's head.

    Raises:
        DataError: a field is missing or not of its form, or two givens of one unit are equal.
    """
    cells = _read_cells(row)
    side = len(cells)
    symbols = [str(number) for number in range(1, side + 1)]
    if "symbols" in row:
        expected = f"{side} different words without spaces, none of them a mark of an empty cell"
        symbols = [str(symbol) for symbol in list_field(row, KIND, "symbols", expected)]
        is_word = all(symbol not in _EMPTY and symbol.isalnum() for symbol in symbols)
        if len(symbols) != side or len(set(symbols)) != side or not is_word:
            raise row_error(row, KIND, "symbols", expected)
    box = None
    if row.get("box") is not None:
        numbers = [one for one in list_field(row, KIND, "box", "[rows, columns]") if isinstance(one, int)]
        if (
            len(numbers) != 2
            or not all(map(is_integer, numbers))
            or min(numbers) < 1
            or numbers[0] * numbers[1] != side
        ):
            raise row_error(row, KIND, "box", f"[rows, columns] whose product is {side}")
        box = (numbers[0], numbers[1])
    givens = tuple("" if cell in _EMPTY else cell for line in cells for cell in line)
    unknown = set(givens) - {"", *symbols}
    if unknown:
        raise row_error(row, KIND, "grid", f"cells that are empty or one of {', '.join(symbols)}, not {min(unknown)!r}")
    puzzle = GridPuzzle(givens=givens, symbols=tuple(symbols), box=box)
    clash = _repeated(givens, puzzle)
    if clash:
        raise row_error(row, KIND, "grid", f"givens that can be kept; {clash}")
    return puzzle


def _repeated(cells: Sequence[str], puzzle: GridPuzzle) -> str:
    """Name a symbol that stands twice in one unit, empty where none does."""
    side = puzzle.side
    seen: set[tuple[str, int, str]] = set()
    for place, symbol in enumerate(cells):
        row, column = divmod(place, side)
        units = [("row", row), ("column", column)]
        if puzzle.box is not None:
            height, width = puzzle.box
            units.append(("box", row // height * (side // width) + column // width))
        for unit, number in units:
            if symbol and (unit, number, symbol) in seen:
                return f"{symbol} stands twice in {unit} {number + 1}"
            seen.add((unit, number, symbol))
    return ""


def _read_answer(answer: str, puzzle: GridPuzzle) -> list[str]:
    cells: list[str] = []
    for word in _LAYOUT.sub(" ", answer).split():
        group = [word] if word in puzzle.symbols else list(word)
        wrong = next((cell for cell in group if cell not in puzzle.symbols), None)
        if wrong is not None or (len(group) > 1 and max(map(len, puzzle.symbols)) > 1):
            raise UnreadableText(f"{shortened(word, 40)!r} is none of the symbols {', '.join(puzzle.symbols)}")
        cells += group
    return cells


def check_grid(answer: str, puzzle: GridPuzzle) -> Verdict:
    """Say whether an answer fills the grid: givens kept, every symbol once in every row, column and box.

    Raises:
        UnreadableText: something other than symbols and rulings stands there.
    """
    cells = _read_answer(answer, puzzle)
    if not cells:
        raise UnreadableText("no cells")
    side = puzzle.side
    if len(cells) != side * side:
        return Verdict(outcome=Outcome.INCORRECT, reason=f"{len(cells)} cells; expected {side} x {side}")
    for place, (given, cell) in enumerate(zip(puzzle.givens, cells, strict=True)):
        if given and given != cell:
            where = f"row {place // side + 1}, column {place % side + 1}"
            return Verdict(outcome=Outcome.INCORRECT, reason=f"{where} was given as {given}, not {cell}")
    clash = _repeated(cells, puzzle)
    if clash:
        return Verdict(outcome=Outcome.INCORRECT, reason=clash)
    return Verdict(outcome=Outcome.CORRECT)
