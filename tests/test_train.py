"""Training: that it learns, stores what it samples, stops and goes on, and refuses what cannot be."""

import json
from collections import namedtuple
from pathlib import Path

import pytest

from razona.core.errors import DataError, MachineError, RunFolderError
from razona.core.files import read_jsonl
from razona.core.rundir import RunDir
from razona.recipe import load
from razona.train import train
from razona.train.trainer import flat_rows
from razona.train.trl_config import grpo_config

TINY = (
    "train.sampling=uniform",
    "train.completions_per_step=16",
    "train.microbatch_size=8",
    "rollout.group_size=4",
    "rollout.max_completion_tokens=24",
    "train.warmup_steps=0",
    "guard.every=0",
)


@pytest.mark.slow
def test_a_short_grpo_run_raises_the_reward(tmp_path: Path):
    recipe = load(
        "demo",
        [
            "train.steps=14",
            "train.completions_per_step=96",
            "train.microbatch_size=48",
            "rollout.max_completion_tokens=64",
            "data.levels=[1]",
        ],
    )
    train(recipe, tmp_path / "run")
    rewards = [row["reward"] for row in RunDir(tmp_path / "run").read_steps()]
    first, last = sum(rewards[:3]) / 3, sum(rewards[-3:]) / 3
    assert last > first + 0.1, rewards


def test_a_run_stores_every_completion_with_its_receipt(tmp_path: Path):
    result = train(load("demo", [*TINY, "train.steps=2"]), tmp_path / "run")
    run = RunDir(tmp_path / "run")
    assert result.steps == 2 and run.completion_steps() == [1, 2]
    rows = list(read_jsonl(run.completions(1)))
    assert len(rows) == 16
    for row in rows:
        assert row["prompt"].endswith("<start_working_out>")
        assert row["reward"] == pytest.approx(sum(row["parts"].values()))
        assert row["problem_id"] == rows[row["group"] * 4]["problem_id"]
    for group in range(4):
        advantages = [row["advantage"] for row in rows if row["group"] == group]
        assert sum(advantages) == pytest.approx(0, abs=1e-4)
    metrics = run.read_steps()
    assert [row["step"] for row in metrics] == [1, 2]
    assert metrics[0]["reward"] == pytest.approx(sum(row["reward"] for row in rows) / 16)
    assert metrics[0]["length"] == pytest.approx(sum(row["num_tokens"] for row in rows) / 16)
    assert (run.adapter / "adapter_model.safetensors").exists()


@pytest.mark.parametrize(("precision", "mean", "p99"), [("float32", 1e-4, 1e-4), ("bfloat16", 2e-3, 0.05)])
def test_log_probs_at_sampling_are_those_of_training(precision: str, mean: float, p99: float, tmp_path: Path):
    changes = ["train.steps=3", "train.learning_rate=0.01", f"train.precision={precision}"]
    train(load("demo", [*TINY, *changes]), tmp_path / "run")
    measured = [row for row in RunDir(tmp_path / "run").read_steps() if "logprob_gap_p99" in row]
    assert measured
    for row in measured:
        assert 0 < row["logprob_gap_mean"] < mean and row["logprob_gap_p99"] < p99


@pytest.mark.parametrize(
    ("rewards", "flat"),
    [
        ([1.2] * 4 + [1.2, 1.2, 0.0, 1.2], [True] * 4 + [False] * 4),
        ([None, 1.0, 1.0, None] + [None] * 4, [True] * 8),
        ([None, 1.0, 0.0, None] + [0.0] * 4, [False] * 4 + [True] * 4),
    ],
)
def test_a_group_of_equal_rewards_is_flat(rewards, flat):
    assert flat_rows(rewards, 4).tolist() == flat


@pytest.mark.slow
def test_a_resumed_run_goes_on_from_its_last_checkpoint(tmp_path: Path):
    steps = [*TINY, "train.steps=4", "train.save_every=2"]
    recipe = load("demo", steps)
    whole = tmp_path / "whole"
    train(recipe, whole)

    class Stop(Exception):
        pass

    def stop_after_three(row: object) -> None:
        if row["step"] == 3:
            raise Stop

    broken = tmp_path / "broken"
    with pytest.raises(Stop):
        train(recipe, broken, watch=stop_after_three)
    assert [row["step"] for row in RunDir(broken).read_steps()] == [1, 2, 3]
    train(recipe, broken, resume=True)
    assert [row["step"] for row in RunDir(broken).read_steps()] == [1, 2, 3, 4]

    for step in (3, 4):
        assert list(read_jsonl(RunDir(broken).completions(step))) == list(read_jsonl(RunDir(whole).completions(step)))


def test_a_run_that_has_ended_keeps_its_adapter_when_it_is_resumed(tmp_path: Path):
    recipe = load("demo", [*TINY, "train.steps=1", "train.learning_rate=0.01"])
    adapter = train(recipe, tmp_path / "run").run.adapter / "adapter_model.safetensors"
    before = adapter.read_bytes()
    adapter.unlink()
    train(recipe, tmp_path / "run", resume=True)
    assert adapter.read_bytes() == before


def test_resume_refuses_another_recipe_and_a_folder_without_checkpoint(tmp_path: Path):
    with pytest.raises(RunFolderError, match="holds no run"):
        train(load("demo", TINY), tmp_path / "nothing", resume=True)
    train(load("demo", [*TINY, "train.steps=1"]), tmp_path / "run")
    with pytest.raises(RunFolderError, match="not the one"):
        train(load("demo", [*TINY, "train.steps=1", "train.seed=5"]), tmp_path / "run", resume=True)
    with pytest.raises(RunFolderError, match="already holds a run"):
        train(load("demo", TINY), tmp_path / "run")


def test_a_folder_in_use_by_a_live_run_is_refused(tmp_path: Path):
    with RunDir(tmp_path).lock(), pytest.raises(RunFolderError, match=r"in use by a live run \(process \d+\)"):
        train(load("demo", TINY), tmp_path)


def test_a_full_disk_is_told_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**12, 10**12 - 1000, 1000))
    with pytest.raises(MachineError, match="no disk space for a checkpoint"):
        train(load("demo", TINY), tmp_path / "run")
    assert not RunDir(tmp_path / "run").metrics.exists()


def test_prompts_that_are_all_too_long_are_told(tmp_path: Path):
    with pytest.raises(DataError, match="max_prompt_tokens = 5"):
        train(load("demo", [*TINY, "data.max_prompt_tokens=5"]), tmp_path / "run")


def test_a_randomly_initialised_model_of_another_size_trains(random_model: Path, tmp_path: Path):
    result = train(load("demo", [*TINY, "train.steps=1", f"model.name={random_model}"]), tmp_path / "run")
    assert result.steps == 1
    config = json.loads((tmp_path / "run" / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(random_model)


def test_full_fine_tuning_saves_the_whole_model(random_model: Path, tmp_path: Path):
    train(load("demo", [*TINY, "train.steps=1", f"model.name={random_model}", "lora=null"]), tmp_path / "run")
    assert (tmp_path / "run" / "adapter" / "model.safetensors").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "file"), [("open-r1-smoke", "dapo_math_17k"), ("gsm8k-smoke", "gsm8k_train")])
def test_real_rows_go_through_the_whole_step(recipe: str, file: str, shared_problems: Path, tmp_path: Path):
    source = shared_problems / f"{file}.jsonl"
    result = train(load(recipe, [f"data.source={source}", "train.steps=1"]), tmp_path / "run")
    rows = list(read_jsonl(result.run.completions(1)))
    assert result.groups == 4 and len(rows) == 16
    assert set(rows[0]["parts"]) == {"format_exact", "format_approximate", "check_answer", "check_numbers"}
    assert all(row["outcome"] != "unverified" for row in rows)


def test_the_policy_that_samples_is_the_policy_that_is_trained(tmp_path: Path):
    config = grpo_config(load("demo", []), tmp_path, is_packed=True)
    assert config.steps_per_generation == config.gradient_accumulation_steps
    assert config.generation_batch_size == load("demo", []).train.completions_per_step


@pytest.mark.parametrize(("precision", "is_packed"), [("bfloat16", False), ("bfloat16", True), ("auto", False)])
def test_bfloat16_by_request_is_autocast_where_the_layers_are_not_ours(precision, is_packed, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    config = grpo_config(load("demo", [f"train.precision={precision}"]), tmp_path, is_packed=is_packed)
    assert config.bf16 == (precision == "bfloat16" and not is_packed)
