r"""The texts in which a completion may state its solution of a puzzle.

Where to look is the room's rule (`razona.verify.extraction`): after the working, solution blocks, then boxes, then what
follows "answer:" and its like. Puzzles differ in one thing: an answer may take many lines. So blocks or boxes that are
given jointly are read together, one a line, the same text once; and without any of them three texts are tried in turn,
as their strict readers know an answer from prose: all that follows the last announcement ("Final answer:"), its own
line, and all that follows the working. The puzzle's stored solution is never searched for.
"""

import re
from dataclasses import dataclass

from razona.verify.extraction import extract, outside_the_working
from razona.verify.tags import Tags

_ANNOUNCEMENT = re.compile(r"\b(?:answer|solution|conclusion)\b[^\n:<>]{0,40}:", re.IGNORECASE)
_INDEX = re.compile(r"_\{([0-9A-Za-z]{1,20})\}")
_MARKUP = re.compile(
    r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|operatorname|quad|qquad|left|right|displaystyle)(?![A-Za-z])"
    r"|(?<!/)\\[,;!: ()\[\]]"  # spaces and the marks of mathematics; in `A /\(B)` the backslash is half of an `and`
    r"|\\?[{}$]|`|\*\*"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalText:
    """Where an answer is to be read."""

    text: str
    is_marked: bool
    """It stood in a solution block, in a box or after an announcement: an unreadable one is wrong and not missing."""


def final_texts(completion: str, tags: Tags) -> list[FinalText]:
    r"""Give the texts that may hold the answer, the one to try first first. Linear in the completion's length.

    >>> final_texts(r"Zoey lies. <end_working_out> So \boxed{Zoey: knave}", Tags())
    [FinalText(text='Zoey: knave', is_marked=True)]
    """
    found = extract(completion, tags)
    if found.place in ("solution", "boxed"):
        return [FinalText(text="\n".join(dict.fromkeys(found.answers)), is_marked=True)]
    region = outside_the_working(completion, tags)
    if region is None or "\\boxed" in region or (tags.solution_close in region and tags.solution_open in region):
        return []  # an empty or denied box or block: the text around it is no answer either
    texts: list[FinalText] = []
    announcement = None
    for announcement in _ANNOUNCEMENT.finditer(region):  # noqa: B007 - the last one is wanted
        pass
    if announcement is not None:
        texts.append(FinalText(text=region[announcement.end() :], is_marked=True))
    texts += [FinalText(text=answer, is_marked=True) for answer in found.answers]
    texts.append(FinalText(text=region, is_marked=False))
    return [one for one in texts if one.text.strip()]


def plain(text: str) -> str:
    r"""Give the text without the marks of LaTeX and Markdown that carry no meaning; `\\` ends a line.

    A mark becomes a space, never nothing: `2**3` must not become `23`.
    """
    return _MARKUP.sub(" ", _INDEX.sub(r"_\1", text.replace("\\\\", "\n"))).strip()
