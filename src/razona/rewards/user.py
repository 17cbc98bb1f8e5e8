"""Reward functions of the person's own, named by a dotted path and called as TRL calls them."""

import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from numbers import Real

from razona.core.deadline import OverdueError, deadline
from razona.core.errors import RewardError
from razona.core.functions import find_function
from razona.recipe.components import Span
from razona.rewards.sample import Value

UserFunction = Callable[..., object]
"""`function(prompts=..., completions=..., completion_ids=..., **columns)` -> a number or None for each completion."""

AS_RETURNED = "as the function returned it"


def load_user_function(name: str) -> UserFunction:
    """Give the function at `package.module:function` or `path/to/file.py:function`.

    Raises:
        RecipeError: the module cannot be imported, or has no such function.
    """
    return find_function(name, f"rewards.components names {name}")


def call_user_function(
    name: str,
    function: UserFunction,
    arguments: Mapping[str, object],
    count: int,
    span: Span | None,
    timeout_s: float | None = None,
) -> list[Value]:
    """Call a person's function on a batch and hold it to its contract.

    Args:
        count: completions of the batch.
        span: the range it was said to have, None where nothing was said.
        timeout_s: for the batch; None: any time.

    Raises:
        RewardError: it raised or took too long; it returned no list of `count` numbers; one is NaN, infinite or out of
            its range.
    """
    try:
        with deadline(timeout_s):
            returned = function(**arguments)
    except OverdueError as error:
        where = _where_it_stood(error, function)
        raise RewardError(
            f"the reward {name} was not done with a batch of {count} completions after {timeout_s:g} s (rewards."
            f"function_timeout_s){where}. Give it a limit of its own for what it waits for, or raise that one."
        ) from None
    except Exception as error:
        raise RewardError(
            f"the reward {name} raised {type(error).__name__}: {error} on a batch of {count} completions (rows 0 to "
            f"{count - 1}). Call it with the same arguments to see where."
        ) from error
    if not isinstance(returned, Sequence) or isinstance(returned, str | bytes):
        raise RewardError(
            f"the reward {name} returned {type(returned).__name__} ({returned!r:.80}); expected a list of {count} "
            "numbers (or None), one a completion."
        )
    if len(returned) != count:
        raise RewardError(
            f"the reward {name} returned {len(returned)} values for {count} completions ({returned!r:.80}); expected "
            "one each, None where it does not apply."
        )
    ids = arguments.get("problem_id")
    values = []
    for row, value in enumerate(returned):
        fault = _fault_of(value, span)
        if fault:
            of = f" (problem {ids[row]})" if isinstance(ids, Sequence) and len(ids) == count else ""
            shown = f"{float(value):g}" if isinstance(value, Real) else f"{value!r:.80}"
            error = RewardError(f"the reward {name} returned {shown} for row {row}{of}; {fault}")
            error.row = row
            raise error
        values.append(Value(None, "it does not apply") if value is None else Value(float(value), AS_RETURNED))
    return values


def _fault_of(value: object, span: Span | None) -> str:
    """Say what a returned value should have been; "" where it is that."""
    if value is None:
        return ""
    if not isinstance(value, Real) or not math.isfinite(value):
        return "expected a finite number or None."
    if span is not None and not span.low <= float(value) <= span.high:
        return (
            f"its range in the recipe is [{span.low:g}, {span.high:g}], on which the mix relies. Widen options.range, "
            "or mend the function."
        )
    return ""


def _where_it_stood(error: OverdueError, function: UserFunction) -> str:
    """Give the line of the person's code that was interrupted; "" where none was, or it is not known."""
    code = getattr(function, "__code__", None)
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if code and frame.filename == code.co_filename
    ]
    return f"; it stood in line {frames[-1].lineno} of {frames[-1].filename}: {frames[-1].line}" if frames else ""
