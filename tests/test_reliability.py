"""docs/reliability.md: every fault has its test, and the test is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "reliability.md"
ROW = re.compile(r"^\| (?P<fault>[^|]+) \| (?P<what>[^|]+) \| (?P<tests>`[^|]+`) \|$", re.MULTILINE)
NAMED = re.compile(r"`(\w+\.py)::(\w+)`")


@cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def rows() -> list[re.Match[str]]:
    return list(ROW.finditer(PAGE.read_text(encoding="utf-8")))


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["fault"])
def test_each_fault_names_a_test_that_is_there(row: re.Match[str]):
    named = NAMED.findall(row["tests"])
    assert named and NAMED.sub("", row["tests"]).replace(",", "").strip() == ""
    for file, name in named:
        assert name.startswith("test_") and name in names_in(file), f"{file} has no {name}"


def test_every_line_of_a_table_is_a_row():
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    heads = [line for line in lines if line.startswith("| fault |")]
    assert len(heads) >= 5 and len(rows()) == len(lines) - len(heads) and len(rows()) > 60
