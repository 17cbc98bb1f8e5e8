"""Two processes, of which one meets a fault or a signal: both do the same about it."""

import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from test_launch_runs import END_S, start

from razona.core.files import read_jsonl
from razona.core.rundir import RunDir

pytestmark = [pytest.mark.slow, pytest.mark.long]

FAULTY = Path(__file__).with_name("faulty_process.py")


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDir, "subprocess.Popen[str]", str]:
    """A run with a loss in process 1 that is NaN, and then a signal to process 1 alone."""
    run = RunDir(tmp_path_factory.mktemp("faults") / "run")
    component = f"rewards.components=[{{name: correct}}, {{name: '{FAULTY}:half', options: {{range: [0, 1]}}}}]"
    changes = ["rewards.mix=sum", "train.save_every=100", "train.steps=100", component]
    sets = [part for value in changes for part in ("--set", value)]
    running = start(run.root, *sets, "--no-check")
    try:
        end = time.monotonic() + 240
        while len(run.read_steps()) < 3:
            assert running.poll() is None and time.monotonic() < end, running.communicate()[1]
            time.sleep(0.05)
        processes = psutil.Process(running.pid).children()
        next(one for one in processes if one.environ().get("RANK") == "1").send_signal(signal.SIGUSR1)
        stderr = running.communicate(timeout=2 * END_S)[1]
    finally:
        running.kill()
    return run, running, stderr


def test_a_loss_that_is_nan_in_one_process_leaves_the_update_out_in_both(ended):
    run, _, stderr = ended
    assert [row["loss"] is None for row in run.read_steps()[:3]] == [False, True, False]
    assert [(event["event"], event["step"]) for event in read_jsonl(run.events)] == [("update_left_out", 2)]
    assert stderr.count("update left out: a loss of another process was NaN or infinite") == 1


def test_a_signal_to_one_process_is_a_checkpoint_of_both(ended):
    run, running, stderr = ended
    assert running.returncode == 143, stderr
    checkpoint = run.last_checkpoint()
    assert checkpoint is not None and [*run.checkpoints.glob("checkpoint-*")] == [checkpoint]
    assert checkpoint.name == f"checkpoint-{len(run.read_steps())}"
    assert {path.name for path in checkpoint.glob("rng_state*")} == {"rng_state_0.pth", "rng_state_1.pth"}
    moments = torch.load(checkpoint / "optimizer.pt", weights_only=True)["state"]
    assert {int(one["step"]) for one in moments.values()} == {len(run.read_steps()) - 1}  # one was left out
    assert all(weight.isfinite().all() for weight in load_file(checkpoint / "adapter_model.safetensors").values())
    assert f"terminated (SIGTERM). Its last checkpoint is {checkpoint}; go on from there with: razona train" in stderr
