"""One run in several processes: one folder with the rows of all, TRL's loss and gradient, and no one left waiting."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import one_step
import pytest
import torch
from one_step import CASES, GROUP_SIZE, GROUPS, LOSSES, SECOND_HALF, Case, Step
from safetensors.torch import load_file

from razona.core.errors import MachineError, RecipeError, RunFolderError
from razona.core.files import read_jsonl
from razona.core.rundir import RunDir
from razona.embedded.demo import demo
from razona.models.load import load_policy
from razona.recipe import load
from razona.recipe.checks import check_num_processes
from razona.train import train
from razona.train.dataset import prepare_data
from razona.train.processes import in_main_process, join_processes, leave_processes, reward_seed, stop_together
from razona.train.run import prepare_folder

TOLERANCE = 1e-5
SHARE = 8
"""Completions of one of two processes in `small_run`."""


RACE = "terminate called without an active exception"
"""What the C++ library says, once in many ends, where a process ends before a thread of torch's, its work done and
written. Which thread it is we have not found."""


def launch(*program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a Python program in two processes; where torch aborted at their end, once more, without what it left."""
    before = set(folder.iterdir())
    done = launch_once(*program, folder=folder)
    if done.returncode and RACE in done.stderr:
        for path in set(folder.iterdir()) - before:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        done = launch_once(*program, folder=folder)
    return done


def launch_once(*program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a Python program in two processes, as torchrun does, and leave none of them behind."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *program]
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        stdout, stderr = running.communicate(timeout=300)
    finally:
        if running.poll() is None:
            running.terminate()  # torchrun then ends its processes, which a kill would leave to themselves
            running.communicate()
    return subprocess.CompletedProcess(command, running.wait(), stdout, stderr)


def small_run(folder: Path, model: Path) -> list[str]:
    """Give the options of a run of two steps on eight rows with one and the same question, paid at random."""
    source = folder / "rows.jsonl"
    if not source.exists():
        source.write_text("".join(json.dumps({"question": "2 + 2?", "answer": "4"}) + "\n" for _ in range(8)))
    values = [
        f"model.name={model}", f"data.source={source}", "data.question_column=question", "data.target_column=answer",
        "rewards.components=[{name: random}]", "rewards.mix=sum",
        "train.steps=2", "train.save_every=1", "train.warmup_steps=0", "train.completions_per_step=16",
        "train.microbatch_size=4", "rollout.group_size=4", "rollout.max_completion_tokens=12", "lora.rank=4",
        "train.sampling=uniform", "train.precision=float32", "guard.every=0", "data.duplicates=keep",
        "model.backend=peft",
    ]  # fmt: skip
    return values


UNSOUND = "--no-check"
"""A random model, rewards at random and one question eight times: the check would stop these runs."""


def options(values: Sequence[str]) -> list[str]:
    return [part for value in values for part in ("--set", value)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def finished(folder: Path, random_model: Path) -> subprocess.CompletedProcess[str]:
    """A run of two processes in `folder / "run"`."""
    done = launch(
        "-m",
        "razona",
        "train",
        "demo",
        *options(small_run(folder, random_model)),
        UNSOUND,
        "--out",
        "run",
        folder=folder,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two processes took the step of each case, ours and TRL's."""
    folder = tmp_path_factory.mktemp("steps")
    done = launch(one_step.__file__, str(folder), folder=folder)
    assert done.returncode == 0, done.stderr
    return folder


def found(steps: Path, process: int, case: Case, side: str) -> Step:
    return Step(**torch.load(steps / f"{process}.pt")[case.name][side])


def difference(ours: Step, theirs: Step) -> float:
    """Give the largest relative difference, of the loss and of each parameter's gradient in its own norm."""
    assert ours.gradient.keys() == theirs.gradient.keys() and len(ours.gradient) == 56  # 4 layers, 7 matrices, A and B
    assert all(gradient.norm() > 1e-5 for gradient in theirs.gradient.values())
    apart = [(ours.gradient[name] - other).norm() / other.norm() for name, other in theirs.gradient.items()]
    # On policy, advantages cancel in the loss of `grpo`: what is left of it is rounding.
    return max(torch.stack(apart).max().item(), abs(ours.loss - theirs.loss) / max(abs(theirs.loss), 1e-2))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_two_processes_give_trls_own_loss_and_gradient(case: Case, steps: Path):
    for process in range(2):
        assert difference(found(steps, process, case, "ours"), found(steps, process, case, "theirs")) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_both_processes_hand_the_optimizer_the_same_gradient(case: Case, steps: Path):
    one, other = (found(steps, process, case, "ours").gradient for process in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["grpo", "dr_grpo", "dapo"])
@pytest.mark.parametrize("accumulation", [1, 4])
def test_two_processes_give_the_gradient_of_one(loss: str, accumulation: int, steps: Path, tmp_path: Path):
    case = Case(loss=loss, accumulation=accumulation, flat_groups=SECOND_HALF)
    in_two = found(steps, 0, case, "ours")
    in_one = one_step.take_step(replace(case, accumulation=1), tmp_path, is_ours=True)
    assert difference(in_two, in_one) < TOLERANCE


@pytest.mark.slow
def test_a_process_of_flat_groups_computes_one_row_a_backward_pass(steps: Path):
    for accumulation, first_process in ((1, [16]), (4, [4, 4, 4, 4])):
        case = Case(loss="dapo", accumulation=accumulation, flat_groups=SECOND_HALF)
        rows = [found(steps, process, case, "ours").computed_rows for process in range(2)]
        assert rows == [first_process, [1] * accumulation]


@pytest.mark.slow
def test_stored_texts_and_verdicts_belong_to_their_rows(steps: Path, tmp_path: Path):
    case = Case(loss="dapo", accumulation=4, is_clipped=True)
    recipe = one_step.recipe_of(case)
    targets = prepare_data(recipe, load_policy(recipe.model), RunDir(tmp_path)).dataset["target"][:]
    rows = list(read_jsonl(RunDir(steps / case.name / "ours").completions(1)))
    assert [row["completion"] for row in rows] == one_step.texts_of_step(targets, case.flat_groups)
    assert [row["target"] for row in rows] == [targets[place // GROUP_SIZE] for place in range(len(rows))]
    is_right = [group not in case.flat_groups and place % 2 == 0 for group in range(GROUPS) for place in range(4)]
    assert [row["outcome"] == "correct" for row in rows] == is_right
    assert [row["is_truncated"] for row in rows] == [False, False, False, True] * GROUPS
    assert [row["advantage"] > 0 for row in rows] == is_right


@pytest.mark.parametrize("accumulation", [1, 4])
@pytest.mark.parametrize("loss", LOSSES)
def test_one_process_gives_trls_own_loss_and_gradient(loss: str, accumulation: int, tmp_path: Path):
    case = Case(loss=loss, accumulation=accumulation, is_clipped=True)
    ours = one_step.take_step(case, tmp_path / "ours", is_ours=True)
    theirs = one_step.take_step(case, tmp_path / "theirs", is_ours=False)
    assert len(ours.computed_rows) == accumulation and not theirs.computed_rows
    assert difference(ours, theirs) < TOLERANCE


@pytest.mark.slow
def test_two_processes_leave_one_folder_and_one_voice(finished: subprocess.CompletedProcess[str], folder: Path):
    run = RunDir(folder / "run")
    assert finished.stdout.count("Training with GRPO") == 1 and finished.stdout.count("Adapter:") == 1
    assert finished.stderr == ""
    assert json.loads(run.environment.read_text())["processes"] == 2
    assert json.loads(run.manifest.read_text())["to_sample_from"] == 8
    assert run.completion_steps() == [1, 2] and run.report.exists()
    states = {path.name for path in (run.checkpoints / "checkpoint-2").glob("rng_state_*")}
    assert states == {"rng_state_0.pth", "rng_state_1.pth"}
    adapter = load_file(run.adapter / "adapter_model.safetensors")
    assert len(adapter) == 42
    assert all(weight.abs().max() > 0 for name, weight in adapter.items() if "lora_B" in name)


@pytest.mark.slow
def test_rows_of_all_processes_are_stored_in_the_order_of_the_groups(finished, folder: Path, random_model, tmp_path):
    recipe = load("demo", small_run(folder, random_model))
    order = prepare_data(recipe, load_policy(recipe.model), RunDir(tmp_path)).dataset["problem_id"][:]
    for step in (1, 2):
        rows = list(read_jsonl(RunDir(folder / "run").completions(step)))
        assert [row["group"] for row in rows] == [group for group in range(4) for _ in range(4)]
        assert [row["problem_id"] for row in rows] == [order[4 * (step - 1) + row["group"]] for row in rows]


@pytest.mark.slow
def test_advantages_and_metrics_follow_from_the_stored_rows_of_all(finished, folder: Path):
    run = RunDir(folder / "run")
    metrics = run.read_steps()
    assert [row["step"] for row in metrics] == [1, 2]
    for step, figures in zip((1, 2), metrics, strict=True):
        rows = list(read_jsonl(run.completions(step)))
        for start in range(0, 16, 4):
            rewards = [row["reward"] for row in rows[start : start + 4]]
            by_hand = [(reward - mean(rewards)) / (stdev(rewards) + 1e-4) for reward in rewards]
            assert [row["advantage"] for row in rows[start : start + 4]] == pytest.approx(by_hand, rel=1e-4)
        assert figures["reward"] == pytest.approx(mean(row["reward"] for row in rows))
        assert figures["length"] == pytest.approx(mean(row["num_tokens"] for row in rows))
        assert figures["informative_groups"] == 1.0
        assert 0 < figures["logprob_gap_mean"] <= figures["logprob_gap_p99"] < 1e-4


@pytest.mark.slow
def test_two_processes_draw_different_completions_and_rewards_from_the_same_question(finished, folder: Path):
    rows = list(read_jsonl(RunDir(folder / "run").completions(1)))
    assert len({row["prompt"] for row in rows}) == 1
    for column in ("completion", "reward"):
        first, second = ({row[column] for row in half} for half in (rows[:SHARE], rows[SHARE:]))
        assert len(first) == len(second) == SHARE and not first & second


@pytest.mark.slow
def test_two_processes_go_on_as_the_uninterrupted_run_went(finished, folder: Path, random_model: Path):
    whole, cut = RunDir(folder / "run"), RunDir(folder / "cut")
    subprocess.run(["cp", "-r", str(whole.root), str(cut.root)], check=True)
    subprocess.run(["rm", "-r", str(cut.checkpoints / "checkpoint-2"), str(cut.adapter)], check=True)
    train_again = ("train", "demo", *options(small_run(folder, random_model)), UNSOUND, "--out", "cut", "--resume")
    done = launch("-m", "razona", *train_again, folder=folder)
    assert done.returncode == 0, done.stderr
    assert list(read_jsonl(cut.completions(2))) == list(read_jsonl(whole.completions(2)))
    assert [row["loss"] for row in cut.read_steps()] == [row["loss"] for row in whole.read_steps()]
    one, other = (load_file(run.adapter / "adapter_model.safetensors") for run in (whole, cut))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_a_main_process_that_cannot_start_leaves_no_one_waiting(folder: Path, random_model: Path):
    """Nothing but the processes themselves ends them here: torchrun, which would, did not start them."""
    taken = RunDir(folder / "taken")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "razona", "train", "demo", *options(small_run(folder, random_model)), UNSOUND]
    shared = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with taken.lock():
        running = [
            subprocess.Popen(
                [*command, "--out", str(taken.root)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**shared, "WORLD_SIZE": "2", "RANK": str(index), "LOCAL_RANK": str(index)},
            )
            for index in range(2)
        ]
        try:
            said = [process.communicate(timeout=120) for process in running]
        finally:
            for process in running:
                process.kill()
    assert [process.returncode for process in running] == [2, 1]
    assert said[0][1].startswith(f"razona: {taken.root} is in use by a live run")
    assert said[1] == ("", f"razona (process 1 of 2): stopped, because process 0 failed: {said[0][1][8:]}")
    assert {path.name for path in taken.root.iterdir()} == {".lock"}


@pytest.mark.parametrize(
    ("processes", "group", "microbatch", "completions", "ways"),
    [
        (2, 8, 64, 256, None),
        (4, 8, 64, 256, None),
        (1, 8, 24, 48, None),
        (8, 8, 64, 256, ["= 256 over 8 processes is 32 for each", "of [1, 2, 4, 8, 16, 32]", "to 512", "of [1, 2, 4]"]),
        (3, 8, 8, 64, ["is 21.3333 for each", "completions_per_step to 72", "processes to one of [1, 2, 4, 8]"]),
        (2, 8, 4, 8, ["completions_per_step to 16", "processes to one of [1]"]),
    ],
)
def test_each_process_takes_whole_groups_and_microbatches(processes, group, microbatch, completions, ways):
    if ways is None:
        check_num_processes(processes, group, microbatch, completions)
        return
    with pytest.raises(RecipeError) as refused:
        check_num_processes(processes, group, microbatch, completions)
    for way in ways:
        assert way in str(refused.value)


def test_training_refuses_processes_that_do_not_fit_before_it_touches_the_folder(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(RecipeError, match="over 3 processes"):
        train(load("demo", []), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RANK": "0", "LOCAL_RANK": "0"}, "MASTER_ADDR, MASTER_PORT is not set"),
        (
            {"RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "a", "MASTER_PORT": "1", "ACCELERATE_USE_FSDP": "true"},
            "accelerate launch asks for FSDP1",
        ),
    ],
)
def test_a_launch_that_cannot_work_is_refused_before_anyone_waits(variables, message, tmp_path: Path, monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"WORLD_SIZE": "2", **variables}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(MachineError, match=message):
        train(load("demo", []), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_demo_runs_in_one_process_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(MachineError, match="WORLD_SIZE = 2: razona demo runs in one process"):
        demo(load("demo", []), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("verb", [["tasks"], ["demo"], ["verify", "rows.jsonl"]])
def test_verbs_that_know_one_process_refuse_several(verb: list[str], tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "razona", *verb],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "WORLD_SIZE": "2", "RANK": "1"},
        timeout=60,
        check=False,
    )
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"razona (process 1 of 2): WORLD_SIZE = 2: razona {verb[0]} runs in one process")


def test_the_main_process_keeps_its_seed_of_rewards_and_every_other_has_its_own(monkeypatch: pytest.MonkeyPatch):
    seeds = []
    for index in range(4):
        monkeypatch.setenv("RANK", str(index))
        seeds.append(reward_seed(7))
    assert seeds[0] == 7 and len(set(seeds)) == 4


def test_in_one_process_an_error_stays_what_it_was():
    join_processes()
    with pytest.raises(KeyError, match="mine"), stop_together():
        raise KeyError("mine")
    assert in_main_process(lambda: 5) == 5
    leave_processes()


def test_a_run_goes_on_with_the_sharding_that_it_began_with_and_no_other(tmp_path: Path, monkeypatch):
    recipe, run = load("demo", []), RunDir(tmp_path / "run")
    prepare_folder(run, recipe, resume=False)
    prepare_folder(run, recipe, resume=True)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(RunFolderError, match="began with sharding: none, and this start has fsdp"):
        prepare_folder(run, recipe, resume=True)


def test_a_run_that_goes_on_in_another_number_of_processes_says_so(random_model: Path, tmp_path: Path, capsys):
    recipe = load("demo", [*small_run(tmp_path, random_model), "train.steps=1"])
    run = train(recipe, tmp_path / "run").run
    described = json.loads(run.environment.read_text())
    assert described["processes"] == 1
    train(recipe, run.root, resume=True)
    assert "began with" not in capsys.readouterr().err
    run.environment.write_text(json.dumps({**described, "processes": 2}))
    train(recipe, run.root, resume=True)
    assert "began with 2 processes and goes on with 1" in capsys.readouterr().err
