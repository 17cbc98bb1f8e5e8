"""Supervised fine-tuning: what it learns from, what it computes, and GRPO going on from it."""

import math
from pathlib import Path

import pytest
import torch
from transformers import TrainerControl, TrainerState, TrainingArguments

from razona.core.errors import DataError, RecipeError, TrainingError
from razona.core.files import read_jsonl
from razona.core.nouns import Completion, Outcome, Problem, Verdict
from razona.core.rundir import RunDir
from razona.data import PromptWriter, tags_of
from razona.evaluate.evaluation import Judged
from razona.models.load import load_policy, load_tuned
from razona.recipe import ModelSection, load
from razona.report import write_page
from razona.tasks import distinct_problems
from razona.train import train
from razona.train.sft import IGNORED, _Recorder, num_updates, sft_config, token_row
from razona.train.solutions import Solution, best_of, given_solutions, in_order, own_solutions

TINY = [
    "train.method=sft",
    "sft.num_problems=32",
    "sft.samples=4",
    "sft.epochs=1",
    "sft.batch_size=8",
    "train.steps=2",
    "train.completions_per_step=16",
    "train.microbatch_size=8",
    "train.sampling=uniform",
    "rollout.max_completion_tokens=48",
    "guard.every=0",
]
TAGS = tags_of(load("demo").prompt)


@pytest.fixture(scope="module")
def policy():
    return load_policy(ModelSection())


def judged(text: str, *, outcome: Outcome = Outcome.CORRECT, form: bool = True, steps: int = 0, cut: bool = False):
    completion = Completion(problem_id="p", text=text, num_tokens=5, is_truncated=cut)
    verdict = Verdict(outcome=outcome, answer="12" if outcome is Outcome.CORRECT else None)
    return Judged(completion=completion, verdict=verdict, has_form=form, num_steps=steps)


def in_form(working: str, answer: str) -> str:
    return f"{working}<end_working_out><SOLUTION>{answer}</SOLUTION>"


def test_of_right_completions_those_in_the_form_go_first_then_those_that_show_more_steps():
    row = [
        judged(in_form("", "12")),
        judged(in_form(" 5 + 7 = 12. ", "12"), steps=1),
        judged("5 + 7 = 12. The answer is 12.", form=False, steps=3),
        judged(in_form(" 5 + 8 = 13. ", "13"), outcome=Outcome.INCORRECT, steps=1),
    ]
    assert best_of(row, TAGS, 1) == [(in_form(" 5 + 7 = 12. ", "12"), "own")]
    assert [origin for _, origin in best_of(row, TAGS, 9)] == ["own", "own", "own, form mended"]


def test_a_right_completion_without_the_form_is_written_in_it_up_to_the_line_of_its_answer():
    row = [judged("5 + 7 = 12\nThe answer is 12.\n\nProblem: Ann has 3 pens.\n3 + 3 = 6", form=False)]
    assert best_of(row, TAGS, 1) == [(in_form(" 5 + 7 = 12 ", "12"), "own, form mended")]


def test_completions_that_were_cut_off_teach_nothing_and_equal_texts_count_once():
    text = in_form(" 5 + 7 = 12. ", "12")
    assert best_of([judged(text, cut=True)], TAGS, 4) == []
    assert len(best_of([judged(text), judged(text)], TAGS, 4)) == 1


def test_given_solutions_are_the_generators_steps_in_the_form(policy):
    recipe = load("demo", TINY)
    problem = Problem(id="p", question="What is 2 + 3 * 4?", target="14", steps=("3 * 4 = 12", "2 + 12 = 14"))
    writer = PromptWriter(section=recipe.prompt, tokenizer=policy.tokenizer)
    [one] = given_solutions([problem], recipe, writer).solutions
    assert one.text == in_form(" 3 * 4 = 12. 2 + 12 = 14. ", "14")
    assert one.prompt == writer.write(problem)


def test_data_without_worked_solutions_is_refused_by_name(policy):
    recipe = load("demo", [*TINY, "sft.source=given"])
    writer = PromptWriter(section=recipe.prompt, tokenizer=policy.tokenizer)
    with pytest.raises(DataError, match=r"sft\.source = given: none of the 1 problems.*sft\.source: own"):
        given_solutions([Problem(id="p", question="2 + 3?", target="5")], recipe, writer)


def test_own_solutions_are_judged_right_and_in_the_form(policy):
    recipe = load("demo", [*TINY, "data.levels=[1]"])
    problems = distinct_problems("train", 32, seed=3, levels=[1])
    targets = {problem.id: problem.target for problem in problems}
    found = own_solutions(problems, recipe, policy).solutions
    assert len({one.problem_id for one in found}) == len(found) >= 8
    for one in found:
        assert one.text.endswith(f"<SOLUTION>{targets[one.problem_id]}</SOLUTION>")
        assert one.text.count("<end_working_out>") == 1


def test_a_model_that_is_never_right_has_no_solutions_of_its_own(random_model: Path):
    policy = load_policy(ModelSection(name=str(random_model)))
    recipe = load("demo", [*TINY, "sft.num_problems=4", "sft.samples=2"])
    with pytest.raises(DataError, match="none of 8 completions under the prompt 'training' is right"):
        own_solutions(distinct_problems("train", 4, seed=3, levels=[1]), recipe, policy)


def test_the_loss_is_of_the_solution_and_the_end_of_text_alone(policy):
    solution = Solution(problem_id="p", prompt="What is 2 + 3?\n", text=" 5", origin="given")
    row = token_row(solution, policy)
    learned = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label != IGNORED]
    assert policy.tokenizer.decode(learned[:-1]) == " 5" and learned[-1] == policy.tokenizer.eos_token_id
    assert policy.tokenizer.decode(row["input_ids"][: -len(learned)]) == "What is 2 + 3?\n"


def test_every_solution_is_seen_once_an_epoch_in_another_order():
    solutions = [Solution(problem_id=str(n), prompt="", text="", origin="given") for n in range(20)]
    order = [int(one.problem_id) for one in in_order(solutions, 2, seed=0)]
    assert sorted(order[:20]) == sorted(order[20:]) == list(range(20))
    assert order[:20] != order[20:]


@pytest.mark.parametrize(
    ("changes", "sampled", "updates"),
    [
        ([], 0, 8),
        (["sft.max_steps=5"], 0, 5),
        (["sft.max_token_passes=2400"], 0, 8),  # 8 batches of 10 rows of 10 tokens, 3 passes each
        (["sft.max_token_passes=2399"], 0, 7),
        (["sft.max_token_passes=2399"], 1199, 4),
        (["sft.max_token_passes=10"], 0, 1),
        (["sft.max_token_passes=1500", "sft.max_steps=3"], 0, 3),
    ],
)
def test_updates_end_with_the_rows_the_steps_or_the_budget(changes, sampled, updates):
    assert num_updates([10] * 80, 10, load("demo", changes).sft, sampled) == updates


@pytest.mark.parametrize(
    ("batch_size", "processes", "batch", "passes"),
    [(8, 1, 8, 1), (5, 1, 5, 1), (32, 1, 8, 4), (30, 1, 6, 5), (32, 2, 8, 2)],
)
def test_an_update_is_cut_into_microbatches_that_fit(batch_size, processes, batch, passes, tmp_path):
    config = sft_config(load("demo", TINY), RunDir(tmp_path), batch_size=batch_size, updates=3, num_processes=processes)
    assert (config.per_device_train_batch_size, config.gradient_accumulation_steps) == (batch, passes)


def log_likelihood(model, row: dict[str, list[int]]) -> float:
    """Mean over the learned tokens, by hand."""
    ids = torch.tensor([row["input_ids"]])
    with torch.no_grad():
        logprobs = torch.log_softmax(model(input_ids=ids).logits[0, :-1].float(), dim=-1)
    wanted = [(place - 1, label) for place, label in enumerate(row["labels"]) if label != IGNORED]
    return sum(float(logprobs[place, label]) for place, label in wanted) / len(wanted)


@pytest.mark.slow
def test_fine_tuning_makes_its_solutions_likelier_and_its_first_loss_is_theirs(tmp_path: Path, policy):
    recipe = load("demo", [*TINY, "sft.source=given", "sft.batch_size=32", "sft.epochs=4", "sft.learning_rate=0.003"])
    result = train(recipe, tmp_path / "run")
    run = result.run
    solutions = [Solution(**row) for row in read_jsonl(run.sft_solutions)]
    rows = [token_row(one, policy) for one in solutions]
    updates = list(read_jsonl(run.sft_metrics))
    assert [row["step"] for row in updates] == [1, 2, 3, 4]
    counts = [sum(label != IGNORED for label in row["labels"]) for row in rows]
    before = [log_likelihood(policy.model, row) for row in rows]
    mean = -sum(one * count for one, count in zip(before, counts, strict=True)) / sum(counts)
    assert updates[0]["loss"] == pytest.approx(mean, rel=0.02)  # every solution is in the first batch
    tuned = load_tuned(recipe.model, run.adapter)
    after = [log_likelihood(tuned.model, row) for row in rows]
    assert sum(after) > sum(before)
    assert result.fine_tuned is not None and result.fine_tuned.trained_tokens == 4 * sum(counts)
    read = sum(len(row["input_ids"]) for row in rows)
    assert result.fine_tuned.token_passes == 3 * 4 * read
    page = write_page(run).read_text(encoding="utf-8")
    assert "Supervised fine-tuning" in page and "32 solutions, 4 updates" in page
    assert "No step has ended yet" not in page


@pytest.mark.slow
def test_grpo_goes_on_from_the_fine_tuned_adapter_and_a_resumed_run_does_not_fine_tune_again(tmp_path: Path):
    recipe = load("demo", [*TINY, "train.method=sft_then_grpo", "train.kl_weight=0.04", "train.save_every=1"])

    class Stop(Exception):
        pass

    def stop_at_once(row: object) -> None:
        raise Stop

    run = RunDir(tmp_path / "run")
    with pytest.raises(Stop):
        train(recipe, run.root, watch=stop_at_once)
    assert run.read_steps()[0]["kl"] == pytest.approx(0.0, abs=1e-6)  # the reference is the fine-tuned policy
    written_at = run.sft_solutions.stat().st_mtime_ns
    result = train(recipe, run.root, resume=True)
    assert run.sft_solutions.stat().st_mtime_ns == written_at
    assert result.steps == 2 and result.fine_tuned is not None
    assert all(math.isfinite(row["kl"]) for row in run.read_steps())
    plain = tmp_path / "whole"
    train(recipe, plain)
    assert (plain / "adapter" / "adapter_model.safetensors").read_bytes() == (
        run.adapter / "adapter_model.safetensors"
    ).read_bytes()


@pytest.mark.slow
def test_without_an_adapter_all_weights_are_fine_tuned(tmp_path: Path, policy):
    recipe = load("demo", [*TINY, "lora=null", "sft.source=given"])
    run = train(recipe, tmp_path / "run").run
    tuned = load_tuned(recipe.model, run.adapter)
    moved = [
        name
        for (name, one), other in zip(tuned.model.named_parameters(), policy.model.parameters(), strict=True)
        if not torch.equal(one, other)
    ]
    assert len(moved) == len(list(policy.model.parameters()))


def test_a_reference_that_is_not_the_fine_tuned_model_is_refused():
    with pytest.raises(RecipeError, match=r"the model before the fine-tuning\. Set train\.kl_weight: 0"):
        load("demo", ["train.method=sft_then_grpo", "lora=null", "train.kl_weight=0.1"])


@pytest.mark.parametrize("figures", [{"loss": math.nan, "grad_norm": 1.0}, {"loss": 0.5, "grad_norm": math.inf}])
def test_a_fine_tuning_without_numbers_is_stopped_with_what_to_change(figures: dict[str, float], tmp_path: Path):
    run = RunDir(tmp_path)
    recorder = _Recorder(run, lambda row: None)
    state, control = TrainerState(global_step=3), TrainerControl()
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[])
    recorder.on_log(arguments, state, control, {"loss": 0.5, "grad_norm": 1.0})
    with pytest.raises(TrainingError, match=r"stopped at update 3: its loss or gradient is NaN.*sft\.learning_rate"):
        recorder.on_log(arguments, state, control, figures)
    assert [row["loss"] for row in read_jsonl(run.sft_metrics)] == [0.5]
