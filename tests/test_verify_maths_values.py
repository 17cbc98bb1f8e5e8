"""What formulas are worth, and which say the same, rule by rule; whole verdicts are in `test_verify_cases.py`."""

import cmath
import math
import sys
import threading
from fractions import Fraction

import pytest
from formulas import shown, tree

from razona.verify import Settings
from razona.verify.maths.chains import contradicts_itself, drop_name, is_name, is_unfinished, last_member
from razona.verify.maths.compare import equal
from razona.verify.maths.exact import MAX_BITS, exact
from razona.verify.maths.matrices import evaluate_matrix
from razona.verify.maths.numeric import NoValue, draw, float_value
from razona.verify.maths.precise import agree, precise_value
from razona.verify.maths.sets import INFINITY, Interval, intervals_of
from razona.verify.maths.signs import expand_signs
from razona.verify.maths.syntax import LimitError

DEFAULT = Settings()

# Exact values

EXACT = [
    ("3-4/8", Fraction(5, 2)),
    ("2^{-2}", Fraction(1, 4)),
    ("4^{1/2}", Fraction(2)),
    ("8^{2/3}", None),  # square roots only
    (r"\sqrt{\frac{9}{16}}", Fraction(3, 4)),
    (r"\sqrt{8}", None),
    ("(-1)^{10^9}", Fraction(1)),
    ("(-1)^{10^9+1}", Fraction(-1)),
    ("1^{9^{9}}", Fraction(1)),
    ("0^0", None),
    ("0^5", Fraction(0)),
    ("1/0", None),
    ("5!", Fraction(120)),
    (r"\binom{5}{2}", Fraction(10)),
    ("(1/2)!", None),
    ("|-7/2|", Fraction(7, 2)),
    (r"12.5\%", Fraction(1, 8)),
    ("x-x", None),
    (r"\pi", None),
    ("3000!", Fraction(math.factorial(3000))),
]


@pytest.mark.parametrize(("text", "expected"), EXACT)
def test_exact(text, expected):
    assert exact(tree(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "9^{9^{9}}",
        "9^{9^{9^{9}}}",
        "10^8!",
        "(10^8)!",
        "3001!",
        r"\binom{10^9}{5\cdot 10^8}",
        f"2^{{{MAX_BITS}}}",
        "(2^{30000})(2^{30000})",
        r"1/(2^{20000}\cdot 3^{20000})",
    ],
)
def test_a_limit_is_checked_before_the_arithmetic(text):
    """Doing the arithmetic of most of these would take more memory than there is: returning at all is the proof."""
    with pytest.raises(LimitError):
        exact(tree(text))


# Values at points


def test_points_are_fixed_and_differ_by_name_and_number():
    values = [draw(name, point) for name in ("x", "y", "x_1") for point in range(4)]
    assert len(set(values)) == 12
    assert all(0.35 <= value <= 2.4 for value in values)
    assert all(-2.4 <= draw(name, 4) <= -0.35 for name in "abcdefgh")
    assert {draw(name, 5) > 0 for name in "abcdefgh"} == {True, False}


# Text, its value at point 0, where x is draw("x", 0).
VALUES = [
    ("2+3*4", 14),
    (r"\sqrt{2}", 2**0.5),
    (r"\sqrt[3]{-8}", -2),
    ("(-8)^{1/3}", -2),
    ("(-8)^{2/3}", 4),
    ("(-4)^{1/2}", 2j),
    ("i^2", -1),
    (r"e^{i\pi}", -1),
    (r"180^\circ", math.pi),
    (r"\log 1000", 3),
    (r"\log_2 8", 3),
    (r"\ln e^2", 2),
    (r"\tan^{-1} 1", math.pi / 4),
    (r"\cot^{-1} 1", math.pi / 4),
    (r"\sec 0", 1),
    (r"\binom{6}{3}", 20),
    ("5!", 120),
    ("|3-4i|", 5),
    ("1:4", 0.25),
    ("x", draw("x", 0)),
    ("x^2", draw("x", 0) ** 2),
]


@pytest.mark.parametrize(("text", "expected"), VALUES)
def test_the_value_in_floats_and_the_one_in_many_digits(text, expected):
    assert cmath.isclose(float_value(tree(text), 0), expected, abs_tol=1e-12)
    assert abs(complex(precise_value(tree(text), 0, 60)) - expected) < 1e-12


NO_VALUES = [
    "1/0",
    "0^{-1}",
    r"\ln 0",
    r"\infty-\infty",
    "(-1)!",
    r"\sec^{-1} 2",
    r"\det^{-1} 2",
    "10^{400}",
    "10^{10^{10}}",
    r"\exp(10^7)",
    "(1,2)",
    "x=1",
]


@pytest.mark.parametrize("text", NO_VALUES)
def test_what_has_no_value_in_floats_says_so(text):
    with pytest.raises(NoValue):
        float_value(tree(text), 0)


@pytest.mark.parametrize("text", ["1/0", r"\ln 0", r"\sec^{-1} 2", "10^{10^{10}}", r"\exp(10^7)", "(10^6)!", "(1,2)"])
def test_what_has_no_value_in_many_digits_says_so(text):
    with pytest.raises(NoValue):
        precise_value(tree(text), 0, 60)


def test_two_floats_beyond_what_a_difference_holds_have_no_value():
    with pytest.raises(NoValue):
        float_value(tree(r"1.7\cdot 10^{308}+1.7\cdot 10^{308}i"), 0)


def test_digits_beyond_floats_tell_values_apart():
    near, far = tree(r"\sqrt{2}+10^{-30}"), tree(r"\sqrt{2}")
    assert float_value(near, 0) == float_value(far, 0)
    assert not agree(precise_value(near, 0, 60), precise_value(far, 0, 60), 50)
    assert agree(precise_value(near, 0, 60), precise_value(far, 0, 60), 29)


def test_threads_do_not_change_each_others_precision(request):
    request.addfinalizer(lambda before=sys.getswitchinterval(): sys.setswitchinterval(before))
    sys.setswitchinterval(1e-6)
    node = tree(r"\sqrt{5+2\sqrt{6}}+\pi^7")
    alone = {digits: str(precise_value(node, 0, digits)) for digits in (60, 200)}
    differing: list[int] = []

    def evaluate(digits: int) -> None:
        for _ in range(300):
            if str(precise_value(node, 0, digits)) != alone[digits]:
                differing.append(digits)

    threads = [threading.Thread(target=evaluate, args=(digits,)) for digits in (60, 200, 60, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert differing == []


# Names, chains, signs

NAMES = [
    ("x", True), ("AB", True), ("f(x)", True), ("f(2)", True), ("|AB|", True), (r"\angle ABC", True), ("S_1:S", True),
    ("(x,y)", True), ("x/y", True), ("2x", False), ("a+3z", False), (r"\pi", False), ("i", False), (r"\sin A", False),
    ("3", False), ("()", False),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), NAMES)
def test_is_name(text, expected):
    assert is_name(tree(text)) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x=5", "5"),
        ("5=x", "5"),
        ("x=2+3=5", "5"),
        (r"x=1/3\approx 0.33", "div[1, 3]"),
        (r"x\in(1,2)", "list:()[1, 2]"),
        ("2+3=5", "5"),
        ("2x=5", "relation:=[mul[2, x], 5]"),
        ("x<5", "relation:<[x, 5]"),
        ("x=y", "y"),
        ("7", "7"),
    ],
)
def test_drop_name(text, expected):
    assert shown(drop_name(tree(text))) == expected


def test_the_last_member_of_a_targets_chain():
    assert shown(last_member(tree("1=x=0"))) == "0"
    assert shown(last_member(tree("1=2"))) == "relation:=[1, 2]"
    assert shown(last_member(tree("x=y=z"))) == "relation:= =[x, y, z]"


@pytest.mark.parametrize(
    ("text", "is_strict", "expected"),
    [
        ("x=7=8", False, True),
        ("x=7=7.0", False, False),
        ("3+3=2", True, True),
        ("3+3=2", False, False),  # working is not judged
        (r"1/3\approx 0.33", True, False),
        ("x<7<8", True, False),
        ("7", True, False),
    ],
)
def test_contradicts_itself(text, is_strict, expected):
    assert contradicts_itself(tree(text), is_strict=is_strict) is expected


UNFINISHED = [
    ("3+4", True), ("2*5", True), ("(3+4)/2", True), (r"\sqrt{3+1}", True), ("2(3)", True), ("7", False),
    ("3/4", False), ("2^{10}", False), ("5!", False), (r"3\cdot 10^8", False), (r"\sqrt{2}", False), ("x+1", False),
    ("2+3i", False),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), UNFINISHED)
def test_is_unfinished(text, expected):
    assert is_unfinished(tree(text)) is expected


def test_a_sign_stands_for_two_values():
    assert shown(expand_signs(tree(r"1\pm 2"))) == "list:[add[1, 2], add[1, neg[2]]]"
    assert shown(expand_signs(tree(r"\mp 2"))) == "list:[neg[2], 2]"
    assert shown(expand_signs(tree(r"5,\pm 2"))) == "list:[5, 2, neg[2]]"
    assert shown(expand_signs(tree(r"1\pm 2\mp 3"))) == "list:[add[1, 2, neg[3]], add[1, neg[2], 3]]"


# Sets and relations


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(1,2]", [Interval(low=1, high=2, has_low=False, has_high=True)]),
        (r"[-\infty, 3)", [Interval(low=-INFINITY, high=3, has_low=True, has_high=False)]),
        (r"\{5\}", [Interval(low=5, high=5, has_low=True, has_high=True)]),
        (
            r"(0,1)\cup\{2\}",
            [
                Interval(low=0, high=1, has_low=False, has_high=False),
                Interval(low=2, high=2, has_low=True, has_high=True),
            ],
        ),
        (r"\emptyset", []),
        ("(1,2,3)", None),
        ("(1,x)", None),
        ("(1,i)", None),
        ("1,2", None),
        ("3", None),
    ],
)
def test_intervals_of(text, expected):
    assert intervals_of(tree(text)) == expected


# Two formulas and whether they say the same.
PAIRS = [
    # inequalities and intervals
    (r"-2\le x\le 7", "[-2,7]", True),
    (r"-2\le x\le 7", "[-2,7)", False),
    (r"-2<x\le 7", "(-2,7]", True),
    ("x>3", r"(3,\infty)", True),
    ("3<x", "x>3", True),
    ("x>3", "y>3", False),
    ("2x<6", "x<3", True),
    ("-2x<6", "x<3", False),
    ("-2x<6", "x>-3", True),
    (r"x\ne 1", r"(-\infty,1)\cup(1,\infty)", True),
    (r"(1,\infty)\cup(-\infty,1)", r"\mathbb{R}\setminus\{1\}", True),
    (r"x\in[0,1]", r"0\le x\le 1", True),
    (r"x\in[0,1]", r"0\le y\le 1", False),
    ("[0,2]", r"[0,1]\cup[1,2]", True),
    ("[0,2]", r"[0,1)\cup(1,2]", False),
    (r"(-\infty,\infty)", r"\mathbb{R}", True),
    # equations
    ("2x+2y=6", "x+y=3", True),
    ("x+y=3", "y=3-x", True),
    ("x+y=3", "x+y=4", False),
    ("x+y=3", "a+b=3", False),
    ("5=x", "x=5", True),
    ("x=5", "5", True),
    ("y=x^2", "x=y^2", False),
    ("f(x)=3", "f(t)=3", True),
    ("f(x)=x", "f(t)=t", False),  # bound names are not renamed
    ("f(2)=3", "f(3)=3", False),
    ("x=2,y=3", "y=3,x=2", True),
    ("x=2,y=3", "x=3,y=2", False),
    ("(x,y)=(2,3)", "(2,3)", True),
    (r"x=\pm 3", "x=3,x=-3", True),
    (r"\pm 3", "3", False),
    # lists, sets, tuples
    ("1,2", "2,1", True),
    ("1,2", "1,2,3", False),
    ("1,2", "1,1,2", True),
    ("(1,2)", "(2,1)", False),
    ("(1,2)", "[1,2]", False),  # intervals
    ("(1,2,3)", "[1,2,3]", True),  # vectors
    (r"\{1,2\}", r"\{2,1\}", True),
    (r"\{1,2\}", "(1,2)", False),
    (r"\{3\}", "3", True),
    ("(3,)", "3", True),
    # matrices
    (r"\begin{pmatrix}1\\2\end{pmatrix}", "(1,2)", True),
    (r"\begin{pmatrix}1&2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}", False),
    (r"2\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\4\end{pmatrix}", True),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&5\end{pmatrix}", False),
    # values
    ("0.5", r"\frac{1}{2}", True),
    (r"50\%", "0.5", True),
    (r"50\%", "50", False),
    (r"90^\circ", "90", True),
    (r"90^\circ", r"\pi/2", True),
    (r"90^\circ", r"\pi", False),
    (r"\sqrt{x^2}", "|x|", True),
    (r"\sqrt{x^2}", "x", False),
    (r"\sin^2x+\cos^2x", "1", True),
    (r"\frac{x^2-1}{x-1}", "x+1", True),
    ("f(x)", "f(y)", False),
    ("1:2", "2:4", True),
    ("52_8", "42", False),
    (r"-\infty", r"\infty", False),
    (r"\infty", r"+\infty", True),
    ("0.333333333333", r"\frac13", True),  # 12 digits, as programs print
    ("0.33333333333", r"\frac13", False),
    ("3.14159265358979", r"\pi", True),
    ("3.14159", r"\pi", False),
    (r"\int_0^1 x", r"\int_0^1 x", True),
    (r"\int_0^1 x", r"\int_0^2 x", False),
]


@pytest.mark.parametrize(("one", "other", "expected"), PAIRS)
def test_equal_both_ways_round(one, other, expected):
    assert equal(tree(one), tree(other), DEFAULT) is expected
    assert equal(tree(other), tree(one), DEFAULT) is expected


@pytest.mark.parametrize(
    ("one", "other", "settings", "expected"),
    [
        ("1,2", "2,1", Settings(order="ordered"), False),
        ("100", "100.5", Settings(tolerance=0.01), True),
        (r"\sqrt{2}", "1.41", Settings(tolerance=0.01), True),
        (r"x\in[0,1]", r"0\le x\le 1", Settings(relation_as_set=False), False),
    ],
)
def test_a_switch_changes_what_is_equal(one, other, settings, expected):
    assert equal(tree(one), tree(other), settings) is expected
    assert equal(tree(one), tree(other), DEFAULT) is not expected


def test_matrices_are_added_and_multiplied():
    # [[1, 2], [3, 4]] [[0, 1], [1, 0]] = [[2, 1], [4, 3]]
    product = evaluate_matrix(tree(r"\begin{pmatrix}1&2\\3&4\end{pmatrix}\begin{pmatrix}0&1\\1&0\end{pmatrix}"))
    assert product is not None
    assert [exact(part) for part in product.parts] == [2, 1, 4, 3]
    total = evaluate_matrix(tree(r"\begin{pmatrix}1\\2\end{pmatrix}-\begin{pmatrix}5\\5\end{pmatrix}"))
    assert total is not None
    assert [exact(part) for part in total.parts] == [-4, -3]
    assert evaluate_matrix(tree(r"\begin{pmatrix}1\\2\end{pmatrix}\begin{pmatrix}5\\5\end{pmatrix}")) is None
    assert evaluate_matrix(tree(r"\begin{vmatrix}1&2\\3&4\end{vmatrix}")) is None
