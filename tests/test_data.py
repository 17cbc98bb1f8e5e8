"""Problems from files: what is read, and what is said of a file that is not what the recipe says."""

import json
import re
from pathlib import Path

import pytest

from razona.core.errors import DataError
from razona.core.nouns import Outcome, Problem
from razona.data import PromptWriter, load_problems, tags_of
from razona.recipe import DataSection, PromptSection
from razona.verify import Tags, check

SHARED = Path(__file__).parents[2] / "shared" / "data" / "problems"
"""Data sets that lie beside the repository where it is developed; they are no part of it."""


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def write_rows(folder: Path, *rows: object, name: str = "rows.jsonl") -> str:
    return write(folder, name, "".join(json.dumps(row) + "\n" for row in rows))


def read(source: str, *, count: int = 100, **settings) -> list[Problem]:
    return load_problems(DataSection(source=source, **settings), count=count, seed=0)


def mistake(source: str, **settings) -> str:
    with pytest.raises(DataError) as caught:
        read(source, **settings)
    return str(caught.value)


def pairs(found: list[Problem]) -> list[tuple[str, str]]:
    return sorted((problem.question, problem.target) for problem in found)  # the order is the seed's


ROWS = [{"question": "What is 1 + 1?", "answer": "2"}, {"question": "And 3,\n4?", "answer": "7"}]
EXPECTED = [("And 3,\n4?", "7"), ("What is 1 + 1?", "2")]


def test_jsonl_gives_its_rows(tmp_path):
    assert pairs(read(write_rows(tmp_path, *ROWS))) == EXPECTED


def test_csv_gives_its_rows_in_order(tmp_path):
    source = write(tmp_path, "rows.csv", 'question,answer\nWhat is 1 + 1?,2\n"And 3,\n4?",7\n')
    assert pairs(read(source)) == EXPECTED


def test_parquet_gives_its_rows_in_order(tmp_path):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    assert pairs(read(str(tmp_path / "rows.parquet"))) == EXPECTED


def test_blank_lines_of_a_jsonl_file_are_no_rows(tmp_path):
    source = write(tmp_path, "rows.jsonl", '\n{"question": "q", "answer": "1"}\n\n  \n{"question": "r", "answer": "2"}')
    assert pairs(read(source)) == [("q", "1"), ("r", "2")]


# Value of the target column, target of the problem.
TARGETS = [
    ("Natalia sold 48/2 = <<48/2=24>>24 clips in May.\nShe sold 48+24 = 72 clips.\n#### 72", "72"),  # GSM8K
    ("#### 1,234", "1,234"),
    ("#### 1 #### 2", "2"),
    (" 34 ", "34"),
    (34, "34"),
    (0, "0"),
    (0.5, "0.5"),
    (-3, "-3"),
    (r"\frac{1}{2}", r"\frac{1}{2}"),
]


@pytest.mark.parametrize(("value", "target"), TARGETS)
def test_the_target_is_what_follows_the_last_four_hashes(tmp_path, value, target):
    (problem,) = read(write_rows(tmp_path, {"question": "q", "answer": value}))
    assert problem.target == target


def test_the_first_of_the_named_columns_that_is_there_is_read(tmp_path):
    row = {"prompt": "p", "problem": "q", "solution": "working", "answer": "1", "target": "2"}
    source = write_rows(tmp_path, row)
    assert pairs(read(source)) == [("q", "1")]
    assert pairs(read(source, question_column="prompt", target_column="target")) == [("p", "2")]
    assert pairs(read(source, question_column=["nothing", "prompt"], target_column=["target", "answer"])) == [
        ("p", "2")
    ]


def test_the_question_of_a_conversation_is_its_last_message(tmp_path):
    messages = [{"role": "system", "content": "think"}, {"role": "user", "content": "q"}]
    assert pairs(read(write_rows(tmp_path, {"prompt": messages, "solution": "1"}))) == [("q", "1")]


def test_ids_are_the_files_own_or_the_number_of_the_row(tmp_path):
    with_ids = [{"id": "a", **ROWS[0]}, {"id": 7, **ROWS[1]}]
    assert [problem.id for problem in read(write_rows(tmp_path, *with_ids))] == ["a", "7"]
    assert [problem.id for problem in read(write_rows(tmp_path, *ROWS))] == ["row-000001", "row-000002"]


@pytest.mark.parametrize(("max_problems", "num"), [(None, 5), (2, 2), (9, 5)])
def test_a_file_gives_all_its_problems_up_to_the_recipes_limit(tmp_path, max_problems, num):
    source = write_rows(tmp_path, *({"question": f"q{i}", "answer": i} for i in range(5)))
    found = pairs(read(source, count=1, max_problems=max_problems))
    assert len(set(found)) == num and set(found) <= {(f"q{i}", str(i)) for i in range(5)}


def test_the_order_of_a_file_depends_on_the_seed_alone(tmp_path):
    source = write_rows(tmp_path, *({"question": f"q{i}", "answer": i} for i in range(30)))
    orders = [[p.id for p in load_problems(DataSection(source=str(source)), count=1, seed=seed)] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_generators_give_different_problems_of_the_split_asked_for():
    section = DataSection(families=["logic", "sequences"], levels=[2])
    found = load_problems(section, count=30, seed=3, split="evaluation")
    assert {(problem.family, problem.level) for problem in found} == {("logic", 2), ("sequences", 2)}
    assert len({problem.question for problem in found}) == 30
    assert found == load_problems(section, count=30, seed=3, split="evaluation")
    assert not {p.question for p in found} & {p.question for p in load_problems(section, count=30, seed=3)}


# --- Mistakes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"target_column": "reply"}, ["data.target_column = reply", "rows.jsonl", "question, answer, level", "--set"]),
        ({"question_column": ["ask", "body"]}, ["data.question_column = ask or body", "question, answer, level"]),
    ],
)
def test_a_missing_column_is_told_with_the_columns_there_are(tmp_path, settings, words):
    source = write_rows(tmp_path, {"question": "q", "answer": "1", "level": 1})
    text = mistake(source, **settings)
    assert all(word in text for word in words), text


@pytest.mark.parametrize("column", ["question", "answer"])
@pytest.mark.parametrize("value", ["", None])
def test_an_empty_cell_is_told_with_its_row_and_column(tmp_path, column, value):
    rows = [{"question": "q", "answer": "1"}, {"question": "r", "answer": "2"} | {column: value}]
    text = mistake(write_rows(tmp_path, *rows))
    assert "rows.jsonl, row 2:" in text and f"'{column}' is empty" in text


def test_an_empty_cell_of_a_csv_file_is_told_with_its_row(tmp_path):
    assert "row 2: column 'answer' is empty" in mistake(write(tmp_path, "rows.csv", "question,answer\nq,a\nr,\n"))


def test_a_row_that_lacks_the_column_of_the_others_is_told(tmp_path):
    assert "row 2: column 'answer' is empty" in mistake(write_rows(tmp_path, ROWS[0], {"question": "q"}))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{'question': 'q'}", ["line 3: not JSON", "column 2"]),
        ('{"question": "q", "answer": ', ["line 3: not JSON"]),
        ("question,answer", ["line 3: not JSON"]),
        ("[1, 2]", ["line 3: expected an object with named columns, got list"]),
        ("72", ["line 3: expected an object with named columns, got int"]),
    ],
)
def test_a_line_that_is_no_row_is_told_with_its_number(tmp_path, line, words):
    good = json.dumps(ROWS[0])
    text = mistake(write(tmp_path, "rows.jsonl", f"{good}\n\n{line}\n{good}\n"))
    assert all(word in text for word in [str(tmp_path / "rows.jsonl"), *words]), text


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.parquet"])
def test_a_missing_file_is_told_with_where_it_was_looked_for(tmp_path, name):
    text = mistake(str(tmp_path / name))
    assert name in text and "no such file" in text and str(tmp_path) in text


def test_a_file_of_another_kind_is_told_with_the_kinds_there_are(tmp_path):
    text = mistake(write(tmp_path, "rows.txt", "q 1"))
    assert ".jsonl, .csv or .parquet" in text and "got .txt" in text


def test_a_file_without_rows_is_told(tmp_path):
    assert "holds no rows" in mistake(write(tmp_path, "rows.jsonl", "\n"))


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85"])
def test_a_line_separator_inside_a_text_does_not_end_the_row(tmp_path, mark):
    row = {"question": f"one{mark}two", "answer": "1"}
    source = write(tmp_path, "rows.jsonl", json.dumps(row, ensure_ascii=False) + "\n")
    assert pairs(read(source)) == [(f"one{mark}two", "1")]


@pytest.mark.parametrize("value", ["  ", "the working\n####", "#### \n"])
def test_a_target_that_is_empty_after_reading_is_told_with_its_row(tmp_path, value):
    assert "row 1" in mistake(write_rows(tmp_path, {"question": "q", "answer": value}))


# --- The prompt ----------------------------------------------------------------------------------------------------


class PlainTokenizer:
    """Renders messages one a line, and opens the working itself if asked to."""

    def __init__(self, ending: str = "") -> None:
        self.ending = ending

    def apply_chat_template(self, messages, *, tokenize, add_generation_prompt, chat_template):
        assert (tokenize, add_generation_prompt, chat_template) == (False, True, None)
        return "".join(f"{message['role']}: {message['content']}\n" for message in messages) + self.ending


QUESTION = Problem(id="1", question="What is 1 + 1?", target="2")


@pytest.mark.parametrize("ending", ["", "<start_working_out>", "<start_working_out>\n"])
def test_a_prompt_opens_the_working_exactly_once(ending):
    section = PromptSection(system="Think.")
    prompt = PromptWriter(section=section, tokenizer=PlainTokenizer(ending)).write(QUESTION)
    assert prompt == f"system: Think.\nuser: What is 1 + 1?\n{ending or '<start_working_out>'}"


def test_a_recipe_without_a_system_message_writes_none():
    prompt = PromptWriter(section=PromptSection(system=None), tokenizer=PlainTokenizer()).write(QUESTION)
    assert prompt == "user: What is 1 + 1?\n<start_working_out>"


def test_the_default_prompt_names_the_four_tags_that_are_verified():
    section = PromptSection()
    prompt = PromptWriter(section=section, tokenizer=PlainTokenizer()).write(QUESTION)
    tags = tags_of(section)
    assert tags == Tags()
    marks = re.findall(r"</?\w+>", prompt)
    assert marks == [tags.working_open, tags.working_close, tags.solution_open, tags.solution_close, tags.working_open]


def test_the_tags_of_the_recipe_are_the_tags_of_the_verifier():
    section = PromptSection(working_open="<a>", working_close="</a>", solution_open="<b>", solution_close="</b>")
    assert tags_of(section) == Tags(
        working_open="<a>", working_close="</a>", solution_open="<b>", solution_close="</b>"
    )


# --- Real data sets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "num"),
    [
        ("dapo_math_17k", 17_917),
        ("gsm8k_test", 1_319),
        ("gsm8k_train", 7_473),
    ],
)
def test_every_row_of_a_real_data_set_loads_and_is_correct_against_itself(name, num):
    path = SHARED / f"{name}.jsonl"
    if not path.is_file():
        pytest.skip(f"{path} is not on this machine")
    found = read(str(path), count=10**6)
    assert len(found) == len({problem.id for problem in found}) == num
    assert all(problem.question.strip() for problem in found)
    outcomes = {check(f"<SOLUTION>{p.target}</SOLUTION>", p.target).outcome for p in found}
    assert outcomes == {Outcome.CORRECT}
