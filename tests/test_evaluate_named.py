"""Problems by name, and `razona eval`: what is stored, gone on with after a crash, and refused."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from razona.core.errors import DataError, RunFolderError
from razona.core.nouns import Completion, Outcome, Problem
from razona.data.benchmarks import BENCHMARKS, Asked, load_benchmark
from razona.evaluate.sources import find_stored
from razona.recipe import load

SHARED = Path(__file__).parents[2] / "shared" / "data" / "problems"


# --- Data ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "holds no rows"),
        (
            [{"question": "a", "answer": "1", "id": "x"}, {"question": "b", "answer": "2"}],
            r"row 2: the column id is empty",
        ),
        (
            [{"question": "a", "answer": "1", "id": "x"}, {"question": "b", "answer": "2", "id": "x"}],
            r"rows 1 and 2 have the same id, 'x'",
        ),
    ],
)
def test_a_file_whose_problems_cannot_be_told_apart_is_refused(tmp_path: Path, rows: list[dict], message: str):
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=message):
        load_benchmark(Asked(data=str(path)))


def test_a_mistyped_data_set_is_refused_with_the_nearest_name(tmp_path: Path):
    with pytest.raises(DataError, match=r"--data gsm8 .*Did you mean gsm8k\?|--data gsm8: .*Did you mean gsm8k\?"):
        load_benchmark(Asked(data="gsm8"))
    with pytest.raises(DataError, match=r"holds no gsm8k_test.jsonl. Put the rows of openai/gsm8k"):
        load_benchmark(Asked(data="gsm8k", folder=tmp_path))


@pytest.mark.parametrize(
    ("name", "count"),
    [("gsm8k", 1319), ("math500", 500), ("aime24", 30), ("amc23", 40), ("mbpp", 399), ("humaneval", 164),
     ("knights-knaves", 5000)],
)  # fmt: skip
def test_every_benchmark_loads_and_its_own_answers_are_right(name: str, count: int):
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not there")
    from razona.evaluate.sampling import Judge
    from razona.verify import Tags

    loaded = load_benchmark(Asked(data=name, folder=SHARED))
    assert len(loaded.problems) == count and loaded.kind == BENCHMARKS[name].kind
    some = loaded.problems[:5]
    texts = [_gold(problem, loaded.kind) for problem in some]
    completions = [Completion(problem_id="p", text=text, num_tokens=1, is_truncated=False) for text in texts]
    outcomes = [one.verdict.outcome for one in Judge(tags=Tags(), kind=loaded.kind)(completions, some)]
    if Outcome.UNVERIFIED in outcomes and loaded.kind == "code":
        pytest.skip("this machine cannot confine code")
    assert outcomes == [Outcome.CORRECT] * 5


def _gold(problem: Problem, kind: str) -> str:
    if kind != "code":
        return f"<SOLUTION>{problem.target}</SOLUTION>"
    is_continued = "def " in problem.question
    return f"```python\n{problem.question if is_continued else ''}{problem.target}\n```"


# --- razona eval ---------------------------------------------------------------------------------------------------

ASKED = [sys.executable, "-m", "razona", "eval", "embedded", "--problems", "40", "--samples", "2", "--batch-size", "6"]


def rows_of(folder: Path) -> list[dict]:
    path = folder / "completions.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_and_ends_as_if_nothing_had_been(tmp_path: Path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([*ASKED, "--out", str(whole)], check=True, capture_output=True)
    process = subprocess.Popen(
        [*ASKED, "--out", str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while len(rows_of(killed)) < 24 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = len(rows_of(killed))
    assert 24 <= done < 120, "killed half-way"
    with (killed / "completions.jsonl").open("a") as file:
        file.write('{"problem_id": "cut of')  # what a crash in the middle of a write leaves
    subprocess.run([*ASKED, "--out", str(killed)], check=True, capture_output=True)
    assert rows_of(killed) == rows_of(whole)
    one, two = (json.loads((folder / "evaluation.json").read_text()) for folder in (whole, killed))
    assert two["sampled_in_last_session"] == 120 - done
    timing = {"seconds", "completions_per_second", "sampled_in_last_session"}
    assert {key: one[key] for key in one.keys() - timing} == {key: two[key] for key in two.keys() - timing}
    again = subprocess.run([*ASKED, "--out", str(killed), "--json"], check=True, capture_output=True, text=True)
    assert json.loads(again.stdout) == two  # finished: only read


@pytest.mark.slow
def test_another_evaluation_in_the_same_folder_is_refused(tmp_path: Path):
    few = [*ASKED[:-6], "--problems", "4", "--samples", "1", "--no-greedy", "--out", str(tmp_path / "e")]
    subprocess.run(few, check=True, capture_output=True)
    done = subprocess.run([*few, "--seed", "7"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "holds an evaluation with other settings: seed 0 and not 7" in done.stderr


def test_an_unfinished_evaluation_is_not_compared(tmp_path: Path):
    (tmp_path / "settings.json").write_text("{}")
    (tmp_path / "completions.jsonl").write_text("")
    with pytest.raises(DataError, match="is not finished: start the same command again"):
        find_stored(str(tmp_path))


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path):
    from razona.evaluate.stored import Request, evaluate_in

    (tmp_path / "metrics.jsonl").write_text("{}\n")
    request = Request(
        model="m", data="d", kind="math", prompt="training", samples=1, temperature=1.0, is_greedy_too=False,
        form={}, source={},
        max_tokens=8, batch_size=8, seed=0,
    )  # fmt: skip
    problem = Problem(id="a", question="q", target="1")
    with pytest.raises(RunFolderError, match="holds something else than an evaluation"):
        evaluate_in(tmp_path, None, [problem], None, None, request)  # pyright: ignore[reportArgumentType]


@pytest.mark.slow
def test_a_part_of_gsm8k_is_evaluated_from_end_to_end(tmp_path: Path):
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not there")
    asked = [sys.executable, "-m", "razona", "eval", "embedded", "--data", "gsm8k", "--data-folder", str(SHARED)]
    done = subprocess.run(
        [*asked, "--problems", "16", "--samples", "2", "--max-tokens", "48", "--out", str(tmp_path / "g")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "16 problems of" in done.stdout and "completions in" in done.stdout and "a second" in done.stdout
    assert len(rows_of(tmp_path / "g")) == 48


def test_the_demos_recipe_and_a_runs_own_are_found(tmp_path: Path):
    from razona.cli.evaluate import recipe_for
    from razona.recipe import dump

    assert recipe_for("embedded", None, []).name == "demo"
    (tmp_path / "recipe.yaml").write_text(dump(load("demo", ["prompt.system=null"])))
    assert recipe_for(str(tmp_path), None, []).prompt.system is None


def test_other_weights_or_another_prompt_are_another_evaluation(tmp_path: Path):
    from razona.evaluate.named import _form, source_of

    (tmp_path / "model.safetensors").write_bytes(b"one")
    recipe = load("demo")
    before = source_of(str(tmp_path), recipe.model)
    (tmp_path / "model.safetensors").write_bytes(b"two")
    assert source_of(str(tmp_path), recipe.model)["weights"] != before["weights"]
    assert source_of("embedded", recipe.model)["weights"]
    other = load("demo", ["prompt.system=null", "rewards.verify.percent=lenient"])
    assert _form(other)["prompt"] != _form(recipe)["prompt"] and _form(other)["verify"] != _form(recipe)["verify"]


def test_what_a_recipe_trains_on_is_said_to_be_no_held_out_data(tmp_path: Path, capsys: pytest.CaptureFixture):
    from razona.evaluate.named import load_wanted

    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"question": f"{n}?", "answer": str(n)}) + "\n" for n in range(9)))
    recipe = load("demo", [f"data.source={path}", "data.max_problems=2"])
    loaded = load_wanted(Asked(data=str(path)), recipe)
    assert len(loaded.problems) == 9  # the recipe's limit is for training
    assert "nothing of it is held out" in capsys.readouterr().err
    load_wanted(Asked(data=str(path)), load("demo"))
    assert capsys.readouterr().err == ""


def test_local_copies_of_something_else_are_refused(tmp_path: Path):
    from razona.evaluate.named import load_wanted

    with pytest.raises(DataError, match=r"--data-folder .* Leave it out"):
        load_wanted(Asked(data="tasks", folder=tmp_path), load("demo"))
    with pytest.raises(DataError, match=r"--data-folder .* Leave it out"):
        load_benchmark(Asked(data="owner/name", folder=tmp_path))


def test_few_shot_shows_the_working_of_rows_as_the_hub_has_them(tmp_path: Path):
    from razona.evaluate.prompts import PROMPT_VARIANTS, Asking

    path = tmp_path / "gsm8k.jsonl"
    rows = [{"question": f"{n} + 1?", "answer": f"{n} + 1 = {n + 1}\n#### {n + 1}"} for n in range(5)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    problems = load_benchmark(Asked(data=str(path))).problems
    asking = Asking(tokenizer=None, examples=problems[:4])  # pyright: ignore[reportArgumentType]
    text = PROMPT_VARIANTS["few-shot"](problems[0], asking)
    for shown in problems[1:4]:
        number = int(shown.target) - 1
        assert f"Problem: {number} + 1?\nWorking: {number} + 1 = {number + 1}\nAnswer: {number + 1}\n" in text
    assert text.endswith(f"Problem: {problems[0].question}\nWorking:")


def test_a_program_keeps_the_indentation_it_begins_with(tmp_path: Path):
    path = tmp_path / "code.jsonl"
    path.write_text(json.dumps({"question": "def f():\n", "answer": "    return 1\n"}) + "\n")
    assert load_benchmark(Asked(data=str(path))).problems[0].target == "    return 1"


def test_options_that_would_change_nothing_are_refused(tmp_path: Path):
    rows = [
        {"problem_id": "a", "question": "q", "target": "1", "sample": 0, "temperature": 1.0, "completion": "1",
         "num_tokens": 1, "is_truncated": False, "outcome": "correct", "answer": "1", "has_form": True, "num_steps": 0}
    ]  # fmt: skip
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = [sys.executable, "-m", "razona", "compare", str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]
    done = subprocess.run([*asked, "--samples", "4", "--data", "gsm8k"], capture_output=True, text=True)
    assert done.returncode == 2 and "both sides are measured already, so --data, --samples" in done.stderr
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.yaml").write_text("name: x")
    done = subprocess.run([*asked, "--out", str(run)], capture_output=True, text=True)
    assert done.returncode == 2 and "holds recipe.yaml" in done.stderr
    assert not (run / "summary.json").exists()


def test_problems_that_chose_a_runs_weights_are_not_measured_on():
    from razona.evaluate.held_out import generated_slice
    from razona.evaluate.named import load_wanted
    from razona.evaluate.plan import Plan

    recipe = load("demo")
    chosen = {(problem.family, problem.extra["key"]) for problem in generated_slice(recipe)}
    many = load_wanted(Asked(data="tasks", num_problems=900), recipe).problems
    assert not chosen & {(problem.family, problem.extra["key"]) for problem in many}
    assert many[:512] == Plan(recipe=recipe).held_out()  # so that figures can be compared with the demo's
