"""Whatever a completion or a target says, a verdict comes, in time, and nothing of it is run.

The texts of `hostile_text.py` and texts that hypothesis puts together of their parts go through every verifier: the
mathematics, the code extractor, the puzzles, the reader of forms and steps, and the pool of symbolic workers.
"""

import os
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from importlib.util import find_spec

import pytest
from hostile import peak_mib
from hostile_text import TEXTS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from razona.core.nouns import Outcome, Verdict
from razona.verify import Settings, Tags, check, extract, read_form, read_steps
from razona.verify.code import extract_code
from razona.verify.logic import check_logic, read_puzzle
from razona.verify.pool import JobStatus, default_pool

FRESH = Settings(is_remembered=False)
UNMARKED = Settings(is_remembered=False, is_unmarked_allowed=True, percent="lenient", tolerance=0.01)
LATEST_S = FRESH.deadline_s + 0.5
MAX_WORKER_MIB = 300.0
FORMS = ("%s", r"\boxed{%s}", "<SOLUTION>%s</SOLUTION>", "The answer is %s")
TAGS = Tags()
PUZZLES = [
    read_puzzle({"puzzle": "knights", "names": ["Alice", "Bob"], "statements": [["lying", 1], ["telling-truth", 1]]}),
    read_puzzle({"puzzle": "formula", "formula": "(p & q) -> r", "ask": "satisfy"}),
    read_puzzle({"puzzle": "formula", "formula": "(p & q) -> r", "ask": "equivalent"}),
    read_puzzle({"puzzle": "entailment", "premises": ["p -> q", "p"], "conclusion": "q"}),
    read_puzzle({"puzzle": "grid", "grid": [[1, 0], [0, 1]], "box": [1, 2], "symbols": [1, 2]}),
    read_puzzle({"nums": [3, 4, 5], "target": 35}),
    read_puzzle({"puzzle": "reasoning_gym", "dataset": "gcd", "answer": "12"}),
]
PIECES = [
    *(text for text in TEXTS.values() if len(text) <= 120), "7", "-", ",", "^", "_", "{", "}", "(", ")", "[", "]", "|",
    "\\", "$", "%", "=", "<", ">", "/", "!", "&", ";", ":", "'", '"', " ", "\n", "or", "and", "not", "wait, ", "is ",
    r"\frac{", r"\sqrt{", r"\boxed{", r"\text{", r"\left(", r"\right)", r"\pm", r"\int_0^1 ", r"\sum_{k=1}^{9} ",
    r"\begin{pmatrix}", r"\end{pmatrix}", r"\cdot ", r"\overline{", r"\infty", r"\emptyset", r"\pi", r"^\circ", r"\\",
    r"\sin x", r"\log_", r"\binom{", r"\cup ", r"\{", r"\}", "<SOLUTION>", "</SOLUTION>", "<think>", "</think>",
    "<end_working_out>", "####", "The answer is ", "```", "```python\n", "x", "e", "i", "0.", "1e9", "12:30", "(C)",
    "cm", "dollars", "five", "knight", "~", "->", "p", "q", "True",
]  # fmt: skip
texts = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=8)), max_size=24).map("".join)
repeated = st.builds(
    lambda piece, count, rest: piece * count + rest, st.sampled_from(PIECES), st.integers(2, 3_000), texts
)
hostile = st.one_of(texts, texts, repeated)


def fuzz(max_examples: int) -> settings:
    """Give how texts are made: the same at every run; the seconds of a verdict are measured here."""
    checks = list(HealthCheck)
    return settings(
        max_examples=max_examples, deadline=None, database=None, derandomize=True, suppress_health_check=checks
    )


@pytest.fixture(scope="module", autouse=True)
def warm_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Start the worker, whose imports are no part of a verdict's time; leave behind no file that a text made."""
    folder, before = tmp_path_factory.mktemp("empty"), os.getcwd()
    os.chdir(folder)
    default_pool().run("prove_equal", {"left": "x", "right": "x"}, deadline_s=30)
    yield
    os.chdir(before)
    assert os.listdir(folder) == [], "a text made a file: something ran it"


def in_time(judge: Callable[[], Verdict]) -> Verdict:
    """Give a verdict that is one of the four, has a reason unless it is right, and came in time."""
    began = time.perf_counter()
    verdict = judge()
    seconds = time.perf_counter() - began
    assert isinstance(verdict.outcome, Outcome)
    assert verdict.reason or verdict.outcome is Outcome.CORRECT
    assert seconds < LATEST_S
    return verdict


def without_seconds(verdict: Verdict) -> tuple[object, ...]:
    return verdict.outcome, verdict.answer, verdict.reason


# The texts of the file


@pytest.mark.parametrize("name", TEXTS)
def test_a_hostile_text_gets_a_verdict_in_time_as_completion_and_as_target(name: str) -> None:
    text = TEXTS[name]
    for form in FORMS:
        completion = form.replace("%s", text)
        for target in ("7", text, rf"\boxed{{{text}}}", rf"\unknown{{{text[:500]}}}"):
            in_time(lambda one=completion, other=target: check(one, other, FRESH))
        in_time(lambda one=completion: check(one, "7", UNMARKED))


@pytest.mark.parametrize("name", TEXTS)
def test_a_hostile_text_gets_a_verdict_in_time_from_every_puzzle(name: str) -> None:
    for form in FORMS:
        completion = form.replace("%s", TEXTS[name])
        for puzzle in PUZZLES:
            verdict = in_time(lambda one=completion, other=puzzle: check_logic(one, other, TAGS))
            assert verdict.outcome is not Outcome.UNVERIFIED  # the puzzles are ours, so nothing of it is our fault


@pytest.mark.parametrize("name", TEXTS)
def test_hostile_text_is_searched_for_code_form_and_steps_in_time(name: str) -> None:
    began = time.perf_counter()
    for form in FORMS:
        completion = form.replace("%s", TEXTS[name])
        assert isinstance(extract_code(completion, TAGS), str | None)
        extract(completion, TAGS, is_unmarked_allowed=True)
        read_form(completion, TAGS)
        read_steps(completion)
    assert time.perf_counter() - began < LATEST_S


@pytest.mark.skipif(
    find_spec("latex2sympy2_extended") is None, reason="math-verify is not installed: pip install 'razona[math]'"
)
def test_hostile_text_leaves_the_symbolic_workers_alive_and_within_their_memory() -> None:
    pool, deadline_s = default_pool(), 0.5
    for name, text in TEXTS.items():
        began = time.perf_counter()
        result = pool.run("prove_equal", {"left": text, "right": "7"}, deadline_s=deadline_s)
        assert time.perf_counter() - began < deadline_s + 0.5, name
        assert result.status is not JobStatus.UNAVAILABLE, (name, result.reason)
        if result.status is JobStatus.DONE and text.strip() != "7":
            assert isinstance(result.value, dict) and result.value["equal"] is False, name
    assert pool.run("prove_equal", {"left": "x+x", "right": "2x"}, deadline_s=5).status is JobStatus.DONE
    assert 0 < max(map(peak_mib, workers())) < MAX_WORKER_MIB


def workers() -> list[int]:
    from hostile import descendants

    return descendants(os.getpid())


# Texts that hypothesis makes


@fuzz(400)
@given(hostile, hostile)
def test_any_completion_and_target_get_the_same_verdict_twice(completion: str, target: str) -> None:
    for how in (FRESH, UNMARKED):
        first = in_time(lambda how=how: check(completion, target, how))
        assert without_seconds(check(completion, target, how)) == without_seconds(first)


@fuzz(200)
@given(hostile, st.sampled_from(FORMS), st.sampled_from(PUZZLES))
def test_any_completion_of_a_puzzle_gets_the_same_verdict_twice(text: str, form: str, puzzle: object) -> None:
    completion = form.replace("%s", text)
    first = in_time(lambda: check_logic(completion, puzzle, TAGS))
    assert without_seconds(check_logic(completion, puzzle, TAGS)) == without_seconds(first)


@fuzz(200)
@given(hostile)
def test_the_code_found_in_any_text_stands_in_it(text: str) -> None:
    code = extract_code(text, TAGS)
    assert code is None or (code.strip() and code in text)


numbers = st.fractions(min_value=-10_000, max_value=10_000, max_denominator=1_000)


def written(value: Fraction, style: int) -> str:
    """Write a number in one of the ways that do not change it."""
    sign, above, below = "-" * (value < 0), abs(value.numerator), value.denominator
    if below == 1:
        return f"{sign}{above}" if style % 2 else f"{sign}{above}.0"
    whole, rest = divmod(above, below)
    ways = [
        f"{sign}{above}/{below}",
        rf"{sign}\frac{{{above}}}{{{below}}}",
        rf"{sign}\dfrac{{{2 * above}}}{{{2 * below}}}",
    ]
    ways.append(rf"{sign}{whole}\frac{{{rest}}}{{{below}}}" if whole else ways[0])
    return ways[style % 4]


@fuzz(300)
@given(numbers, numbers, st.integers(0, 3), st.integers(0, 3), st.booleans())
def test_two_numbers_are_equal_both_ways_round_exactly_when_their_values_are(
    one: Fraction, other: Fraction, style: int, other_style: int, is_same: bool
) -> None:
    other = one if is_same else other
    left, right = written(one, style), written(other, other_style)
    expected = Outcome.CORRECT if one == other else Outcome.INCORRECT
    assert check(rf"\boxed{{{left}}}", right, FRESH).outcome is expected
    assert check(rf"\boxed{{{right}}}", left, FRESH).outcome is expected


# The worker's time is a verdict's, however often it is asked


@pytest.mark.parametrize("is_equal", [False, True])
def test_a_verdict_asks_the_worker_no_longer_than_its_deadline_in_all(
    is_equal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from razona.verify.pool import JobResult

    asked: list[float] = []

    def slow(left: str, right: str, pool: object, deadline_s: float) -> JobResult:
        asked.append(deadline_s)
        time.sleep(min(0.3, deadline_s))
        if deadline_s < 0.3:
            return JobResult(status=JobStatus.TIMED_OUT, reason="too late")
        return JobResult(status=JobStatus.DONE, value={"equal": is_equal, "how": "told"})

    monkeypatch.setattr("razona.verify.symbolic.prove_equal", slow)
    boxes = " ".join(rf"\boxed{{\sin_{{{n}}}}}" for n in range(12))
    verdict = in_time(lambda: check(boxes, r"\sin_x", FRESH))
    assert verdict.outcome is Outcome.INCORRECT
    assert len(asked) == (3 if is_equal else 1)  # at 0.8 s: 0.3 s, 0.3 s, and 0.2 s that do not suffice
