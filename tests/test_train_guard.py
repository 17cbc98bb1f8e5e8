"""The guard: what it decides, what it measures on, and that a planted collapse is caught and rolled back."""

import json
from collections.abc import Sequence
from pathlib import Path

import planted
import pytest
import torch
from planted import Plant, small_recipe
from safetensors.torch import load_file
from test_train_processes import launch

from razona.core.errors import MachineError, RunFolderError
from razona.core.files import append_jsonl, read_jsonl, write_json
from razona.core.rundir import RunDir
from razona.evaluate.held_out import generated_slice
from razona.evaluate.plan import Plan
from razona.models.load import load_tuned
from razona.recipe import GuardSection, load
from razona.train import train
from razona.train.best import NOTE, keep_with_checkpoint, restore_best
from razona.train.decisions import Action, Measured, Standing
from razona.train.guard import Guard, start_anew
from razona.train.health import Finding
from razona.train.monitor import Monitor

BEST, KEPT, ROLLED_BACK, STOPPED = Action.BEST, Action.KEPT, Action.ROLLED_BACK, Action.STOPPED

# --- Decisions -------------------------------------------------------------------------------------------------------


def measured(step: int, right: Sequence[int], samples: int = 4) -> Measured:
    return Measured(step=step, right_P=tuple(right), samples=samples)


HALF = measured(10, [2] * 64)
LUCKY = measured(10, [4, 0, 0, 4])


@pytest.mark.parametrize(
    ("standing", "now", "changes", "action"),
    [
        (Standing(), measured(0, [0] * 64), {}, BEST),
        (Standing(best=HALF), measured(20, [2] * 63 + [3]), {}, BEST),
        (Standing(best=HALF), measured(20, [2] * 64), {}, KEPT),  # equal is no improvement
        (Standing(best=HALF), measured(20, [2] * 32 + [1] * 32), {}, KEPT),  # 12.5 points, certain, but not 15
        (Standing(best=HALF), measured(20, [2] * 24 + [1] * 40), {}, ROLLED_BACK),  # 15.6 points, each the same way
        (Standing(best=LUCKY), measured(20, [0, 4, 0, 0]), {}, KEPT),  # 25 points on four problems: can be noise
        (Standing(best=HALF), measured(20, [0] * 64), {"collapse": 0.6}, KEPT),
        (Standing(best=HALF, rollbacks=1), measured(20, [0] * 64), {}, ROLLED_BACK),
        (Standing(best=HALF, rollbacks=2), measured(20, [0] * 64), {}, STOPPED),
        (Standing(best=HALF), measured(20, [0] * 64), {"max_rollbacks": 0}, STOPPED),
        (Standing(best=HALF, without_best=1), measured(20, [2] * 64), {"patience": 3}, KEPT),
        (Standing(best=HALF, without_best=2), measured(20, [2] * 64), {"patience": 3}, STOPPED),
        (Standing(best=HALF, without_best=2), measured(20, [3] * 64), {"patience": 3}, BEST),
    ],
)
def test_a_measurement_is_answered_by(standing: Standing, now: Measured, changes: dict, action: Action):
    assert standing.decide(now, GuardSection(every=10, **changes)).action is action


def test_a_collapse_is_told_with_its_size_and_interval():
    decision = Standing(best=HALF).decide(measured(20, [0] * 64), GuardSection(every=10))
    assert decision.is_collapse
    assert decision.why == "50.0 points below step 10 (paired 95 % interval +50.0 to +50.0): a collapse"


def test_the_standing_counts_what_the_rows_of_the_run_say():
    rows = [
        {"step": step, "right": [right], "samples": 4, "action": action}
        for step, right, action in [
            (0, 1, "best"), (10, 3, "best"), (20, 2, "kept"), (30, 0, "rolled_back"), (40, 3, "kept"),
        ]
    ]  # fmt: skip
    standing = Standing.of(rows)
    assert standing.best == measured(10, [3]) and standing.last == measured(40, [3])
    assert (standing.without_best, standing.rollbacks, standing.is_over) == (3, 1, False)
    assert Standing.of(rows[:2]).without_best == 0
    assert Standing.of([*rows, {"step": 50, "right": [0], "samples": 4, "action": "stopped"}]).is_over


@pytest.mark.parametrize(
    ("best", "last", "action", "is_best", "step"),
    [
        (HALF, measured(40, [2] * 24 + [1] * 40), KEPT, True, 10),  # worse beyond the interval
        (HALF, measured(40, [1] * 8 + [2] * 56), KEPT, True, 10),  # 3 points, but all of them one way
        (HALF, measured(40, [1] * 12 + [3] * 10 + [2] * 42), KEPT, False, 40),  # as often better as worse, nearly
        (HALF, HALF, BEST, False, 10),
        (LUCKY, measured(40, [0, 4, 0, 0]), ROLLED_BACK, True, 10),  # those weights are gone already
    ],
)
def test_the_last_weights_are_taken_unless_they_are_worse_beyond_noise(best, last, action, is_best: bool, step: int):
    kept = Standing(best=best, last=last, last_action=action).kept()
    assert kept is not None
    assert (kept.is_best, kept.step) == (is_best, step)


def test_a_run_that_was_never_measured_has_nothing_to_choose_from():
    assert Standing().kept() is None


def test_measurements_with_other_samples_are_not_paired():
    with pytest.raises(ValueError, match="samples = 4 and 8"):
        measured(1, [1]).behind(measured(0, [1], samples=8))


# --- What follows from them ------------------------------------------------------------------------------------------


def test_going_back_forgets_the_moments_and_halves_the_learning_rate_through_checkpoints():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)

    def step(gradient: float) -> float:
        before, weight.grad = weight.item(), torch.tensor([gradient])
        optimizer.step()
        scheduler.step()
        return weight.item() - before

    for _ in range(5):
        step(100.0)
    start_anew(optimizer, scheduler)
    assert scheduler.get_last_lr() == [0.05]
    # AdamW's first step moves by the learning rate against the gradient's sign; the old moments would hold it at +.
    assert step(-1.0) == pytest.approx(0.05, rel=1e-4)
    state, rates = optimizer.state_dict(), scheduler.state_dict()
    optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    optimizer.load_state_dict(state)
    scheduler.load_state_dict(rates)
    step(-1.0)
    assert scheduler.get_last_lr() == [0.05]


def folder_of_best(run: RunDir, step: int) -> None:
    run.best.mkdir(parents=True, exist_ok=True)
    write_json(run.best / NOTE, {"step": step, "accuracy": 0.5})
    (run.best / "weights").write_text(f"of step {step}")


def measure_at(run: RunDir, step: int, action: str = "best") -> None:
    append_jsonl(run.guard, {"step": step, "right": [step], "samples": 99, "action": action})


def test_a_resumed_run_has_the_best_weights_of_its_checkpoint_again(tmp_path: Path):
    run, checkpoint = RunDir(tmp_path), tmp_path / "checkpoints" / "checkpoint-10"
    measure_at(run, 10)
    folder_of_best(run, 10)
    keep_with_checkpoint(run, checkpoint)
    kept = checkpoint / "guard" / "best" / "weights"
    assert kept.stat().st_ino == (run.best / "weights").stat().st_ino, "the checkpoint took a copy's room"
    (run.best / "weights").unlink()  # a later best is another folder: no file is written in place
    folder_of_best(run, 15)
    assert kept.read_text() == "of step 10"
    restore_best(run, checkpoint)
    assert (run.best / "weights").read_text() == "of step 10"
    restore_best(run, checkpoint)  # is there already
    assert (run.best / "weights").read_text() == "of step 10"


def test_best_weights_that_are_gone_are_told_with_the_way_out(tmp_path: Path):
    run = RunDir(tmp_path)
    measure_at(run, 10)
    folder_of_best(run, 15)
    with pytest.raises(RunFolderError, match=r"best weights are those of step 10.* or remove .*guard\.jsonl"):
        restore_best(run, tmp_path / "checkpoints" / "checkpoint-10")
    run.guard.unlink()
    restore_best(run, tmp_path / "checkpoints" / "checkpoint-10")
    assert not run.best.exists()


def test_a_run_that_starts_again_forgets_its_measurements(tmp_path: Path):
    run = RunDir(tmp_path)
    measure_at(run, 0)
    folder_of_best(run, 5)
    restore_best(run, None)
    assert not run.guard.exists() and not run.best.exists()


def test_rows_after_the_resumed_step_are_dropped_from_all_files(tmp_path: Path):
    run = RunDir(tmp_path)
    for path in (run.metrics, run.guard, run.health):
        for step in (1, 2, 3):
            append_jsonl(path, {"step": step})
        path.write_text(path.read_text() + '{"step": 4')  # cut short by a crash
    run.forget_steps_after(2)
    for path in (run.metrics, run.guard, run.health):
        assert [row["step"] for row in read_jsonl(path)] == [1, 2]


def test_a_sharded_model_is_refused_by_name(tmp_path: Path):
    class Sharded:
        is_sampled_here, engine = False, "transformers"
        run = RunDir(tmp_path)
        accelerator = type("Accelerator", (), {"distributed_type": "FSDP"})()

    with pytest.raises(MachineError, match=r"guard\.every = 10 needs our own .* FSDP .* TRL samples.*guard\.every: 0"):
        Guard(Sharded(), load("demo"), [], Monitor(RunDir(tmp_path)))  # pyright: ignore[reportArgumentType]


# --- Whole runs ------------------------------------------------------------------------------------------------------


def figures_of(run: RunDir) -> list[dict]:
    """Give the metrics without what depends on the clock."""
    return [
        {name: value for name, value in row.items() if not name.startswith(("seconds", "slowest"))}
        for row in run.read_steps()
    ]


def guard_of(run: RunDir) -> list[dict]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in run.read_guard()]


def test_a_guard_that_has_nothing_to_do_changes_nothing(tmp_path: Path):
    recipe = small_recipe("train.steps=3", "guard.every=2", "guard.collapse=0.9")
    with_guard = train(recipe, tmp_path / "with")
    without = train(small_recipe("train.steps=3", "guard.every=0"), tmp_path / "without")
    assert figures_of(with_guard.run) == figures_of(without.run)
    assert [row["step"] for row in with_guard.run.read_guard()] == [0, 2, 3]
    assert with_guard.kept is not None and without.kept is None and not without.run.guard.exists()
    for row in with_guard.run.read_guard():
        assert row["accuracy"] == sum(row["right"]) / (32 * 4) and row["n"] == 32 and row["seconds"] > 0
    assert with_guard.guard_seconds >= sum(row["seconds"] for row in with_guard.run.read_guard()) - 0.1


def test_a_run_without_progress_stops_and_stays_stopped(tmp_path: Path):
    recipe = small_recipe("train.steps=5", "guard.patience=2", "train.learning_rate=1e-12")
    told: list[Finding] = []
    result = train(recipe, tmp_path / "run", tell=told.append)
    assert [(row["step"], row["action"]) for row in result.run.read_guard()] == [(0, BEST), (1, KEPT), (2, STOPPED)]
    assert result.steps == 2
    assert [(finding.rule, finding.step) for finding in told] == [("no-progress", 2)]
    assert result.kept is not None and (result.kept.is_best, result.kept.step) == (False, 2)
    before = (result.run.adapter / "adapter_model.safetensors").read_bytes()
    again = train(recipe, tmp_path / "run", resume=True)
    assert (again.steps, again.kept) == (2, result.kept)
    assert (result.run.adapter / "adapter_model.safetensors").read_bytes() == before


class Stop(Exception):
    pass


def stop_at(step: int):
    def watch(row) -> None:
        if row["step"] == step:
            raise Stop

    return watch


@pytest.mark.slow
def test_a_resumed_run_decides_as_the_uninterrupted_one(tmp_path: Path):
    recipe = small_recipe("train.steps=5", "train.save_every=2", "guard.collapse=0.05", "guard.max_rollbacks=2")
    with planted.planted(Plant(2)):
        whole = train(recipe, tmp_path / "whole", tell=lambda finding: None)
    assert "rolled_back" in [row["action"] for row in whole.run.read_guard()]
    with planted.planted(Plant(2)), pytest.raises(Stop):
        train(recipe, tmp_path / "cut", watch=stop_at(3), tell=lambda finding: None)
    with planted.planted(Plant(2)):
        cut = train(recipe, tmp_path / "cut", resume=True, tell=lambda finding: None)
    assert guard_of(cut.run) == guard_of(whole.run)
    assert figures_of(cut.run) == figures_of(whole.run)
    assert cut.kept == whole.kept
    one, other = (load_file(run.adapter / "adapter_model.safetensors") for run in (cut.run, whole.run))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


LEARNING = (
    "train.steps=20",
    "train.completions_per_step=96",
    "train.microbatch_size=48",
    "rollout.group_size=8",
    "rollout.max_completion_tokens=64",
    "data.levels=[1]",
    "guard.every=4",
)
"""Twenty steps on the easiest problems, measured after every fourth."""


@pytest.mark.slow
def test_a_planted_collapse_is_caught_and_ends_with_the_best_weights(tmp_path: Path):
    """The learning rate stays a hundred times too high: half of it is still fifty times too high."""
    told: list[Finding] = []
    with planted.planted(Plant(10)):
        result = train(small_recipe(*LEARNING), tmp_path / "run", tell=told.append)
    rows = {row["step"]: row for row in result.run.read_guard()}
    assert [rows[step]["action"] for step in (12, 16, 20)] == [ROLLED_BACK, ROLLED_BACK, STOPPED]
    assert [finding.step for finding in told if finding.rule == "collapse"] == [12, 16, 20]
    best = rows[12]["best_step"]
    assert rows[best]["accuracy"] > rows[0]["accuracy"] + 0.1, "there was nothing to lose"
    assert rows[20]["accuracy"] < 0.05
    assert result.kept is not None and (result.kept.is_best, result.kept.step) == (True, best)
    recipe = small_recipe(*LEARNING)
    tuned, problems = load_tuned(recipe.model, result.run.adapter), generated_slice(recipe)
    again = Plan(recipe=recipe).run(tuned, problems).sampled.pass_at(1).value  # other samples of the same problems
    assert again == pytest.approx(rows[best]["accuracy"], abs=0.1)


@pytest.mark.slow
def test_after_one_bad_step_the_run_goes_back_and_learns_on(tmp_path: Path):
    with planted.planted(Plant(10, 11)):
        result = train(small_recipe(*LEARNING), tmp_path / "run", tell=lambda finding: None)
    rows = {row["step"]: row for row in result.run.read_guard()}
    rates = {row["step"]: row["learning_rate"] for row in result.run.read_steps()}
    assert [step for step, row in rows.items() if row["action"] == ROLLED_BACK] == [12]
    assert (rates[10], rates[11], rates[12], rates[13]) == pytest.approx((1e-3, 0.1, 1e-3, 0.5e-3))
    assert rows[12]["accuracy"] < 0.05 and rows[20]["accuracy"] > rows[12]["best_accuracy"] - 0.1


@pytest.mark.slow
def test_two_processes_decide_alike_and_go_back_to_the_same_weights(tmp_path: Path):
    done = launch(planted.__file__, str(tmp_path), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    one, other = (json.loads((tmp_path / f"{process}.json").read_text()) for process in range(2))
    assert one == other
    assert (one["rollbacks"], one["is_over"]) == (1, True)
    rows = RunDir(tmp_path / "run").read_guard()
    assert [row["action"] for row in rows if row["action"] not in ("best", "kept")] == ["rolled_back", "stopped"]
    assert {len(row["right"]) for row in rows} == {32}
