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

from razona import tasks
from razona.core.errors import DataError, MachineError, RecipeError, RunFolderError
from razona.core.files import append_jsonl, read_jsonl, write_json
from razona.core.nouns import Problem
from razona.core.rundir import RunDir
from razona.data import load_problems
from razona.evaluate.plan import Plan
from razona.models.load import load_policy
from razona.recipe import GuardSection, ModelSection, load
from razona.train import train
from razona.train.best import NOTE, keep_with_checkpoint, restore_best
from razona.train.dataset import prepare_data
from razona.train.decisions import Action, Measured, Standing
from razona.train.guard import Guard, start_anew
from razona.train.health import Finding
from razona.train.held_out import generated_slice, hold_out
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
        is_sampled_here = False
        run = RunDir(tmp_path)
        accelerator = type("Accelerator", (), {"distributed_type": "FSDP"})()

    with pytest.raises(MachineError, match=r"guard\.every = 10 needs the whole model .* FSDP .* guard\.every: 0"):
        Guard(Sharded(), load("demo"), [], Monitor(RunDir(tmp_path)))  # pyright: ignore[reportArgumentType]


# --- What is measured on ---------------------------------------------------------------------------------------------


def structures(problems: Sequence[Problem]) -> set[tuple[str, object]]:
    return {(problem.family, problem.extra["key"]) for problem in problems}


def test_the_generated_slice_is_neither_trained_on_nor_in_the_final_comparison():
    recipe = load("demo", ["train.steps=10"])
    held_out, plan = generated_slice(recipe), Plan(recipe=recipe)
    assert len(structures(held_out)) == len(held_out) == 64
    assert not structures(held_out) & structures(plan.held_out())
    assert not structures(held_out) & structures(plan.out_of_distribution())
    trained = load_problems(recipe.data, count=960, seed=0)
    assert not structures(held_out) & structures(trained)
    assert {tasks.split_of(one.family, str(one.extra["key"])) for one in held_out} == {"evaluation"}
    assert {problem.level for problem in held_out} == {1, 2}


def test_the_slice_is_the_same_for_every_seed_of_training():
    assert generated_slice(load("demo", ["train.seed=1"])) == generated_slice(load("demo", ["train.seed=2"]))


def test_families_that_do_not_hold_enough_for_both_are_told():
    recipe = load("demo", ["data.families=[linear_equations]", "data.levels=[1]", "evaluate.num_problems=400"])
    with pytest.raises(RecipeError, match=r"guard\.num_problems = 64 beside evaluate\.num_problems = 400, none"):
        generated_slice(recipe)


def of_file(count: int) -> list[Problem]:
    return [Problem(id=f"p{number}", question=f"question {number}", target="1") for number in range(count)]


def test_what_is_held_out_depends_on_the_questions_alone():
    problems = of_file(50)
    chosen = {problem.question for problem in hold_out(problems, 10)}
    assert len(chosen) == 10
    assert {problem.question for problem in hold_out(problems[::-1], 10)} == chosen
    fewer = [problem for problem in problems if problem.question in chosen or problem.id > "p3"]
    assert {problem.question for problem in hold_out(fewer, 10)} == chosen


def file_recipe(folder: Path, problems: Sequence[Problem], *changes: str):
    source = folder / "rows.jsonl"
    rows = [{"question": problem.question, "answer": problem.target} for problem in problems]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return small_recipe(f"data.source={source}", "guard.num_problems=10", "train.steps=8", *changes)


def test_a_file_gives_up_problems_that_are_then_not_trained_on(tmp_path: Path):
    recipe = file_recipe(tmp_path, [*of_file(30), *of_file(30)], "train.steps=10")  # each question twice
    policy, run = load_policy(ModelSection()), RunDir(tmp_path / "run")
    data = prepare_data(recipe, policy, run)
    held_out = {problem.question for problem in data.held_out}
    assert len(held_out) == len(data.held_out) == 10
    assert set(data.dataset["question"][:]) == {problem.question for problem in of_file(30)} - held_out
    manifest = json.loads(run.manifest.read_text())
    assert (manifest["held_out_for_guard"], manifest["left_out_as_twins_of_held_out"]) == (10, 10)
    assert (manifest["problems"], manifest["to_sample_from"]) == (60, 40)
    other = prepare_data(recipe.model_copy(update={"train": recipe.train.model_copy(update={"seed": 9})}), policy, run)
    assert {problem.question for problem in other.held_out} == held_out


def test_max_problems_counts_what_is_trained_on(tmp_path: Path):
    recipe = file_recipe(tmp_path, of_file(60), "data.max_problems=20")
    data = prepare_data(recipe, load_policy(ModelSection()), RunDir(tmp_path / "run"))
    assert len(set(data.dataset["question"][:])) == 20 and len(data.held_out) == 10


def test_a_file_that_the_guard_would_halve_is_refused(tmp_path: Path):
    policy = load_policy(ModelSection())
    assert len(prepare_data(file_recipe(tmp_path, of_file(20)), policy, RunDir(tmp_path)).held_out) == 10
    with pytest.raises(DataError, match=r"9 of 19 problems .*\(10 are held out for guard\.num_problems = 10.*every: 0"):
        prepare_data(file_recipe(tmp_path, of_file(19)), policy, RunDir(tmp_path))


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
