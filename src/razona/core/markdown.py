"""Names of models, data sets and folders in Markdown that we write: text on one line, and no markup of their own."""

import re

from razona.core.terminal import visible

_MARKUP = re.compile(r"[\\`|\[\]<>*]")


def plain(words: str) -> str:
    r"""Give a name as text: in a sentence or a cell of a table it begins no code, link, element or further cell.

    >>> plain("a|b\n[c](d)")
    'a\\|b \\[c\\](d)'
    """
    return _MARKUP.sub(lambda found: f"\\{found[0]}", _on_one_line(words))


def coded(words: str) -> str:
    r"""Give a name as inline code that it cannot end.

    >>> coded("a`b")
    '``a`b``'
    """
    told = _on_one_line(words)
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", told)), default=0))
    edge = " " if told.startswith("`") or told.endswith("`") else ""
    return f"{fence}{edge}{told}{edge}{fence}"


def in_cell(markdown: str) -> str:
    r"""Give a piece of Markdown for a cell of a table, which a bar in inline code would end too.

    >>> in_cell("`a|b`")
    '`a\\|b`'
    """
    return re.sub(r"(?<!\\)\|", r"\\|", markdown)


def _on_one_line(words: str) -> str:
    return visible(" ".join(words.split("\n")))
