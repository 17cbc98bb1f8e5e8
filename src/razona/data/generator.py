"""Problems that a function of the person's own yields."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice

from razona.core.errors import DataError
from razona.core.functions import find_function
from razona.core.nouns import Problem

ARGUMENTS = ("count", "seed")
"""What such a function can be called with, by keyword; it is given those that it accepts."""


def yielded(source: str, *, count: int, seed: int) -> Iterator[Problem | Mapping[str, object]]:
    """Give what the function at `source` yields, problems or rows with named keys, `count` at most.

    Args:
        source: `package.module:function` or `path/to/file.py:function`.

    Raises:
        RecipeError: there is no such function.
        DataError: it cannot be called with these arguments, raises, or yields something else.
    """
    where = f"data.source = {source}"
    made = _call(find_function(source, where), where, {"count": count, "seed": seed})
    if not isinstance(made, Iterable) or isinstance(made, str | bytes | Mapping):
        raise DataError(
            f"{where}: the function returned {type(made).__name__} ({made!r:.60}); expected something to iterate over, "
            "such as a generator: yield one mapping with question and target a problem."
        )
    rows, number = iter(islice(made, count)), 0
    while True:
        number += 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except Exception as error:  # whatever a function of the person's own raises
            raise DataError(
                f"{where}, row {number}: the function raised {type(error).__name__}: {error}. Call it with count = "
                f"{count}, seed = {seed} to see where."
            ) from error
        yield _checked(row, f"{where}, row {number}")


def _call(function: Callable[..., object], where: str, arguments: Mapping[str, int]) -> object:
    parameters = inspect.signature(function).parameters.values()
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters)
    by_name = {one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [one.name for one in parameters if one.default is one.empty and one.kind not in optional]
    missing = [name for name in needed if name not in ARGUMENTS or name not in by_name]
    if missing:
        raise DataError(
            f"{where}: the function needs {', '.join(missing)}; it is called with the keywords "
            f"{' and '.join(ARGUMENTS)}, as far as it has them. Give its other arguments defaults."
        )
    try:
        return function(**{name: value for name, value in arguments.items() if takes_any or name in by_name})
    except Exception as error:  # whatever a function of the person's own raises
        raise DataError(f"{where}: the function raised {type(error).__name__}: {error}.") from error


def _checked(row: object, where: str) -> Problem | Mapping[str, object]:
    if isinstance(row, Mapping):
        odd = next((key for key in row if not isinstance(key, str)), None)
        if odd is not None:
            raise DataError(f"{where}: the key {odd!r} is {type(odd).__name__}; expected text, as in question, target.")
        return row
    if not isinstance(row, Problem):
        raise DataError(
            f"{where}: the function yielded {type(row).__name__} ({row!r:.60}); expected a mapping with the keys "
            "question and target, or a razona.core.nouns.Problem."
        )
    for key in ("id", "question", "target"):
        value = getattr(row, key)
        if not isinstance(value, str) or not value.strip():
            raise DataError(f"{where}: the Problem's {key} is {value!r:.60}; expected text that is not empty.")
    return row
