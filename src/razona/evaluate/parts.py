"""A completion taken apart while it is written: its working, its solution, and what belongs to neither."""

from dataclasses import dataclass, field
from enum import StrEnum

from razona.verify import Tags


class Part(StrEnum):
    """Where in the recipe's form a piece of text stands."""

    WORKING = "working"
    SOLUTION = "solution"
    OTHER = "other"
    """Outside both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some text of one part."""

    part: Part
    text: str


@dataclass(slots=True)
class PartReader:
    """Says of text that comes piece by piece to which part it belongs. The prompt has opened the working already.

    The marks themselves are left out, where they change the part: a second end of the working is text. The end of a
    piece that may be the beginning of a mark waits for the next one.

    >>> reader = PartReader(Tags())
    >>> [(str(one.part), one.text) for one in reader.add("2+2 = 4<end_working") + reader.add("_out><SOLUTION>4")]
    [('working', '2+2 = 4'), ('solution', '4')]
    """

    tags: Tags
    part: Part = Part.WORKING
    _waiting: str = ""
    _pieces: list[Piece] = field(default_factory=list)

    def add(self, text: str) -> list[Piece]:
        """Give the pieces that are now known."""
        self._pieces = []
        self._waiting += text
        while True:
            marks = self._marks()
            found = [(place, mark) for mark in marks if (place := self._waiting.find(mark)) >= 0]
            if not found:
                break
            place, mark = min(found)
            self._tell(self._waiting[:place])
            self._waiting = self._waiting[place + len(mark) :]
            self.part = marks[mark]
        kept = max(_overlap(self._waiting, mark) for mark in marks)
        self._tell(self._waiting[: len(self._waiting) - kept])
        self._waiting = self._waiting[len(self._waiting) - kept :]
        return self._pieces

    def end(self) -> list[Piece]:
        """Give what still waits when nothing more comes."""
        self._pieces = []
        self._tell(self._waiting)
        self._waiting = ""
        return self._pieces

    def _marks(self) -> dict[str, Part]:
        """Give the marks that change the part from here, and to which."""
        if self.part is Part.WORKING:
            return {self.tags.working_close: Part.OTHER, self.tags.solution_open: Part.SOLUTION}
        if self.part is Part.SOLUTION:
            return {self.tags.solution_close: Part.OTHER}
        return {self.tags.working_open: Part.WORKING, self.tags.solution_open: Part.SOLUTION}

    def _tell(self, text: str) -> None:
        if text:
            self._pieces.append(Piece(part=self.part, text=text))


def _overlap(text: str, mark: str) -> int:
    """Give the length of the longest beginning of `mark` with which `text` ends."""
    return next((size for size in range(min(len(text), len(mark) - 1), 0, -1) if text.endswith(mark[:size])), 0)
