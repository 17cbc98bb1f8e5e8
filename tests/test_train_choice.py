"""Prompts worth sampling: the queue of problems, rounds of sampling, what is stored, and going on after a stop."""

import json
from collections import Counter
from pathlib import Path

import pytest

from razona import tasks
from razona.core.errors import RecipeError, RewardError
from razona.core.files import read_jsonl
from razona.core.rundir import RunDir
from razona.models.load import load_policy
from razona.recipe import ModelSection, load
from razona.recipe.rewards import RewardComponent
from razona.rewards import Mix
from razona.rollout import Sampled
from razona.train import train
from razona.train.collect import Choice, Collector
from razona.train.metrics import timing_metrics
from razona.train.problems import MAX_PASSED_OVER, ProblemQueue
from razona.verify import Tags

TINY = (
    "train.completions_per_step=16",
    "train.microbatch_size=8",
    "rollout.group_size=4",
    "rollout.max_completion_tokens=24",
    "train.warmup_steps=0",
    "guard.every=0",
)

# --- The queue -------------------------------------------------------------------------------------------------------


def test_without_outcomes_the_problems_come_in_turn():
    queue = ProblemQueue(4)
    assert [queue.take(3) for _ in range(4)] == [[0, 1, 2], [3, 0, 1], [2, 3, 0], [1, 2, 3]]


def test_flat_problems_are_drawn_less_often_and_return():
    queue = ProblemQueue(10)
    flat = {2, 5}
    drawn = Counter()
    for _ in range(400):
        for problem in queue.take(5):
            drawn[problem] += 1
            is_flat = problem in flat
            queue.note(problem, is_informative=not is_flat)
    usual = min(count for problem, count in drawn.items() if problem not in flat)
    for problem in flat:
        # Past the first rounds a flat problem is drawn once in MAX_PASSED_OVER + 1 rounds.
        assert usual / (MAX_PASSED_OVER + 2) < drawn[problem] < usual / (MAX_PASSED_OVER - 1)


def test_signal_brings_a_problem_back_to_every_round():
    queue = ProblemQueue(2)
    for _ in range(4):
        queue.note(0, is_informative=False)
    assert queue.take(MAX_PASSED_OVER) == [1] * MAX_PASSED_OVER
    assert queue.take(1) == [0]
    queue.note(0, is_informative=True)
    assert Counter(queue.take(6)) == {0: 3, 1: 3}


def test_a_queue_of_flat_problems_alone_still_gives_problems():
    queue = ProblemQueue(3)
    for problem in range(3):
        for _ in range(9):
            queue.note(problem, is_informative=False)
    assert sorted(queue.take(3)) == [0, 1, 2]


# --- Rounds ----------------------------------------------------------------------------------------------------------

GROUP = 4
TOKENIZER = load_policy(ModelSection(name="embedded")).tokenizer


def ids_of(text: str) -> list[int]:
    return TOKENIZER(text, add_special_tokens=False)["input_ids"]


def collector_that_writes(answers: dict[str, list[str]], components=("correct",)) -> tuple[Collector, list[list[str]]]:
    """Give a collector whose model answers each prompt as told, and the prompts of each sampling round."""
    rounds: list[list[str]] = []

    def generate(prompt_ids, number, on_finished):
        prompts = [TOKENIZER.decode(ids) for ids in prompt_ids]
        assert number == len(rounds)
        rounds.append(prompts[::GROUP])
        ids = [ids_of(f"<SOLUTION>{answers[prompt][row % GROUP]}</SOLUTION>") for row, prompt in enumerate(prompts)]
        half = len(ids) // 2
        on_finished(list(range(half, len(ids))), ids[half:])  # as the engine does: not in the order of the rows
        on_finished(list(range(half)), ids[:half])
        return [Sampled(ids=one, logprobs=None) for one in ids]

    mix = Mix([RewardComponent(name=name) for name in components], Tags())
    return Collector(tokenizer=TOKENIZER, mix=mix, group_size=GROUP, generate=generate, columns={}), rounds


def problems_with(answers: dict[str, list[str]]) -> list[dict]:
    return [{"prompt": prompt, "target": "7", "problem_id": prompt} for prompt in answers]


def choice_of(rows: list[dict], max_rounds: int, resample_below: float = 1.0) -> Choice:
    return Choice(rows=rows, max_rounds=max_rounds, resample_below=resample_below)


MIXED, RIGHT, WRONG = ["7", "3", "7", "1"], ["7"] * 4, ["1"] * 4


def test_verdicts_and_texts_are_in_the_order_of_the_rows():
    answers = {"a": MIXED, "b": RIGHT, "c": WRONG}
    collector, _ = collector_that_writes(answers)
    collected = collector.collect(problems_with(answers))
    for group, wanted in zip(collected.groups, answers.values(), strict=True):
        assert list(group.texts) == [f"<SOLUTION>{answer}</SOLUTION>" for answer in wanted]
        assert [one.reward.total for one in group.receipts] == [float(answer == "7") for answer in wanted]
    assert collected.trained == [0, 1, 2]
    assert [group.is_informative for group in collected.groups] == [True, False, False]


def test_a_step_samples_until_it_has_enough_groups_with_signal():
    answers = {"a": MIXED, "b": RIGHT, "c": WRONG, "d": MIXED, "e": MIXED, "f": MIXED}
    collector, rounds = collector_that_writes(answers)
    rows = problems_with(answers)
    collected = collector.collect_informative(choice_of(rows, 5), ProblemQueue(6), wanted=3)
    # One of three had signal, so two more are looked for among as many as that share asks for, at most a step's.
    assert rounds == [["a", "b", "c"], ["d", "e", "f"]]
    assert [group.problem["prompt"] for group in collected.chosen] == ["a", "d", "e"]
    assert [group.round for group in collected.groups] == [0, 0, 0, 1, 1, 1]


def test_flat_groups_fill_a_step_when_the_rounds_are_over():
    answers = {"a": WRONG, "b": MIXED, "c": RIGHT, "d": WRONG}
    collector, rounds = collector_that_writes(answers)
    collected = collector.collect_informative(choice_of(problems_with(answers), 2), ProblemQueue(4), wanted=3)
    assert len(rounds) == 2 and sum(map(len, rounds)) == 6
    # `b` comes twice: the second round of the data begins with it, for `a` is passed over.
    assert Counter(group.problem["prompt"] for group in collected.groups)["b"] == 2
    assert [group.is_informative for group in collected.chosen].count(True) == 2 and len(collected.chosen) == 3


@pytest.mark.parametrize(("resample_below", "num_rounds"), [(0.5, 1), (0.66, 1), (0.67, 3), (1.0, 3)])
def test_a_step_with_enough_signal_samples_once(resample_below, num_rounds):
    answers = {"a": MIXED, "b": RIGHT, "c": MIXED, "d": WRONG, "e": RIGHT, "f": WRONG, "g": MIXED}
    collector, rounds = collector_that_writes(answers)
    choice = choice_of(problems_with(answers), 3, resample_below)
    collected = collector.collect_informative(choice, ProblemQueue(7), wanted=3)
    # Two of three have signal. Once a step samples again, it does so until all have.
    assert len(rounds) == num_rounds, rounds
    assert len(collected.trained) == 3
    assert sum(group.is_informative for group in collected.chosen) == (2 if num_rounds == 1 else 3)


def test_a_step_full_of_signal_samples_once():
    answers = {"a": MIXED, "b": MIXED, "c": MIXED}
    collector, rounds = collector_that_writes(answers)
    collected = collector.collect_informative(choice_of(problems_with(answers), 5), ProblemQueue(3), wanted=2)
    assert rounds == [["a", "b"]] and collected.trained == [0, 1]


def test_an_error_in_the_thread_of_the_verdicts_reaches_the_caller():
    collector, _ = collector_that_writes({"a": RIGHT})
    with pytest.raises(RewardError, match="target"):
        collector.collect([{"prompt": "a", "target": None}])


def test_each_component_is_timed_and_the_slowest_row_is_named():
    answers = {"a": MIXED, "b": RIGHT}
    collector, _ = collector_that_writes(answers, ["correct", "format"])
    collected = collector.collect(problems_with(answers))
    collected.seconds["format"][5] = 9.0
    figures = timing_metrics(collected)
    assert figures["slowest/format"] == 5 and figures["seconds/format_max"] == 9.0
    for name in ("verdict", "correct", "format"):
        assert 0 <= figures[f"seconds/{name}_p50"] <= figures[f"seconds/{name}_p99"] <= figures[f"seconds/{name}_max"]
    assert figures["seconds/sampling"] > 0


# --- Whole runs ------------------------------------------------------------------------------------------------------


def test_a_run_stores_all_that_it_sampled_and_says_what_it_trained_on(tmp_path: Path):
    changes = [*TINY, "train.steps=2", "train.sampling=informative", "train.sampling_rounds=4"]
    result = train(load("demo", changes), tmp_path / "run")
    assert json.loads(result.run.manifest.read_text())["to_sample_from"] == 2 * 4 * 4  # steps, groups, rounds
    first = [row["problem_id"] for step in (1, 2) for row in read_jsonl(result.run.completions(step))][::4]
    assert len(set(first)) == len(first), "a problem came twice while there were fresh ones"
    for step, metrics in enumerate(result.run.read_steps(), start=1):
        rows = list(read_jsonl(result.run.completions(step)))
        groups = [rows[start : start + 4] for start in range(0, len(rows), 4)]
        assert metrics["groups_sampled"] == len(groups) > 4
        assert {row["round"] for row in rows} > {0}
        trained = [group for group in groups if group[0]["is_trained"]]
        assert len(trained) == 4
        signal = [len({row["reward"] for row in group}) > 1 for group in groups]
        kept = [len({row["reward"] for row in group}) > 1 for group in trained]
        assert sum(kept) == min(4, sum(signal)) and metrics["informative_trained"] == sum(kept) / 4
        assert metrics["informative_groups"] == pytest.approx(sum(signal) / len(groups))
        assert metrics["accuracy"] == pytest.approx(sum(row["outcome"] == "correct" for row in rows) / len(rows))
        for group in groups:
            assert all((row["advantage"] is None) is not row["is_trained"] for row in group)
        for group in trained:
            assert sum(row["advantage"] for row in group) == pytest.approx(0, abs=1e-4)


@pytest.mark.slow
def test_a_resumed_run_samples_the_problems_that_the_whole_one_does(tmp_path: Path):
    few = ["train.sampling=informative", "data.max_problems=9", "train.steps=5", "train.save_every=2"]
    recipe = load("demo", [*TINY, *few])
    train(recipe, tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop(row: object) -> None:
        if row["step"] == 3:
            raise Stop

    with pytest.raises(Stop):
        train(recipe, tmp_path / "broken", watch=stop)
    train(recipe, tmp_path / "broken", resume=True)
    for step in (3, 4, 5):
        broken, whole = (list(read_jsonl(RunDir(tmp_path / name).completions(step))) for name in ("broken", "whole"))
        assert broken == whole


def test_generators_that_hold_few_problems_give_what_they_have():
    few = tasks.distinct_problems("train", 5000, at_least=100, seed=0, families=["linear_equations"], levels=[1])
    assert 100 <= len(few) < 5000
    with pytest.raises(RecipeError, match="asked for 5000 different problems"):
        tasks.distinct_problems("train", 5000, seed=0, families=["linear_equations"], levels=[1])
