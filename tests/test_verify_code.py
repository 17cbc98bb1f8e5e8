"""Completions that are code: what is taken for the code, what a row says, what the tests make of it."""

import asyncio
import json
import threading
from pathlib import Path

import pytest

from razona.core.errors import DataError
from razona.core.nouns import Outcome
from razona.verify.code import CodeOptions, check_code, extract_code, read_code_row
from razona.verify.code.check import join_prompt
from razona.verify.code.cost import measure_verdict_ms
from razona.verify.code.isolation import Isolation, problem_with
from razona.verify.tags import Tags

pytestmark = pytest.mark.skipif(
    bool(problem_with(Isolation.BUBBLEWRAP) and problem_with(Isolation.LANDLOCK)),
    reason="this machine has neither bubblewrap nor Landlock",
)

EXTRACTIONS = [
    ("", None),
    ("  \n\n", None),
    ("```python\n```", None),
    ("<SOLUTION></SOLUTION>", None),
    ("<start_working_out>```python\nx = 1\n```", None),  # cut off in its working
    ("x = 1", "x = 1"),
    ("    return x\n", "    return x"),  # the body of a function keeps its indentation
    ("\n\n    return x\n", "    return x"),
    ("Thus:\n```python\nx = 1\n```\nas asked.", "x = 1"),
    ("```python\nx = 1\n```\nor better\n```python\nx = 2\n```", "x = 2"),
    ("```python\nx = 1\n```\nwhich prints\n```\n1\n```", "x = 1"),  # an unmarked block is a second choice
    ("```\nx = 1\n```", "x = 1"),
    ("```py\r\nx = 1\r\n```", "x = 1"),
    ("```Python\nx = 1", "x = 1"),  # a stop word may have taken the closing fence
    ("```bash\nls\n```\nx = 1", "```bash\nls\n```\nx = 1"),
    ("1. first\n   ```python\n   x = 1\n   ```", "   x = 1"),
    ("```python\nx = 1\n```<end_working_out><SOLUTION>x = 2</SOLUTION>", "x = 2"),
    ("```python\nx = 1\n```<end_working_out>x = 2", "x = 2"),
    ("<SOLUTION>x = 1</SOLUTION> no, <SOLUTION>\n```python\nx = 2\n```\n</SOLUTION>", "x = 2"),
    ("<SOLUTION>x = 1", "<SOLUTION>x = 1"),  # a block that never closes is no block
]


@pytest.mark.parametrize(("text", "code"), EXTRACTIONS)
def test_extract_code(text, code):
    assert extract_code(text, Tags()) == code


def test_extraction_is_linear_in_hostile_text():
    for text in ("```" * 200_000, "```\n" * 200_000, "<SOLUTION>" * 200_000, " " * 2_000_000, "\n" * 2_000_000):
        extract_code(text, Tags())  # quadratic code would take minutes here


@pytest.mark.parametrize(
    ("prompt", "code", "program"),
    [
        ("", "def f(): ...", "def f(): ..."),
        ('def f(x):\n    """Doc."""\n', "    return x", 'def f(x):\n    """Doc."""\n    return x\n'),
        ("import math\ndef f(x):", "def f(x): return x", "import math\ndef f(x):\n    pass\n\ndef f(x): return x\n"),
        ("import math\n", "def f(x): return x", "import math\n\ndef f(x): return x\n"),
    ],
)
def test_join_prompt(prompt, code, program):
    assert join_prompt(prompt, code) == program


BAD_ROWS = [
    ({}, "has no tests; its fields are none"),
    ({"gold": "1", "completion": "x"}, "its fields are completion, gold"),
    ({"tests": 5}, "`tests` of a code row is 5; expected a list of texts"),
    ({"tests": []}, "`tests` of a code row is empty"),
    ({"tests": "  "}, "`tests` of a code row is empty"),
    ({"tests": ["assert f()", 5]}, "expected a list of texts"),
    ({"tests": "def check(candidate): assert candidate()"}, "`entry_point` is missing"),
    ({"tests": ["assert f()"], "entry_point": 5}, "`entry_point` of a code row is 5; expected text"),
    ({"tests": [{"input": "1", "output": "1"}, {"input": 5}]}, r"tests\[1\] .* input of type int and output of type"),
    ({"test_list": []}, "`test_list` of a code row is empty"),
    ({"test_list": ["assert f()"], "test_imports": "import math"}, "`test_imports` of a code row"),
    ({"test": "def check(candidate): ..."}, "`entry_point` is missing"),
]


@pytest.mark.parametrize(("row", "message"), BAD_ROWS)
def test_a_row_that_is_no_code_problem_says_which_field(row, message):
    with pytest.raises(DataError, match=message):
        read_code_row(row)


CHECK = (
    "def check(candidate):\n    assert candidate(2) == 4\n    for n in range(5):\n        assert candidate(n) == n * n"
)
MAIN = "n = int(input())\nprint(n * n)"
RIGHT, WRONG = Outcome.CORRECT, Outcome.INCORRECT
# Completion, row, outcome, part of the reason.
CASES = [
    ("def f(n): return n * n", {"tests": ["assert f(2) == 4"]}, RIGHT, ""),
    ("def f(n): return n + n", {"tests": ["assert f(2) == 4", "assert f(3) == 9"]}, WRONG, "f(3) == 9: the last call"),
    ("def f(n): return n * n", {"tests": CHECK, "entry_point": "f"}, RIGHT, ""),
    ("def f(n): return n + n", {"tests": CHECK, "entry_point": "f"}, WRONG, "1 of 2 tests failed, first for n in"),
    ("def g(n): return n * n", {"tests": CHECK, "entry_point": "f"}, WRONG, "no attribute 'f'"),
    ("    return n * n", {"tests": CHECK, "entry_point": "f", "prompt": "def f(n):\n"}, RIGHT, ""),
    ("def f(n): return n * n", {"tests": "assert f(2) == 4\nx = f(3)\nassert x == 9"}, RIGHT, ""),
    ("def sum(a, b): return a * b", {"tests": ["assert sum(2, 3) == 6"]}, RIGHT, ""),  # MBPP row 74
    ("import sys\nf = sys.getsizeof", {"tests": ["assert f(()) == sys.getsizeof(())"]}, RIGHT, ""),  # MBPP row 283
    ("import re\ndef f(s): return re.match('a', s)", {"tests": ["assert f('a')", "assert not f('b')"]}, RIGHT, ""),
    ("def f(): return float('nan')", {"tests": ["assert math.isnan(f())"], "setup": "import math"}, RIGHT, ""),
    ("def f(a): return a", {"tests": ["a = {(1, 2.5): {None, b'x', 2j}}\nassert f(a) == a"]}, RIGHT, ""),
    ("def f(a): return a", {"tests": ["assert f([1]) == (1,)"]}, WRONG, "returned [1]"),
    ("def f(): return 10**5000", {"tests": ["assert f() == 10**5000"]}, RIGHT, ""),
    ("def f(): return '\\ud800'", {"tests": ["assert f() == '\\ud800'"]}, RIGHT, ""),
    ("def f(): raise KeyError(3)", {"tests": ["try:\n    f()\nexcept KeyError: pass\nelse: assert False"]}, RIGHT, ""),
    ("def f(): raise KeyError(3)", {"tests": ["assert f() == 3"]}, WRONG, "it raised KeyError"),
    ("def f(): pass", {"tests": ["try:\n    f()\nexcept KeyError: pass\nelse: assert False"]}, WRONG, "returned None"),
    ("def f(:", {"tests": ["assert f() == 3"]}, WRONG, "SyntaxError"),
    ("I would sort it first.", {"tests": ["assert f() == 3"]}, WRONG, "SyntaxError"),
    ("f = lambda: len", {"tests": ["assert f() == len"]}, WRONG, "no plain value"),
    ("x = 1\n" * 100_000, {"tests": ["assert f() == 3"]}, WRONG, "longer than 200000 characters"),
    (" \n ", {"tests": ["assert f() == 3"]}, Outcome.NO_ANSWER, "no code"),
    # Programs.
    (MAIN, {"tests": [{"input": "3\n", "output": "9\n"}, {"input": "4", "output": "16"}]}, RIGHT, ""),
    (MAIN, {"tests": [{"input": "3\n", "output": "10"}, {"input": "4", "output": "16"}]}, WRONG, "case 1: it wrote '9"),
    (MAIN, {"tests": [{"input": "", "output": ""}]}, WRONG, "EOFError"),
    ("print(1); exit()", {"tests": [{"input": "", "output": "1"}]}, RIGHT, ""),
    ("print(1); exit(3)", {"tests": [{"input": "", "output": "1"}]}, WRONG, "exit code 3"),
    ("print(1, flush=True); import os; os._exit(0)", {"tests": [{"input": "", "output": "1"}]}, RIGHT, ""),
    ("print('a '); print()", {"tests": [{"input": "", "output": "a"}]}, RIGHT, ""),
    ("print('a\\n\\nb')", {"tests": [{"input": "", "output": "a\nb"}]}, WRONG, "it wrote 'a"),
    ("if __name__ == '__main__': print(1)", {"tests": [{"input": "", "output": "1"}]}, RIGHT, ""),
    ("import sys\nprint(len(sys.stdin.read()))", {"tests": [{"input": "x" * 10**6, "output": "1000000"}]}, RIGHT, ""),
    ("print('x' * 10**6)", {"tests": [{"input": "y" * 10**6, "output": "x" * 10**6}]}, RIGHT, ""),
    ("while True: print('x' * 10**5)", {"tests": [{"input": "", "output": "x"}]}, WRONG, "wrote more than"),
    ("open('/etc/passwd')", {"tests": [{"input": "", "output": ""}]}, WRONG, "Error"),
    # Tests that cannot be run, whatever the completion.
    ("def f(): return 3", {"tests": ["assert f( == 3"]}, Outcome.UNVERIFIED, "cannot be read: SyntaxError"),
    ("def f(): return 3", {"tests": ["assert f() == three"]}, Outcome.UNVERIFIED, "NameError"),
    ("def f(): return 3", {"tests": ["assert True"]}, Outcome.UNVERIFIED, "no assertion that calls a function"),
    ("def f(): return 3", {"tests": ["assert 3 == 3"], "entry_point": "f"}, Outcome.UNVERIFIED, "never call f"),
    ("def f(): return 3", {"tests": ["open('/etc/passwd')\nassert f()"]}, Outcome.UNVERIFIED, "by themselves"),
    ("def f(g): return 3", {"tests": ["assert f(lambda: 3) == 3"]}, Outcome.UNVERIFIED, "type function"),
    ("def f(): return 3", {"tests": ["assert f() == 3"], "setup": "import nowhere"}, Outcome.UNVERIFIED, "nowhere"),
    ("def f(): return 3", {"tests": ["import os\nos._exit(0)\nassert f()"]}, Outcome.UNVERIFIED, "process ended"),
    ("def f(): return 3", {"tests": ["while True: pass\nassert f()"]}, Outcome.UNVERIFIED, "was not over"),
]  # fmt: skip


@pytest.mark.parametrize(("completion", "row", "outcome", "reason"), CASES)
def test_check_code(completion, row, outcome, reason):
    verdict = check_code(completion, read_code_row(row), CodeOptions(timeout_s=1.0)).verdict
    assert (verdict.outcome, reason in verdict.reason) == (outcome, True), verdict.reason


def test_every_test_has_an_outcome_of_its_own():
    row = {"tests": ["assert f(0) == 0", "assert f(1) == 2", "assert f(2) == 4"]}
    report = check_code("def f(n): return n * n", read_code_row(row))
    assert [(test.name, test.outcome) for test in report.tests] == [
        ("assert f(0) == 0", Outcome.CORRECT),
        ("assert f(1) == 2", Outcome.INCORRECT),
        ("assert f(2) == 4", Outcome.CORRECT),
    ]


def test_tests_after_the_end_of_a_program_are_incorrect():
    row = {"tests": ["assert f(0) == 0", "assert f(1) == 1", "assert f(2) == 4"]}
    report = check_code("import os\ndef f(n): return n if n != 1 else os._exit(0)", read_code_row(row))
    assert [test.outcome for test in report.tests] == [Outcome.CORRECT, Outcome.INCORRECT, Outcome.INCORRECT]


def test_cases_after_the_time_is_over_are_incorrect():
    row = {"tests": [{"input": text, "output": text} for text in ("1", "2", "3")]}
    loop = "text = input()\nwhile text == '2': pass\nprint(text)"
    report = check_code(loop, read_code_row(row), CodeOptions(timeout_s=0.5))
    assert [test.outcome for test in report.tests] == [Outcome.CORRECT, Outcome.INCORRECT, Outcome.INCORRECT]
    assert "were over" in report.tests[2].reason


def test_arguments_are_copies_that_stay_with_the_candidate():
    row = {"tests": ["a = [2, 1]\nf(a)\nassert a == [1, 2]"]}
    assert check_code("def f(a): a.sort()", read_code_row(row)).verdict.outcome is Outcome.INCORRECT


def test_random_tests_draw_the_same_inputs_every_time():
    row = {"tests": ["import random\nassert f(random.random()) == 0"]}
    reasons = {check_code("def f(x): return x", read_code_row(row)).verdict.reason for _ in range(2)}
    assert len(reasons) == 1


def test_a_verdict_is_the_same_from_another_thread_and_from_asyncio():
    problem, options = read_code_row({"tests": ["assert f() == 3"]}), CodeOptions(timeout_s=0.5)
    loop = "def f():\n    while True: pass"
    found: list[Outcome] = []
    thread = threading.Thread(target=lambda: found.append(check_code(loop, problem, options).verdict.outcome))
    thread.start()
    thread.join()
    found.append(asyncio.run(asyncio.to_thread(check_code, loop, problem, options)).verdict.outcome)
    assert found == [Outcome.INCORRECT, Outcome.INCORRECT]


def test_the_cost_of_a_verdict_is_measured():
    isolation = next(one for one in (Isolation.BUBBLEWRAP, Isolation.LANDLOCK) if not problem_with(one))
    assert measure_verdict_ms(isolation, num_verdicts=2) > 0


def real_rows(folder: Path, name: str) -> list[dict]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", ["code_mbpp_sanitized", "code_humaneval"])
def test_reference_solutions_are_correct_and_the_neighbours_are_not(shared_problems, name):
    rows = real_rows(shared_problems, name)[2:50:12]
    for row, other in zip(rows, [*rows[1:], rows[0]], strict=True):
        assert check_code(row["answer"], read_code_row(row)).verdict.outcome is Outcome.CORRECT, row["id"]
        assert check_code(other["answer"], read_code_row(row)).verdict.outcome is Outcome.INCORRECT, row["id"]
