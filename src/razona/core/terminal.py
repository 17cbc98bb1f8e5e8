r"""What may be shown on a terminal: words of models, data sets and files name no command to it.

A terminal acts on some characters: `\x1b]0;...` renames its window, `\x1b[2J` wipes it, U+009B begins the same in one
character, U+202E turns the order of what follows. Every line that Razona prints goes through here, or through the
console of `razona.cli.console`; a test holds that no other `print` stands in the package.

Does not cover: letters that look like others, right-to-left scripts, which a terminal may order as it likes, and what
third-party packages print themselves.
"""

import json
import sys
import unicodedata
from collections.abc import Callable
from contextlib import nullcontext, suppress

ACTED_ON = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories: controls, formats such as changes of direction, half characters, unknown ones, line ends."""


def visible(words: str) -> str:
    r"""Give the text with every character that a terminal might act on written out, line ends and tabs apart.

    >>> visible("\x1b[2J" + "34")
    '\\x1b[2J34'
    """
    if words.isprintable():
        return words
    return "".join(
        one.encode("unicode_escape").decode("ascii")
        if one not in "\n\t" and unicodedata.category(one) in ACTED_ON
        else one
        for one in words
    )


def say(words: object = "", *, to_stderr: bool = False, flush: bool = False) -> None:
    """Print a text and a line end, made `visible`; standard output may be no UTF-8, and then shows `?` for a letter.

    A note that stderr does not take, because it is a log on a full disk or a closed pipe, ends nothing.
    """
    stream = sys.stderr if to_stderr else sys.stdout
    encoding = stream.encoding or "utf-8"
    with suppress(OSError) if to_stderr else nullcontext():
        print(visible(str(words)).encode(encoding, "replace").decode(encoding), file=stream, flush=flush)


def say_json(value: object, *, indent: int | None = 2, default: Callable[..., object] | None = None) -> None:
    """Print a value as JSON in ASCII: every other character, and DEL, stands there as its escape."""
    print(json.dumps(value, indent=indent, default=default).replace("\x7f", "\\u007f"))
