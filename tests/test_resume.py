"""A run that is killed, at whatever place, and resumed ends as the uninterrupted one: to the last bit."""

from pathlib import Path
from random import Random

import pytest
import torch
from killed_runs import ENDED, KILLED, Leg, Plan, run_plan, said

from razona.core.files import read_jsonl
from razona.core.rundir import RunDir

REWARD = '''
import random
import numpy
import torch

def noise(completions, **columns):
    """Draw from every source that a run has one state of; flat groups are common."""
    return [
        float(random.random() < 0.2) + float(numpy.random.random() < 0.1) + float(torch.rand(()) < 0.1)
        for _ in completions
    ]
'''
STEPS = 5
OPTIONS = (
    "model.backend=peft", "lora.rank=4", "train.precision=float32",
    f"train.steps={STEPS}", "train.save_every=2", "train.warmup_steps=2", "train.schedule=cosine",
    "train.learning_rate=0.01", "train.completions_per_step=16", "train.microbatch_size=4",
    "train.sampling=informative", "rollout.group_size=4", "rollout.max_completion_tokens=12",
    "data.max_problems=12", "guard.every=2", "guard.num_problems=4", "guard.samples=2",
    "rewards.mix=sum", "rewards.components=[{name: 'reward.py:noise'}]",
)  # fmt: skip


def arguments(model: Path, *more: str) -> list[str]:
    values = (f"model.name={model}", *OPTIONS, *more)
    return ["demo", "--no-check", *(part for value in values for part in ("--set", value))]


def without_timings(row: dict) -> dict:
    return {name: value for name, value in row.items() if not name.startswith(("seconds", "slowest"))}


def equal(one: object, other: object) -> bool:
    """Say whether two trees of containers, arrays and values are equal, to the last bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return (
            isinstance(other, dict) and one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
        )
    if isinstance(one, list | tuple):
        return isinstance(other, list | tuple) and len(one) == len(other) and all(map(equal, one, other))
    return bool((one == other).all()) if hasattr(one, "all") else one == other  # pyright: ignore


def assert_equal_runs(one: RunDir, other: RunDir, last_two: tuple[int, int]) -> None:
    for rows in ("metrics", "guard", "health"):
        paths = [getattr(run, rows) for run in (one, other)]
        found = [[without_timings(row) for row in read_jsonl(path)] if path.exists() else [] for path in paths]
        assert found[0] == found[1], rows
    assert one.completion_steps() == other.completion_steps()
    for step in one.completion_steps():
        assert list(read_jsonl(one.completions(step))) == list(read_jsonl(other.completions(step))), step
    for place in ("adapter", "best"):
        weights = [(getattr(run, place) / "adapter_model.safetensors").read_bytes() for run in (one, other)]
        assert weights[0] == weights[1], place
    last, others = one.last_checkpoint(), other.last_checkpoint()
    assert last is not None and others is not None and last.name == others.name
    names = {path.name for path in last.iterdir()}
    assert names == {path.name for path in others.iterdir()}
    states = {name for name in names if name.endswith((".pt", ".pth"))}
    assert len(states) >= 4
    for name in states:
        mine, theirs = (torch.load(folder / name, weights_only=False) for folder in (last, others))
        assert equal(mine, theirs), name
    for run in (one, other):
        assert {path.name for path in run.checkpoints.iterdir()} == {f"checkpoint-{step}" for step in last_two}


KILLS = (
    Leg(out="cut", kill_at="sampling", after=1),  # no checkpoint yet
    Leg(out="cut", kill_at="writing", after=2),  # the first one, half written
    Leg(out="cut", kill_at="renamed", after=2),
    Leg(out="cut", kill_at="scoring", after=2),
    Leg(out="cut", kill_at="backward", after=3),
    Leg(out="cut", kill_at="sealing", after=4),
    Leg(out="cut", kill_at="removing", after=5),  # an old one, after the last step
)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, random_model: Path) -> Path:
    """A folder with the uninterrupted run `whole`, and `cut`, which was killed at seven places and resumed."""
    folder = tmp_path_factory.mktemp("killed")
    (folder / "reward.py").write_text(REWARD)
    legs = (Leg(out="whole"), *KILLS, Leg(out="cut"))
    plan = Plan(folder=str(folder), arguments=arguments(random_model), legs=legs)
    codes = [one.code for one in run_plan(plan, timeout_s=300)]
    told = "\n".join(said(folder, number) for number in range(len(legs)))
    assert codes == [ENDED, *[KILLED] * len(KILLS), ENDED], told
    return folder


@pytest.mark.slow
def test_a_run_killed_at_seven_places_ends_as_the_uninterrupted_one(killed: Path):
    assert_equal_runs(RunDir(killed / "whole"), RunDir(killed / "cut"), last_two=(4, 5))


@pytest.mark.long
def test_a_run_killed_at_25_random_moments_ends_as_the_uninterrupted_one(tmp_path: Path, random_model: Path):
    (tmp_path / "reward.py").write_text(REWARD)
    given = arguments(random_model, "train.steps=60", "train.save_every=1")
    whole = Plan(folder=str(tmp_path), arguments=given, legs=[Leg(out="whole")])
    [ended] = run_plan(whole, timeout_s=900)
    assert ended.code == ENDED, said(tmp_path, 0)
    rng = Random(8)
    kills = [Leg(out="cut", kill_after_s=rng.uniform(0.0, ended.seconds / 5)) for _ in range(25)]
    plan = Plan(folder=str(tmp_path), arguments=given, legs=[*kills, Leg(out="cut")])
    ends = run_plan(plan, timeout_s=1800)
    codes = [one.code for one in ends]
    assert codes.count(KILLED) >= 20 and codes[-1] == ENDED, said(tmp_path, 25)  # a fast machine may end it earlier
    assert len({one.steps for one in ends}) > 8  # the moments are spread over the run
    assert_equal_runs(RunDir(tmp_path / "whole"), RunDir(tmp_path / "cut"), last_two=(59, 60))


@pytest.mark.long
def test_two_processes_killed_at_random_moments_end_as_the_uninterrupted_ones(tmp_path: Path, random_model: Path):
    (tmp_path / "reward.py").write_text(REWARD)
    given = arguments(random_model, "train.steps=12", "data.max_problems=24")
    first = Plan(folder=str(tmp_path), arguments=given, processes=2, legs=[Leg(out="whole")])
    [ended] = run_plan(first, timeout_s=900)
    assert ended.code == ENDED, said(tmp_path, 0) + said(tmp_path, 0, 1)
    rng = Random(9)
    kills = [
        Leg(out="cut", kill_at="sampling", after=1, is_last_process=True),
        Leg(out="cut", kill_at="writing", after=2),
        Leg(out="cut", kill_at="backward", after=3, is_last_process=True),
        Leg(out="cut", kill_at="renamed", after=4),
        *[Leg(out="cut", kill_after_s=rng.uniform(0.0, ended.seconds / 2)) for _ in range(8)],
    ]
    plan = Plan(folder=str(tmp_path), arguments=given, processes=2, legs=[*kills, Leg(out="cut")])
    codes = [one.code for one in run_plan(plan, timeout_s=1800)]
    assert codes[:4] == [KILLED] * 4 and codes[-1] == ENDED, said(tmp_path, len(kills))
    assert codes[4:-1].count(KILLED) >= 4
    assert_equal_runs(RunDir(tmp_path / "whole"), RunDir(tmp_path / "cut"), last_two=(10, 12))


@pytest.mark.long
def test_a_disk_that_fails_in_one_process_costs_both_one_checkpoint_and_neither_the_run(
    tmp_path: Path, random_model: Path
):
    (tmp_path / "reward.py").write_text(REWARD)
    legs = [Leg(out="whole"), Leg(out="cut", kill_at="no room", after=2, is_last_process=True)]
    plan = Plan(folder=str(tmp_path), arguments=arguments(random_model, "data.max_problems=24"), processes=2, legs=legs)
    assert [one.code for one in run_plan(plan, timeout_s=600)] == [ENDED, ENDED], said(tmp_path, 1)
    told = said(tmp_path, 1)
    assert told.count("could not be written") == 1 and "the checkpoint of step 2 could not be written" in told
    assert "No space left on device" in told and "there is none before it" in told
    assert_equal_runs(RunDir(tmp_path / "whole"), RunDir(tmp_path / "cut"), last_two=(4, 5))
