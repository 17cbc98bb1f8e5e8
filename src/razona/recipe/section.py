"""What every section of a recipe has in common."""

from collections.abc import Callable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from razona.core.errors import RecipeError

Text = Annotated[str, Field(min_length=1)]


def raise_all(checks: list[Callable[[], object]]) -> None:
    """Run every check, then raise what they found as one error, a mistake a line."""
    mistakes = []
    for check in checks:
        try:
            check()
        except RecipeError as error:
            mistakes.append(str(error))
    if mistakes:
        raise RecipeError("\n".join(mistakes))


class Section(BaseModel):
    """Base of every recipe section: unknown keys are errors, values never change, `"3"` and `true` are no numbers."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
