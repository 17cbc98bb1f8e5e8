"""The fields of a puzzle's row, read with errors that name them, and the limits every answer is held to."""

import ast
from collections.abc import Mapping, Sequence

from razona.core.errors import DataError, RazonaError

MAX_ANSWER_CHARACTERS = 10_000
"""A longer answer is INCORRECT before anything reads it."""
MAX_VARIABLES = 16
"""Of a formula, and people of a puzzle: a truth table of 2^16 rows is an integer of 8 KiB."""
MAX_FIELD_CHARACTERS = 100_000


class UnreadableText(RazonaError, ValueError):
    """A text is not a formula, an assignment, a grid or an expression; the message says where it stops being one."""


def row_error(row: Mapping[str, object], kind: str, name: str, expected: str) -> DataError:
    """Give the error for a field that is missing or of another form than its puzzle kind needs."""
    where = f"row {row['id']!r}" if "id" in row else "the row"
    if name in row:
        given = f"was given {shortened(repr(row[name]))}"
    else:
        given = f"is missing (the row has {', '.join(map(str, row)) or 'no field'})"
    return DataError(f"{where}: the field {name!r} of a {kind} puzzle {given}; expected {expected}.")


def shortened(text: str, limit: int = 80) -> str:
    """Give the text, cut to `limit` characters where it is longer: a reason is read by a person."""
    return text if len(text) <= limit else text[:limit] + "..."


def text_field(row: Mapping[str, object], kind: str, name: str, expected: str) -> str:
    """Give a field that must be text, not empty."""
    value = row.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_FIELD_CHARACTERS:
        raise row_error(row, kind, name, expected)
    return value


def choice_field(row: Mapping[str, object], kind: str, name: str, choices: Sequence[str]) -> str:
    """Give a field that must be one of `choices`; the first of them where the row has no such field."""
    value = row.get(name, choices[0])
    if value not in choices:
        raise row_error(row, kind, name, "one of " + ", ".join(choices))
    return str(value)


def is_integer(value: object) -> bool:
    """Say whether a value is an integer and no truth value, which Python counts among them."""
    return isinstance(value, int) and not isinstance(value, bool)


def list_field(row: Mapping[str, object], kind: str, name: str, expected: str) -> list[object]:
    """Give a field that must be a list; a text that spells a list or tuple counts, as CSV files have no lists."""
    value = row.get(name)
    if isinstance(value, str) and len(value) <= MAX_FIELD_CHARACTERS:
        try:
            value = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise row_error(row, kind, name, expected) from None
    if not isinstance(value, list | tuple) or not value:
        raise row_error(row, kind, name, expected)
    return list(value)
