"""What a code problem is: its tests, and how a row of a data set spells them.

The fields of a row of `razona verify --kind code`:

`tests`        one of: a list of assert statements; the text of a module that defines `check(candidate)`, or whose own
               statements are the tests; a list of `{"input": text, "output": text}` for a program that reads
               standard input and writes standard output.
`entry_point`  the name of the function under test. Needed with `check`; with asserts, without it, every function they
               call that nothing defines.
`prompt`       code that the completion continues, such as HumanEval's imports and head of the function. May be absent.
`setup`        code that the tests need, such as imports. May be absent.

The rows of two data sets are read as they are: MBPP (`test_list`, and `test_imports` or `test_setup_code`), HumanEval
(`test`, `entry_point`, and `prompt` or `question` with the code to continue).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from razona.core.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionTests:
    """Tests that call functions of the completion."""

    asserts: tuple[str, ...] = ()
    """Each one test, such as `assert add(1, 2) == 3`; empty where `program` holds the tests."""
    program: str = ""
    """A module that defines `check(candidate)`, or whose own statements are the tests."""
    entry_point: str = ""
    """The function under test; empty: every function that the tests call and nothing defines."""
    setup: str = ""
    """Code that the tests need and the completion does not get."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramCase:
    """One run of a program."""

    input: str
    output: str
    """Compared line by line, without the white space at the ends of lines and of the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeProblem:
    """What a completion is checked against."""

    tests: FunctionTests | tuple[ProgramCase, ...]
    prompt: str = ""
    """Code that the completion continues, empty where it stands alone."""


def read_code_row(row: Mapping[str, object]) -> CodeProblem:
    """Give the problem of a row; the fields are those of this file's head.

    Raises:
        DataError: a field is missing or not of its kind. The caller adds the file and line.

    >>> read_code_row({"tests": ["assert add(1, 2) == 3"]}).tests.asserts
    ('assert add(1, 2) == 3',)
    """
    entry_point, setup = _text(row, "entry_point"), _text(row, "setup")
    if "tests" in row:
        return CodeProblem(tests=_read_tests(row["tests"], entry_point, setup), prompt=_text(row, "prompt"))
    if "test_list" in row:
        asserts = _texts(row["test_list"], "test_list")
        lines = [*_texts(row.get("test_imports") or [], "test_imports"), _text(row, "test_setup_code"), setup]
        tests = FunctionTests(asserts=asserts, entry_point=entry_point, setup="\n".join(lines))
        return CodeProblem(tests=_with_tests(tests, "test_list"))  # MBPP's `prompt` is the question in English
    if "test" in row:
        tests = FunctionTests(program=_text(row, "test"), entry_point=entry_point, setup=setup)
        return CodeProblem(
            tests=_with_tests(tests, "test"), prompt=_text(row, "prompt" if "prompt" in row else "question")
        )
    raise DataError(
        f"a code row has no tests; its fields are {', '.join(sorted(map(str, row))) or 'none'}. Give it `tests`: a "
        'list of assert statements, the text of a module with check(candidate), or a list of {"input", "output"}.'
    )


def _read_tests(value: object, entry_point: str, setup: str) -> FunctionTests | tuple[ProgramCase, ...]:
    if isinstance(value, str):
        return _with_tests(FunctionTests(program=value, entry_point=entry_point, setup=setup), "tests")
    if isinstance(value, list | tuple) and value and all(isinstance(case, Mapping) for case in value):
        return tuple(_read_case(case, index) for index, case in enumerate(value))
    return _with_tests(FunctionTests(asserts=_texts(value, "tests"), entry_point=entry_point, setup=setup), "tests")


def _with_tests(tests: FunctionTests, field: str) -> FunctionTests:
    if not tests.asserts and not tests.program.strip():
        raise DataError(f"the field `{field}` of a code row is empty; a completion cannot be checked without a test")
    if "def check(" in tests.program and not tests.entry_point:
        raise DataError(
            f"the field `{field}` of a code row defines check(candidate), and `entry_point` is missing; "
            "give the name of the function that the completion defines"
        )
    return tests


def _read_case(case: Mapping[object, object], index: int) -> ProgramCase:
    given, wanted = case.get("input"), case.get("output")
    if not isinstance(given, str) or not isinstance(wanted, str):
        raise DataError(
            f"tests[{index}] of a code row has the fields {sorted(map(str, case))}, input of type "
            f"{type(given).__name__} and output of type {type(wanted).__name__}; expected both as text"
        )
    return ProgramCase(input=given, output=wanted)


def _text(row: Mapping[str, object], field: str) -> str:
    value = row.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"the field `{field}` of a code row is {value!r:.80}; expected text")
    return value


def _texts(value: object, field: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(entry, str) for entry in value):
        raise DataError(f"the field `{field}` of a code row is {value!r:.80}; expected a list of texts")
    return tuple(value)
