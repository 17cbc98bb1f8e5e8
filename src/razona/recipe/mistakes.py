"""What pydantic found wrong with a recipe, said with the place, the key, the value, what was expected, what to do."""

import json
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import NoneType
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from razona.core.errors import RecipeError
from razona.recipe.sections import Recipe
from razona.recipe.text import Spot

KeyPath = tuple[str | int, ...]

_EXPECTED: Mapping[str, Callable[[Mapping[str, object]], str]] = {
    "int_type": lambda _: "a whole number",
    "float_type": lambda _: "a number",
    "finite_number": lambda _: "a finite number",
    "string_type": lambda _: "text (quotes make a number text)",
    "bool_type": lambda _: "true or false",
    "list_type": lambda _: "a list",
    "greater_than": lambda context: f"more than {context['gt']}",
    "greater_than_equal": lambda context: f"{context['ge']} or more",
    "less_than": lambda context: f"less than {context['lt']}",
    "less_than_equal": lambda context: f"{context['le']} or less",
    "literal_error": lambda context: f"{context['expected']}",
    "string_too_short": lambda _: "at least one character",
    "too_short": lambda context: f"a list of at least {context['min_length']}",
    "string_pattern_mismatch": lambda _: "a folder name: up to 100 letters, digits and . _ -, a letter or digit first",
}
"""pydantic's error type -> what was expected, from the error's context."""


def to_recipe_error(error: ValidationError, tree: Spot) -> RecipeError:
    """Give one error that lists every mistake, each with the place it was written at."""
    details = error.errors(include_url=False)
    told = [line for detail in details if _is_structural(detail) for line in _tell_structural(detail, tree)]
    values: dict[KeyPath, list[ErrorDetails]] = {}
    for detail in details:
        if not _is_structural(detail):
            values.setdefault(_path_in(tree, detail["loc"]), []).append(detail)
    for path, found in values.items():
        is_outdone = any(len(other) > len(path) and other[: len(path)] == path for other in values)
        if not is_outdone:  # of `a list` and `the word x`, the one that the value is an attempt at
            told.append(_tell_value(path, found, tree))
    told = list(dict.fromkeys(told))
    if len(told) == 1:
        return RecipeError(told[0])
    return RecipeError("\n".join([f"{len(told)} mistakes in the recipe:", *(f"  - {line}" for line in told)]))


def _is_structural(detail: ErrorDetails) -> bool:
    return detail["type"] in ("extra_forbidden", "missing", "value_error")


def _tell_structural(detail: ErrorDetails, tree: Spot) -> list[str]:
    path = _path_in(tree, detail["loc"])
    if detail["type"] == "extra_forbidden":
        return [_tell_unknown(path, tree)]
    if detail["type"] == "missing":
        key = _dotted((*path, detail["loc"][-1]))
        return [f"{_place(tree, path)}: {key} is missing. {_keys_told(path)}"]
    cause = detail.get("ctx", {}).get("error", detail["msg"])
    return [f"{message}{_places_of_keys(message, tree)}" for message in str(cause).splitlines()]


def _tell_unknown(path: KeyPath, tree: Spot) -> str:
    *parents, key = path
    known = _keys(tuple(parents))
    near = get_close_matches(str(key), known, n=1)
    guess = _dotted((*parents, near[0])) if near else _elsewhere(str(key))
    hint = f" Did you mean {guess}?" if guess else ""
    return f"{_place(tree, path)}: unknown key {_dotted(path)}.{hint} {_keys_told(tuple(parents))}"


def _tell_value(path: KeyPath, found: list[ErrorDetails], tree: Spot) -> str:
    expected = [_expected(detail, path) for detail in found]
    if _allows_null(path):
        expected.append("null")
    given = json.dumps(found[0]["input"], ensure_ascii=False, default=str)
    given = given if len(given) <= 80 else f"{given[:77]}..."
    return f"{_place(tree, path)}: {_dotted(path)} = {given}; expected {' or '.join(dict.fromkeys(expected))}."


def _expected(detail: ErrorDetails, path: KeyPath) -> str:
    if detail["type"] == "model_type":
        return f"a mapping with some of the keys {', '.join(_keys(path))}"
    tell = _EXPECTED.get(detail["type"])
    return tell(detail.get("ctx", {})) if tell else detail["msg"]


def _path_in(tree: Spot, loc: KeyPath) -> KeyPath:
    """Leave out of pydantic's location what is no key of the recipe: the name of a union's branch, a missing key."""
    path: list[str | int] = []
    for part in loc:
        inner = _inner(tree, part)
        if inner is not None:
            tree = inner
            path.append(part)
    return tuple(path)


def _inner(tree: Spot, part: str | int) -> Spot | None:
    if isinstance(tree.value, dict):
        return tree.value.get(str(part))
    if isinstance(tree.value, list) and isinstance(part, int):
        return tree.value[part]
    return None


def _place(tree: Spot, path: KeyPath) -> str:
    for part in path:
        inner = _inner(tree, part)
        if inner is None:
            break
        tree = inner
    return tree.place


def _places_of_keys(message: str, tree: Spot) -> str:
    """Tell where the keys were written that a message across sections speaks of; defaults were written nowhere."""
    if not isinstance(tree.value, dict):
        return ""
    places = [
        f"{section}.{key} is set at {spot.place}"
        for section, inner in tree.value.items()
        if isinstance(inner.value, dict)
        for key, spot in inner.value.items()
        if f"{section}.{key} " in message
    ]
    return f" ({'; '.join(places)})" if places else ""


def _model_at(path: KeyPath) -> type[BaseModel] | None:
    """Give the section that a path leads to, None where it leads to a plain value or nowhere."""
    model: type[BaseModel] | None = Recipe
    for part in path:
        if isinstance(part, str):
            field = model.model_fields.get(part) if model else None
            model = _find_model(field.annotation) if field else None
    return model


def _find_model(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for inner in get_args(annotation) if (model := _find_model(inner))), None)


def _allows_null(path: KeyPath) -> bool:
    *parents, key = path or ("",)
    model = _model_at(tuple(parents))
    field = model.model_fields.get(str(key)) if model else None
    return field is not None and NoneType in get_args(field.annotation)


def _keys(path: KeyPath) -> list[str]:
    model = _model_at(path)
    return list(model.model_fields) if model else []


def _keys_told(path: KeyPath) -> str:
    return f"The keys of {_dotted(path) if path else 'a recipe'} are {', '.join(_keys(path))}."


def _elsewhere(key: str) -> str | None:
    """Give the full name of a key that another section has."""
    return next((f"{section}.{key}" for section in Recipe.model_fields if key in _keys((section,))), None)


def _dotted(path: KeyPath) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
