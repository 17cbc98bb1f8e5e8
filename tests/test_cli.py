"""The command line as a person meets it: what it prints, what it refuses, how it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from light_verbs import run_light


def razona(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "razona", *arguments], capture_output=True, text=True, cwd=cwd, timeout=300, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "demo", "--set", "train.stepz=3"], ["train.stepz", "steps"]),
        (["train", "demi"], ["demi", "demo"]),
        (["train", "demo", "--set", "rollout.group_size=7"], ["7", "256", "8"]),
        (["train", "demo", "--set", "model.name=/no/such/folder"], ["/no/such/folder", "no such folder"]),
        (["train", "demo", "--set", "data.source=absent.jsonl"], ["absent.jsonl", "no such file"]),
        (["train", "demo", "--set", "data.families=[algebra]"], ["algebra", "word_problems"]),
        (
            ["train", "demo", "--set", "rewards.components=[{name: correkt}]", "--set", "rewards.mix=sum"],
            ["correkt", "correct"],
        ),
        (["tasks", "algebra"], ["algebra", "word_problems"]),
        (["report", "nowhere"], ["nowhere"]),
    ],
)
def test_a_mistake_ends_with_2_and_says_what_to_do(arguments: list[str], expected: list[str], tmp_path: Path):
    done = razona(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for fragment in expected:
        assert fragment in done.stderr


@pytest.mark.slow
def test_a_data_set_without_the_named_column_lists_its_columns(tmp_path: Path):
    (tmp_path / "data.jsonl").write_text('{"frage": "2+2?", "answer": "4"}\n')
    done = razona("train", "demo", "--set", "data.source=data.jsonl", cwd=tmp_path)
    assert done.returncode == 1 and "wrong-column" in done.stderr
    assert "data.question_column" in done.stderr and "frage, answer" in done.stderr


def test_tasks_lists_families_and_shows_problems():
    families = json.loads(razona("tasks", "--json").stdout)
    assert len(families) >= 8
    shown = razona("tasks", "linear_equations", "--level", "2", "--count", "1").stdout
    assert "Target:" in shown


def test_help_starts_without_torch(tmp_path: Path):
    code = (
        "import sys; sys.argv = ['razona', '--help']\n"
        "from razona.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0


@pytest.mark.slow
def test_the_demo_runs_whole_and_small(tmp_path: Path):
    small = [
        "train.steps=1", "train.completions_per_step=16", "train.microbatch_size=16", "evaluate.num_problems=16",
        "evaluate.ood_num_problems=16", "evaluate.samples=2", "evaluate.best_prompt_problems=8",
    ]  # fmt: skip
    done = razona(
        "demo", "--out", "run", "--json", *(part for value in small for part in ("--set", value)), cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary == json.loads((tmp_path / "run" / "summary.json").read_text())
    for side in (summary["base"], summary["tuned"], summary["ood"]["base"], summary["ood"]["tuned"]):
        assert {"pass_at_1", "pass_at_2", "greedy", "ci95", "n", "k", "format_rate", "mean_length"} <= set(side)
        assert side["ci95"]["pass_at_1"][0] <= side["pass_at_1"] <= side["ci95"]["pass_at_1"][1]
    assert {"bare", "question-answer", "working", "few-shot", "training"} == set(summary["base_prompts"])
    assert f"{summary['base']['pass_at_1']:.0%}" in summary["paragraph"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert summary["examples"][0]["question"].split(".")[0] in page


def test_what_transformers_prints_while_it_is_imported_is_not_on_stdout():
    code = "from razona.cli.console import import_libraries; import_libraries()"
    environment = {**os.environ, "WANDB_MODE": "offline"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert "WANDB offline" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("arguments", [("advise", "nope"), ("experiment", "rft-vs-sft", "nope")])
def test_a_misspelt_recipe_is_told_before_torch_is_loaded(arguments: tuple[str, ...]):
    done = run_light(arguments, heavy=["torch"], exit_code=2)
    assert "there is no recipe 'nope'" in done.stderr
