"""Runs that `razona train --num-processes 2` starts: the losses of one process, and a killed process costs no more than
the steps since the last checkpoint.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import psutil
import pytest
import torch
from safetensors.torch import load_file

from razona.core.errors import MachineError
from razona.core.files import read_jsonl
from razona.core.rundir import RunDir
from razona.recipe import load
from razona.rollout import OnFinished, Sampled
from razona.train import train
from razona.train.processes import tell_lost_processes
from razona.train.trainer import Trainer

pytestmark = pytest.mark.slow

STEPS = 6
ROWS = 32
VALUES = [
    f"train.steps={STEPS}", "train.save_every=1", "train.warmup_steps=0", f"train.completions_per_step={ROWS}",
    "train.microbatch_size=8", "train.sampling=uniform", "train.precision=float32", "guard.every=0",
    "rollout.max_completion_tokens=32", "train.loss_type=dapo",
]  # fmt: skip
"""The embedded model and the demo's problems; two groups of eight for each of two processes."""
END_S = 30
"""A run whose process was killed has ended by then; docs/scale.md says so. Here it takes 1 to 3 s."""


def command(out: Path, *more: str) -> list[str]:
    sets = [part for value in VALUES for part in ("--set", value)]
    return [sys.executable, "-m", "razona", "train", "demo", *sets, "--out", str(out), "--num-processes", "2", *more]


def start(out: Path, *more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command(out, *more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=out.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finish(out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    running = start(out, *more)
    try:
        stdout, stderr = running.communicate(timeout=300)
    finally:
        running.terminate()
    assert running.returncode == 0, stderr
    return subprocess.CompletedProcess(command(out, *more), 0, stdout, stderr)


def interrupt(out: Path, after: int, strike: Callable[[psutil.Process], None], *more: str) -> tuple[int, str, float]:
    """Start the run, strike once it has a checkpoint of step `after`, and wait for its end.

    Returns:
        The exit code, standard error, and the seconds from the blow to the end.
    """
    running = start(out, *more)
    launcher = psutil.Process(running.pid)
    try:
        end = time.monotonic() + 240
        while not (out / "checkpoints" / f"checkpoint-{after}" / "trainer_state.json").exists():
            assert running.poll() is None and time.monotonic() < end, running.communicate()[1]
            time.sleep(0.01)
        family = launcher.children(recursive=True)
        started = time.monotonic()
        strike(launcher)
        stderr = running.communicate(timeout=2 * END_S)[1]
    finally:
        running.kill()
    seconds = time.monotonic() - started
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    return running.returncode, stderr, seconds


def kill_process(index: int) -> Callable[[psutil.Process], None]:
    def strike(launcher: psutil.Process) -> None:
        next(child for child in launcher.children() if child.environ().get("RANK") == str(index)).kill()

    return strike


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDir, str]:
    """An uninterrupted run of two processes, and what it printed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    done = finish(out)
    assert done.stderr == ""
    return RunDir(out), done.stdout


@pytest.fixture(scope="module")
def blows(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDir, dict[str, tuple[int, str, float]]]:
    """A run that lost process 1, then process 0, and came to its end all the same."""
    out = tmp_path_factory.mktemp("blows") / "run"
    ends = {
        "process 1": interrupt(out, 1, kill_process(1)),
        "process 0": interrupt(out, 3, kill_process(0), "--resume"),
    }
    finish(out, "--resume")
    return RunDir(out), ends


@pytest.mark.parametrize("index", [0, 1])
def test_a_killed_process_ends_the_run_in_time_and_is_named_with_the_way_on(blows, index: int):
    run, ends = blows
    code, stderr, seconds = ends[f"process {index}"]
    assert code == 1 and seconds < END_S
    last = stderr.splitlines()[-1]
    assert f"razona: process {index} of 2 (pid " in last and "was killed by SIGKILL" in last
    assert f"Its last checkpoint is {run.checkpoints}/checkpoint-" in last
    assert last.endswith("--resume") and "go on from there with: razona train demo --set" in last
    assert "Traceback" not in stderr


def test_the_checkpoint_that_a_kill_leaves_goes_on_as_if_nothing_had_happened(whole, blows):
    untouched, struck = whole[0], blows[0]
    assert [row["loss"] for row in struck.read_steps()] == [row["loss"] for row in untouched.read_steps()]
    for step in range(1, STEPS + 1):
        assert list(read_jsonl(struck.completions(step))) == list(read_jsonl(untouched.completions(step)))
    assert_same_weights(struck, untouched, 0.0)


def test_metrics_completions_and_checkpoints_are_written_once(whole):
    run, stdout = whole
    assert [row["step"] for row in run.read_steps()] == list(range(1, STEPS + 1))
    assert run.completion_steps() == list(range(1, STEPS + 1))
    for step in run.completion_steps():
        rows = list(read_jsonl(run.completions(step)))
        assert [row["group"] for row in rows] == [group for group in range(4) for _ in range(8)]
        assert [row["process"] for row in rows] == [0] * 16 + [1] * 16
    assert {path.name for path in run.checkpoints.iterdir() if path.is_dir()} == {"checkpoint-5", "checkpoint-6"}
    assert stdout.count("Training with GRPO") == stdout.count("Adapter:") == 1
    described = json.loads(run.environment.read_text())
    assert described["processes"] == 2 and described["sharding"] == ""


def test_two_processes_have_the_losses_of_one_with_the_same_batch(whole, tmp_path: Path):
    """The completions of the two are given to one process, which samples none and trains as it always does."""
    in_two = whole[0]

    def sample(trainer: Trainer, prompts: list, round_of_step: int, on_finished: OnFinished) -> list[Sampled]:
        rows = list(read_jsonl(in_two.completions(trainer.state.global_step + 1)))
        ids = [
            trainer._tokenizer.encode(row["completion"], add_special_tokens=False)
            + [trainer._tokenizer.eos_token_id] * (not row["is_truncated"])
            for row in rows
        ]
        assert [len(one) for one in ids] == [row["num_tokens"] for row in rows]
        assert len(prompts) == ROWS
        on_finished(list(range(ROWS)), ids)
        return [Sampled(ids=one, logprobs=None) for one in ids]

    with patch.object(Trainer, "_sample", sample):
        in_one = train(load("demo", VALUES), tmp_path / "run").run
    assert_same_steps(in_one, in_two)
    assert_same_weights(in_one, in_two, 1e-3)


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDir, tuple[int, str, float]]:
    """The same run with FSDP2, which was terminated on the way and went on."""
    out = tmp_path_factory.mktemp("sharded") / "run"
    end = interrupt(out, 3, lambda launcher: launcher.send_signal(signal.SIGTERM), "--sharding", "fsdp2")
    assert finish(out, "--sharding", "fsdp2", "--resume").stderr == ""
    return RunDir(out), end


def test_weights_shared_out_by_fsdp2_give_the_losses_of_whole_ones(whole, sharded):
    run = sharded[0]
    assert json.loads(run.environment.read_text())["sharding"] == "fsdp"
    assert (run.checkpoints / "checkpoint-6" / "pytorch_model_fsdp.bin").exists()
    assert_same_steps(run, whole[0])
    assert_same_weights(run, whole[0], 1e-3)


def test_a_terminated_launcher_ends_its_processes_with_143(sharded):
    code, stderr, seconds = sharded[1]
    assert code == 143 and seconds < END_S
    assert "razona: terminated (SIGTERM). Its last checkpoint is" in stderr and "Traceback" not in stderr


def assert_same_steps(one: RunDir, other: RunDir) -> None:
    ours, theirs = one.read_steps(), other.read_steps()
    assert len(ours) == STEPS
    assert all(abs(row["loss"]) > 1e-3 for row in ours)
    for name in ("loss", "grad_norm"):
        assert [row[name] for row in ours] == pytest.approx([row[name] for row in theirs], rel=1e-4), name


def assert_same_weights(one: RunDir, other: RunDir, tolerance: float) -> None:
    ours, theirs = (load_file(run.adapter / "adapter_model.safetensors") for run in (one, other))
    assert ours.keys() == theirs.keys() and len(ours) == 56
    assert all(weight.norm() > 0 for weight in ours.values())
    apart = max((ours[name] - theirs[name]).norm() / theirs[name].norm() for name in ours)
    assert apart <= tolerance


@pytest.mark.parametrize(
    ("error", "is_told"),
    [
        (RuntimeError("[/build/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:1"), True),
        (torch.distributed.DistNetworkError("broken pipe"), True),
        (RuntimeError("shapes do not match"), False),
        (ValueError("[/build/gloo/x.cc:1]"), False),
    ],
)
def test_a_broken_connection_is_told_from_other_failures(error: Exception, is_told: bool, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(Exception) as raised, tell_lost_processes():
        raise error
    assert (raised.value is not error) == is_told
    assert not is_told or (isinstance(raised.value, MachineError) and str(error) in str(raised.value))
