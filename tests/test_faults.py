"""Faults planted in the loop: each is counted and told with its row, or ends the run with a checkpoint."""

import json
import math
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_train import TINY

from razona.core.deadline import OverdueError, deadline
from razona.core.errors import DataError, RazonaError, RewardError, TrainingError
from razona.core.files import read_jsonl
from razona.core.nouns import Outcome, Verdict
from razona.core.rundir import RunDir
from razona.recipe import RewardComponent, load
from razona.rewards import Mix, judge
from razona.train import train
from razona.train.steady import parts_of
from razona.train.trainer import Trainer
from razona.verify import Settings, Tags
from razona.verify.pool import Pool, PoolSettings

FAULTY = Path(__file__).with_name("faulty_rewards.py")


def run_of(folder: Path, *changes: str) -> RunDir:
    """Train a few steps of the embedded model."""
    return train(load("demo", [*TINY, "train.steps=3", *changes]), folder / "run").run


def events_of(run: RunDir) -> list[dict]:
    return list(read_jsonl(run.events)) if run.events.exists() else []


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


REWARDS = [
    ("raises", "raised ConnectionError: the judge does not answer", None),
    ("not_a_number", r"returned nan for row 5 \(problem .*\); expected a finite number", 5),
    ("too_few", "returned 15 values for 16 completions", None),
    ("sleeps", r"not done with a batch of 16 completions after 1 s .*it stood in line \d+ of .*time.sleep\(60\)", None),
]


@pytest.mark.parametrize(("name", "message", "row"), REWARDS, ids=[row[0] for row in REWARDS])
def test_a_reward_that_breaks_its_contract_stops_the_run_with_a_checkpoint_and_its_batch(
    name: str, message: str, row: int | None, tmp_path: Path, capsys
):
    component = f"rewards.components=[{{name: '{FAULTY}:{name}', options: {{range: [0, 1]}}}}, {{name: correct}}]"
    changes = [component, "rewards.mix=sum", "rewards.function_timeout_s=1", "train.save_every=100", "train.steps=2"]
    started = time.monotonic()
    with pytest.raises(RewardError, match=message):
        run_of(tmp_path, *changes)
    assert time.monotonic() - started < 40  # of which it sleeps one
    run = RunDir(tmp_path / "run")
    assert [step["step"] for step in run.read_steps()] == [1]
    checkpoint = run.last_checkpoint()
    assert checkpoint is not None and checkpoint.name == "checkpoint-1"
    (event,) = events_of(run)
    assert (event["event"], event["step"], event["row"]) == ("reward_failed", 2, row)
    batch = list(read_jsonl(Path(event["batch"])))
    assert len(batch) == 16 and all(one["problem_id"] and "completion" in one for one in batch)
    told = capsys.readouterr().err
    assert "step 2 failed; the checkpoint of step 1 is saved" in told and event["batch"] in told


def test_what_the_verifier_cannot_judge_has_no_reward_and_is_an_event_with_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    """One verdict is lost to a worker that was killed, one to a bug of ours."""
    asked, check = [0], judge.check

    def failing(text: str, target: str, settings: Settings) -> Verdict:
        asked[0] += 1
        if asked[0] == 3:
            return Verdict(outcome=Outcome.UNVERIFIED, reason="the launcher of the workers has died")
        if asked[0] == 20:
            raise KeyError("a bug of ours")
        return check(text, target, settings)

    monkeypatch.setattr(judge, "check", failing)
    run = run_of(tmp_path, "train.steps=2")
    rows = {step: list(read_jsonl(run.completions(step))) for step in (1, 2)}
    lost = [(step, place) for step in rows for place, row in enumerate(rows[step]) if row["outcome"] == "unverified"]
    assert len(lost) == 2
    assert all(rows[step][place]["reward"] is None and rows[step][place]["advantage"] == 0 for step, place in lost)
    events = events_of(run)
    assert [(one["step"], one["completion"]) for one in events] == lost
    assert [one["problem_id"] for one in events] == [rows[step][place]["problem_id"] for step, place in lost]
    assert "the launcher of the workers has died" in events[0]["why"]
    assert "our verifier failed: KeyError: 'a bug of ours'" in events[1]["why"]
    assert sum(step.get("events/unverified", 0) for step in run.read_steps()) == 2
    assert capsys.readouterr().err.count("has no verdict and no reward") == 2


@pytest.mark.skipif(
    find_spec("latex2sympy2_extended") is None, reason="math-verify is not installed: pip install 'razona[math]'"
)
def test_a_completion_whose_worker_was_killed_has_no_reward(monkeypatch: pytest.MonkeyPatch):
    program = "import os\nfrom razona.verify.worker import launch\n"
    program += "launch({'prove_equal': lambda **sides: os.kill(os.getpid(), 9)}, lambda: None)"
    with Pool(PoolSettings(program=program)) as workers:
        monkeypatch.setattr("razona.verify.pool._default", workers)
        mix = Mix([RewardComponent(name="correct")], Tags(), mix="sound")
        cut_off = r"<SOLUTION>\frac{1}{</SOLUTION>"  # neither can be read, so a worker is asked
        assert mix(completions=[cut_off], target=[r"\frac{2}{3"]) == [None]
    verdict = mix.receipts[0].verdict
    assert verdict.outcome is Outcome.UNVERIFIED and "the worker was killed" in verdict.reason


def spoil(monkeypatch: pytest.MonkeyPatch, steps: range, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Change the loss of the second microbatch of some steps, numbered from 1."""
    compute = Trainer._compute_loss

    def spoilt(trainer: Trainer, model: torch.nn.Module, inputs: dict) -> torch.Tensor:
        loss = compute(trainer, model, inputs)
        return change(loss) if trainer.state.global_step + 1 in steps and trainer._step % 2 else loss

    monkeypatch.setattr(Trainer, "_compute_loss", spoilt)


class _NanGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, loss: torch.Tensor) -> torch.Tensor:
        return loss.clone()

    @staticmethod
    def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
        return gradient * math.nan


SPOILT = [
    ("a loss", lambda loss: loss + math.nan, 1.0),  # whose gradient is as it was
    ("a loss", lambda loss: loss * math.inf, 0.0),
    ("the norm of the gradients", _NanGradient.apply, 1.0),  # by which transformers would clip, that is, spoil all
]


@pytest.mark.parametrize(("what", "change", "max_grad_norm"), SPOILT, ids=["nan loss", "infinite loss", "nan gradient"])
def test_an_update_without_numbers_is_left_out_and_the_run_goes_on(
    what: str, change: Callable, max_grad_norm: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    spoil(monkeypatch, range(2, 3), change)
    run = run_of(tmp_path, "train.save_every=1", "train.learning_rate=0.01", f"train.max_grad_norm={max_grad_norm}")
    kept = {step: weights_of(run.checkpoints / f"checkpoint-{step}") for step in (2, 3)}
    assert all(weight.isfinite().all() for weight in kept[3].values())
    assert any((kept[3][name] != kept[2][name]).any() for name in kept[3])
    moments = torch.load(run.checkpoints / "checkpoint-2" / "optimizer.pt", weights_only=True)["state"]
    assert moments and all(one["step"] == 1 and one["exp_avg"].isfinite().all() for one in moments.values())
    (event,) = events_of(run)
    assert (event["event"], event["step"], event["in_a_row"]) == ("update_left_out", 2, 1)
    first, second, third = run.read_steps()
    assert second["loss"] is None and second["events/update_left_out"] == 1
    assert first["loss"] is not None and third["loss"] is not None and "events/update_left_out" not in third
    assert f"step 2: update left out: {what} was NaN or infinite, so the weights stay" in capsys.readouterr().err


def test_updates_left_out_in_a_row_stop_the_run_with_the_weights_before_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spoil(monkeypatch, range(2, 9), lambda loss: loss * math.nan)
    with pytest.raises(TrainingError, match="stopped after step 3, with a checkpoint: 2 updates in a row were left"):
        run_of(tmp_path, "train.steps=9", "train.max_updates_left_out=2", "train.learning_rate=0.01")
    run = RunDir(tmp_path / "run")
    checkpoint = run.last_checkpoint()
    assert checkpoint is not None and checkpoint.name == "checkpoint-3"
    assert all(weight.isfinite().all() for weight in weights_of(checkpoint).values())
    assert [row["loss"] is None for row in run.read_steps()] == [False, True, True]


def run_short_of_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch, most_rows: int, error: Exception, *changes: str, from_step: int = 1
) -> RunDir:
    """Train where a backward pass over more than `most_rows` rows fails in its middle, with half a gradient made.

    It is that of each step's second microbatch, from step `from_step` on.
    """
    compute = Trainer._compute_loss

    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, weight: torch.Tensor) -> torch.Tensor:
            return weight.clone()

        @staticmethod
        def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
            raise error

    def limited(trainer: Trainer, model: torch.nn.Module, inputs: dict) -> torch.Tensor:
        loss = compute(trainer, model, inputs)
        is_early = trainer._step % 2 == 0 or trainer.state.global_step + 1 < from_step
        if is_early or len(inputs["completion_ids"]) <= most_rows:
            return loss
        return loss + 0 * Fails.apply(next(one for one in model.parameters() if one.requires_grad)).sum()

    with monkeypatch.context() as planted:
        planted.setattr(Trainer, "_compute_loss", limited)
        return run_of(folder, *changes)


@pytest.mark.parametrize("loss_type", ["dapo", "bnpo"])
def test_want_of_memory_is_met_with_smaller_microbatches_and_the_same_update(
    loss_type: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    changes = ["train.steps=1", f"train.loss_type={loss_type}", "train.precision=float32", "train.learning_rate=0.01"]
    whole = run_of(tmp_path / "whole", *changes)
    error = RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: 9 bytes")
    short = run_short_of_memory(tmp_path / "short", monkeypatch, 2, error, *changes)
    (ours,), (theirs,) = short.read_steps(), whole.read_steps()
    assert abs(theirs["loss"]) > 1e-3 or theirs["grad_norm"] > 1e-3
    for name in ("loss", "grad_norm", "entropy_trained", "logprob_gap_mean"):
        assert ours.get(name) == pytest.approx(theirs.get(name), rel=1e-3, abs=1e-6), name
    assert list(read_jsonl(short.completions(1))) == list(read_jsonl(whole.completions(1)))  # sampled once
    ours, theirs = weights_of(short.adapter), weights_of(whole.adapter)
    assert all((ours[name] - theirs[name]).norm() <= 1e-3 * theirs[name].norm() for name in ours)
    assert [one["rows"] for one in events_of(short)] == [4, 2]
    assert "To begin so: train.microbatch_size=2" in capsys.readouterr().err


def test_want_of_memory_for_one_row_ends_the_run_with_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
    changes = ["train.steps=2", "train.save_every=100"]
    with pytest.raises(torch.OutOfMemoryError):
        run_short_of_memory(tmp_path, monkeypatch, 0, error, *changes, from_step=2)
    run = RunDir(tmp_path / "run")
    assert [one["rows"] for one in events_of(run)] == [4, 2, 1]
    assert run.last_checkpoint() == run.checkpoints / "checkpoint-1"


def test_a_run_in_which_nothing_moves_says_in_which_stage_and_where_and_goes_on(tmp_path: Path, capsys):
    component = f"rewards.components=[{{name: '{FAULTY}:slow', options: {{range: [0, 1]}}}}, {{name: correct}}]"
    run = run_of(tmp_path, component, "rewards.mix=sum", "train.steps=2", "train.watchdog_minutes=0.02")
    assert [row["step"] for row in run.read_steps()] == [1, 2]
    standing = [(one["step"], one["stage"]) for one in events_of(run) if one["event"] == "nothing_moves"]
    assert (2, "scoring") in standing
    for words in (capsys.readouterr().err, run.stacks(0).read_text()):
        assert "while scoring" in words and "faulty_rewards.py" in words and "in slow" in words


def test_a_data_file_that_changed_under_the_run_is_refused_with_both_hashes(tmp_path: Path):
    rows = [
        {"question": f"What is {left} + {right}?", "answer": str(left + right)}
        for left in range(4)
        for right in range(4)
    ]
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    changes = [f"data.source={path}", "train.steps=1"]
    recipe = load("demo", [*TINY, *changes])
    run = train(recipe, tmp_path / "run").run
    before = json.loads(run.manifest.read_text())["sha256_read"]
    path.write_text(
        "".join(json.dumps(row) + "\n" for row in [*rows[1:], {"question": "What is 9 + 9?", "answer": "18"}])
    )
    with pytest.raises(
        DataError, match=rf"sums.jsonl has changed .* sha256 {before} .* and has [0-9a-f]+ now"
    ) as refused:
        train(recipe, tmp_path / "run", resume=True)
    assert isinstance(refused.value, RazonaError) and refused.value.exit_code == 2
    assert json.loads(run.manifest.read_text())["sha256_read"] == before


@pytest.mark.parametrize(
    ("body", "is_interrupted"),
    [
        ("import re; re.match(r'(a+)+b', 'a' * 40)", True),  # holds Python's lock
        ("while True: pass", True),
        ("import time; time.sleep(0.7)", True),
        ("pass", False),
    ],
)
def test_a_deadline_interrupts_sleep_code_and_regular_expressions(body: str, is_interrupted: bool):
    started = time.monotonic()
    try:
        with deadline(0.3):
            exec(body)
    except OverdueError:
        assert is_interrupted
    else:
        assert not is_interrupted
    assert time.monotonic() - started < 0.7 + 2.0


@pytest.mark.parametrize(
    ("loss_type", "weights"),
    [
        ("dapo", [1.0, 1.0, 1.0]),  # a sum over what the whole step divides by
        ("grpo", [2 / 5, 2 / 5, 1 / 5]),  # a mean over rows
        ("bnpo", [3 / 10, 4 / 10, 3 / 10]),  # a mean over tokens
    ],
)
def test_the_parts_of_a_microbatch_have_the_weights_of_their_loss(loss_type: str, weights: list[float]):
    mask = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 0], [1, 1, 0], [1, 1, 1]])
    inputs = {
        "completion_mask": mask,
        "advantages": torch.arange(5),
        "num_items_in_batch": torch.tensor(40),
        "none": None,
    }
    parts = list(parts_of(inputs, 3, loss_type))
    assert [weight for _, weight, _ in parts] == pytest.approx(weights)
    assert [is_last for _, _, is_last in parts] == [False, False, True]
    assert [part["advantages"].tolist() for part, _, _ in parts] == [[0, 1], [2, 3], [4]]
    assert all(part["num_items_in_batch"] == 40 and part["none"] is None for part, _, _ in parts)
