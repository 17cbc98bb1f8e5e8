"""`razona check` and the check of `razona train`, as a person meets them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from light_verbs import run_light

SMALL = [
    "train.steps=1", "train.completions_per_step=16", "train.microbatch_size=16", "train.sampling=uniform",
    "rollout.max_completion_tokens=32", "guard.every=0",
]  # fmt: skip


def razona(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "razona", *arguments], capture_output=True, text=True, cwd=cwd, timeout=300, check=False
    )


def small(*overrides: str) -> list[str]:
    return [part for value in (*SMALL, *overrides) for part in ("--set", value)]


def test_check_ends_with_1_on_an_error_and_prints_what_to_change(tmp_path: Path):
    done = razona("check", "demo", "--no-model", "--set", "rollout.min_p=0.1", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr == ""
    for part in ("error  engine-ignores-option", "--set rollout.min_p=0", "not if", "1 error, 0 warnings"):
        assert part in done.stdout
    allowed = razona(
        "check", "demo", "--no-model", "--set", "rollout.min_p=0.1", "--allow", "engine-ignores-option", cwd=tmp_path
    )
    assert allowed.returncode == 0 and "1 allowed by name" in allowed.stdout


def test_check_without_a_model_prints_json_and_loads_no_torch(tmp_path: Path):
    done = run_light(["check", "demo", "--no-model", "--json"], heavy=["torch"], cwd=tmp_path)
    row = json.loads(done.stdout)
    assert row["recipe"] == "demo" and row["is_passed"] and row["findings"] == []
    assert any("no model was sampled" in reason for reason in row["not_looked_at"])


def test_check_names_a_group_of_one(tmp_path: Path):
    done = razona("check", "demo", "--set", "rollout.group_size=1", "--json", cwd=tmp_path)
    assert done.returncode == 1
    assert [one["rule"] for one in json.loads(done.stdout)["findings"]] == ["group-size"]


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        (["check", "demo", "--allow", "eos-maskd"], "eos-masked"),
        (["check", "demo", "--no-model", "--samples", "4"], "--samples 4"),
        (["train", "demo", "--no-check", "--allow", "disk"], "--no-check"),
    ],
)
def test_options_that_cannot_be_meant_end_with_2(arguments: list[str], seen: str, tmp_path: Path):
    done = razona(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and seen in done.stderr


def test_train_with_a_planted_fault_ends_with_1_before_any_step(tmp_path: Path):
    done = razona("train", "demo", "--out", "run", *small("prompt.system='Solve it.'"), cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "missing-tag" in done.stderr and "--allow missing-tag" in done.stderr and "Traceback" not in done.stderr
    run = tmp_path / "run"
    assert not (run / "metrics.jsonl").exists() and not (run / "checkpoints").exists()
    stored = json.loads((run / "check.json").read_text())
    assert not stored["is_passed"] and "missing-tag" in [one["rule"] for one in stored["findings"]]


@pytest.mark.slow
def test_train_goes_on_where_the_fault_is_allowed_and_takes_the_steps_of_a_run_without_check(tmp_path: Path):
    fault = small("rollout.min_p=0.1", "train.steps=2")
    done = razona("train", "demo", "--out", "a", *fault, "--allow", "engine-ignores-option", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert razona("train", "demo", "--out", "b", *fault, "--no-check", cwd=tmp_path).returncode == 0
    rows = [[json.loads(line) for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()] for run in "ab"]
    assert len(rows[0]) == 2
    for one, other in zip(*rows, strict=True):
        assert {key: value for key, value in one.items() if key in ("loss", "reward", "length", "grad_norm")} == {
            key: value for key, value in other.items() if key in ("loss", "reward", "length", "grad_norm")
        }
    assert (tmp_path / "a" / "check.json").exists() and not (tmp_path / "b" / "check.json").exists()
