"""From a name or a file, with `extends` and `--set`, to one checked recipe, and back to YAML."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from razona.core.errors import RecipeError
from razona.recipe.mistakes import to_recipe_error
from razona.recipe.sections import Recipe
from razona.recipe.text import Plain, Source, Spot, read_yaml, write_yaml

SUFFIXES = (".yaml", ".yml")
OWN_KEYS = ("name", "description", "extends")
"""What a recipe does not take over from the one it extends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """One recipe file, shipped or not."""

    shown: str
    """What messages call it."""
    stem: str
    text: str
    folder: Path
    """Where a relative `extends` begins."""
    identity: str
    """Equal for equal files, however they were written."""


def load(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Give the recipe of a shipped name or a YAML file, with the overrides applied in order.

    Args:
        name_or_path: a shipped name goes before a file of the same name.
        overrides: `section.key=VALUE` each, VALUE in YAML: `train.steps=3`, `lora=null`,
            `rewards.components=[{name: correct}]`. Mappings are merged into what is there, all else replaces it.

    Raises:
        RecipeError: the name, the file, a key or a value is wrong; it lists every wrong key and value.

    >>> load("demo", ["train.steps=3"]).train.steps
    3
    """
    tree = _read_tree(name_or_path, overrides)
    try:
        return Recipe.model_validate(tree.plain())
    except ValidationError as error:
        raise to_recipe_error(error, tree) from None


def read_values(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Mapping[str, Plain]:
    """Give what a recipe's files and the overrides say, unchecked and without defaults.

    Raises:
        RecipeError: the name or a file is wrong, or is no YAML.
    """
    values = _read_tree(name_or_path, overrides).plain()
    assert isinstance(values, dict)
    return values


def _read_tree(name_or_path: str | Path, overrides: Sequence[str]) -> Spot:
    tree = _read_with_bases(_find(str(name_or_path), Path(), ""), ())
    for override in overrides:
        tree = _merge(tree, _read_override(override))
    return tree


def dump(recipe: Recipe) -> str:
    """Give the recipe as YAML, every default written out; `load` reads it back equal."""
    return write_yaml(recipe.model_dump(mode="json"))


def shipped() -> dict[str, str]:
    """Give the name and description of every recipe that ships with Razona, in order of name."""
    return {name: load(name).description for name in _shipped_names()}


def _shipped_names() -> list[str]:
    library = files("razona.recipe") / "library"
    return sorted(entry.name.removesuffix(".yaml") for entry in library.iterdir() if entry.name.endswith(".yaml"))


def _find(name: str, folder: Path, asked_at: str) -> _File:
    """Read the shipped recipe of this name, or the file at this path.

    Args:
        name: a shipped name goes before a file of the same name.
        folder: where a relative path begins.
        asked_at: the beginning of an error message: the place of an `extends`, empty for the person's own words.
    """
    if name in _shipped_names():
        text = (files("razona.recipe") / "library" / f"{name}.yaml").read_text(encoding="utf-8")
        return _File(shown=f"{name}.yaml (shipped)", stem=name, text=text, folder=Path(), identity=f"shipped:{name}")
    # os.path answers False where pathlib raises: a name too long for the file system.
    path = folder / name
    if not name or (path.suffix not in SUFFIXES and not os.path.exists(path)):
        near = get_close_matches(name, _shipped_names(), n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise RecipeError(
            f"{asked_at}there is no recipe {name!r}.{hint} The shipped ones are {', '.join(_shipped_names())}; "
            "a recipe of your own is a path to a .yaml file."
        )
    if os.path.isdir(path):
        raise RecipeError(f"{asked_at}{path} is a folder; expected a recipe. A run's recipe is {path / 'recipe.yaml'}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise RecipeError(f"{asked_at}there is no file {path} (looked in {path.parent.resolve()})") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{asked_at}{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise RecipeError(f"{asked_at}{path} cannot be read: {error.strerror}") from None
    return _File(shown=str(path), stem=path.stem, text=text, folder=path.parent, identity=str(path.resolve()))


def _read_with_bases(file: _File, above: tuple[_File, ...]) -> Spot:
    """Read a file and, beneath it, what it extends.

    Args:
        file: the one to begin with.
        above: the files that led here by extending, outermost first.
    """
    tree = read_yaml(file.text, Source(name=file.shown))
    if not isinstance(tree.value, dict):
        raise RecipeError(
            f"{tree.place}: expected a mapping with keys such as extends, model, train; got "
            f"{'an empty file' if tree.value is None else 'something else'}"
        )
    own = {"name": Spot(file.stem, file.shown)} | tree.value
    extends = own.pop("extends", None)
    tree = Spot(own, tree.place)
    if extends is None:
        return tree
    if not isinstance(extends.value, str):
        raise RecipeError(f"{extends.place}: extends = {extends.plain()!r}; expected one recipe name or path")
    base = _find(extends.value, file.folder, f"{extends.place}: extends: ")
    chain = (*above, file)
    if base.identity in [one.identity for one in chain]:
        told = " -> ".join(one.shown for one in (*chain, base))
        raise RecipeError(f"{extends.place}: extends leads back to where it began: {told}. Remove one.")
    below = _read_with_bases(base, chain).value
    assert isinstance(below, dict)
    return _merge(Spot({key: spot for key, spot in below.items() if key not in OWN_KEYS}, tree.place), tree)


def _read_override(override: str) -> Spot:
    """Read `a.b=c` as the mapping {a: {b: c}}."""
    source = Source(name=f"--set {override}", has_lines=False)
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise RecipeError(f"{source.name}: expected section.key=VALUE, for example train.steps=3")
    spot = read_yaml(text, source)
    for part in reversed(parts):
        spot = Spot({part: spot}, source.name)
    return spot


def _merge(base: Spot, change: Spot) -> Spot:
    """Lay `change` over `base`: mappings are merged key by key, anything else is replaced whole."""
    if not isinstance(base.value, dict) or not isinstance(change.value, dict):
        return change
    merged = dict(base.value)
    for key, spot in change.value.items():
        merged[key] = _merge(merged[key], spot) if key in merged else spot
    return Spot(merged, change.place)
