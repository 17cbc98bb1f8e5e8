"""Knights and knaves, where the answer of a puzzle stands, and which rows are read."""

import ast
import itertools
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from razona.core.errors import DataError
from razona.core.nouns import Outcome
from razona.verify.logic import READERS, check_logic, read_puzzle
from razona.verify.logic.check import Puzzle
from razona.verify.logic.knights import KnightsPuzzle, consistent_rows
from razona.verify.tags import Tags

TAGS = Tags()
CORRECT, INCORRECT, NO_ANSWER, UNVERIFIED = Outcome.CORRECT, Outcome.INCORRECT, Outcome.NO_ANSWER, Outcome.UNVERIFIED
DEADLINE_S = 2.0


def outcome(answer: str, puzzle: Puzzle) -> Outcome:
    """Judge an answer that stands in a solution block."""
    return check_logic(f"so <end_working_out><SOLUTION>{answer}</SOLUTION>", puzzle, TAGS).outcome


def knights(*statements: object, names: tuple[str, ...] = ("Zoey", "Oliver", "Mia"), **more: object) -> Puzzle:
    return read_puzzle({"puzzle": "knights", "names": list(names), "statements": list(statements), **more})


# Zoey: "Oliver is a knave." Oliver: "Zoey and Mia are of one kind." Mia: "Zoey is a knight."
# Mia says what makes her Zoey's kind, so Oliver is right; then Zoey's word is false, and Mia's too.
ONE = knights(("lying", 1), ("<=>", ("telling-truth", 0), ("telling-truth", 2)), ("telling-truth", 0))
# Each says the other is a knight: both are, or neither is.
TWO = knights(("telling-truth", 1), ("telling-truth", 0), names=("Ann", "Bo"))

ANSWERS = [
    # said twice, contradicted, taken back, left open
    ("Zoey is a knave, Oliver is a knight, Mia is a knave, Zoey is a knight", INCORRECT),
    ("Zoey is a knave, Oliver is a knight, Mia is a knave, Mia is a knave", INCORRECT),
    ("Zoey is both a knight and a knave, Oliver is a knight, Mia is a knave", INCORRECT),
    ("Zoey is a knave and a knight, Oliver is a knight, Mia is a knave", INCORRECT),
    ("Zoey is a knave or a knight, Oliver is a knight, Mia is a knave", INCORRECT),
    ("Zoey is a knave, Oliver is a knight, Mia is a knave? No.", INCORRECT),
    ("Zoey: knight/knave, Oliver: knight, Mia: knave", INCORRECT),
    ("Zoey is a knave. Oliver is a knight. Mia is a knave. That is not the answer.", INCORRECT),
    ("If Zoey is a knave then Oliver is a knight. Mia is a knave", INCORRECT),
    ("either Zoey is a knave, Oliver is a knight, Mia is a knave", INCORRECT),
    ("Zoey is not a knight, Oliver is a knight, Mia is a knave", INCORRECT),
    ("Zoey is a knave, Oliver is a knight, Mia is unknown", INCORRECT),
    ("Zoey is a knave, Oliver is a knight, Mia", INCORRECT),
    ("Zoey is a knave, Oliver is a knight, a knave Mia", INCORRECT),
    ("Knights: Oliver. Knaves: Zoey, Mia, Oliver", INCORRECT),
    ("Knights: Zoey, Oliver, Mia. Knaves: Zoey, Oliver, Mia", INCORRECT),
    # people
    ("Zoey is a knave, Oliver is a knight", INCORRECT),
    ("Zoey is a knave, Oliver is a knight, Mia is a knave, Bob is a knave", INCORRECT),
    ("Zoey is a knave, Oliver is a knight, Maia is a knave", INCORRECT),
    ("knave, knight, knave", INCORRECT),
    ("Zoey, Oliver, Mia", INCORRECT),
    ("2", INCORRECT),
    ("", NO_ANSWER),
    # wrong
    ("Zoey is a knight, Oliver is a knave, Mia is a knight", INCORRECT),
    ("everyone is a knight", INCORRECT),
    # right, in many forms
    ("(1) Zoey is a knave\n(2) Oliver is a knight\n(3) Mia is a knave", CORRECT),
    ("1. Zoey is a knave.\n2. Oliver is a knight.\n3. Mia is a knave.", CORRECT),
    ("Zoey: knave, Oliver: knight, Mia: knave", CORRECT),
    ("mia = KNAVE; oliver = KNIGHT; zoey = KNAVE", CORRECT),
    ("- **Zoey**: knave\n- **Oliver**: knight\n- **Mia**: knave\n", CORRECT),
    ("So, Zoey and Mia are both knaves, while Oliver is a knight.", CORRECT),
    ("Zoey and Mia are knaves; Oliver is a knight", CORRECT),
    ("Knights: Oliver. Knaves: Zoey, Mia.", CORRECT),
    ("Knights:\n- Oliver\nKnaves:\n- Zoey\n- Mia", CORRECT),
    ("The knaves are Zoey and Mia, and the knight is Oliver.", CORRECT),
    ('{"Zoey": "knave", "Oliver": "knight", "Mia": "knave"}', CORRECT),
    ("| Person | Kind |\n|---|---|\n| Zoey | knave |\n| Oliver | knight |\n| Mia | knave |", CORRECT),
    ("Zoey is a knave, Oliver is a knight, and a knave is Mia", CORRECT),
    (r"\boxed{\text{Zoey is a knave, Oliver is a knight, Mia is a knave}}", CORRECT),
    (r"\text{Zoey: knave} \\ \text{Oliver: knight} \\ \text{Mia: knave}", CORRECT),
    ("This is what each one is.\nZoey → knave, Oliver → knight, Mia → knave", CORRECT),
]


@pytest.mark.parametrize(("answer", "expected"), ANSWERS)
def test_an_assignment_is_read_strictly_and_checked_against_what_everybody_says(answer, expected):
    assert outcome(answer, ONE) is expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Ann: knight, Bo: knight", CORRECT),
        ("Ann: knave, Bo: knave", CORRECT),
        ("Knights: none. Knaves: Ann, Bo.", CORRECT),
        ("Ann: knight, Bo: knave", INCORRECT),
        ("Ann: knave, Bo: knight", INCORRECT),
    ],
)
def test_every_consistent_assignment_counts(answer, expected):
    assert outcome(answer, TWO) is expected


def test_a_wrong_assignment_is_refused_with_the_statement_that_does_not_fit():
    verdict = check_logic(r"\boxed{Ann: knight, Bo: knave}", TWO, TAGS)
    assert verdict.answer == "Ann: knight, Bo: knave"
    assert verdict.reason == "what Ann says does not fit a knight"


def test_a_person_called_a_is_not_the_article():
    puzzle = knights("B is a knave", "A is a knave", names=("A", "B"))
    assert outcome("A is a knight. B is a knave.", puzzle) is CORRECT
    assert outcome("A is a knight and B is a knight", puzzle) is INCORRECT


def test_other_words_for_the_two_kinds_are_used_where_the_row_names_them():
    puzzle = knights("Bo is a villain", "Ann is a villain", names=("Ann", "Bo"), roles=["hero", "villain"])
    assert outcome("Ann is a hero, Bo is a villain", puzzle) is CORRECT
    assert outcome("Heroes: Bo. Villains: Ann.", puzzle) is CORRECT
    assert outcome("Ann is a knight, Bo is a knave", puzzle) is INCORRECT


PLACES = [
    ("Ann: knave, Bo: knave <SOLUTION>Ann: knight, Bo: knave</SOLUTION>", INCORRECT),
    ("<SOLUTION>Ann: knight, Bo: knave</SOLUTION> no <SOLUTION>Ann: knave, Bo: knave</SOLUTION>", CORRECT),
    ("<SOLUTION>Ann: knave, Bo: knave</SOLUTION><SOLUTION>Ann: knave, Bo: knave</SOLUTION>", CORRECT),
    (r"\boxed{Ann: knave} and \boxed{Bo: knave}", CORRECT),
    (r"\boxed{Ann: knave} and \boxed{Bo: knight}", INCORRECT),
    (r"It is not \boxed{Ann: knave, Bo: knave}", NO_ANSWER),
    (r"Ann: knave, Bo: knave \boxed{}", NO_ANSWER),
    ("Ann says Bo is one. Final answer:\n\n1. Ann is a knave\n2. Bo is a knave", CORRECT),
    ("Ann says Bo is one. **Answer:** Ann is a knave, Bo is a knave", CORRECT),
    ("Ann says Bo is one. Answer: Ann is a knave", INCORRECT),
    ("Ann says Bo is one. Answer: no idea about Bo", INCORRECT),
    (r"\boxed{Ann: knight, Bo: knave} no, \boxed{Ann: knave, Bo: knave}", CORRECT),
    (r"<think>\boxed{Ann: knave, Bo: knave}</think>", NO_ANSWER),
    (r"<think>\boxed{Ann: knave, Bo: knave}", NO_ANSWER),
    (r"\boxed{Ann: knave, Bo: knave} <end_working_out> I do not know.", NO_ANSWER),
    ("Let me see. If Ann is a knave, so is Bo.", NO_ANSWER),
    ("Ann is a knight? No. <end_working_out>\nAnn is a knave and Bo is a knave.", CORRECT),
    ("hm </think> Ann is a knave and Bo is a knave.", CORRECT),
    ("(1) Ann is a knave\n(2) Bo is a knave", CORRECT),
    ("<SOLUTION></SOLUTION>", NO_ANSWER),
    ("<SOLUTION>Ann: knave, Bo: knave", NO_ANSWER),
    ("", NO_ANSWER),
    (" \n ", NO_ANSWER),
]


@pytest.mark.parametrize(("completion", "expected"), PLACES)
def test_the_answer_is_the_last_marked_text_after_the_working(completion, expected):
    assert check_logic(completion, TWO, TAGS).outcome is expected


def test_unmarked_text_is_no_answer_where_the_caller_does_not_allow_it():
    bare, boxed = "Ann: knave, Bo: knave", r"\boxed{Ann: knave, Bo: knave}"
    assert check_logic(bare, TWO, TAGS, is_unmarked_allowed=False).outcome is NO_ANSWER
    assert check_logic(boxed, TWO, TAGS, is_unmarked_allowed=False).outcome is CORRECT


HOSTILE = [
    "Ann: knave, Bo: knave" + " " * 20_000 + ".",
    "Ann: knave, " * 800,
    "Knights: " * 1_000,
    "\n" * 9_000 + "Ann",
    "Ann " * 2_400,
    "(" * 9_999,
    "\x00\ud800" * 4_000,
    "\\boxed{" * 100_000,
    "<SOLUTION>x" * 100_000,
    "{" * 1_000_000,
]


@pytest.mark.parametrize("answer", HOSTILE, ids=lambda text: f"{len(text)} x {text[:10]!r}")
def test_a_hostile_answer_is_incorrect_and_quick(answer):
    start = time.perf_counter()
    assert outcome(answer, TWO) is INCORRECT
    assert time.perf_counter() - start < DEADLINE_S


def test_an_answer_over_the_limit_is_incorrect_even_where_it_would_be_right():
    answer = "Ann: knave, Bo: knave"
    assert outcome(answer + "\n#" * 4_980, TWO) is CORRECT
    assert outcome(answer + "\n#" * 5_000, TWO) is INCORRECT


BAD_ROWS = [
    ({}, ["has only nothing", *READERS]),
    ({"id": "r7", "puzzle": "chess"}, ["row 'r7'", "'chess'", *READERS]),
    ({"puzzle": ["knights"]}, ["'knights'", *READERS]),
    ({"puzzle": "knights", "id": 3}, ["row 3", "'names'", "is missing", "puzzle, id"]),
    ({"puzzle": "knights", "names": ["Ann"]}, ["'question'", "is missing"]),
    ({"puzzle": "knights", "names": ["Ann", "ann"], "statements": "()"}, ["different name"]),
    ({"puzzle": "knights", "names": ["knight, Bo"], "statements": "()"}, ["words only"]),
    ({"puzzle": "knights", "names": ["is"], "statements": "()"}, ["words only"]),
    ({"puzzle": "knights", "names": list("ABCDEFGHIJKLMNOPQ"), "statements": "()"}, ["1 to 16 names"]),
    ({"names": ["Ann"], "statements": "(((" * 5_000}, ["'statements'", "expected a list"]),
    ({"names": ["Ann"], "statements": "__import__('os')"}, ["'statements'", "expected a list"]),
    ({"names": ["Ann"], "statements": [["lying", 1]]}, ["names none of the people 0 to 0"]),
    ({"names": ["Ann"], "statements": [["lying", True]]}, ["names none of the people"]),
    ({"names": ["Ann"], "statements": [["nand", ["lying", 0], ["lying", 0]]]}, ["begins with none of"]),
    ({"names": ["Ann"], "statements": [["lying", 0]]}, ["some assignment fits"]),
    ({"names": ["Ann", "Bo"], "statements": [["lying", 0]]}, ["1 statements of 2 people"]),
    ({"names": ["Ann"], "statements": ["I am a knave"]}, ["no statement that is read"]),
    ({"names": ["Ann"], "statements": ["Ann is a knight"], "roles": ["knave"]}, ["two different words"]),
    ({"puzzle": "knights", "question": "You meet 2 inhabitants: Ann, and Bo. Ann sang."}, ["0 statements"]),
]


@pytest.mark.parametrize(("row", "expected"), BAD_ROWS)
def test_a_row_that_cannot_be_read_is_refused_by_field_and_value(row, expected):
    with pytest.raises(DataError) as raised:
        read_puzzle(row)
    assert [part for part in expected if part not in str(raised.value)] == []


@pytest.mark.parametrize(
    "said",
    [
        'Ann said, "It is not the case that Bo is a knave". Bo said, "Ann is a knight".',
        'Ann said, "Bo is a knave or Ann is a knave or Bo is a knight". Bo said, "Ann is a knight".',
        'Ann said, "Exactly one of us is a knight". Bo said, "Ann is a knight".',
        'Ann said, "Bo is a knave, and we are of different kinds". Bo said, "Ann is a knight".',
        'Ann said, "If Bo is a knave and Ann is a knave". Bo said, "Ann is a knight".',
    ],
)
def test_english_that_is_only_partly_understood_is_refused(said):
    with pytest.raises(DataError):
        read_puzzle({"puzzle": "knights", "question": f"You meet 2 inhabitants: Ann, and Bo. {said} Who is what?"})


# The 5,000 rows of Logic-RL.


@pytest.fixture(scope="module")
def island_rows(shared_problems: Path) -> list[dict[str, object]]:
    path = shared_problems / "knights_knaves.jsonl"
    if not path.is_file():
        pytest.skip(f"the knights-and-knaves rows are not here ({path})")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 5_000
    return rows


def mutations(row: dict[str, object], places: Iterable[int]) -> Iterator[str]:
    """Give answers that are wrong however the puzzle reads, as each row has one solution (tested below)."""
    lines = str(row["answer"]).split("\n")
    for place in places:
        line = lines[place]
        other = line.replace("knight", "knave") if "knight" in line else line.replace("knave", "knight")
        yield "\n".join([*lines[:place], other, *lines[place + 1 :]])  # one person flipped
        yield "\n".join([*lines[:place], *lines[place + 1 :]])  # one person dropped
        yield "\n".join([*lines, other])  # one person both
    yield "\n".join([*lines, f"({len(lines) + 1}) Xavier is a knave"])
    yield "\n".join(line.replace("knight", "knave").replace("knave", "knight and a knave") for line in lines)


@pytest.mark.slow
def test_every_reference_solution_of_5000_rows_is_correct_and_no_mutated_one(island_rows):
    for number, row in enumerate(island_rows):
        puzzle = read_puzzle(row)
        assert check_logic(str(row["answer"]), puzzle, TAGS).outcome is CORRECT, row["id"]
        for answer in mutations(row, [number % int(row["people"])]):
            assert outcome(answer, puzzle) is INCORRECT, (row["id"], answer)


@pytest.mark.slow
def test_no_person_of_5000_rows_can_be_flipped_dropped_or_doubled(island_rows):
    for row in island_rows:
        puzzle = read_puzzle(row)
        assert outcome(str(row["answer"]), puzzle) is CORRECT, row["id"]
        for answer in mutations(row, range(int(row["people"]))):
            assert outcome(answer, puzzle) is INCORRECT, (row["id"], answer)


def holds(tree: tuple, kinds: tuple[bool, ...]) -> bool:
    """Evaluate a statement's tree directly, another way than the verifier."""
    name, *parts = tree
    if name == "telling-truth":
        return kinds[parts[0]]
    if name == "lying":
        return not kinds[parts[0]]
    values = [holds(part, kinds) for part in parts]
    if name == "not":
        return not values[0]
    return {"and": all(values), "or": any(values), "->": values[0] <= values[-1], "<=>": values[0] == values[-1]}[name]


def test_the_one_assignment_that_fits_is_the_one_a_plain_search_finds(island_rows):
    for row in island_rows[::10]:
        puzzle = read_puzzle(row)
        assert isinstance(puzzle, KnightsPuzzle)
        trees = ast.literal_eval(row["statements"])
        expected = [
            kinds
            for kinds in itertools.product((False, True), repeat=len(trees))
            if all(holds(tree, kinds) == kind for tree, kind in zip(trees, kinds, strict=True))
        ]
        assert expected == [tuple(row["solution"])]
        assert consistent_rows(puzzle) == 1 << sum(kind << place for place, kind in enumerate(expected[0]))


def test_the_english_of_a_row_says_what_its_trees_say(island_rows):
    for row in island_rows[::5]:
        trees, english = read_puzzle(row), read_puzzle({"puzzle": "knights", "question": row["question"]})
        assert isinstance(trees, KnightsPuzzle) and isinstance(english, KnightsPuzzle)
        assert english.names == trees.names
        assert consistent_rows(english) == consistent_rows(trees)
