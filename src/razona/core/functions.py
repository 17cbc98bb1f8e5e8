"""Functions of the person's own, by the names that a recipe gives them."""

import re
import sys
from collections.abc import Callable
from hashlib import blake2b
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from razona.core.errors import RecipeError

_NAME = re.compile(r"(?:.+\.py|[A-Za-z_][\w.]*):[A-Za-z_]\w*")


def is_function_name(name: str) -> bool:
    """Say whether a name is that of a function: `package.module:function` or `path/to/file.py:function`.

    >>> [is_function_name(one) for one in ("my.rows:problems", "rows/mine.py:problems", "openai/gsm8k", "rows.jsonl")]
    [True, True, False, False]
    """
    return _NAME.fullmatch(name) is not None


def find_function(name: str, where: str) -> Callable[..., object]:
    """Give the function at `package.module:function` or `path/to/file.py:function`.

    Args:
        where: the beginning of an error message: the key, and what it was given.

    Raises:
        RecipeError: there is no such file, the module cannot be imported, or it has no such function.
    """
    module_name, _, attribute = name.rpartition(":")
    is_file = module_name.endswith(".py")
    if is_file and not Path(module_name).is_file():
        raise RecipeError(f"{where}: there is no file {module_name} (looked in {Path(module_name).parent.resolve()}).")
    try:
        module = _import_file(Path(module_name)) if is_file else import_module(module_name)
    except Exception as error:
        # Whatever a module of the person's own raises when it is imported.
        raise RecipeError(
            f"{where}: importing {module_name!r} failed: {type(error).__name__}: {error}. Expected "
            "package.module:function or path/to/file.py:function; the folder that holds the package, or what the file "
            "imports, must be on PYTHONPATH."
        ) from error
    function = getattr(module, attribute, None)
    if not callable(function):
        raise RecipeError(
            f"{where}: {module_name} has {'no ' + attribute if function is None else type(function).__name__}; "
            "expected a function there."
        )
    return function


def _import_file(path: Path) -> ModuleType:
    """Run a file as a module, once, under a name that no other module has."""
    place = str(path.resolve())
    name = f"_{path.stem}_{blake2b(place.encode(), digest_size=6).hexdigest()}"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, place)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # its dataclasses look it up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
