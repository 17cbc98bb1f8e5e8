"""The mix as TRL calls it: batches, kinds of problems, the person's own functions, receipts, what it refuses."""

import json
import math
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from razona.core.errors import RecipeError, RewardError
from razona.core.nouns import Outcome
from razona.recipe import RewardComponent, RewardsSection, load
from razona.rewards import Mix
from razona.rewards.mix import parts_row
from razona.verify import Tags

TAGS = Tags()
EXAMPLE = Path(__file__).parents[1] / "examples" / "trl_rewards.py"


def solved(answer: str, working: str = "I add.") -> str:
    return f"{working}<end_working_out><SOLUTION>{answer}</SOLUTION>"


def correct_alone() -> Mix:
    return Mix([RewardComponent(name="correct")], TAGS, mix="sound")


def own(function: str, *, mix: str = "sum", **options: object) -> Mix:
    components = [
        RewardComponent(name="correct", weight=2.0),
        RewardComponent(name=f"{__name__}:{function}", options=options),
    ]
    return Mix(components, TAGS, mix=mix)


# --- Functions of a person's own, as TRL documents them -------------------------------------------------------------


def length_of_text(completions, **columns):
    return [min(1.0, len(one) / 100) for one in completions]


def sees_everything(prompts, completions, completion_ids, target, colour, trainer_state, **columns):
    assert prompts == ["p", "q"] and completion_ids == [[1], [2, 3]] and colour == ["red", "blue"]
    return [len(ids) / 10 for ids in completion_ids]


def not_for_all(completions, **columns):
    return [None, 0.5][: len(completions)]


def raises(completions, **columns):
    raise KeyError("answer")


def too_few(completions, **columns):
    return [1.0]


def one_number(completions, **columns):
    return 1.0


def returns_text(completions, **columns):
    return [0.5, "good"]


def returns_nan(completions, **columns):
    return [0.5, math.nan]


def returns_infinity(completions, **columns):
    return [-math.inf, 0.5]


def returns_seven(completions, **columns):
    return [0.5, 7.0]


no_function = 3


def test_an_own_function_is_weighed_like_any_other():
    mix = own("length_of_text", mix="sound", range=[0, 1])
    text = solved("34")
    assert mix(completions=[text, "34"], target=["34", "34"]) == [2 + len(text) / 100, 0.02]
    assert mix.receipts[0].reward.parts == {"correct": 2.0, f"{__name__}:length_of_text": len(text) / 100}


def test_an_own_function_gets_what_trl_gives():
    totals = own("sees_everything")(
        prompts=["p", "q"],
        completions=["a", "b"],
        completion_ids=[[1], [2, 3]],
        target=["1", "2"],
        colour=["red", "blue"],
        trainer_state=None,
    )
    assert totals == [0.1, 0.2]


def test_none_of_an_own_function_counts_as_0():
    mix = own("not_for_all")
    assert mix(completions=["a", "b"], target=["1", "2"]) == [0.0, 0.5]
    assert mix.receipts[0].entries[1].value is None


@pytest.mark.parametrize(
    ("function", "fragments"),
    [
        ("raises", ["raises", "KeyError: 'answer'", "2 completions", "rows 0 to 1"]),
        ("too_few", ["too_few", "1 values for 2 completions", "[1.0]"]),
        ("one_number", ["one_number", "returned float (1.0)", "list of 2"]),
        ("returns_text", ["returns_text", "'good' for row 1"]),
        ("returns_nan", ["returns_nan", "nan for row 1", "finite"]),
        ("returns_infinity", ["returns_infinity", "-inf for row 0"]),
    ],
)
def test_an_own_function_that_breaks_its_contract_is_named_with_row_and_value(function, fragments):
    with pytest.raises(RewardError) as caught:
        own(function)(completions=["a", "b"], target=["1", "2"])
    assert [fragment for fragment in fragments if fragment not in str(caught.value)] == []


def test_the_exception_of_an_own_function_is_kept_as_the_cause():
    with pytest.raises(RewardError) as caught:
        own("raises")(completions=["a"], target=["1"])
    assert isinstance(caught.value.__cause__, KeyError)


def test_an_own_function_is_held_to_its_range():
    with pytest.raises(RewardError, match=r"returned 7 for row 1; its range in the recipe is \[0, 1\]"):
        own("returns_seven", range=[0, 1])(completions=["a", "b"], target=["1", "2"])
    assert own("returns_seven")(completions=["a", "b"], target=["1", "2"]) == [0.5, 7.0]


@pytest.mark.parametrize(
    ("name", "fragments"),
    [
        ("no.such.module:f", ["no.such.module:f", "ModuleNotFoundError", "PYTHONPATH"]),
        (f"{__name__}:absent", [f"{__name__} has no absent"]),
        (f"{__name__}:no_function", ["has int", "expected a function"]),
        (f"{__name__}:", ["expected a function"]),
    ],
)
def test_an_own_function_that_is_not_there_is_refused_at_once(name, fragments):
    with pytest.raises(RecipeError) as caught:
        Mix([RewardComponent(name=name)], TAGS)
    assert [fragment for fragment in fragments if fragment not in str(caught.value)] == []


def test_an_unsound_mix_cannot_be_made():
    with pytest.raises(RecipeError, match="add up to 1"):
        Mix([RewardComponent(name="correct"), RewardComponent(name="format")], TAGS, mix="sound")


# --- Batches -------------------------------------------------------------------------------------------------------


def test_conversations_are_paid_like_texts():
    texts = [solved("34"), solved("35")]
    talks = [[{"role": "assistant", "content": text}] for text in texts]
    parts = [[{"role": "assistant", "content": [{"type": "text", "text": text}]}] for text in texts]
    tools = [[{"role": "assistant", "content": solved("1")}, {"role": "tool", "content": "5"}, *talk] for talk in talks]
    for completions in (texts, talks, parts, tools):
        assert correct_alone()(completions=completions, target=["34", "34"]) == [1.0, 0.0]


@pytest.mark.parametrize("completion", [34, None, [], ["text"], [{"role": "assistant", "content": 34}]])
def test_a_completion_that_is_no_text_is_refused_with_its_row(completion):
    with pytest.raises(RewardError, match=r"completion of row 1 is .*; expected a text, or messages"):
        correct_alone()(completions=["a", completion], target=["1", "2"])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "no targets came .*rename_column"),
        ({"target": ["1"]}, "2 completions came with 1 targets"),
        ({"target": ["1", 0.1]}, r"target of row 1 is 0.1"),
        ({"target": ["1", None]}, r"target of row 1 is None"),
        ({"target": ["1", "2"], "completion_ids": [[1]]}, "2 completions came with completion_ids"),
    ],
)
def test_columns_that_do_not_fit_are_refused(columns, message):
    with pytest.raises(RewardError, match=message):
        correct_alone()(completions=["a", "b"], **columns)


def test_a_whole_number_is_a_target_too():
    assert correct_alone()(completions=[solved("34")], target=[34]) == [1.0]


def test_the_policies_of_the_recipe_reach_the_verifier():
    lenient = load("demo", ["rewards.verify={percent: lenient, tolerance: 0.05}"]).rewards
    texts = [solved("10%"), solved("10.4"), solved("11")]
    assert Mix.of(lenient, TAGS)(completions=texts, target=["10"] * 3) == [1.2, 1.2, 0.0]
    assert Mix.of(RewardsSection(), TAGS)(completions=texts, target=["10"] * 3) == [0.0, 0.0, 0.0]


def test_a_mix_survives_pickling():
    mix = pickle.loads(pickle.dumps(own("length_of_text", mix="sound", range=[0, 1])))
    assert mix(completions=["x" * 50], target=["34"]) == [0.5]


# --- Kinds ---------------------------------------------------------------------------------------------------------

ADD = "def add(a, b): return a + b"
HALF = "def add(a, b): return 3"
TESTS = ["assert add(1, 2) == 3", "assert add(2, 2) == 4"]


def code_mix() -> Mix:
    section = RewardsSection(
        kind="code", components=[RewardComponent(name="correct"), RewardComponent(name="code_tests", weight=0.5)]
    )
    return Mix.of(section, TAGS)


@pytest.mark.parametrize(
    "columns",
    [
        {"tests": [TESTS] * 3},
        {"extra": [json.dumps({"tests": TESTS})] * 3, "target": ["unused"] * 3},
        {"test_list": [TESTS] * 3, "test_imports": [[]] * 3, "entry_point": [None] * 3},
    ],
)
def test_code_is_paid_for_its_tests(columns):
    mix = code_mix()
    assert mix(completions=[solved(ADD), solved(HALF), ""], **columns) == [1.5, 0.25, 0.0]
    assert [receipt.entries[1].why for receipt in mix.receipts[:2]] == ["all 2 tests pass", "1 of 2 tests pass"]


def test_code_without_a_column_of_tests_is_refused_and_a_row_without_tests_gets_none():
    with pytest.raises(RewardError, match="columns are question, target; expected one of tests"):
        code_mix()(completions=[ADD], target=["x"], question=["q"])
    assert code_mix()(completions=[solved(ADD), solved(ADD)], tests=[TESTS, []]) == [1.5, None]


def test_a_puzzle_is_paid_for_any_solution():
    mix = Mix.of(RewardsSection(kind="logic", components=[RewardComponent(name="correct")]), TAGS)
    texts = [solved("(3 + 4) * 5"), solved("5 * 4 + 3 * 5"), solved("35")]
    assert mix(completions=texts, nums=[[3, 4, 5]] * 3, target=[35] * 3) == [1.0, 0.0, 0.0]
    extra = json.dumps({"nums": [3, 4, 5], "target": 35})
    assert mix(completions=texts, target=["35"] * 3, extra=[extra] * 3) == [1.0, 0.0, 0.0]
    assert mix(completions=texts, target=["35"] * 3, colour=["red"] * 3) == [None] * 3
    assert mix.receipts[0].verdict.outcome is Outcome.UNVERIFIED
    with pytest.raises(RewardError, match="no column but target"):
        mix(completions=texts, target=["35"] * 3)


@pytest.mark.parametrize("extra", ["{", "[1]", 3])
def test_an_extra_column_that_is_no_json_object_is_refused(extra):
    with pytest.raises(RewardError, match="the column extra holds"):
        code_mix()(completions=[ADD], extra=[extra])


# --- Receipts ------------------------------------------------------------------------------------------------------


def test_a_receipt_says_component_weight_value_and_why():
    mix = Mix.of(RewardsSection(), TAGS)
    mix(completions=[solved("34", working=""), solved("35"), ""], target=["34"] * 3)
    rows = [parts_row(receipt) for receipt in mix.receipts]
    assert [[tuple(entry.values()) for entry in row["receipt"]] for row in rows] == [
        [("correct", 1.0, 1.0, "the answer is right"), ("format", 0.2, 0.0, "the working is empty")],
        [("correct", 1.0, 0.0, "'35' is not '34'"), ("format", 0.2, 0.0, "only paid to correct completions")],
        [
            ("correct", 1.0, 0.0, "nothing in the completion is marked as its answer"),
            ("format", 0.2, 0.0, "only paid to correct completions"),
        ],
    ]
    assert json.loads(json.dumps(rows[0])) == rows[0]


def test_the_means_of_the_parts_are_logged_over_the_completions_with_a_verdict():
    metrics, extras = {}, {}
    Mix.of(RewardsSection(), TAGS)(
        completions=[solved("34"), solved("35"), solved("34")],
        target=["34", "34", ""],
        log_metric=metrics.__setitem__,
        log_extra=extras.__setitem__,
    )
    assert metrics == {"reward/correct": 0.5, "reward/format": 0.1}
    assert extras["reward/format"] == [0.2, 0.0, None]
    assert extras["outcome"] == ["correct", "incorrect", "unverified"]
    assert extras["reason"][1:] == ["'35' is not '34'", "the target is empty"]


def test_nothing_is_logged_as_a_mean_where_nothing_has_a_verdict():
    metrics = {}
    assert correct_alone()(completions=["a"], target=[""], log_metric=metrics.__setitem__) == [None]
    assert metrics == {}


# --- Plain TRL -----------------------------------------------------------------------------------------------------


def test_the_example_pays_what_it_says():
    code = (
        f"import runpy; made = runpy.run_path({str(EXAMPLE)!r}); mix = made['Mix'].of(made['REWARDS'], made['TAGS'])\n"
        "talk = lambda text: [{'role': 'assistant', 'content': text}]\n"
        "texts = [talk('I add</think><answer>5</answer>'), talk('5</think> <answer>6</answer>')]\n"
        "print(mix(completions=texts, target=['5', '5'], completion_ids=[[0] * 224, [0]]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [pytest.approx(1.15), 0.0]  # 1 + 0.2, and half of 0.1 off for 32 tokens too many
    assert len(EXAMPLE.read_text().splitlines()) <= 40


@pytest.mark.slow
def test_plain_trl_trains_on_the_mix(random_model: Path, tmp_path: Path):
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    mix = Mix.of(RewardsSection(), TAGS)
    arguments = GRPOConfig(
        output_dir=str(tmp_path), max_steps=1, max_completion_length=8, num_generations=4,
        per_device_train_batch_size=4, report_to="none", use_cpu=True, bf16=False, gradient_checkpointing=False,
        disable_tqdm=True, dataloader_pin_memory=False, save_strategy="no", logging_steps=1,
    )  # fmt: skip
    rows = [{"prompt": "What is 2 + 2?", "target": "4"}, {"prompt": "What is 3 + 2?", "target": "5"}]
    trainer = GRPOTrainer(
        AutoModelForCausalLM.from_pretrained(random_model),
        reward_funcs=[mix],
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(random_model),
    )
    trainer.train()
    assert len(mix.receipts) == 4
    logged = [row["reward/correct"] for row in trainer.state.log_history if "reward/correct" in row]
    assert logged == [sum(receipt.reward.parts["correct"] for receipt in mix.receipts) / 4]
