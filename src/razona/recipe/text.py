"""YAML text as values that know where they were written, so that a mistake can be pointed at.

A plain YAML 1.1 reader has traps that a recipe would fall into: `1e-3` is text, `no` is false, `010` is 8, `1:30`
is 90, and the second of two equal keys wins. Here `1e-3` is a number, `no` and `1:30` are text, and `010` and a
repeated key are mistakes. Anchors, tags and values other than text, numbers, true, false and null are not read.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from razona.core.errors import RecipeError

Scalar = str | int | float | bool | None
Plain = Scalar | list["Plain"] | dict[str, "Plain"]
Tree = Scalar | list["Spot"] | dict[str, "Spot"]

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)\Z")
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?\Z")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Spot:
    """A value and the place where it was written."""

    value: Tree
    place: str
    """For messages: `my.yaml, line 3`, or `--set train.steps=3`."""

    def plain(self) -> Plain:
        """Give the value alone."""
        if isinstance(self.value, dict):
            return {key: spot.plain() for key, spot in self.value.items()}
        if isinstance(self.value, list):
            return [spot.plain() for spot in self.value]
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a YAML text came from."""

    name: str
    has_lines: bool = True
    """False for a `--set`, whose name says it all."""

    def place(self, node: yaml.Node) -> str:
        """Give the words for where `node` begins."""
        return f"{self.name}, line {node.start_mark.line + 1}" if self.has_lines else self.name


class _Loader(yaml.SafeLoader):
    """Resolves scalars as this file's head says, and knows no aliases."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not read here, use extends", problem_mark=mark)
        return super().compose_node(parent, index)


class _Dumper(yaml.SafeDumper):
    """Quotes every text that this loader or a YAML 1.1 reader would take for something else."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", _BOOL, "tTfF"),
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+0123456789."),
    ("null", _NULL, ["~", "n", "N", ""]),
):
    _Loader.add_implicit_resolver(_TAG + _tag, _pattern, list(_first))
    _Dumper.add_implicit_resolver(_TAG + _tag, _pattern, list(_first))


def read_yaml(text: str, source: Source) -> Spot:
    """Read one YAML document; an empty one is null.

    Raises:
        RecipeError: the syntax is broken (with line and column), or a key is repeated.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
        return Spot(None, source.name) if node is None else _read(node, source, source.place(node))
    except yaml.MarkedYAMLError as error:
        raise RecipeError(_syntax_message(error, source)) from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{source.name}: not readable as YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise RecipeError(f"{source.name}: nested too deeply; a recipe has sections, and keys in them") from None


def write_yaml(value: Mapping[str, object]) -> str:
    """Give YAML that `read_yaml` reads back equal, keys in the order given."""
    return yaml.dump(dict(value), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _read(node: yaml.Node, source: Source, place: str) -> Spot:
    if isinstance(node, yaml.MappingNode):
        return Spot(_read_mapping(node, source), place)
    if isinstance(node, yaml.SequenceNode):
        return Spot([_read(item, source, source.place(item)) for item in node.value], place)
    return Spot(_read_scalar(node, source), place)


def _read_mapping(node: yaml.MappingNode, source: Source) -> dict[str, Spot]:
    spots: dict[str, Spot] = {}
    for key_node, value_node in node.value:
        key = key_node.value
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != f"{_TAG}str":
            raise RecipeError(f"{source.place(key_node)}: a key must be a word, got {_shown(key_node)}")
        if key in spots:
            raise RecipeError(
                f"{source.place(key_node)}: the key {key} is there twice (first: {spots[key].place}). Keep one of them."
            )
        spots[key] = _read(value_node, source, source.place(key_node))
    return spots


def _read_scalar(node: yaml.Node, source: Source) -> Scalar:
    kind, text = node.tag.removeprefix(_TAG), str(node.value)
    try:
        match kind:
            case "str":
                return text
            case "int":
                return int(text.replace("_", ""))
            case "float":
                return float(text.replace("_", ""))
            case "bool":
                return {"true": True, "false": False}[text.lower()]
            case "null":
                return None
    except (ValueError, KeyError):
        pass
    raise RecipeError(
        f"{source.place(node)}: {_shown(node)} cannot be read as {kind}; a value is text, a number, true, false, "
        "null, a list or a mapping. Quotes make anything text."
    )


def _shown(node: yaml.Node) -> str:
    return repr(node.value[:40]) if isinstance(node.value, str) else "a list or a mapping"


def _syntax_message(error: yaml.MarkedYAMLError, source: Source) -> str:
    mark = error.problem_mark or error.context_mark
    where = source.name
    if mark is not None:
        column = f"column {mark.column + 1}"
        where += f", line {mark.line + 1}, {column}" if source.has_lines else f" ({column} of the value)"
    context = f" {error.context}" if error.context else ""
    return f"{where}: not YAML: {error.problem}{context}. Put text with any of : # {{ }} [ ] in quotes."
