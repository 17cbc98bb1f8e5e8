"""What the trainer keeps of its steps in memory."""

from types import SimpleNamespace

from transformers import TrainerControl, TrainerState, TrainingArguments

from razona.train import record
from razona.train.record import KEPT_LOGS, StepRecorder


def test_the_trainers_own_log_of_a_long_run_keeps_its_last_steps_alone(tmp_path, monkeypatch):
    tidied: list[int] = []
    rows: list[dict] = []
    state = TrainerState(is_world_process_zero=True)
    monkeypatch.setattr(record, "hand_back_free_pages", lambda: tidied.append(state.global_step))
    trainer = SimpleNamespace(
        events=SimpleNamespace(take=dict),
        token_figures=SimpleNamespace(take=dict),
        step_figures={},
        run=SimpleNamespace(append_step=rows.append),
    )
    recorder = StepRecorder(trainer, lambda row: None)  # pyright: ignore[reportArgumentType]
    for step in range(1, KEPT_LOGS + 51):
        state.global_step = step
        state.log_history.append({"step": step, "loss": 0.5})
        recorder.on_log(TrainingArguments(output_dir=str(tmp_path)), state, TrainerControl(), {"loss": 0.5})
    assert [row["step"] for row in state.log_history] == list(range(51, KEPT_LOGS + 51))
    assert [row["step"] for row in rows] == list(range(1, KEPT_LOGS + 51))  # metrics.jsonl has all
    assert tidied == [20, 40, 60, 80, 100, 120, 140]
