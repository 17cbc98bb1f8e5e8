"""Grids, countdown and the rows of reasoning-gym."""

import importlib
import itertools
import sys
import time
from fractions import Fraction
from random import Random
from types import SimpleNamespace

import pytest

from razona.core.errors import DataError, MachineError, RecipeError
from razona.core.nouns import Outcome
from razona.verify.logic import check_logic, draw_rows, read_puzzle
from razona.verify.logic.grid import GridPuzzle, check_grid
from razona.verify.tags import Tags

TAGS = Tags()
CORRECT, INCORRECT, NO_ANSWER, UNVERIFIED = Outcome.CORRECT, Outcome.INCORRECT, Outcome.NO_ANSWER, Outcome.UNVERIFIED
DEADLINE_S = 2.0


def outcome(answer: str, /, **row: object) -> Outcome:
    """Judge an answer that stands in a solution block."""
    return check_logic(f"<SOLUTION>{answer}</SOLUTION>", read_puzzle(row), TAGS).outcome


# Grids.
GIVENS = [[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
SOLVED = "1 2 3 4\n3 4 1 2\n2 1 4 3\n4 3 2 1"  # rows, columns and boxes by hand
GRIDS = [
    (SOLVED, CORRECT),
    ("1 3 2 4\n2 4 1 3\n3 1 4 2\n4 2 3 1", CORRECT),  # another solution of the same givens
    ("1234\n3412\n2143\n4321", CORRECT),
    ("1234341221434321", CORRECT),
    ("[[1,2,3,4],[3,4,1,2],[2,1,4,3],[4,3,2,1]]", CORRECT),
    ("12|34\n34|12\n--+--\n21|43\n43|21", CORRECT),
    (r"\begin{array}{cc|cc} 1&2&3&4 \\ 3&4&1&2 \\ \hline 2&1&4&3 \\ 4&3&2&1 \end{array}", CORRECT),
    ("1 2 4 3\n3 4 1 2\n2 1 3 4\n4 3 2 1", CORRECT),
    ("1 2 3 4\n2 3 1 4\n4 1 2 3\n3 4 2 1", INCORRECT),
    ("1 2 3 4\n4 3 1 2\n2 1 4 3\n3 4 2 1", CORRECT),
    ("2 1 3 4\n3 4 1 2\n1 2 4 3\n4 3 2 1", INCORRECT),  # valid, but a given is gone
    (SOLVED + "\n1", INCORRECT),
    (SOLVED[:-1], INCORRECT),
    (SOLVED[:-1] + "5", INCORRECT),
    (SOLVED[:-1] + "_", INCORRECT),
    (SOLVED[:-1] + "\N{ARABIC-INDIC DIGIT ONE}", INCORRECT),
    ("the grid " + SOLVED, INCORRECT),
    ("1 2 3 -4", INCORRECT),
    ("||||", INCORRECT),
]


@pytest.mark.parametrize(("answer", "expected"), GRIDS)
def test_any_grid_that_keeps_givens_and_rules_counts(answer, expected):
    assert outcome(answer, puzzle="grid", grid=GIVENS, box=[2, 2]) is expected
    assert outcome(answer, puzzle="grid", grid="1...\n..1.\n.1..\n...1", box=[2, 2]) is expected


@pytest.mark.parametrize(("box", "expected"), [(None, 576), ((2, 2), 288), ((1, 4), 576)])
def test_there_are_576_latin_squares_of_side_4_and_288_of_them_are_sudokus(box, expected):
    puzzle = GridPuzzle(givens=("",) * 16, symbols=tuple("1234"), box=box)
    lines = ["".join(line) for line in itertools.permutations("1234")]
    fitting = [(a, b) for a, b in itertools.product(lines, repeat=2) if all(x != y for x, y in zip(a, b, strict=True))]
    halves = [(*upper, *lower) for upper, lower in itertools.product(fitting[: len(fitting) // 24], fitting)]
    counted = sum(check_grid("\n".join(half), puzzle).outcome is CORRECT for half in halves)
    assert counted * 24 == expected  # the first row is fixed to one of its 24 orders


def test_symbols_of_several_letters_are_whole_words():
    row = {"puzzle": "grid", "grid": [["red", None], [None, None]], "symbols": ["red", "blue"]}
    assert outcome("red blue\nblue red", **row) is CORRECT
    assert outcome("redblue\nbluered", **row) is INCORRECT


# Countdown: 25 - 5 = 20, times 3 is 60.
COUNTDOWN = [
    ("(25 - 5) * 3", CORRECT),
    ("(25 - 5) * 3 = 60", CORRECT),
    ("60 = 3*(25-5)", CORRECT),
    (r"\left(25 - 5\right) \times 3", CORRECT),
    ("(25 \N{MINUS SIGN} 5) \N{MULTIPLICATION SIGN} 3.", CORRECT),
    ("-(5 - 25) * 3", CORRECT),
    ("(5 - 25) * -3", CORRECT),
    ("3 * 25 - 5 * 3", INCORRECT),  # 60, but 3 is used twice
    ("25 - 5 * 3", INCORRECT),
    ("60", INCORRECT),
    ("60 = 60", INCORRECT),
    ("(25 - 5) * 3 = 61", INCORRECT),
    ("(25 - 5) * 3 = 60 = 60", INCORRECT),
    ("(25 - 5) * 3 + 1 - 1", INCORRECT),
    ("255 / 3 - 25", INCORRECT),  # 5 and 25 joined
    ("(25 - 5)(3)", INCORRECT),
    ("(25 - 5) * 3 / 0", INCORRECT),
    ("3 / (25 - 5 * 5)", INCORRECT),
    ("25 - 5 = 20, 20 * 3 = 60", INCORRECT),
    ("3 ** 25", INCORRECT),
    ("9**9**9**9", INCORRECT),
    ("25!", INCORRECT),
    ("1e9", INCORRECT),
    ("3_0 * 2", INCORRECT),
    ("(25 - 5) * \N{ARABIC-INDIC DIGIT THREE}", INCORRECT),
    ("nan", INCORRECT),
    ("inf", INCORRECT),
    ("__import__('os').system('true')", INCORRECT),
    ("(lambda: 60)()", INCORRECT),
    ("", NO_ANSWER),
    ("()", INCORRECT),
    ("+3", INCORRECT),
]


@pytest.mark.parametrize(("answer", "expected"), COUNTDOWN)
def test_an_expression_of_the_given_numbers_that_reaches_the_target_counts(answer, expected):
    assert outcome(answer, puzzle="countdown", numbers=[25, 5, 3], target=60) is expected


def test_numbers_may_be_left_over_unless_all_must_be_used():
    assert outcome("25 + 5", numbers=[25, 5, 3], target=30) is CORRECT
    assert outcome("25 + 5", numbers=[25, 5, 3], target=30, use="all") is INCORRECT
    assert outcome("25 + 5", nums=[25, 5, 3], target=30) is INCORRECT
    assert outcome("25 + 5", nums="[25, 5, 3]", target=30, use="any") is CORRECT


def test_fractions_on_the_way_are_exact():
    assert outcome("8 / (3 - 8 / 3)", nums=[8, 3, 8, 3], target=24) is CORRECT


def random_expression(rng: Random, numbers: list[int]) -> str:
    if len(numbers) == 1:
        return str(numbers[0])
    cut = rng.randrange(1, len(numbers))
    left, right = random_expression(rng, numbers[:cut]), random_expression(rng, numbers[cut:])
    return f"({left} {rng.choice('+-*/')} {right})"


def test_500_random_expressions_have_the_value_python_gives_them():
    rng, hits = Random(3), 0
    for _ in range(500):
        numbers = [rng.randint(1, 12) for _ in range(4)]
        text = random_expression(rng, numbers)
        if rng.random() < 0.5:
            text = text.replace("(", "").replace(")", "")  # precedence decides
        names = iter("abcd")
        python = " ".join(
            next(names) if part.isdigit() else part for part in text.replace("(", "( ").replace(")", " )").split()
        )
        try:
            value = eval(python, {}, dict(zip("abcd", map(Fraction, numbers), strict=True)))  # our own text
        except ZeroDivisionError:
            value = None
        target = int(value) if value is not None else 0
        puzzle = read_puzzle({"nums": numbers, "target": target})
        expected = CORRECT if value == target else INCORRECT
        hits += expected is CORRECT
        assert check_logic(text, puzzle, TAGS).outcome is expected, text
    assert 150 < hits < 500


# Limits.
LONG = [
    ("9" * 9_000, {"nums": [9], "target": 9}, INCORRECT),
    ("9" * 5_000_000, {"nums": [9], "target": 9}, INCORRECT),
    ("-" * 9_000 + "9", {"nums": [9], "target": 9}, CORRECT),
    ("-" * 9_001 + "9", {"nums": [9], "target": 9}, INCORRECT),
    ("(" * 4_500 + "9" + ")" * 4_500, {"nums": [9], "target": 9}, CORRECT),
    ("9*" * 4_500 + "9", {"nums": [9] * 50, "target": 9}, INCORRECT),
    ("*".join(["9" * 29] * 50), {"nums": [int("9" * 29)] * 50, "target": 9}, INCORRECT),
    ("1 " * 4_900, {"puzzle": "grid", "grid": GIVENS}, INCORRECT),
    ("-" * 9_900, {"puzzle": "grid", "grid": GIVENS}, INCORRECT),
]


@pytest.mark.parametrize(("answer", "row", "expected"), LONG, ids=lambda value: str(value)[:12])
def test_a_long_or_deep_answer_is_settled_quickly(answer, row, expected):
    start = time.perf_counter()
    assert outcome(answer, **row) is expected
    assert time.perf_counter() - start < DEADLINE_S


BAD_ROWS = [
    ({"puzzle": "grid"}, "'grid'"),
    ({"puzzle": "grid", "grid": [[1, 2], [3]]}, "a square"),
    ({"puzzle": "grid", "grid": [[0] * 26] * 26}, "at most 25 rows"),
    ({"puzzle": "grid", "grid": [[1, 1], [0, 0]]}, "1 stands twice in row 1"),
    ({"puzzle": "grid", "grid": [[3, 0], [0, 0]]}, "not '3'"),
    ({"puzzle": "grid", "grid": [[0, 0], [0, 0]], "box": [2, 2]}, "whose product is 2"),
    ({"puzzle": "grid", "grid": [[0, 0], [0, 0]], "symbols": ["a", "a"]}, "2 different words"),
    ({"puzzle": "countdown", "target": 3}, "'numbers'"),
    ({"nums": [1, 2.5], "target": 3}, "whole numbers"),
    ({"nums": [1, True], "target": 3}, "whole numbers"),
    ({"nums": [1] * 51, "target": 3}, "1 to 50"),
    ({"nums": [1], "target": "3"}, "'target'"),
    ({"nums": [1], "target": 3, "use": "once"}, "one of all, any"),
    ({"puzzle": "reasoning_gym", "answer": "3"}, "'dataset'"),
    ({"puzzle": "reasoning_gym", "dataset": "gcd"}, "'answer'"),
    ({"puzzle": "reasoning_gym", "dataset": "n_queens", "answer": "Q"}, "runs its answers as code"),
    ({"puzzle": "reasoning_gym", "metadata": {"source_dataset": "jugs"}, "answer": "[]"}, "more answers than"),
    ({"puzzle": "reasoning_gym", "dataset": "countdown", "answer": "1"}, "'numbers'"),
    ({"puzzle": "reasoning_gym", "dataset": "sudoku", "answer": "1"}, "'grid'"),
]


@pytest.mark.parametrize(("row", "expected"), BAD_ROWS)
def test_a_row_that_cannot_be_read_is_refused_by_field_and_value(row, expected):
    with pytest.raises(DataError) as raised:
        read_puzzle(row)
    assert expected in str(raised.value)


# reasoning-gym. The first four rewards were free in its own scorers (0.1.25).
GYM = [
    ("complex_arithmetic", "3 + 4i", "nan", INCORRECT),
    ("game_of_life_halting", "True", "False", INCORRECT),
    ("coin_flip", "0.5", "0", INCORRECT),
    ("decimal_arithmetic", "100", "99.5", INCORRECT),
    ("gcd", "12", "12.0", CORRECT),
    ("gcd", "12", "the answer 12", INCORRECT),
    ("gcd", "12", "9**9**9**9", INCORRECT),
    ("maze", "6", " 6\n", CORRECT),
    ("rotate_matrix", "1 2\n3 4", "1 2 \n3 4", CORRECT),
    ("letter_jumble", "Hat", "hat", INCORRECT),
    ("future_dataset", None, "anything", UNVERIFIED),
    ("future_dataset", " ", "", UNVERIFIED),
]


@pytest.mark.parametrize(("dataset", "stored", "answer", "expected"), GYM)
def test_other_data_sets_are_compared_with_the_stored_answer_alone(dataset, stored, answer, expected):
    assert outcome(answer, puzzle="reasoning_gym", dataset=dataset, answer=stored) is expected


def test_an_announced_stored_answer_is_its_line_and_a_bare_one_is_the_whole_text():
    puzzle = read_puzzle({"puzzle": "reasoning_gym", "dataset": "gcd", "answer": "12"})
    for completion in ("Answer: 12\nThat is all.", "My final answer: 12", "12", "so <end_working_out> 12"):
        assert check_logic(completion, puzzle, TAGS).outcome is CORRECT
    for completion in ("Answer: 13\n12", "12 or 13", "13, not 12"):
        assert check_logic(completion, puzzle, TAGS).outcome is INCORRECT


ENTRIES = [
    ({"source_dataset": "countdown", "numbers": [8, 3, 2], "target": 13}, "8 + 3 + 2", "8 + 3"),
    ({"source_dataset": "puzzle24", "numbers": [5, 1, 2, 8]}, "(5 * 1 - 2) * 8", "8 * (5 - 2) * 1 * 1"),
    (
        {
            "source_dataset": "knights_knaves",
            "names": ["Oliver", "Zoey"],
            "statements": (("or", ("telling-truth", 0), ("telling-truth", 1)), ("not", ("telling-truth", 0))),
            "knight_knave_terms": {"knight": "pioneer", "knave": "laggard"},
        },
        "Oliver is a pioneer, and Zoey is a laggard.",
        "Oliver is a knight, and Zoey is a knave.",
    ),
    ({"source_dataset": "mini_sudoku", "puzzle": GIVENS}, SOLVED, SOLVED[:-1]),
]


@pytest.mark.parametrize(("metadata", "right", "wrong"), ENTRIES, ids=lambda value: str(value)[:40])
def test_entries_of_known_data_sets_are_checked_against_their_puzzle(metadata, right, wrong):
    row = {"puzzle": "reasoning_gym", "metadata": metadata, "answer": None}
    assert outcome(right, **row) is CORRECT
    assert outcome(wrong, **row) is INCORRECT


def test_drawing_without_the_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(MachineError, match="pip install reasoning-gym"):
        draw_rows("gcd", 3, seed=1)


def test_a_refused_or_unknown_data_set_is_not_drawn(monkeypatch):
    package = SimpleNamespace(factory=SimpleNamespace(DATASETS={"gcd": None}))
    monkeypatch.setitem(sys.modules, "reasoning_gym", package)
    with pytest.raises(RecipeError, match="runs its answers as code"):
        draw_rows("n_queens", 3, seed=1)
    with pytest.raises(RecipeError, match="it has gcd"):
        draw_rows("gdc", 3, seed=1)


def test_drawn_entries_of_neighbouring_seeds_differ_and_verify():
    try:
        importlib.import_module("reasoning_gym")
    except ImportError:
        pytest.skip("reasoning-gym is not installed")
    first, second = (draw_rows("knights_knaves", 20, seed=seed) for seed in (1, 2))
    assert not {row["question"] for row in first} & {row["question"] for row in second}
    assert draw_rows("knights_knaves", 20, seed=1) == first
    for row in first + second:
        assert check_logic(str(row["answer"]), read_puzzle(row), TAGS).outcome is CORRECT


def test_the_reason_of_a_wrong_countdown_names_value_and_target():
    puzzle = read_puzzle({"nums": [8, 3], "target": 24})
    assert check_logic("8 / 3", puzzle, TAGS).reason == "the expression is 8/3, not 24"
