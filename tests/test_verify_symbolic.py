"""Symbolic equality in a worker: exact, narrow, and never late."""

import json
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from razona.verify import symbolic
from razona.verify.pool import JobResult, JobStatus, Pool
from razona.verify.symbolic import MAX_CHARACTERS, prove_equal

DEADLINE_S = 0.3
SLACK_S = 0.2
DATA = Path(__file__).parent.parent.parent / "shared/data/verifier"
with_sympy = pytest.mark.skipif(
    find_spec("latex2sympy2_extended") is None, reason="math-verify is not installed: pip install 'razona[math]'"
)

EQUAL = [
    (r"\sin(2x)", r"2\sin x\cos x"),
    (r"\cos^2 x - \sin^2 x", r"\cos 2x"),
    (r"\sqrt{3+2\sqrt2}", r"1+\sqrt2"),
    (r"\frac{\pi}{4}+\frac{1}{2}\ln 2", r"\frac{\pi + \ln 4}{4}"),
    (r"\tan^{-1}(1)", r"\frac{\pi}{4}"),
    (r"e^{i\pi}", "-1"),
    (r"\sqrt{\sqrt2}", "2**(1/4)"),
    ("sqrt(x^2+1)", r"(1+x^2)^{\frac12}"),
    ("10^-3", "0.001"),
    ("0.25x", "x/4"),
    ("2(1/2)", "1"),
    (r"2\frac12", "5/2"),
    ("x(x+1)", "x^2+x"),
    (r"\log_2 8", "3"),
    (r"\binom{10}{3}", "120"),
    (r"\int_0^1 2x dx", r"\int_{0}^{1} 2t\,dt"),
    (r"\sum_{k=1}^{n}k", r"\sum_{j=1}^n j"),
    (r"\lim_{x \to 0}\frac{\sin x}{x}", r"\lim_{t\to 0} \frac{\sin t}{t}"),
    ("y=2x+1", "2x-y+1=0"),
    ("-2x<4", "x>-2"),
    (r"\left\{\sqrt4, 1\right\}", r"\{1,2\}"),
    (r"\left(2,\frac12\right)", "(2, 0.5)"),
    (r"(2,3]\cup[5,\infty)", r"[5,\infty)\cup(2,3]"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{bmatrix}1&\sqrt4\\3&\frac{8}{2}\end{bmatrix}"),
]

# Most of these are accepted by math-verify 0.9, by one of its parts, or by the parser alone.
UNEQUAL = [
    ("4210_{5}", "4210_{7}"),
    (r"6.626\times10^{-34}", r"1.6\times10^{-19}"),
    ("0.0000001", "0.0000002"),
    ("1/3", "0.333333333333333333"),
    (r"\pi", "3.141592653589793"),
    (r"\frac{1}{2004!}", r"\frac{1}{2006!}"),
    ("2^{-99}", "2^{-98}"),
    (r"\cos x=42/59", r"\sin x=42/59"),
    (r"\{1,2\}", "(2,1)"),
    ("(1,2)", "(2,1)"),
    ("1, 2", "2, 1"),
    (r"5\text{ cm}", r"5\text{ m}"),
    ("5 cm", "5 m"),
    (r"10\%", "10"),
    (r"10\%", "0.1"),
    (r"30^\circ", "30"),
    ("8", "7=8"),
    ("8", "x=7=8"),
    ("7", r"\int_0^7 1dx"),
    ("6", r"\sum_{k=1}^{3} k"),
    (r"1-\frac{1}{e}", r"1+\frac{1}{e}"),
    ("2(1/2)", "5/2"),
    (r"2\left[\frac12\right]", "5/2"),
    ("1,234", "1234"),
    ("1 234", "234"),
    ("1/2x", "x/2"),
    (r"\log x", r"\ln x"),
    (r"\log_28", "3"),
    ("f(x)", "f'(x)"),
    ("A", "a"),
    ("dog", "god"),
    ("no", "on"),
    ("1=1", "2=2"),
    ("1<2", "2<3"),
    ("0/0", "0/0"),
    ("1/0", "2/0"),
    (r"\infty", r"-\infty"),
    (r"\infty", r"\infty-\infty"),
    ("x<2", r"x\le 2"),
    ("x<2", "x>2"),
    ("x^2=4", "x=2"),
    ("x=2", r"x\ne 2"),
    ("x>1", "y>1"),
    ("(1,2)", "[1,2]"),
    ("[2,1]", "[5,1)"),
    (r"\{\}", "[2,1)"),
    (r"\gamma", r"\Gamma"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&3\\2&4\end{pmatrix}"),
    (r"\begin{pmatrix}1&2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
    ("1E999999999", "1E999999999"),
    ("", ""),
    (r"\frac", r"\frac"),
    (r"\{1\} \subset \{1,2\}", r"\{2\} \subset \{1,2\}"),
]

HOSTILE_QUICK = [
    r"9^{9^{9^9}}",
    "100000000!",
    "(" * 900 + "x" + ")" * 900,
    "x^" * 500 + "x",
    r"\begin{pmatrix}" + r"\\".join("&".join(f"x_{i}+{j}" for j in range(9)) for i in range(9)) + r"\end{pmatrix}^{40}",
    '__import__("os").system("touch razona_was_here")',
    "\x00\ud800",
]
HOSTILE_MORE = [
    "1E999999999",
    r"\operatorname{eye}(20000)",
    r"10^{10^{10}}",
    "5" + "!" * 50,
    r"\binom{10^8}{10^7}",
    r"\lfloor 10^{10^{10}}\rfloor",
    r"e^{e^{e^{e^{10}}}}",
    r"\sum_{k=1}^{100000000}k^{k}",
    r"\prod_{k=1}^{100000000} k",
    r"\int \frac{\sin(x^2) e^{x^3}\ln x}{1+x^5} dx",
    "(x+1)^{5000}",
    "((x+1)^{99}+(y+1)^{99})^{99}",
    r"\frac{1}{" * 50 + "x" + "}" * 50,
    "-" * 1900 + "1",
    "!" * 1000,
    "9" * 1990,
    r"\sqrt{" * 200 + "2" + "}" * 200,
    r"\{" + ",".join(map(str, range(400))) + r"\}",
    "+".join(rf"\sin({k}x)\cos({k}y)" for k in range(1, 14)),
    "nan",
]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool() as pool:
        yield pool


def prove(left: str, right: str, pool: Pool) -> tuple[JobStatus, bool | None]:
    result = prove_equal(left, right, pool, 10.0)
    return result.status, result.value["equal"] if isinstance(result.value, dict) else None


@with_sympy
@pytest.mark.parametrize(("left", "right"), EQUAL)
def test_equal_expressions_are_proven_both_ways(left, right, pool):
    assert prove(left, right, pool) == prove(right, left, pool) == (JobStatus.DONE, True)


@with_sympy
@pytest.mark.parametrize(("left", "right"), UNEQUAL)
def test_unequal_expressions_are_not_proven_either_way(left, right, pool):
    for one, other in ((left, right), (right, left)):
        status, is_equal = prove(one, other, pool)
        assert (status, is_equal) in [(JobStatus.DONE, False), (JobStatus.FAILED, None)]


@with_sympy
@pytest.mark.parametrize(
    "text",
    [*HOSTILE_QUICK, *(pytest.param(text, marks=pytest.mark.slow) for text in HOSTILE_MORE)],
    ids=lambda text: repr(text[:30]),
)
def test_a_hostile_expression_ends_in_time_on_either_side(text, pool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prove("x", "x", pool)  # the imports are done
    for left, right in ((text, "7"), ("7", text)):
        start = time.monotonic()
        result = prove_equal(left, right, pool, DEADLINE_S)
        assert time.monotonic() - start < DEADLINE_S + SLACK_S
        if result.status is JobStatus.DONE:
            assert isinstance(result.value, dict)
            assert result.value["equal"] is False
        else:
            assert result.status in (JobStatus.TIMED_OUT, JobStatus.OUT_OF_MEMORY, JobStatus.FAILED)
    assert prove("x+x", "2x", pool) == (JobStatus.DONE, True)
    assert list(tmp_path.iterdir()) == []


@with_sympy
def test_the_proof_says_how_and_the_refusal_says_why(pool):
    assert prove_equal(r"\ln 4", r"2\ln 2", pool, 5).value == {"equal": True, "how": "simplify"}
    assert prove_equal(r"5\%", "5", pool, 5).value == {
        "equal": False,
        "how": "refused: a character outside plain mathematics at '%'",
    }


def test_an_expression_that_is_too_long_is_not_sent():
    with Pool() as pool:
        result = prove_equal("1" * (MAX_CHARACTERS + 1), "1", pool, 1)
        assert result.status is JobStatus.FAILED
        assert "2,001 characters" in result.reason


def test_a_missing_package_is_ours_and_says_what_to_install(monkeypatch):
    monkeypatch.setattr(symbolic, "find_spec", lambda name: None)
    with Pool() as pool:
        result = prove_equal("x", "x", pool, 1)
    assert isinstance(result, JobResult)
    assert result.status is JobStatus.UNAVAILABLE
    assert "razona[math]" in result.reason


@with_sympy
@pytest.mark.slow
@pytest.mark.parametrize("name", ["near_misses.jsonl", "pairs.jsonl"])
def test_no_labelled_pair_is_a_false_positive(name, pool):
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    wrong = [row for row in rows if not row["expected"]]
    assert len(wrong) > 50
    accepted = [row["id"] for row in wrong if prove(row["gold"], row["prediction"], pool)[1]]
    assert accepted == []
