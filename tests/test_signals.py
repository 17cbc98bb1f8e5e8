"""Signals to a run in one process: what it saves, with what it ends, and that it goes on as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from razona.core.files import read_jsonl
from razona.core.rundir import RunDir

pytestmark = pytest.mark.slow

STEPS = 4
VALUES = [
    f"train.steps={STEPS}", "train.save_every=100", "train.warmup_steps=0", "train.completions_per_step=16",
    "train.microbatch_size=8", "train.sampling=informative", "rollout.group_size=4", "guard.every=2",
    "guard.num_problems=2", "guard.samples=1", "rollout.max_completion_tokens=24", "train.learning_rate=0.01",
]  # fmt: skip
TRAIN = ("train", "demo", "--no-check")
PLACE_S = 120
"""A run has come to its place by then, on a machine that does other things as well."""
TIMES = ("seconds", "slowest")
"""What a step's row says of times, by the beginning of a figure's name: no two runs have the same."""


@dataclass
class Ended:
    """A run that has ended."""

    code: int
    seconds: float
    """From the first signal, or from the word to go on where one was given."""
    stdout: str
    stderr: str


class Runs:
    """Starts runs in processes forked from one that has loaded what they need."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("forked_runs.py"))]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        self.server = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        assert self.line() == "ready"

    def line(self) -> str:
        assert self.server.stdout is not None
        return self.server.stdout.readline().strip()

    def run(
        self,
        folder: Path,
        plant: str,
        *signals: signal.Signals,
        verb: tuple[str, ...] = TRAIN,
        more: tuple[str, ...] = (),
    ) -> Ended:
        """Start a run in `folder/run`, send it signals when it has come to its place, and wait for its end."""
        folder.mkdir(exist_ok=True)
        sets = [part for value in VALUES for part in ("--set", value)]
        argv = [*verb, *sets, "--out", str(folder / "run"), *more]
        assert self.server.stdin is not None
        self.server.stdin.write(json.dumps({"argv": argv, "plant": plant, "folder": str(folder)}) + "\n")
        self.server.stdin.flush()
        pid = json.loads(self.line())["pid"]
        started = time.monotonic()
        try:
            while signals and not (folder / "there").exists():
                assert time.monotonic() < started + PLACE_S, (folder / "stderr").read_text()
                time.sleep(0.01)
            started = time.monotonic()
            for one in signals:
                time.sleep(0.2)  # signals that wait for a process together are one
                os.kill(pid, one)
            if signals:
                time.sleep(0.2)
            (folder / "go").touch()
            code = json.loads(self.line())["code"]
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            raise
        said = [(folder / name).read_text() for name in ("stdout", "stderr")]
        return Ended(code, time.monotonic() - started, *said)


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    made = Runs()
    with made.server:  # closes its pipes, and waits
        yield made
        made.server.kill()


@pytest.fixture(scope="module")
def whole(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    folder = tmp_path_factory.mktemp("whole")
    assert runs.run(folder, "nothing").code == 0
    return RunDir(folder / "run")


def checkpoints_of(run: RunDir) -> list[str]:
    return sorted(path.name for path in run.checkpoints.glob("checkpoint-*"))


def assert_same(run: RunDir, other: RunDir) -> None:
    """Weights, optimizer, metrics and completions are the same to the last bit; times are not compared."""
    for name in ("adapter/adapter_model.safetensors", "best/adapter_model.safetensors"):
        assert (run.root / name).read_bytes() == (other.root / name).read_bytes(), name
    ours, theirs = (
        [{name: row[name] for name in row if not name.startswith(TIMES)} for row in one.read_steps()]
        for one in (run, other)
    )
    assert ours == theirs and len(ours) == STEPS
    guards = ([{**row, "seconds": 0} for row in one.read_guard()] for one in (run, other))
    assert next(guards) == next(guards)
    for step in range(1, STEPS + 1):
        assert list(read_jsonl(run.completions(step))) == list(read_jsonl(other.completions(step)))


SIGTERM, SIGINT, SIGUSR1 = signal.SIGTERM, signal.SIGINT, signal.SIGUSR1


@pytest.mark.parametrize(
    ("sent", "plant", "grace_s", "code", "checkpoint", "said"),
    [
        (SIGTERM, "wait_for_go", 30, 143, "checkpoint-3", "terminated (SIGTERM) after step 3. Its last checkpoint is"),
        (SIGINT, "wait_for_go", 30, 130, "checkpoint-3", "interrupted (SIGINT) after step 3. Its last checkpoint is"),
        (
            SIGTERM,
            "wait_between_steps",
            30,
            143,
            "checkpoint-2",
            "terminated (SIGTERM) after step 2. Its last checkpoint",
        ),
        (SIGUSR1, "sample_for_long", 2, 143, "checkpoint-2", "terminated (SIGUSR1) after step 2. Its last checkpoint"),
    ],
)
def test_a_signal_ends_the_run_with_a_checkpoint_and_it_goes_on_bit_by_bit(
    sent, plant, grace_s, code, checkpoint, said, runs: Runs, whole: RunDir, tmp_path: Path
):
    """The step ends where it can within half of the time of grace, and is left where it cannot."""
    grace = ("--set", f"train.grace_s={grace_s}")
    ended = runs.run(tmp_path, plant, sent, more=grace)
    assert (ended.code, checkpoints_of(RunDir(tmp_path / "run"))) == (code, [checkpoint]), ended.stderr
    assert ended.seconds < grace_s + 20  # of which writing and other work of the machine
    assert f"razona: {sent.name}: the run ends with this step and a checkpoint" in ended.stderr
    assert said in ended.stderr and "--resume" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    if sent is not SIGINT:  # which differs from SIGTERM in nothing that is saved
        again = runs.run(tmp_path, "nothing", more=(*grace, "--resume"))
        assert again.code == 0, again.stderr
        assert_same(RunDir(tmp_path / "run"), whole)


def test_a_checkpoint_that_is_being_written_may_take_longer_than_the_time_of_grace(runs: Runs, tmp_path: Path):
    more = ("--set", "train.grace_s=1", "--set", "train.save_every=2")
    ended = runs.run(tmp_path, "save_for_long", SIGTERM, more=more)
    assert (ended.code, checkpoints_of(RunDir(tmp_path / "run"))) == (143, ["checkpoint-2"]), ended.stderr
    assert "terminated (SIGTERM) after step 2. Its last checkpoint is" in ended.stderr


def test_the_demo_is_ended_while_it_trains_as_training_is(runs: Runs, tmp_path: Path):
    few = [f"evaluate.{name}=4" for name in ("num_problems", "ood_num_problems", "best_prompt_problems")]
    sets = [part for value in [*few, "evaluate.samples=1"] for part in ("--set", value)]
    ended = runs.run(tmp_path, "wait_for_go", SIGTERM, verb=("demo",), more=tuple(sets))
    assert ended.code == 143 and checkpoints_of(RunDir(tmp_path / "run")) == ["checkpoint-3"], ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert "terminated (SIGTERM) after step 3" in last and "go on from there with: razona demo --set" in last


@pytest.mark.parametrize(
    ("sent", "plant", "grace_s", "code", "within_s", "said"),
    [
        ([SIGTERM, SIGTERM], "one_long_call", 60, 143, 20, "(SIGTERM): a second signal came, so the run is left"),
        ([SIGINT, SIGTERM], "sample_for_long", 60, 130, 20, "(SIGINT): a second signal came, so the run is left"),
        ([SIGTERM], "one_long_call", 1, 143, 20, "the step took longer than the time of grace (1 s)"),
        ([SIGTERM], "load_for_long", 60, 143, 20, "nothing that a checkpoint could hold was under way"),
    ],
)  # fmt: skip
def test_what_cannot_wait_leaves_at_once_and_names_the_checkpoint_that_counts(
    sent, plant, grace_s, code, within_s, said, runs: Runs, tmp_path: Path
):
    changes = ("--set", f"train.grace_s={grace_s}", "--set", "train.save_every=1")
    ended = runs.run(tmp_path, plant, *sent, more=changes)
    assert ended.code == code and ended.seconds < within_s, ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert said in last
    if plant == "load_for_long":
        assert "holds no checkpoint of it" in last
    else:
        assert f"Its last checkpoint is {tmp_path}/run/checkpoints/checkpoint-2; go on from there with: razona" in last
        assert RunDir(tmp_path / "run").last_checkpoint() == tmp_path / "run" / "checkpoints" / "checkpoint-2"
