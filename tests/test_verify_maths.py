r"""How the text of a formula is cleaned and read, rule by rule; whole verdicts are in `test_verify_cases.py`."""

import pytest
from formulas import shown, tree

from razona.verify.maths.clean import THOUSANDS, clean, to_ascii
from razona.verify.maths.lexer import tokenize
from razona.verify.maths.parser import parse
from razona.verify.maths.syntax import MAX_DEPTH, MAX_DIGITS, MAX_ITEMS, MAX_TOKENS, LimitError, ReadError
from razona.verify.reading import read

# Cleaning: what is written, the one spelling. `,` that surely groups digits becomes THOUSANDS.
CLEANED = [
    ("  34.  ", "34"),
    ("**34**", "34"),
    ("$34$", "34"),
    (r"\left( 1, 2 \right]", "( 1, 2  ]"),
    (r"\dfrac{1}{2}", r"\frac{1}{2}"),
    (r"\tfrac12", r"\frac12"),
    (r"5\,\mathrm{cm}", r"5 \text{cm}"),
    (r"\operatorname*{max}", r"\text{max}"),
    (r"1{,}234", f"1{THOUSANDS}234"),
    (r"1,\!234", f"1{THOUSANDS}234"),
    (r"1\,234", f"1{THOUSANDS}234"),
    (r"1\,23", "1 23"),
    (r"x \leq 3", r"x \le  3"),
    (r"x \leqq 3", r"x \le  3"),
    (r"\lefty", r"\lefty"),  # no command of ours
    (r"40\%", "40%"),
    (r"\$40", r"\dollar 40"),
    ("\N{VULGAR FRACTION ONE HALF}", r"\frac{1}{2}"),
    ("x\N{SUPERSCRIPT TWO}\N{SUPERSCRIPT THREE}", "x^{23}"),
    ("x\N{SUBSCRIPT ONE}", "x_{1}"),
    ("\N{SQUARE ROOT}2", r"\sqrt 2"),
    ("3\N{MINUS SIGN}4", "3-4"),
    ("90\N{DEGREE SIGN}", r"90^\circ"),
    ("\N{FULLWIDTH DIGIT FOUR}\N{ARABIC-INDIC DIGIT TWO}", "42"),
    ("4\N{ZERO WIDTH SPACE}2", "42"),
    ("\N{MATHEMATICAL BOLD SMALL X}", "x"),
    (r"12_{\text{seven}}", "12_{7}"),
    ("5and6", "5 and 6"),
    ("{34}", "34"),
    ("{3}+{4}", "{3}+{4}"),
    ("east!", "east"),
    ("4!", "4!"),
    (r"\\frac{1}{2}", r"\frac{1}{2}"),  # escaped twice
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1\cr 2\end{pmatrix}"),
    (r"30^{\circ}", r"30^\circ"),
    ("", ""),
    (".", "."),
]


@pytest.mark.parametrize(("text", "expected"), CLEANED)
def test_clean_brings_text_to_one_spelling(text, expected):
    assert clean(text) == expected


def test_ascii_text_is_left_as_it_is():
    assert to_ascii(r"a \$ ~ b") == r"a \$ ~ b"


# Tokens as `kind:value`.
TOKENS = [
    ("12.50x", ["number:12.50", "letter:x"]),
    (".5", ["number:.5"]),
    ("1e5", ["number:1e5"]),
    ("2e", ["number:2", "letter:e"]),
    (f"1{THOUSANDS}234", [f"number:1{THOUSANDS}234"]),
    ("xy", ["letter:x", "letter:y"]),
    ("sinx", ["command:\\sin", "letter:x"]),
    ("cost", ["command:\\cos", "letter:t"]),
    ("min", ["command:\\min"]),
    ("mint", ["letter:m", "letter:i", "letter:n", "letter:t"]),  # too ambiguous within a longer word
    (r"\cdot\div\times", ["sign:*", "sign:/", "sign:*"]),
    ("2**3", ["number:2", "sign:^", "number:3"]),
    ("x<=3", ["letter:x", "command:\\le", "number:3"]),
    (r"\lbrace", ["sign:\\{"]),
    (r"\text{ cm }", ["text: cm "]),
    (r"\text{x}", ["letter:x"]),
    (r"\quadx", ["letter:x"]),
    (r"\begin{array*}\end{array}", ["begin:array", "end:array"]),
    ("$5", ["command:\\dollar", "number:5"]),
    ("", []),
    ("  ", []),
]


@pytest.mark.parametrize(("text", "expected"), TOKENS)
def test_tokenize(text, expected):
    assert [f"{token.kind}:{token.value}" for token in tokenize(text)] == expected


@pytest.mark.parametrize("text", ["#", "3 ? 4", "\\", "\N{SNOWMAN}"])
def test_a_character_of_no_formula_is_refused(text):
    with pytest.raises(ReadError, match="no part of a formula"):
        tokenize(text)


# Text, its tree.
TREES = [
    # numbers
    ("-3", "-3"),
    ("--3", "3"),
    ("1,234", "1234"),
    ("1,234,567.5", "2469135/2"),
    ("12,34", "list:[12, 34]"),
    ("1 234 567", "1234567"),
    ("2.5e-3", "1/400"),
    (r"0.\overline{3}", "1/3"),
    (r"0.1\overline{6}", "1/6"),
    (r"1\frac{4}{5}", "9/5"),
    (r"-1\frac{4}{5}", "-9/5"),
    ("1 4/5", "9/5"),
    (r"x\frac{4}{5}", "mul[x, div[4, 5]]"),
    (r"\frac12", "div[1, 2]"),
    (r"\frac123", "mul[div[1, 2], 3]"),
    (r"\sqrt12", "mul[sqrt[1], 2]"),
    (r"\sqrt[3]{8}", "root[8, 3]"),
    ("52_8", "base:52[8]"),
    ("x_8", "x_8"),
    (r"40\%", "percent[40]"),
    (r"90^\circ", "degree[90]"),
    (r"\$40", "40"),
    # sums, products, powers
    ("1-2-3", "add[1, neg[2], neg[3]]"),
    ("1-(2-3)", "add[1, neg[add[2, neg[3]]]]"),
    ("2/3x", "mul[div[2, 3], x]"),  # from left to right
    ("2*-3", "mul[2, neg[3]]"),
    ("-x^2", "neg[pow[x, 2]]"),
    ("2^-1", "pow[2, neg[1]]"),
    ("2^3^4", "pow[pow[2, 3], 4]"),
    ("2^10", "pow[2, 10]"),
    ("4!", "factorial[4]"),
    ("-4!", "neg[factorial[4]]"),
    ("f'", "prime[f]"),
    ("f(x)", "mul:f[f, x]"),
    ("a(x)", "mul[a, x]"),
    ("f (x)", "mul[f, x]"),
    (r"1\pm\sqrt2", "add[1, plus_minus:1[sqrt[2]]]"),
    # functions
    (r"\sin 2x \cos y", "mul[sin[mul[2, x]], cos[y]]"),
    (r"\sin^2 x", "pow[sin[x], 2]"),
    (r"\sin^{-1} x", "arcsin[x]"),
    (r"\log_2 8", "log[8, 2]"),
    (r"\sin(x)+1", "add[sin[x], 1]"),
    ("|x-1|", "abs[add[x, neg[1]]]"),
    ("|x||y|", "mul[abs[x], abs[y]]"),
    ("|(|x|)|", "abs[abs[x]]"),
    (r"\binom{5}{2}", "binomial[5, 2]"),
    (r"\sum_{i=1}^n i", r"opaque:\sum[opaque:bound[i, 1], n, i]"),
    (r"\vec{v}", "v"),
    (r"\foo x", r"mul[\foo, x]"),
    # lists, sets, intervals
    ("(1)", "1"),
    ("(1,2)", "list:()[1, 2]"),
    ("(1,2]", "list:(][1, 2]"),
    ("(1,234)", "list:()[1, 234]"),
    (r"\{1\}", r"list:\{\}[1]"),
    (r"\emptyset", r"list:\{\}[]"),
    ("()", "list:()[]"),
    ("1 and 2", "list:[1, 2]"),
    (r"1\text{ or }2", "list:[1, 2]"),
    ("1, and 2", "list:[1, 2]"),
    ("a=1,b=2;a=3,b=4", "list:[list:[relation:=[a, 1], relation:=[b, 2]], list:[relation:=[a, 3], relation:=[b, 4]]]"),
    (r"(1,2)\cup(3,4)\cup(5,6)", "union[list:()[1, 2], list:()[3, 4], list:()[5, 6]]"),
    (r"\mathbb{R}\setminus\{1\}", r"minus_set[\R, list:\{\}[1]]"),
    (r"\{x : x>1\}", r"list:\{\}[relation:>[ratio[x, x], 1]]"),
    # relations, matrices
    ("1<x<=2", r"relation:< \le[1, x, 2]"),
    ("1:2:3", "ratio[1, 2, 3]"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", "matrix: 2[1, 2, 3, 4]"),
    (r"\begin{vmatrix}1\\3\end{vmatrix}", "matrix:det 1[1, 3]"),
    (r"\begin{array}{cc}1&2\\\hline 3&4\end{array}", "matrix: 2[1, 2, 3, 4]"),
]


@pytest.mark.parametrize(("text", "expected"), TREES)
def test_parse(text, expected):
    assert shown(tree(text)) == expected


def test_a_list_that_is_expected_has_no_thousands():
    assert shown(parse("1,234", is_list_expected=True)) == "list:[1, 234]"


UNREAD = [
    "", "+", "3+", "(1", "(1]]", "1)", "{}", "[1,2}", "|x", "3 4", "1.2.3", r"\frac{1}", r"\frac(1,2)", "x_", "=", "x=",
    r"\begin{tabular}1\end{tabular}", r"\begin{pmatrix}1&2\\3\end{pmatrix}", r"\begin{pmatrix}1", r"3\text{ apples }4",
    r"0.\overline{x}",
    r"\{x \mid x>1\}",
    r"\frac-12",
]  # fmt: skip


@pytest.mark.parametrize("text", UNREAD)
def test_what_is_no_formula_is_refused(text):
    with pytest.raises(ReadError):
        tree(text)


# What is just within a limit, and what exceeds it, by the same writing.
LIMITS = [
    (lambda size: "(" * size + "1" + ")" * size, MAX_DEPTH // 2 - 1, MAX_DEPTH // 2),  # items and a sum a bracket
    (lambda size: "+".join("1" * size), (MAX_TOKENS + 1) // 2, MAX_TOKENS // 2 + 1),
    (lambda size: "9" * size, MAX_DIGITS, MAX_DIGITS + 1),
    (lambda size: ";".join("1" * size), MAX_ITEMS, MAX_ITEMS + 1),
    (lambda size: f"1e{size}", 1_000, 1_001),
]


@pytest.mark.parametrize(
    ("written", "within", "beyond"), LIMITS, ids=["depth", "tokens", "digits", "items", "exponent"]
)
def test_a_limit_holds_at_its_edge(written, within, beyond):
    parse(written(within))
    with pytest.raises(LimitError):
        parse(written(beyond))


@pytest.mark.parametrize("opening", ["(", "{", "[", r"\{", "|", r"\frac{", r"\sqrt{", "x^{", "-", r"\sin ", "2^"])
def test_endless_nesting_is_no_formula(opening):
    assert read(opening * 700).node is None
