"""What training leaves out of a data set: on rows made by hand, in the manifest of a run, on the command line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from planted import small_recipe
from typer.testing import CliRunner

from razona.cli.main import app
from razona.core.errors import DataError, MachineError, RecipeError
from razona.core.files import read_jsonl
from razona.core.nouns import Problem
from razona.core.rundir import RunDir
from razona.data.filters import Usable, keep_usable
from razona.data.likeness import digest
from razona.data.source import read_problems
from razona.models.load import load_policy, load_tokenizer
from razona.recipe import DataSection, ModelSection, Recipe, load
from razona.train import processes
from razona.train.dataset import prepare_data
from razona.train.selection import select
from razona.verify import Settings, Tags

FILE = DataSection(source="made.jsonl")
LONG = "x" * 3_000
"""A target beyond the verifier's limit: no answer can be right."""
HELD_OUT = (
    "Seven friends share a bag of sweets so that each of them gets three more than the next younger one. The youngest "
    "gets five. How many sweets are in the bag?"
)


def problems(*rows: tuple[str, str]) -> list[Problem]:
    return [Problem(id=f"p{number}", question=one, target=two) for number, (one, two) in enumerate(rows)]


def kept(found: list[Problem], section: DataSection = FILE, kind: str = "math", settings: Settings = Settings()):
    usable = keep_usable(found, section, kind, settings)
    return [one.id for one in usable.problems], {one.filter: one.named for one in usable.left_out}


# --- Each filter ---------------------------------------------------------------------------------------------------


def test_a_target_that_is_not_judged_right_is_left_out_with_its_reason() -> None:
    ids, left_out = kept(problems(("a?", "7"), ("b?", LONG), ("c?", "1/2")))
    assert ids == ["p0", "p2"]
    (named,) = left_out["unverifiable"]
    assert named == "p1: incorrect: the answer is longer than 2,000 characters"
    assert kept(problems(("b?", LONG)), FILE.model_copy(update={"unverifiable": "keep"}))[0] == ["p0"]


def test_targets_are_judged_with_the_recipes_own_marks() -> None:
    boxes = Settings(tags=Tags(solution_open="\\boxed{", solution_close="}"))
    rows = problems(("a?", "7"), ("Which tag comes first?", "<SOLUTION>"))  # an empty block, where that is the mark
    assert kept(rows)[0] == ["p0"] and kept(rows, settings=boxes)[0] == ["p0", "p1"]


def test_of_equal_questions_the_first_stays_and_where_targets_differ_none_does() -> None:
    rows = [("What is 3 + 4?", "7"), ("what  is 3 + 4?", "7.0"), ("Name a prime.", "2"), ("Name a prime.", "3"),
            ("NAME A PRIME.", "2"), ("What is 5?", "5")]  # fmt: skip
    ids, left_out = kept(problems(*rows))
    assert ids == ["p0", "p5"]
    assert left_out["duplicate"] == ("p1 = p0",)
    assert left_out["contradictory"] == ("p2: 2, and p3: 3", "p3: 3, and p2: 2", "p4: 2, and p2: 2")
    assert len(kept(problems(*rows), FILE.model_copy(update={"duplicates": "keep"}))[0]) == 6


def test_a_repeat_of_an_unreadable_target_is_no_contradiction() -> None:
    assert kept(problems(("a?", LONG), ("a?", "7")))[0] == ["p1"]


@pytest.mark.parametrize(
    ("kind", "good", "bad", "word"),
    [
        ("code", {"test_list": ["assert f(1) == 2"]}, {"test_list": []}, "test_list"),
        ("logic", {"nums": [3, 4, 5], "target": 35}, {"nums": "three"}, "puzzle"),
    ],
)
def test_code_and_logic_problems_that_cannot_be_read_are_left_out(kind: str, good: dict, bad: dict, word: str) -> None:
    rows = [
        replace(one, extra=extra) for one, extra in zip(problems(("a?", "x"), ("b?", "y")), (good, bad), strict=True)
    ]
    ids, left_out = kept(rows, kind=kind)
    assert ids == ["p0"] and len(left_out["unverifiable"]) == 1
    assert left_out["unverifiable"][0].startswith("p1: ") and word in left_out["unverifiable"][0]
    assert "contradictory" not in left_out


def test_other_solutions_to_one_question_of_code_are_other_problems() -> None:
    rows = [
        replace(one, extra={"tests": ["assert f(1) == 2"]}) for one in problems(("a?", "x"), ("a?", "y"), ("a?", "x"))
    ]
    ids, left_out = kept(rows, kind="code")
    assert ids == ["p0", "p1"] and left_out["duplicate"] == ("p2 = p0",)


def write(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_what_an_evaluation_set_asks_is_left_out(tmp_path: Path) -> None:
    tested = write(tmp_path / "tested.jsonl", {"question": HELD_OUT, "answer": "98"})
    rows = problems((f"Here is one. {HELD_OUT} Think.", "98"), ("How many sweets are in the bag?", "1"))
    ids, left_out = kept(rows, FILE.model_copy(update={"not_in": [str(tested)]}))
    assert ids == ["p1"] and left_out[f"overlap with {tested}"] == ("p0 = row-000001",)


def test_an_evaluation_set_may_have_the_recipes_columns_or_the_usual_ones(tmp_path: Path) -> None:
    usual = write(tmp_path / "usual.jsonl", {"problem": HELD_OUT, "answer": "98"})
    own = write(tmp_path / "own.jsonl", {"asked": HELD_OUT, "reply": "98"})
    section = DataSection(source="made.jsonl", question_column="asked", target_column="reply")
    for tested in (usual, own):
        assert kept(problems((HELD_OUT, "98")), section.model_copy(update={"not_in": [str(tested)]}))[0] == []


def test_generated_problems_are_held_against_evaluation_sets_and_nothing_else(tmp_path: Path) -> None:
    tested = write(tmp_path / "tested.jsonl", {"question": HELD_OUT, "answer": "98"})
    rows = problems((HELD_OUT, "98"), ("a?", LONG), ("a?", "1"))
    assert kept(rows, DataSection())[0] == ["p0", "p1", "p2"]
    ids, left_out = kept(rows, DataSection(not_in=[str(tested)]))
    assert ids == ["p1", "p2"] and list(left_out) == [f"overlap with {tested}"]


def test_benchmarks_come_from_the_folder_of_local_copies(tmp_path: Path) -> None:
    write(tmp_path / "math500.jsonl", {"problem": HELD_OUT, "answer": "98"})
    section = FILE.model_copy(update={"not_in": ["math500"], "folder": str(tmp_path)})
    assert kept(problems((HELD_OUT, "98")), section)[0] == []
    with pytest.raises(DataError, match=r"data\.not_in names aime24: .*holds no aime24\.jsonl"):
        kept(problems(("a?", "1")), section.model_copy(update={"not_in": ["aime24"]}))
    with pytest.raises(DataError, match=r"data\.folder = .* names none of them"):
        kept(problems(("a?", "1")), section.model_copy(update={"not_in": [str(tmp_path / "math500.jsonl")]}))


def test_a_folder_that_nothing_is_read_from_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"data\.folder = x holds local copies .*data\.not_in: \[math500\]"):
        load("demo", ["data.folder=x"])


def test_the_hashes_tell_what_was_read_and_what_was_kept_and_no_order() -> None:
    rows = problems(("a?", "7"), ("a?", "7"), ("b?", "1"))
    assert digest(rows) == digest(rows[::-1]) != digest(rows[:2])
    usable = keep_usable(rows, FILE, "math", Settings())
    assert isinstance(usable, Usable) and (usable.num_read, usable.sha256_read) == (3, digest(rows))


# --- In a run ------------------------------------------------------------------------------------------------------


def messy(folder: Path, *changes: str) -> Recipe:
    """Give a recipe on 40 good rows, and one more for each reason to leave it out, two for a contradiction."""
    good = [{"question": f"How many legs have {n} cats and {n + 1} birds?", "answer": 6 * n + 2} for n in range(1, 41)]
    tested = write(folder / "tested.jsonl", {"question": HELD_OUT, "answer": "98"})
    bad = [
        {"question": "How many legs has no cat?", "answer": LONG},
        {"question": "Name a prime.", "answer": "2"},
        {"question": "Name a prime.", "answer": "3"},
        {"question": "how many legs have 1 cats  and 2 birds?", "answer": "8"},
        {"question": HELD_OUT, "answer": "98"},
        {"question": "And now? " * 60, "answer": "1"},
    ]
    rows = write(folder / "rows.jsonl", *good, *bad)
    own = [f"data.source={rows}", f"data.not_in=[{tested}]", "data.max_prompt_tokens=150", "guard.num_problems=8"]
    return small_recipe(*own, "train.steps=4", *changes)


def test_a_run_counts_what_it_leaves_out_in_order_and_holds_out_of_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    recipe, run = messy(tmp_path), RunDir(tmp_path / "run")
    data = prepare_data(recipe, load_policy(ModelSection()), run)
    manifest = json.loads(run.manifest.read_text())
    assert [(one["filter"].split(" ")[0], one["count"]) for one in manifest["left_out"]] == [
        ("unverifiable", 1),
        ("contradictory", 2),
        ("duplicate", 1),
        ("overlap", 1),
    ]
    assert manifest["left_out"][1]["named"] == ["row-000042: 2, and row-000043: 3", "row-000043: 3, and row-000042: 2"]
    assert (manifest["problems"], manifest["left_out_as_too_long"], manifest["kept"]) == (46, 1, 32)
    assert manifest["held_out_for_guard"] == 8
    good = {f"row-{number:06d}" for number in range(1, 41)}
    used = {*data.dataset["problem_id"][:], *(one.id for one in data.held_out)}
    assert used <= good and {one.id for one in data.held_out}.isdisjoint(data.dataset["problem_id"][:])
    read = read_problems(recipe.data)
    assert manifest["sha256_read"] == digest(read)
    held = {one.id for one in data.held_out}
    assert manifest["sha256_kept"] == digest([one for one in read if one.id in good - held]) == data.sha256
    told = capsys.readouterr().err
    for word in (
        "46 problems read",
        "1 have a target",
        "row-000041",
        "2 ask the same",
        "32 are left",
        "8 for the guard",
    ):
        assert word in told


def test_which_of_two_equals_stays_does_not_depend_on_the_seed(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(ModelSection())
    found = [select(messy(tmp_path, f"train.seed={seed}"), tokenizer) for seed in (0, 1)]
    ids = [[one.problem.id for one in selection.to_train_on] for selection in found]
    assert sorted(ids[0]) == sorted(ids[1]) and ids[0] != ids[1]
    assert [one.as_row() for one in found[0].usable.left_out] == [one.as_row() for one in found[1].usable.left_out]


def test_data_of_which_nothing_is_left_is_refused_with_the_reasons(tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.jsonl", *({"question": f"{n}?", "answer": "see above ("} for n in range(40)))
    recipe = small_recipe(f"data.source={rows}", "rewards.kind=logic", "guard.every=0")
    with pytest.raises(DataError) as caught:
        select(recipe, load_tokenizer(ModelSection()))
    told = str(caught.value)
    for word in ("0 of 40 problems are left", "40 cannot be read as problems of kind logic", "row-000001: ",
                 "What helps: look at data.target_column and rewards.kind = logic"):  # fmt: skip
        assert word in told


def test_processes_that_read_other_problems_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    processes.refuse_difference("the problems", "same")
    monkeypatch.setattr(processes, "gather_object", lambda own: [*own, "other"])
    with pytest.raises(MachineError, match="the problems are others in process 1 than in the main one"):
        processes.refuse_difference("the problems", "same")


# --- razona data prepare -------------------------------------------------------------------------------------------


def prepare(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["data", "prepare", *arguments])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def recipe_file(folder: Path) -> str:
    from razona.recipe import dump

    path = folder / "mine.yaml"
    path.write_text(dump(messy(folder)))
    return str(path)


def test_prepare_prints_the_counts_and_writes_what_is_left_as_it_was(tmp_path: Path) -> None:
    source = recipe_file(tmp_path)
    text = prepare(source, "--out", str(tmp_path / "kept.jsonl"))
    for line in (
        "     46          problems read",
        "      2   4.35%  ask the same",
        "     32  69.57%  are left to train on",
    ):
        assert line in text
    written = list(read_jsonl(tmp_path / "kept.jsonl"))
    again = read_problems(DataSection(source=str(tmp_path / "kept.jsonl")))
    trained = select(load(source), load_tokenizer(ModelSection())).to_train_on
    assert len(written) == 32
    assert [(one.id, one.question, one.target) for one in again] == [
        (one.problem.id, one.problem.question, one.problem.target) for one in trained
    ]


def test_prepare_prints_json_with_hashes_and_seconds(tmp_path: Path) -> None:
    figures = json.loads(prepare(recipe_file(tmp_path), "--json", "--set", "data.duplicates=keep"))
    assert figures["kept"] == 35 and figures["seconds"] >= 0 and len(figures["sha256_kept"]) == 64
    assert [one["filter"].split(" ")[0] for one in figures["left_out"]] == ["unverifiable", "overlap"]


def test_prepare_refuses_another_kind_of_file(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["data", "prepare", "demo", "--out", str(tmp_path / "kept.csv")])
    assert isinstance(done.exception, DataError) and "expected a file that ends in .jsonl" in str(done.exception)


@pytest.mark.slow
def test_the_pipeline_takes_all_of_dapo(shared_problems: Path) -> None:
    changes = [f"data.source={shared_problems / 'dapo_math_17k.jsonl'}", f"data.folder={shared_problems}"]
    changes += ["data.not_in=[math500,aime24]", "data.max_prompt_tokens=null"]
    selection = select(load("open-r1-smoke", changes), load_tokenizer(ModelSection()))
    counts = {one.filter: one.count for one in selection.usable.left_out}
    # 974 repeats, 15 of them with another target than the first (`razona data inspect`): 15 pairs go whole.
    assert counts == {"unverifiable": 0, "contradictory": 30, "duplicate": 959, "overlap with math500": 37,
                      "overlap with aime24": 0}  # fmt: skip
    assert selection.usable.num_read == 17_917
    left = 17_917 - 30 - 959 - 37
    assert 0.9 * left <= len(selection.to_train_on) <= 0.95 * left
