"""The rooms import downwards only, and the light ones stay light (docs: DESIGN, section 2)."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import razona

PACKAGE = Path(razona.__file__).parent
TESTS = Path(__file__).parent
FLOORS = {
    "core": 0,
    "recipe": 1,
    "verify": 2,
    "models": 3,
    "tasks": 3,
    "data": 4,
    "rewards": 4,
    "rollout": 4,
    "evaluate": 5,
    "train": 6,
    "report": 7,
    "export": 7,
    "advise": 8,
    "embedded": 8,
    "cli": 9,
}
HEAVY = {"torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers"}
MAY_LOAD_HEAVY = {"models", "rollout", "train", "embedded"}
LIGHT = "import razona.recipe, razona.verify, razona.tasks, razona.core, razona.cli.main"
"""What `razona --help`, the check of a recipe, `verify` and `tasks` need."""
SOURCES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One `import a.b` or `from a import b`, as `a.b` either way."""

    name: str
    line: int
    is_top_level: bool
    """It runs when the module is imported."""
    is_for_types: bool
    """It stands under `if TYPE_CHECKING:` and never runs."""


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports(node: ast.AST, *, is_top_level: bool = True, is_for_types: bool = False) -> Iterator[Import]:
    if isinstance(node, ast.ImportFrom | ast.Import):
        prefix = "." * node.level + f"{node.module or ''}." if isinstance(node, ast.ImportFrom) else ""
        for alias in node.names:
            yield Import(
                name=prefix + alias.name, line=node.lineno, is_top_level=is_top_level, is_for_types=is_for_types
            )
    if is_type_checking(node):
        assert isinstance(node, ast.If)
        for child in node.body:
            yield from imports(child, is_top_level=is_top_level, is_for_types=True)
        children = node.orelse
    else:
        children = list(ast.iter_child_nodes(node))
    is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for child in children:
        yield from imports(child, is_top_level=is_top_level and not is_function, is_for_types=is_for_types)


def upward_imports(source: str, room: str) -> list[str]:
    """Give every import of `source`, a module of `room`, that leads to its own floor's neighbours or higher."""
    return [
        f"line {one.line}: {one.name}"
        for one in imports(ast.parse(source))
        if not one.is_for_types
        and one.name.startswith("razona.")
        and (target := one.name.split(".")[1]) in FLOORS
        and target != room
        and FLOORS[target] >= FLOORS[room]
    ]


def heavy_top_imports(source: str) -> list[str]:
    return [
        f"line {one.line}: {one.name}"
        for one in imports(ast.parse(source))
        if one.is_top_level and not one.is_for_types and one.name.split(".")[0] in HEAVY
    ]


def relative_imports(source: str) -> list[str]:
    return [f"line {one.line}: {one.name}" for one in imports(ast.parse(source)) if one.name.startswith(".")]


def room_of(path: Path) -> str | None:
    """Give the room of a module, None for `razona/__init__.py` and `razona/__main__.py`."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else None


def module_exists(name: str) -> bool:
    """Say whether `razona.a.b` is a module, or a name in the module `razona.a`."""
    path = PACKAGE.joinpath(*name.split(".")[1:])
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    *parents, attribute = name.split(".")
    home = PACKAGE.joinpath(*parents[1:])
    file = home / "__init__.py" if home.is_dir() else home.with_suffix(".py")
    return file.is_file() and attribute in defined_names(ast.parse(file.read_text(encoding="utf-8")))


def defined_names(module: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        else:
            names |= {child.id for child in ast.walk(node) if isinstance(child, ast.Name)}
    return names


def by_path(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


# The reading of imports itself: source of a module of the room `rewards` (floor 4), what it does wrong.
UPWARD = [
    ("from razona.recipe import Recipe", []),
    ("from razona.rewards import sound", []),
    ("from razona import tasks", []),
    ("from razona import __version__", []),
    ("import razona.data.source", ["line 1: razona.data.source"]),
    ("from razona import rollout", ["line 1: razona.rollout"]),
    ("from razona.train.run import train", ["line 1: razona.train.run.train"]),
    ("def f():\n    from razona.evaluate import compare", ["line 2: razona.evaluate.compare"]),
    ("if TYPE_CHECKING:\n    from razona.train import train", []),
    (
        "if TYPE_CHECKING:\n    pass\nelse:\n    from razona.train import train",
        ["line 4: razona.train.train"],
    ),
]


@pytest.mark.parametrize(("source", "expected"), UPWARD)
def test_an_upward_import_is_seen_wherever_it_stands(source, expected):
    assert upward_imports(source, "rewards") == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch", ["line 1: torch"]),
        ("from torch.nn import Module", ["line 1: torch.nn.Module"]),
        ("try:\n    import trl\nexcept ImportError: ...", ["line 2: trl"]),
        ("class A:\n    import peft", ["line 2: peft"]),
        ("def f():\n    import torch", []),
        ("if TYPE_CHECKING:\n    import torch", []),
        ("import torchvision", []),
    ],
)
def test_a_heavy_import_is_seen_where_it_runs_at_import(source, expected):
    assert heavy_top_imports(source) == expected


def test_every_folder_of_the_package_is_a_room_with_a_floor():
    folders = {path.parent.relative_to(PACKAGE).parts[0] for path in SOURCES if path.parent != PACKAGE}
    assert folders - set(FLOORS) == set()


@pytest.mark.parametrize("path", [path for path in SOURCES if room_of(path)], ids=by_path)
def test_a_room_imports_lower_floors_only(path):
    assert upward_imports(path.read_text(encoding="utf-8"), str(room_of(path))) == []


@pytest.mark.parametrize("path", [path for path in SOURCES if room_of(path) not in MAY_LOAD_HEAVY], ids=by_path)
def test_heavy_libraries_are_imported_at_the_top_of_heavy_rooms_only(path):
    assert heavy_top_imports(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", SOURCES, ids=by_path)
def test_every_import_of_razona_leads_somewhere(path):
    names = [one for one in imports(ast.parse(path.read_text(encoding="utf-8"))) if one.name.startswith("razona.")]
    assert [f"line {one.line}: {one.name}" for one in names if not module_exists(one.name)] == []


@pytest.mark.parametrize("path", SOURCES, ids=by_path)
def test_no_import_is_relative(path):
    assert relative_imports(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("source", ["from . import a", "from .a import b", "def f():\n    from .. import c"])
def test_a_relative_import_is_seen(source):
    assert len(relative_imports(source)) == 1


@pytest.mark.parametrize("path", [*SOURCES, *sorted(TESTS.glob("*.py"))], ids=lambda path: path.name)
def test_no_file_is_longer_than_400_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_no_file_is_named_for_leftovers():
    assert [by_path(path) for path in SOURCES if path.stem in ("utils", "helpers", "misc", "util", "common")] == []


def loaded_by(statement: str) -> set[str]:
    """Give the heavy libraries that a fresh interpreter has loaded after `statement`."""
    code = f"import sys\n{statement}\nprint(*(name for name in {sorted(HEAVY)!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_recipe_verify_tasks_core_and_the_command_line_load_nothing_heavy():
    assert loaded_by(LIGHT) == set()


@pytest.mark.parametrize("room", ["rewards", "data"])
def test_rewards_and_data_load_nothing_heavy(room):
    assert loaded_by(f"import razona.{room}") == set()
