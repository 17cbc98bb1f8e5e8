"""Boolean formulas and entailment."""

import itertools
import time
from random import Random

import pytest

from razona.core.errors import DataError
from razona.core.nouns import Outcome
from razona.verify.logic import check_logic, read_puzzle
from razona.verify.logic.entailment import relation_between
from razona.verify.logic.formula import evaluate, parse_formula, truth_table
from razona.verify.logic.rows import UnreadableText
from razona.verify.tags import Tags

TAGS = Tags()
CORRECT, INCORRECT, NO_ANSWER, UNVERIFIED = Outcome.CORRECT, Outcome.INCORRECT, Outcome.NO_ANSWER, Outcome.UNVERIFIED
DEADLINE_S = 2.0


def outcome(answer: str, /, **row: object) -> Outcome:
    """Judge an answer that stands in a solution block."""
    return check_logic(f"<SOLUTION>{answer}</SOLUTION>", read_puzzle(row), TAGS).outcome


# Formulas. Expected: postfix order, by hand.
FORMULAS = [
    ("A", "A"),
    ("not A and B", "A not B and"),
    ("~~A", "A not not"),
    ("A or B and C", "A B C and or"),
    ("A and B or C", "A B and C or"),
    ("A | B ^ C & D", "A B C D and xor or"),
    ("A -> B -> C", "A B C implies implies"),
    ("A <-> B <-> C", "A B iff C iff"),
    ("A -> B <-> not B -> not A", "A B implies B not A not implies iff"),
    ("(A -> B) -> C", "A B implies C implies"),
    ("!(A || B) && [C => D]", "A B or not C D implies and"),
    ("¬A∧B→C↔A⊕B", "A not B and C implies A B xor iff"),
    (r"\neg A \land B \rightarrow C \lor \top", "A not B and C true or implies"),
    (r"A /\ B \/ C", "A B and C or"),
    ("A if  and only if B", "A B iff"),
    ("A IFF B", "A B iff"),
    ("x_1 | true & 0", "x_1 true false and or"),
    ("a & A", "a A and"),
]
NO_FORMULAS = [
    "", " ", "()", "A B", "A not B", "A &", "& A", "A & & B", "(A", "A)", "(A]B", "A - B", "A ? B", "2", "10", "A1 B",
    r"A \foo B", "lambda: 1", "A; B", "__import__('os')", "A == B", "A < B", "\x00", "Ä",
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), FORMULAS)
def test_a_formula_is_read_by_precedence(text, expected):
    assert " ".join(parse_formula(text).steps) == expected


@pytest.mark.parametrize("text", NO_FORMULAS)
def test_what_is_no_formula_is_not_read(text):
    with pytest.raises(UnreadableText):
        parse_formula(text)


def random_formula(rng: Random, depth: int) -> tuple[str, str]:
    """Give one random formula twice: in our notation, and as a Python expression."""
    if depth == 0 or rng.random() < 0.15:
        name = rng.choice("ABCD")
        return name, name
    if rng.random() < 0.25:
        ours, python = random_formula(rng, depth - 1)
        return f"~({ours})", f"(not {python})"
    (left, left_python), (right, right_python) = random_formula(rng, depth - 1), random_formula(rng, depth - 1)
    sign, python = rng.choice([("&", "and"), ("|", "or"), ("^", "!="), ("->", "<="), ("<->", "==")])
    return f"({left}) {sign} ({right})", f"({left_python} {python} {right_python})"


def test_300_random_formulas_have_the_truth_table_python_gives_them():
    rng = Random(5)
    for _ in range(300):
        ours, python = random_formula(rng, 4)
        formula, table = parse_formula(ours), truth_table("ABCD")
        for row, values in enumerate(itertools.product((False, True), repeat=4)):
            named = dict(zip("DCBA", values, strict=True))  # bit 0 of a row's number is the first variable
            expected = eval(python, {}, named)  # our own text
            assert table.truth(formula) >> row & 1 == expected, ours
            assert evaluate(formula, {name: int(value) for name, value in named.items()}) == expected, ours


SATISFY = [
    # (A or B) and not (A and C): six of eight rows hold A or B, and two of those hold A and C.
    ("A = true, B = false, C = false", CORRECT),
    ("A: F; B: T; C: T", CORRECT),
    ("A is false and B is true and C is false", CORRECT),
    ('{"A": 1, "B": 1, "C": 0}', CORRECT),
    ("A=True\nB=False\nC=False\n", CORRECT),
    (r"A = \text{true}, B = \text{true}, C = \text{false}", CORRECT),
    ("A = true, B = false, C = true", INCORRECT),
    ("A = true, B = false", INCORRECT),
    ("A = true, B = false, C = false, D = true", INCORRECT),
    ("A = true, B = false, C = false, A = true", INCORRECT),
    ("A = true, B = false, C = maybe", INCORRECT),
    ("A = true or B = false, C = false", INCORRECT),
    ("a = true, b = false, c = false", INCORRECT),
    ("unsatisfiable", INCORRECT),
    ("yes", INCORRECT),
    ("A, not B, not C", INCORRECT),
]


@pytest.mark.parametrize(("answer", "expected"), SATISFY)
def test_any_satisfying_assignment_of_all_variables_counts(answer, expected):
    assert outcome(answer, puzzle="formula", formula="(A | B) & ~(A & C)") is expected


def test_every_assignment_is_right_exactly_where_the_formula_is_true():
    for a, b, c in itertools.product((0, 1), repeat=3):
        expected = CORRECT if (a or b) and not (a and c) else INCORRECT
        assert outcome(f"A={a}, B={b}, C={c}", puzzle="formula", formula="(A | B) & ~(A & C)") is expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("unsatisfiable", CORRECT), ("No solution.", CORRECT), ("A = true", INCORRECT), ("A = false", INCORRECT)],
)
def test_unsatisfiable_is_right_where_nothing_satisfies(answer, expected):
    assert outcome(answer, puzzle="formula", formula="A & ~A") is expected


EQUIVALENT = [
    ("~A | B", {}, CORRECT),
    ("~B -> ~A", {}, CORRECT),
    (r"\neg A \lor B", {}, CORRECT),
    ("(A -> B) & (C | ~C)", {}, CORRECT),
    ("B -> A", {}, INCORRECT),
    ("A | B", {}, INCORRECT),
    ("A -> B & C", {}, INCORRECT),
    ("~A | B, A | B", {}, INCORRECT),
    ("the formula ~A | B", {}, INCORRECT),
    ("A -> B", {"operators": ["not", "or"]}, INCORRECT),
    ("~A | B", {"operators": ["not", "or"]}, CORRECT),
    ("~A | B", {"max_operators": 2}, CORRECT),
    ("~(A & ~B)", {"max_operators": 2}, INCORRECT),
]


@pytest.mark.parametrize(("answer", "more", "expected"), EQUIVALENT)
def test_an_equivalent_formula_within_the_allowed_operators_counts(answer, more, expected):
    assert outcome(answer, puzzle="formula", formula="A -> B", ask="equivalent", **more) is expected


@pytest.mark.parametrize(
    ("answer", "expected"), [("false", CORRECT), ("F.", CORRECT), ("true", INCORRECT), ("nan", INCORRECT)]
)
def test_the_value_of_a_formula_under_given_values(answer, expected):
    row = {"puzzle": "formula", "formula": "A -> B", "ask": "value", "values": {"A": True, "B": False}}
    assert outcome(answer, **row) is expected


# Entailment.
ENTAILMENT = [
    (["P -> Q", "P"], "Q", "entailed"),
    (["P -> Q", "~Q"], "P", "contradicted"),
    (["P -> Q", "Q"], "P", "undetermined"),
    (["P | Q", "~P"], "Q", "entailed"),
    (["P"], "Q | ~Q", "entailed"),
    (["P"], "R", "undetermined"),
    (["P <-> Q", "Q <-> R"], "P xor R", "contradicted"),
    (["P", "~P"], "Q", "inconsistent"),
]


@pytest.mark.parametrize(("premises", "conclusion", "expected"), ENTAILMENT)
def test_the_relation_of_premises_and_conclusion(premises, conclusion, expected):
    assert relation_between([parse_formula(one) for one in premises], parse_formula(conclusion)) == expected


@pytest.mark.parametrize(("premises", "conclusion", "relation"), ENTAILMENT[:-1])
def test_only_the_true_relation_is_a_right_answer(premises, conclusion, relation):
    row = {"premises": premises, "conclusion": conclusion}
    answers = {"entailed": ["Entailed.", "true", "It follows"], "contradicted": ["contradicted", "False"]}
    answers["undetermined"] = ["not determined", "Unknown", "cannot be determined"]
    for name, texts in answers.items():
        for text in texts:
            assert outcome(text, **row) is (CORRECT if name == relation else INCORRECT)
    for text in ("yes", "no", "entailed or undetermined", "not entailed", "nan", "1", "true false"):
        assert outcome(text, **row) is INCORRECT
    follows = "yes" if relation == "entailed" else "no"
    for text in ("yes", "no"):
        assert outcome(text, **row, ask="follows") is (CORRECT if text == follows else INCORRECT)


# Limits.
LONG = [
    ("~" * 9_999 + "A", {"puzzle": "formula", "formula": "A", "ask": "equivalent"}, INCORRECT),
    ("~" * 9_998 + "A", {"puzzle": "formula", "formula": "A", "ask": "equivalent"}, CORRECT),
    ("(" * 4_000 + "A" + ")" * 4_000, {"puzzle": "formula", "formula": "A", "ask": "equivalent"}, CORRECT),
    ("A->" * 3_000 + "A", {"puzzle": "formula", "formula": "A | ~A", "ask": "equivalent"}, CORRECT),
    (" & ".join(f"v{i}" for i in range(17)), {"puzzle": "formula", "formula": "A", "ask": "equivalent"}, INCORRECT),
    (
        "<->".join(f"(v{i % 16} ^ v{i % 7})" for i in range(700)),
        {"puzzle": "formula", "formula": "v0 | v1", "ask": "equivalent"},
        INCORRECT,
    ),
    ("A = true, " * 900, {"puzzle": "formula", "formula": "A"}, INCORRECT),
    ("if" + " " * 9_900, {"puzzle": "formula", "formula": "A", "ask": "equivalent"}, INCORRECT),
    ("true" * 2_400, {"premises": ["P"], "conclusion": "P"}, INCORRECT),
]


@pytest.mark.parametrize(("answer", "row", "expected"), LONG, ids=lambda value: str(value)[:12])
def test_a_long_or_deep_answer_is_settled_quickly(answer, row, expected):
    start = time.perf_counter()
    assert outcome(answer, **row) is expected
    assert time.perf_counter() - start < DEADLINE_S


BAD_ROWS = [
    ({"puzzle": "formula"}, "'formula'"),
    ({"puzzle": "formula", "formula": "A &"}, "ends where an operand"),
    ({"puzzle": "formula", "formula": "&".join(f"v{i}" for i in range(17))}, "17 variables"),
    ({"puzzle": "formula", "formula": "A", "ask": "prove"}, "satisfy, equivalent, value"),
    ({"puzzle": "formula", "formula": "A", "ask": "value"}, "'values'"),
    ({"puzzle": "formula", "formula": "A", "ask": "value", "values": {"A": 1}}, "true or false for each of A"),
    ({"puzzle": "formula", "formula": "A", "operators": ["nand"]}, "some of not, and"),
    ({"puzzle": "formula", "formula": "A", "max_operators": True}, "a number of operators"),
    ({"puzzle": "entailment", "premises": []}, "'premises'"),
    ({"premises": ["P"], "conclusion": None}, "'conclusion'"),
    ({"premises": ["P", "~P"], "conclusion": "Q"}, "contradict each other"),
    ({"premises": [f"v{i}" for i in range(16)], "conclusion": "w"}, "17 variables"),
]


@pytest.mark.parametrize(("row", "expected"), BAD_ROWS)
def test_a_row_that_cannot_be_read_is_refused_by_field_and_value(row, expected):
    with pytest.raises(DataError) as raised:
        read_puzzle(row)
    assert expected in str(raised.value)
