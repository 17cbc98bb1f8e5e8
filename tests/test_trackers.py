"""Trackers: they get the run folder's names and values, once; what they lack or break does not cost a run."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from razona.core.errors import MachineError
from razona.core.files import read_jsonl
from razona.core.rundir import RunDir
from razona.recipe import Recipe, load
from razona.train import train

TINY = (
    "train.sampling=uniform",
    "train.completions_per_step=8",
    "train.microbatch_size=8",
    "rollout.group_size=4",
    "rollout.max_completion_tokens=12",
    "train.steps=2",
    "guard.every=2",
    "guard.num_problems=2",
    "guard.samples=1",
)


def tiny(*trackers: str) -> Recipe:
    return load("demo", [*TINY, f"report.report_to=[{','.join(trackers)}]"])


@dataclass
class Fake:
    """A package that looks like W&B or trackio, and keeps what it is told."""

    opened: list[dict] = field(default_factory=list)
    logged: list[tuple[int, Mapping[str, float]]] = field(default_factory=list)
    finished: list[object] = field(default_factory=list)
    breaks_at: int | None = None

    def init(self, **options: object) -> SimpleNamespace:
        print("a package that talks")
        self.opened.append(options)
        return SimpleNamespace(
            id="id-1", name=options["name"], log=self.log, finish=self.finish, define_metric=lambda *a, **k: None
        )

    def log(self, figures: Mapping[str, float], step: int | None = None) -> None:
        place = int(figures["step"]) if step is None else step
        if place == self.breaks_at:
            raise ConnectionError("the line is down")
        self.logged.append((place, {name: value for name, value in figures.items() if name != "step"}))

    def finish(self, **options: object) -> None:
        self.finished.append(options.get("exit_code"))


def install(monkeypatch: pytest.MonkeyPatch, name: str, fake: Fake) -> Fake:
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    module.__dict__.update(init=fake.init, finish=fake.finish, Settings=lambda **options: options)
    nothing = SimpleNamespace(get=lambda: None)  # TRL asks trackio for its run, where it is installed
    module.__dict__["context_vars"] = SimpleNamespace(current_run=nothing, current_space_id=nothing)
    monkeypatch.setitem(sys.modules, name, module)
    return fake


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_tracker_gets_every_figure_of_the_run_folder_under_its_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    fake = install(monkeypatch, name, Fake())
    train(tiny(name), tmp_path / "run")
    run = RunDir(tmp_path / "run")
    of_steps = {step: figures for step, figures in fake.logged if "reward" in figures}
    assert len(fake.logged) == 4 and sorted(of_steps) == [1, 2]  # two steps, and the guard before and after them
    for row in run.read_steps():
        ours = {key: value for key, value in of_steps[row["step"]].items() if not key.startswith("trl/")}
        assert ours == {key: value for key, value in row.items() if key != "step" and value is not None}
    assert of_steps[1]["trl/learning_rate"] == of_steps[1]["learning_rate"]
    measured = {step: figures["guard/accuracy"] for step, figures in fake.logged if "guard/accuracy" in figures}
    assert measured == {row["step"]: row["accuracy"] for row in run.read_guard()}
    (opened,) = fake.opened
    assert (opened["project"], opened["name"]) == ("razona", "run")
    assert opened["config"]["train"]["steps"] == 2
    assert fake.finished == [0 if name == "wandb" else None]
    assert "a package that talks" not in capsys.readouterr().out


def test_updates_of_a_supervised_fine_tuning_are_figures_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fake = install(monkeypatch, "trackio", Fake())
    changes = ["train.method=sft", "sft.source=given", "sft.max_steps=2", "sft.batch_size=4", "guard.every=0"]
    train(load("demo", [*TINY, *changes, "report.report_to=[trackio]"]), tmp_path / "run")
    stored = {row["step"]: row["loss"] for row in read_jsonl(RunDir(tmp_path / "run").sft_metrics)}
    assert {step: figures["sft/loss"] for step, figures in fake.logged} == stored and len(stored) == 2


def test_a_resumed_run_goes_on_under_the_name_that_the_tracker_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fake = install(monkeypatch, "wandb", Fake())

    def stop(row: Mapping[str, float | None]) -> None:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        train(tiny("wandb"), tmp_path / "run", watch=stop)
    assert fake.finished == [1]
    train(tiny("wandb"), tmp_path / "run", resume=True)
    assert [(one["id"], one["resume"]) for one in fake.opened] == [(None, None), ("id-1", "allow")]
    assert fake.finished == [1, 0]


def test_a_tracker_that_fails_while_the_run_trains_is_told_once_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    broken, whole = (
        install(monkeypatch, "wandb", Fake(breaks_at=1)),
        install(monkeypatch, "trackio", Fake()),
    )
    result = train(tiny("wandb", "trackio"), tmp_path / "run")
    told = [line for line in capsys.readouterr().err.splitlines() if "tracker" in line]
    assert len(told) == 1 and "the tracker wandb failed (step 1): ConnectionError: the line is down. It gets" in told[0]
    assert result.steps == 2 and [step for step, _ in broken.logged] == [0]
    assert [step for step, _ in whole.logged] == [0, 1, 2, 2]


def test_a_tracker_that_is_not_installed_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("razona.train.trackers.find_spec", lambda name: None if name == "trackio" else ModuleSpec)
    with pytest.raises(
        MachineError, match=r"names trackio, which is not installed. Install it with `.* pip install tr"
    ):
        train(tiny("tensorboard", "trackio"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_tracker_that_cannot_be_opened_ends_the_run_before_step_1_and_closes_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    other = install(monkeypatch, "trackio", Fake())
    fake = install(monkeypatch, "wandb", Fake())
    monkeypatch.setattr(fake, "init", lambda **options: 1 / 0)
    sys.modules["wandb"].__dict__["init"] = fake.init
    with pytest.raises(MachineError, match=r"wandb cannot be opened: ZeroDivisionError: .* WANDB_MODE=offline"):
        train(tiny("trackio", "wandb"), tmp_path / "run")
    assert other.finished == [None] and not RunDir(tmp_path / "run").metrics.exists()


def test_nothing_is_opened_in_another_process_than_the_main_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from razona.train.trackers import Trackers

    fake = install(monkeypatch, "wandb", Fake())
    monkeypatch.setenv("RANK", "1")
    with Trackers(tiny("wandb"), RunDir(tmp_path)) as trackers:
        trackers.take_measurement({"step": 0, "accuracy": 0.5, "best_accuracy": 0.5, "below_best": 0.0, "rollbacks": 0})
    assert (fake.opened, fake.logged) == ([], [])


READERS = {
    "tensorboard": """
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator("run/trackers/tensorboard").Reload()
found = {name: {one.step: one.value for one in events.Scalars(name)} for name in events.Tags()["scalars"]}
""",
    "trackio": """
import pathlib, sqlite3
database = sqlite3.connect(next(pathlib.Path("trackio").glob("*.db")))
found = {}
for step, metrics in database.execute("select step, metrics from metrics"):
    for name, value in json.loads(metrics).items():
        found.setdefault(name, {})[step] = value
""",
    "wandb": """
import pathlib, struct
from wandb.proto.wandb_internal_pb2 import Record
path = next(pathlib.Path("run/trackers/wandb").glob("offline-run-*/*.wandb"))
data, place, whole, found = path.read_bytes(), 7, b"", {}
while place + 7 <= len(data):  # LevelDB's log: blocks of 32 KiB; checksum, length and kind before each part of a record
    if 32768 - place % 32768 < 7:
        place += 32768 - place % 32768
        continue
    _, length, kind = struct.unpack("<IHB", data[place : place + 7])
    whole += data[place + 7 : place + 7 + length]
    place += 7 + length
    if kind in (1, 4):  # whole, or the last part
        record, whole = Record.FromString(whole), b""
        row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for name, value in row.items():
            found.setdefault(name, {})[row["step"]] = value
""",
}
"""Tracker -> what reads its own files back into {name: {step: value}}."""


@pytest.mark.slow
@pytest.mark.parametrize("name", list(READERS))
def test_the_real_package_keeps_the_figures_of_the_run_folder(name: str, tmp_path: Path):
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install {name}")
    changes = [part for value in (*TINY, f"report.report_to=[{name}]") for part in ("--set", value)]
    environment = {**os.environ, "WANDB_MODE": "offline", "TRACKIO_DIR": str(tmp_path / "trackio")}
    command = [sys.executable, "-m", "razona", "train", "demo", "--out", "run", "--json", *changes]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 2
    code = f"import json\n{READERS[name]}\nprint(json.dumps(found))"
    read = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert read.returncode == 0, read.stderr
    found = json.loads(read.stdout.splitlines()[-1])
    for row in RunDir(tmp_path / "run").read_steps():
        for figure in ("reward", "accuracy", "length", "loss", "reward/correct"):
            assert found[figure][str(row["step"])] == pytest.approx(row[figure], rel=1e-6), figure
    assert set(found["guard/accuracy"]) == {"0", "2"}
