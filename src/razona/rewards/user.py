"""Reward functions of the person's own, named by a dotted path and called as TRL calls them."""

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real

from razona.core.errors import RewardError
from razona.core.functions import find_function
from razona.recipe.components import Span
from razona.rewards.sample import Value

UserFunction = Callable[..., object]
"""`function(prompts=..., completions=..., completion_ids=..., **columns)` -> a number or None for each completion."""


def load_user_function(name: str) -> UserFunction:
    """Give the function at `package.module:function` or `path/to/file.py:function`.

    Raises:
        RecipeError: the module cannot be imported, or has no such function.
    """
    return find_function(name, f"rewards.components names {name}")


def call_user_function(
    name: str, function: UserFunction, arguments: Mapping[str, object], count: int, span: Span | None
) -> list[Value]:
    """Call a person's function on a batch and hold it to its contract.

    Args:
        count: completions of the batch.
        span: the range it was said to have, None where nothing was said.

    Raises:
        RewardError: it raised; it returned no list of `count` numbers; one is NaN, infinite or out of its range.
    """
    try:
        returned = function(**arguments)
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
    return [_checked(name, row, value, span) for row, value in enumerate(returned)]


def _checked(name: str, row: int, value: object, span: Span | None) -> Value:
    if value is None:
        return Value(None, "it does not apply")
    if not isinstance(value, Real) or not math.isfinite(value):
        raise RewardError(f"the reward {name} returned {value!r:.80} for row {row}; expected a finite number or None.")
    number = float(value)
    if span is not None and not span.low <= number <= span.high:
        raise RewardError(
            f"the reward {name} returned {number:g} for row {row}; its range in the recipe is "
            f"[{span.low:g}, {span.high:g}], on which the mix relies. Widen options.range, or mend the function."
        )
    return Value(number, "as the function returned it")
