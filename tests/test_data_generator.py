"""Problems from a function of the person's own, and rows of other layouts in every kind of file."""

import csv
import json
from pathlib import Path

import pyarrow
import pytest
from planted import small_recipe
from pyarrow import parquet

from razona.core.errors import DataError, RecipeError
from razona.core.nouns import Problem
from razona.data import load_problems
from razona.data.benchmarks import Asked, load_benchmark
from razona.data.filters import keep_usable
from razona.data.source import read_problems
from razona.models.load import load_tokenizer
from razona.recipe import DataSection, ModelSection
from razona.rewards.user import load_user_function
from razona.train.selection import select
from razona.verify import Settings

GOOD = """
from random import Random

def problems(count, seed):
    rng = Random(seed)
    for number in range(count):
        one, two = rng.randint(1, 10**6), rng.randint(1, 10**6)
        yield {"question": f"What is {one} + {two}?", "target": one + two, "seed": seed}
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write a file of Python, and give the name of a function in it."""
    numbers = iter(range(100))

    def written(text: str, function: str = "problems") -> str:
        path = tmp_path / f"mine_{next(numbers)}.py"
        path.write_text(text)
        return f"{path}:{function}"

    return written


def read(source: str, *, count: int = 5, seed: int = 3, **settings: object) -> list[Problem]:
    return load_problems(DataSection(source=source, **settings), count=count, seed=seed)  # pyright: ignore[reportArgumentType]


def mistake(source: str, error: type[Exception] = DataError, **settings: object) -> str:
    with pytest.raises(error) as caught:
        read(source, **settings)
    return str(caught.value)


def test_a_function_is_called_with_count_and_the_seed_and_yields_the_problems(module) -> None:
    source = module(GOOD)
    found = read(source)
    assert len(found) == 5 and {one.extra["seed"] for one in found} == {3}
    assert {one.id for one in found} == {f"row-{number:06d}" for number in range(1, 6)}
    one = found[0]
    first, second = (int(word) for word in one.question.removeprefix("What is ").removesuffix("?").split(" + "))
    assert one.target == str(first + second) and one.family == "problems"
    assert {one.question for one in found}.isdisjoint(one.question for one in read(source, seed=4))


def test_a_function_of_a_module_is_found_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rows_of_mine.py").write_text(GOOD)
    monkeypatch.syspath_prepend(tmp_path)
    assert len(read("rows_of_mine:problems", count=2)) == 2


@pytest.mark.parametrize(
    ("head", "given"),
    [
        ("count, seed", {"count": 5, "seed": 3}),
        ("seed", {"seed": 3}),
        ("*, count=1", {"count": 5}),
        ("", {}),
        ("**rest", {"count": 5, "seed": 3}),
        ("level=2, **rest", {"level": 2, "count": 5, "seed": 3}),
    ],
)
def test_a_function_is_given_what_it_accepts(head: str, given: dict, module) -> None:
    body = f"def problems({head}):\n    given = dict(locals())\n    given |= given.pop('rest', {{}})\n"
    source = module(f"{body}    yield {{'question': 'q', 'target': 1, 'given': given}}\n")
    assert read(source)[0].extra["given"] == given


def test_no_more_are_taken_than_were_asked_for(module) -> None:
    text = (
        "from itertools import count\ndef problems():\n    for n in count(1): yield {'question': f'{n}?', 'target': n}"
    )
    assert {one.target for one in read(module(text), count=4)} == {"1", "2", "3", "4"}


def test_problems_and_mappings_with_ids_may_be_mixed(module) -> None:
    text = (
        "from razona.core.nouns import Problem\ndef problems():\n"
        "    yield Problem(id='a', question='q', target='1', level=3)\n"
        "    yield {'id': 'b', 'problem': 'r', 'answer': 'work #### 2'}\n"
    )
    found = {one.id: one for one in read(module(text))}
    assert (found["a"].level, found["b"].question, found["b"].target) == (3, "r", "2")


# Body of the function, and what the message must hold.
MISTAKES = [
    ("yield ['q', 1]", ["row 1: the function yielded list", "question and target", "Problem"]),
    ("yield {'question': 'q', 'target': 1}\n    yield 5", ["row 2: the function yielded int"]),
    ("yield {'question': 'q', 'target': 1}\n    yield {'question': 'r'}", ["row 2: column 'target' is empty or"]),
    ("yield {'question': 'q', 'target': 1}\n    yield {'question': '', 'target': 1}", ["row 2: column 'question'"]),
    ("yield {'question': 'q', 'reply': 1}", ["row 1,", "data.target_column", "question, reply"]),
    ("yield {1: 'q'}", ["row 1: the key 1 is int"]),
    ("yield {'question': 'q', 'target': 1}\n    1 / 0", ["row 2: the function raised ZeroDivisionError", "seed = 3"]),
    ("yield Problem(id='a', question='q', target=7)", ["row 1: the Problem's target is 7"]),
    ("yield Problem(id='a', question=' ', target='7')", ["row 1: the Problem's question is ' '"]),
    ("for _ in '12': yield Problem(id='a', question='q', target='7')", ["rows 1 and 2 have the same id, 'a'"]),
    ("return 7\n    yield", ["holds no rows"]),
    ("raise KeyError('x')", ["row 1: the function raised KeyError" , "Call it"]),
]  # fmt: skip


@pytest.mark.parametrize(("body", "words"), MISTAKES)
def test_a_mistake_is_told_with_the_function_row_and_key(body: str, words: list[str], module) -> None:
    source = module(f"from razona.core.nouns import Problem\ndef problems(count, seed):\n    if 0: yield\n    {body}\n")
    told = mistake(source)
    assert source in told and [word for word in words if word not in told] == []


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("def problems(): return 7", DataError, ["returned int (7)", "yield one mapping"]),
        ("def problems(): return 'rows'", DataError, ["returned str"]),
        ("def problems(): return {'question': 'q'}", DataError, ["returned dict"]),
        ("def problems(path): yield", DataError, ["needs path", "count and seed", "defaults"]),
        ("def problems(seed, /): yield", DataError, ["needs seed", "keywords"]),
        ("problems = 5", RecipeError, ["has int; expected a function"]),
        ("", RecipeError, ["has no problems"]),
        ("import nothing_like_it", RecipeError, ["ModuleNotFoundError", "PYTHONPATH"]),
    ],
)
def test_what_is_no_generator_is_told(text: str, error: type[Exception], words: list[str], module) -> None:
    told = mistake(module(text), error)
    assert told.startswith("data.source = ") and [word for word in words if word not in told] == []


def test_a_reward_may_be_a_function_in_a_file_too(module) -> None:
    source = module("def pays(completions, **columns): return [0.5] * len(completions)\n", "pays")
    assert load_user_function(source)(["a", "b"]) == [0.5, 0.5]


def test_a_missing_file_of_python_is_told_with_where_it_was_looked_for(tmp_path: Path) -> None:
    assert f"no file {tmp_path}/gone.py" in mistake(f"{tmp_path}/gone.py:problems", RecipeError)


def test_a_run_asks_for_what_its_steps_and_its_guard_need(module) -> None:
    recipe = small_recipe(f"data.source={module(GOOD)}", "guard.num_problems=5", "train.steps=6", "train.seed=9")
    selection = select(recipe, load_tokenizer(ModelSection()))
    groups = 6 * (recipe.train.completions_per_step // recipe.rollout.group_size)
    assert selection.usable.num_read == groups + 5 and len(selection.held_out) == 5
    assert {one.problem.extra["seed"] for one in selection.to_train_on} == {9}
    assert len(selection.to_train_on) == groups


def test_an_evaluation_is_made_with_another_seed_than_training(module) -> None:
    source = module(GOOD)
    measured = load_benchmark(Asked(data=source, num_problems=50)).problems
    trained = read(source, count=50, seed=0)
    assert len(measured) == 50
    assert {one.question for one in measured}.isdisjoint(one.question for one in trained)


# --- Rows of other projects, in every kind of file -----------------------------------------------------------------

ASKED = [{"role": "system", "content": "Think."}, {"role": "user", "content": "What is 3 + 4?"}]
LAYOUTS = {
    "verl": {"data_source": "x", "prompt": ASKED, "reward_model": {"style": "rule", "ground_truth": "7"}},
    "open-instruct": {"messages": ASKED, "ground_truth": ["7"], "dataset": "gsm8k"},
    "rft": {"messages": ASKED, "reference_answer": "7"},
    "gsm8k": {"question": "What is 3 + 4?", "answer": "3 + 4 = <<3+4=7>>7\n#### 7"},
}


def write(path: Path, rows: list[dict], *, as_json: bool = True) -> str:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        show = json.dumps if as_json else repr
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            for row in rows:
                writer.writerow({key: one if isinstance(one, str) else show(one) for key, one in row.items()})
    return str(path)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.parquet"])
def test_each_layout_is_read_from_each_kind_of_file(layout: str, name: str, tmp_path: Path) -> None:
    (problem,) = read(write(tmp_path / name, [LAYOUTS[layout]]))
    assert (problem.question, problem.target) == ("What is 3 + 4?", "7")


@pytest.mark.parametrize("layout", ["verl", "open-instruct", "rft"])
def test_nested_columns_may_be_written_as_python_prints_them(layout: str, tmp_path: Path) -> None:
    (problem,) = read(write(tmp_path / "rows.csv", [LAYOUTS[layout]], as_json=False))
    assert (problem.question, problem.target) == ("What is 3 + 4?", "7")


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.parquet"])
def test_a_row_without_target_is_told_with_its_number_and_what_to_do(name: str, tmp_path: Path) -> None:
    bad = {**LAYOUTS["verl"], "reward_model": {"style": "rule", "ground_truth": None}}
    told = mistake(write(tmp_path / name, [LAYOUTS["verl"], LAYOUTS["verl"], bad]))
    for word in (
        f"{name}, row 3: column 'answer'",
        "reward_model.ground_truth",
        "leave the row out",
        "data.target_column",
    ):
        assert word in told
    told = mistake(write(tmp_path / name, [LAYOUTS["gsm8k"], {"question": "q?", "answer": "working\n####"}]))
    assert "row 2" in told and "after the last ####" in told


def test_cells_of_a_csv_file_are_the_texts_that_stand_there(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("﻿question,answer\na,007\nb,1.50\nc,NA\nd,1e5\n", encoding="utf-8")
    assert sorted((one.question, one.target) for one in read(str(path))) == [
        ("a", "007"), ("b", "1.50"), ("c", "NA"), ("d", "1e5")]  # fmt: skip


def test_a_csv_row_with_a_cell_too_many_is_told(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("question,answer\na,1\nb,1,000\n")
    assert "row 2: 3 cells for 2 columns" in mistake(str(tmp_path / "rows.csv"))


@pytest.mark.parametrize("as_json", [True, False])
def test_rows_of_code_and_logic_are_read_from_csv(as_json: bool, tmp_path: Path) -> None:
    folder = Path(__file__).parent / "data" / "recipes"
    for name, kind, target in (("mbpp", "code", "code"), ("knights", "logic", "solution_text_format")):
        rows = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
        source = write(tmp_path / f"{name}.csv", rows, as_json=as_json)
        found = read_problems(DataSection(source=source, question_column=["prompt", "quiz"], target_column=target))
        usable = keep_usable(found, DataSection(source=source), kind, Settings())
        assert [one.id for one in usable.problems] == [one.id for one in found] and len(found) == len(rows)


def test_a_question_that_begins_with_a_bracket_stays_as_it_is(tmp_path: Path) -> None:
    rows = [{"prompt": "[1, 2] is an interval. \\frac{1}{2} of it?", "solution": "[1, 2]"}]
    (problem,) = read(write(tmp_path / "rows.csv", rows))
    assert (problem.question, problem.target) == (rows[0]["prompt"], "[1, 2]")


def test_a_comment_in_a_program_is_no_mark_of_a_target(tmp_path: Path) -> None:
    code = "#### add\ndef f(a):\n    return a + 1"
    (problem,) = read(write(tmp_path / "rows.jsonl", [{"prompt": "Add one.", "code": code}]), target_column="code")
    assert problem.target == code
