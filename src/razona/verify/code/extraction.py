"""The code of a completion, as text. Nothing here parses or runs it."""

from razona.verify.tags import Tags

_FENCE = "```"
_PYTHON = ("python", "py", "python3")


def extract_code(text: str, tags: Tags) -> str | None:
    r"""Give the code of a completion, None where there is none. Linear in the text's length.

    Where code is looked for, outside the working, the first of these that occurs: the last complete solution block;
    the last fenced block marked as Python; the last fenced block with no mark; the whole text. A block inside the
    solution tags may be fenced too. A last fence that is never closed reaches to the end.
    The indentation of the first line is kept: a completion may be the body of a function.

    >>> extract_code("Thus:\n```python\nprint(1)\n```", Tags())
    'print(1)'
    """
    answer = _outside_working(text, tags)
    end = answer.rfind(tags.solution_close)
    start = answer.rfind(tags.solution_open, 0, end) if end >= 0 else -1
    if start >= 0:
        answer = answer[start + len(tags.solution_open) : end]
    fenced = _last_fenced(answer)
    code = _without_blank_edges(answer if fenced is None else fenced)
    return code or None


def _outside_working(text: str, tags: Tags) -> str:
    _, closed, rest = text.rpartition(tags.working_close)
    if closed:
        return rest
    return text.partition(tags.working_open)[0]


def _last_fenced(text: str) -> str | None:
    marked: str | None = None
    unmarked: str | None = None
    language: str | None = None  # of the block that is open, None outside of blocks
    lines: list[str] = []
    for line in [*text.split("\n"), _FENCE]:  # the last one closes what the text left open
        stripped = line.strip()
        if not stripped.startswith(_FENCE):
            lines.append(line)
            continue
        if language is None:
            language = stripped[len(_FENCE) :].strip().lower()
        else:
            if language in _PYTHON:
                marked = "\n".join(lines)
            elif not language:
                unmarked = "\n".join(lines)
            language = None
        lines = []
    return unmarked if marked is None else marked


def _without_blank_edges(text: str) -> str:
    """Drop blank lines before and after the code, and no indentation."""
    lines = text.rstrip().split("\n")
    first = next((index for index, line in enumerate(lines) if line.strip()), len(lines))
    return "\n".join(lines[first:])
