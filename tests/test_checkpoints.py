"""Checkpoints: whole or absent, damaged ones named, and a disk that takes none."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from razona.core import sealing
from razona.core.errors import RunFolderError
from razona.core.rundir import RunDir
from razona.recipe import Recipe, dump, load
from razona.train import run as run_module
from razona.train import train
from razona.train.checkpoints import PARTIAL, find_whole
from razona.train.folder import prepare_folder
from razona.train.problems import ProblemQueue
from razona.train.progress import Progress

TINY = (
    "train.completions_per_step=8",
    "train.microbatch_size=4",
    "rollout.group_size=4",
    "rollout.max_completion_tokens=8",
    "train.warmup_steps=0",
    "train.learning_rate=0.01",
    "rewards.mix=sum",
    "rewards.components=[{name: random}]",
    "lora.rank=4",
    "guard.every=0",
)


def tiny(model: Path, *more: str) -> Recipe:
    return load("demo", [*TINY, f"model.name={model}", *more])


# --- Sealed folders ---------------------------------------------------------------------------------------------------


def sealed(place: Path) -> Path:
    (place / "inner").mkdir(parents=True)
    (place / "weights").write_bytes(bytes(range(200)))
    (place / "trainer_state.json").write_text("{}")
    (place / "inner" / "more").write_text("more")
    sealing.seal(place)
    return place


DAMAGES: list[tuple[Callable[[Path], object], str]] = [
    (lambda place: (place / "weights").write_bytes(bytes(range(199))), "weights has 199 bytes, 200 were written"),
    (lambda place: (place / "weights").write_bytes(bytes([*range(199), 0])), "weights has another sha256"),
    (lambda place: (place / "weights").write_bytes(b""), "weights has 0 bytes"),
    (lambda place: (place / "inner" / "more").unlink(), "inner/more is missing"),
    (lambda place: (place / sealing.CHECKSUMS).write_text('{"files": {"wei'), "checksums.json cannot be read"),
    (lambda place: (place / sealing.CHECKSUMS).write_text("[]"), "checksums.json cannot be read"),
    (lambda place: (place / sealing.CHECKSUMS).write_text(""), "checksums.json cannot be read"),
]


@pytest.mark.parametrize(("damage", "flaw"), DAMAGES, ids=[flaw for _, flaw in DAMAGES])
def test_what_differs_in_a_sealed_folder_is_named(damage: Callable[[Path], object], flaw: str, tmp_path: Path):
    place = sealed(tmp_path / "one")
    assert sealing.flaw_of(place) == ""
    damage(place)
    assert flaw in sealing.flaw_of(place)


def test_the_sums_are_those_of_sha256(tmp_path: Path):
    (tmp_path / "file").write_text("abc")
    sealing.seal(tmp_path)
    of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4
    listed = json.loads((tmp_path / sealing.CHECKSUMS).read_text())
    assert listed == {"files": {"file": {"bytes": 3, "sha256": of_abc}}}


@pytest.mark.parametrize("is_replaced", [True, False])
def test_a_folder_that_a_crash_left_aside_comes_back_unless_another_took_its_name(is_replaced: bool, tmp_path: Path):
    place = sealed(tmp_path / "checkpoint-1")
    sealing.take_away(place)
    assert not place.exists()
    if is_replaced:
        sealed(place)
        (place / "inner" / "new").touch()
    sealing.bring_back(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"]
    assert (place / "inner" / "new").exists() is is_replaced


def test_half_a_folder_that_was_being_removed_does_not_come_back(tmp_path: Path):
    place = sealed(tmp_path / "checkpoint-1")
    sealing.take_away(place)
    (sealing.aside(place) / "weights").unlink()
    sealing.bring_back(tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- Finding the last whole one ---------------------------------------------------------------------------------------


def run_with(folder: Path, *steps: int) -> RunDir:
    run = RunDir(folder)
    for step in steps:
        sealed(run.checkpoints / f"checkpoint-{step}")
    return run


def test_the_checkpoint_before_a_damaged_one_is_used_and_the_damaged_one_named(tmp_path: Path, capsys):
    run = run_with(tmp_path, 8, 10)
    (run.checkpoints / "checkpoint-10" / "weights").write_bytes(b"half")
    assert find_whole(run) == run.checkpoints / "checkpoint-8"
    told = capsys.readouterr().err
    assert "checkpoint-10 is not as it was written: weights has 4 bytes, 200 were written" in told
    assert "goes on from checkpoint-8" in told
    assert {path.name for path in run.checkpoints.iterdir()} == {"checkpoint-8", "damaged-checkpoint-10"}
    assert run.last_checkpoint() == run.checkpoints / "checkpoint-8"
    assert find_whole(run) == run.checkpoints / "checkpoint-8" and capsys.readouterr().err == ""


def test_where_no_checkpoint_is_whole_the_run_refuses_and_touches_none(tmp_path: Path):
    run = run_with(tmp_path, 8, 10)
    for step in (8, 10):
        (run.checkpoints / f"checkpoint-{step}" / "weights").unlink()
    for _ in range(2):
        with pytest.raises(
            RunFolderError, match=r"checkpoint-10: weights is missing; checkpoint-8: weights is missing"
        ):
            find_whole(run)
    assert {path.name for path in run.checkpoints.iterdir()} == {"checkpoint-8", "checkpoint-10"}


def test_what_lies_half_written_is_removed_and_never_counts(tmp_path: Path, capsys):
    run = run_with(tmp_path, 8)
    (run.checkpoints / PARTIAL / "checkpoint-10").mkdir(parents=True)
    (run.checkpoints / PARTIAL / "checkpoint-10" / "trainer_state.json").write_text("{")
    assert find_whole(run) == run.checkpoints / "checkpoint-8" and capsys.readouterr().err == ""
    assert [path.name for path in run.checkpoints.iterdir()] == ["checkpoint-8"]


def test_a_checkpoint_from_before_checksums_is_used_and_told(tmp_path: Path, capsys):
    run = run_with(tmp_path, 8)
    (run.checkpoints / "checkpoint-8" / sealing.CHECKSUMS).unlink()
    assert find_whole(run) == run.checkpoints / "checkpoint-8"
    assert "has no checksums.json" in capsys.readouterr().err


def test_a_run_without_checkpoints_starts_again(tmp_path: Path):
    assert find_whole(RunDir(tmp_path)) is None


# --- What a process has on its way ------------------------------------------------------------------------------------


def test_progress_comes_back_as_it_was(tmp_path: Path, capsys):
    queue = ProblemQueue(5)
    queue.take(3)
    queue.note(1, is_informative=False)
    batch = {"ids": torch.arange(6).view(2, 3), "advantages": torch.tensor([0.1, -0.1]), "images": None}
    whole = Progress(processes=1, microbatches=7, buffered=[batch], figures={"reward": 0.5}, queue=queue.state())
    whole.save(tmp_path)
    found = Progress.load(tmp_path, torch.device("cpu"))
    assert found is not None and found.microbatches == 7 and found.figures == {"reward": 0.5}
    assert found.buffered is not None and torch.equal(found.buffered[0]["ids"], batch["ids"])
    again = ProblemQueue(5)
    assert found.queue is not None
    again.restore(found.queue)
    assert again.take(6) == queue.take(6) == [3, 4, 0, 2, 3, 4]
    assert capsys.readouterr().err == ""


def test_progress_of_another_number_of_processes_is_left_and_told(tmp_path: Path, capsys):
    Progress(processes=2, microbatches=7, buffered=None, figures={}, queue=None).save(tmp_path)
    assert Progress.load(tmp_path, torch.device("cpu")) is None
    assert "written by 2 processes" in capsys.readouterr().err
    assert Progress.load(tmp_path / "older", torch.device("cpu")) is None
    assert "of an earlier version" in capsys.readouterr().err


def test_a_queue_of_another_number_of_problems_is_refused():
    with pytest.raises(RunFolderError, match="counts 4 problems and the data holds 5"):
        ProblemQueue(5).restore(ProblemQueue(4).state())


class Stop(Exception):
    pass


def stop_at(step: int) -> Callable[[object], None]:
    def watch(row: object) -> None:
        if row["step"] == step:  # pyright: ignore[reportIndexIssue]
            raise Stop

    return watch


def test_a_checkpoint_between_two_steps_on_the_same_completions_holds_them(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """No recipe asks for it: two steps train on two halves of what was sampled, two more on both again."""
    reusing = partial(run_module.grpo_config, num_iterations=2, steps_per_generation=4)
    monkeypatch.setattr(run_module, "grpo_config", reusing)
    recipe = tiny(random_model, "train.steps=5", "train.save_every=1")
    whole = train(recipe, tmp_path / "whole").run
    assert whole.completion_steps() == [1, 5]
    with pytest.raises(Stop):
        train(recipe, tmp_path / "cut", watch=stop_at(4))
    cut = train(recipe, tmp_path / "cut", resume=True).run
    assert cut.completion_steps() == [1, 5]
    for name in ("loss", "reward", "grad_norm"):
        assert [row[name] for row in cut.read_steps()] == [row[name] for row in whole.read_steps()]
    one, other = (run.adapter / "adapter_model.safetensors" for run in (whole, cut))
    assert one.read_bytes() == other.read_bytes()


# --- The recipe of a run that goes on ---------------------------------------------------------------------------------


def stored_with(run: RunDir, change: Callable[[list[str]], list[str]]) -> None:
    lines = run.recipe.read_text().splitlines()
    changed = change(lines)
    assert changed != lines
    run.recipe.write_text("\n".join(changed) + "\n")


def test_a_run_from_before_a_key_goes_on_where_the_key_has_its_default(tmp_path: Path):
    run, recipe = RunDir(tmp_path / "run"), load("demo", [])
    prepare_folder(run, recipe, resume=False)
    assert run.recipe.read_text() == dump(recipe)
    stored_with(run, lambda lines: [line for line in lines if "max_failed_saves" not in line])
    prepare_folder(run, recipe, resume=True)
    with pytest.raises(RunFolderError, match=r"with: train\.max_failed_saves = 3 there, 9 here\. Give"):
        prepare_folder(run, load("demo", ["train.max_failed_saves=9"]), resume=True)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("train.seed=5", "train.seed = 0 there, 5 here"),
        ("lora=null", r"lora.rank = 32 there, None here"),
        ("rewards.components=[{name: correct}]", "rewards.components = "),
    ],
)
def test_the_keys_that_differ_are_named_with_both_values(change: str, told: str, tmp_path: Path):
    run = RunDir(tmp_path / "run")
    prepare_folder(run, load("demo", []), resume=False)
    with pytest.raises(RunFolderError) as refused:
        prepare_folder(run, load("demo", [change]), resume=True)
    assert told in str(refused.value) and str(run.recipe) in str(refused.value)


def test_a_run_of_a_later_version_is_refused_with_the_key_that_is_not_known(tmp_path: Path):
    run, recipe = RunDir(tmp_path / "run"), load("demo", [])
    prepare_folder(run, recipe, resume=False)
    stored_with(run, lambda lines: [line.replace("max_failed_saves", "wings") for line in lines])
    with pytest.raises(RunFolderError, match=r"cannot be read by this version of Razona: .*wings"):
        prepare_folder(run, recipe, resume=True)
