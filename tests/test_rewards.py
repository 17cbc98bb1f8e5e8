"""What completions are paid: the notebook's four rewards as they are known, and the sound mix that puts right first."""

import itertools
import math
import re
import time
from dataclasses import dataclass
from random import Random

import pytest

from razona.core.errors import RecipeError, RewardError
from razona.core.nouns import Outcome
from razona.recipe import RewardComponent, RewardsSection, load
from razona.rewards import COMPONENTS, Mix
from razona.rewards.mix import parts_row
from razona.rewards.sample import Sample
from razona.verify import Settings, Tags, check

TAGS = Tags()
THINK = Tags(working_open="<think>", working_close="</think>", solution_open="[[", solution_close="]]")
NOTEBOOK = ("format_exact", "format_approximate", "check_answer", "check_numbers")
DEADLINE_S = 2.0


def pay(name, text, target, tags):
    sample = Sample(
        text=text,
        target=target,
        tags=tags,
        verdict=check(text, target, Settings(tags=tags)),
        num_tokens=len(text),
        row={"nums": [3, 4, 5], "target": 35},
        options={"target_tokens": 50} if name == "length" else {"script": "latin"},
    )
    return COMPONENTS[name](sample).value


def solved(answer: str) -> str:
    return f"I add the two numbers.<end_working_out><SOLUTION>{answer}</SOLUTION>"


# Completion, target, and the four rewards: FIELD, section 2, table 4a, measured on the notebook's own code.
TABLE_OF_THE_NOTEBOOK = [
    (solved("34"), "34", (3.0, 1.5, 5.0, 3.5)),
    ("<end_working_out><SOLUTION>34</SOLUTION>", "34", (3.0, 1.5, 5.0, 3.5)),  # no reasoning at all
    (solved("34") + "\nand 35, 36, whatever", "34", (3.0, 1.5, 5.0, 3.5)),  # garbage after a newline
    (solved("35"), "34", (3.0, 1.5, 2.0, -1.5)),  # wrong, within 10 %
    (solved("1,234"), "1234", (3.0, 1.5, -4.5, 3.5)),
    (solved(r"\boxed{34}"), "34", (3.0, 1.5, -4.5, 3.5)),
    (solved("0.0"), "0", (3.0, 1.5, -4.5, 3.5)),  # division by zero
    (solved("34 or 35"), "34", (3.0, 1.5, -4.5, 3.5)),
    (solved("34/7"), "34", (3.0, 1.5, -4.5, 3.5)),
    (solved("34^2"), "34", (3.0, 1.5, -4.5, 3.5)),
    (solved("none") + " 34", "34", (0.0, 1.5, -2.0, 3.5)),
    (solved("99"), "34", (3.0, 1.5, -2.5, -1.5)),
    (solved(","), "34", (3.0, 1.5, -4.5, 0.0)),
    (r"The answer is \boxed{34}.", "34", (0.0, -3.0, -2.0, -2.5)),
]
TOTALS = [13.0, 13.0, 13.0, 5.0, 3.5, 3.5, 3.5, 3.5, 3.5, 3.5, 3.0, 0.5, 0.0, -7.5]

# What the table leaves open, from the notebook's code by hand.
BY_HAND = [
    (solved(" 34 "), "34", (3.0, 1.5, 3.5, 3.5)),  # equal after stripping
    (solved("34") + "  \n\n", "34", (3.0, 1.5, 5.0, 3.5)),
    (solved("34") + " done", "34", (0.0, 1.5, -2.0, 3.5)),
    (solved("28"), "34", (3.0, 1.5, 1.5, -1.5)),  # 28 / 34 = 0.82
    (solved("40"), "34", (3.0, 1.5, 1.5, -1.5)),  # 40 / 34 = 1.18
    (solved("-34"), "34", (3.0, 1.5, -2.5, -1.5)),
    (solved("34") + solved("35"), "34", (3.0, -3.0, -4.5, 3.5)),  # first block to last end: one long "answer"
    ("<end_working_out><SOLUTION>34", "34", (0.0, -0.0, -2.0, 3.5)),
    ("<SOLUTION>34</SOLUTION>", "34", (0.0, 0.0, -2.0, 3.5)),
    ("<end_working_out><SOLUTION></SOLUTION>", "34", (0.0, 1.5, -2.0, -2.5)),
    (solved("x = 7, so 34"), "34", (3.0, 1.5, -4.5, -1.5)),  # 7 is the first number
    (solved("1.2.3"), "34", (3.0, 1.5, -4.5, 0.0)),
    (solved("34"), "x", (3.0, 1.5, -4.5, 0.0)),
    ("", "34", (0.0, -3.0, -2.0, -2.5)),
]


@pytest.mark.parametrize(("completion", "target", "values"), [*TABLE_OF_THE_NOTEBOOK, *BY_HAND])
def test_each_reward_of_the_notebook_pays_what_it_is_known_for(completion, target, values):
    assert tuple(pay(name, completion, target, TAGS) for name in NOTEBOOK) == values


def notebook_mix() -> Mix:
    return Mix([RewardComponent(name=name) for name in NOTEBOOK], TAGS)


@pytest.mark.parametrize(
    ("completion", "target", "total"),
    [(*row[:2], total) for row, total in zip(TABLE_OF_THE_NOTEBOOK, TOTALS, strict=True)],
)
def test_the_totals_are_the_ones_of_the_table(completion, target, total):
    assert notebook_mix()(completions=[completion], target=[target]) == [total]


def oracle(text: str, target: str) -> tuple[float, float, float, float]:
    """Give the four rewards with the notebook's own regular expressions, which are too slow for long texts."""
    ending = r"</SOLUTION>[\s]{0,}(?:<eos>)?[\s]{0,}$"
    blocks = re.search(rf"<end_working_out>.*?<SOLUTION>(.+?){ending}", text, re.MULTILINE | re.DOTALL)
    numbers = re.search(r"<SOLUTION>.*?[\s]{0,}([-]?[\d\.\,]{1,})", text, re.MULTILINE | re.DOTALL)
    approximate = sum(
        0.5 if text.count(mark) == 1 else -1.0 for mark in ("<end_working_out>", "<SOLUTION>", "</SOLUTION>")
    )
    return (
        3.0 if blocks else 0.0,
        approximate,
        _answer(blocks and blocks[1], target),
        _numbers(numbers and numbers[1], target),
    )


def _answer(guess: str | None, target: str) -> float:
    if guess is None:
        return -2.0
    if guess == target:
        return 5.0
    if guess.strip() == target.strip():
        return 3.5
    try:
        ratio = float(guess) / float(target)
    except (ValueError, ZeroDivisionError):
        return -4.5
    return 2.0 if 0.9 <= ratio <= 1.1 else 1.5 if 0.8 <= ratio <= 1.2 else -2.5


def _numbers(guess: str | None, target: str) -> float:
    if guess is None:
        return -2.5
    try:
        return 3.5 if float(guess.strip().replace(",", "")) == float(target.strip()) else -1.5
    except ValueError:
        return 0.0


PIECES = (
    "<start_working_out>", "<end_working_out>", "<end_working_out>", "<SOLUTION>", "<SOLUTION>", "</SOLUTION>",
    "</SOLUTION>", "34", "35", "-34", "1,234", "34.0", ".", ",", "-", " ", "\n", "\r", "\t", "\u2028", "so", "<", "",
)  # fmt: skip


def test_the_rewards_equal_the_regular_expressions_of_the_notebook_on_random_texts():
    rng = Random(1)
    seen = set()
    for _ in range(20_000):
        text, target = "".join(rng.choices(PIECES, k=rng.randint(1, 12))), rng.choice(("34", "0", "1234", " 34"))
        expected = oracle(text, target)
        seen.add(expected)
        assert tuple(pay(name, text, target, TAGS) for name in NOTEBOOK) == expected, (text, target)
    assert len(seen) > 30  # the texts are not all alike


def test_the_rewards_of_the_notebook_read_the_tags_of_the_recipe():
    text = "so</think>[[34]]"
    assert tuple(pay(name, text, "34", THINK) for name in NOTEBOOK) == (3.0, 1.5, 5.0, 3.5)
    assert tuple(pay(name, text, "34", TAGS) for name in NOTEBOOK) == (0.0, -3.0, -2.0, -2.5)


HOSTILE = [
    "<end_working_out>" * 12_000,
    "<SOLUTION>" * 20_000,
    "<end_working_out>" + "<SOLUTION>" * 20_000,
    "<end_working_out><SOLUTION>" + "</SOLUTION>x" * 16_000,
    "<end_working_out><SOLUTION>" + "</SOLUTION> " * 16_000 + "x",
    "<end_working_out><SOLUTION>34</SOLUTION>" + " " * 200_000 + "x",
    "<end_working_out><SOLUTION>34</SOLUTION>" + "\n" * 200_000 + "x",
    "<end_working_out><SOLUTION>" + " " * 200_000,
    "<end_working_out><SOLUTION>" + "-" * 200_000,
    "<end_working_out><SOLUTION>" + "1," * 100_000 + "</SOLUTION>",
    "<end_working_out><SOLUTION>" + "9" * 200_000 + "</SOLUTION>",
    "<end_working_out><SOLUTION>" * 7_000 + "34</SOLUTION>" * 1_000 + "x",
    "x" * 200_000,
]


@pytest.mark.parametrize("name", COMPONENTS)
def test_200_kilobytes_of_hostile_text_are_paid_within_the_deadline(name):
    start = time.perf_counter()
    for text in HOSTILE:
        pay(name, text, "34", TAGS)
    assert time.perf_counter() - start < DEADLINE_S


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_reward_gives_one_finite_number_for_whatever_text(name):
    texts = ["", "\0", "<SOLUTION>nan</SOLUTION>", "<end_working_out><SOLUTION>inf</SOLUTION>", "\ud800", *HOSTILE[:4]]
    values = [pay(name, text, "34", TAGS) for text in texts]
    assert all(isinstance(value, float) and math.isfinite(value) for value in values)


# --- The sound rewards ---------------------------------------------------------------------------------------------

RIGHT = [
    solved("34"),
    "<end_working_out><SOLUTION>34</SOLUTION>",
    solved("34.0"),
    solved(" 34 "),
    solved(r"\boxed{34}"),
    solved("$34$"),
    solved("34") + "\ngarbage",
    r"The answer is \boxed{34}.",
    "The answer is 34.",
    "<SOLUTION>34</SOLUTION>",
]
WRONG = [
    solved("35") + solved("34"),  # a hedge
    solved("35"),
    solved("99"),
    solved("34 or 35"),
    solved("34/7"),
    solved("34^2"),
    solved(","),
    solved(""),
    solved("none") + " 34",
    solved("34") + solved("35"),
    r"The answer is \boxed{35}.",
    "The answer is 34 or 35.",
    "34",
    "",
    "34 " * 1000,
    "30 + 4 = 34. " * 50 + "<end_working_out><SOLUTION>35</SOLUTION>",
    "<end_working_out><SOLUTION>",
]
SOUND_MIXES = [
    RewardsSection().components,
    [RewardComponent(name="correct"), RewardComponent(name="format", weight=0.9)],
    [RewardComponent(name="format", weight=0.9), RewardComponent(name="correct")],
    [RewardComponent(name="correct")],
    [RewardComponent(name="correct"), RewardComponent(name="random", weight=0.5)],
    load("demo").rewards.components,
]


@pytest.mark.parametrize("components", SOUND_MIXES)
def test_every_right_completion_is_paid_more_than_every_wrong_one(components):
    mix = Mix(components, TAGS)
    right = mix(completions=RIGHT, target=["34"] * len(RIGHT))
    wrong = mix(completions=WRONG, target=["34"] * len(WRONG))
    assert min(right) > max(wrong)


def test_the_notebook_pays_a_wrong_completion_more_than_a_right_one():
    wrong, right = notebook_mix()(completions=[solved("35"), r"\boxed{34}"], target=["34", "34"])
    assert (wrong, right) == (5.0, -7.5)


def test_the_default_mix_pays_1_for_right_1_2_for_right_in_form_and_0_for_form_alone():
    mix = Mix(RewardsSection().components, TAGS)
    texts = [solved("34"), "<SOLUTION>34</SOLUTION>", solved("35"), ""]
    assert mix(completions=texts, target=["34"] * 4) == [1.2, 1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("text", "target", "correct", "form"),
    [
        (solved("34"), "34", 1.0, 1.0),
        (solved("35"), "34", 0.0, 1.0),
        (solved("34") + ".", "34", 1.0, 0.0),
        ("34", "34", 0.0, 0.0),
        (solved("34"), "", None, 1.0),
    ],
)
def test_correct_and_format(text, target, correct, form):
    assert pay("correct", text, target, TAGS) == correct
    assert pay("format", text, target, TAGS) == form


def test_the_random_reward_is_drawn_anew_for_every_place_and_never_looks_at_the_text():
    def draw(text, place):
        verdict = check(text, "34")
        return COMPONENTS["random"](Sample(text=text, target="34", tags=TAGS, verdict=verdict, place=place)).value

    assert draw("a", "0/1/2") == draw("b", "0/1/2") != draw("a", "0/1/3")
    right = [draw(solved("34"), f"0/{i}/0") for i in range(2_000)]
    wrong = [draw(solved("35"), f"0/{i}/1") for i in range(2_000)]
    for values in (right, wrong):
        assert all(0 <= value < 1 for value in values)
        assert abs(sum(values) / 2_000 - 0.5) < 0.03  # 4.6 standard errors of a uniform number's mean


def test_the_mix_draws_the_random_reward_by_seed_step_and_row():
    @dataclass
    class State:
        global_step: int

    def totals(seed, step):
        mix = Mix([RewardComponent(name="random")], TAGS, seed=seed)
        return mix(completions=["same"] * 4, target=["34"] * 4, trainer_state=State(step))

    assert totals(0, 1) == totals(0, 1)
    assert len({*totals(0, 1), *totals(0, 2), *totals(1, 1)}) == 12


# --- The mix and its receipts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("components", [*SOUND_MIXES, notebook_mix().components])
def test_the_parts_of_every_receipt_add_up_to_its_total(components):
    mix = Mix(components, TAGS)
    texts = RIGHT + WRONG
    totals = mix(completions=texts, target=["34"] * len(texts))
    assert len(mix.receipts) == len(texts)
    for total, receipt in zip(totals, mix.receipts, strict=True):
        assert receipt.reward.total == total == pytest.approx(math.fsum(receipt.reward.parts.values()))
        assert set(receipt.reward.parts) == {component.name for component in components}


def test_a_part_is_weight_times_value_and_what_is_for_right_answers_only_is_else_0():
    mix = Mix(
        [
            RewardComponent(name="correct", weight=2.0),
            RewardComponent(name="format", weight=0.5, when="correct"),
            RewardComponent(name="format_approximate", weight=0.1),
        ],
        TAGS,
    )
    mix(completions=[solved("34"), solved("35")], target=["34", "34"])
    assert [dict(receipt.reward.parts) for receipt in mix.receipts] == [
        {"correct": 2.0, "format": 0.5, "format_approximate": pytest.approx(0.15)},
        {"correct": 0.0, "format": 0.0, "format_approximate": pytest.approx(0.15)},
    ]


@pytest.mark.parametrize("components", [*SOUND_MIXES, notebook_mix().components])
def test_a_target_that_cannot_be_read_is_paid_none_by_every_mix(components):
    mix = Mix(components, TAGS)
    assert mix(completions=[solved("34"), solved("34")], target=["", "34"])[0] is None
    assert mix.receipts[0].verdict.outcome is Outcome.UNVERIFIED
    assert mix.receipts[0].reward.parts == {}
    assert mix.receipts[1].reward.total is not None


def test_receipts_are_those_of_the_last_batch_in_order():
    mix = Mix(RewardsSection().components, TAGS)
    mix(completions=[solved("1")] * 3, target=["1"] * 3)
    mix(completions=[solved("1"), solved("2")], target=["2", "2"], prompts=["a", "b"], trainer_state=None)
    assert [receipt.verdict.outcome for receipt in mix.receipts] == [Outcome.INCORRECT, Outcome.CORRECT]


def test_a_receipt_is_stored_with_its_verdict_and_parts():
    mix = Mix(RewardsSection().components, TAGS)
    mix(completions=[solved("35"), ""], target=["34", ""])
    assert parts_row(mix.receipts[0]) == {
        "outcome": "incorrect",
        "answer": "35",
        "reason": "'35' is not '34'",
        "reward": 0.0,
        "parts": {"correct": 0.0, "format": 0.0},
        "receipt": [
            {"component": "correct", "weight": 1.0, "value": 0.0, "why": "'35' is not '34'"},
            {"component": "format", "weight": 0.2, "value": 0.0, "why": "only paid to correct completions"},
        ],
    }
    assert parts_row(mix.receipts[1])["reward"] is None


def test_targets_that_do_not_fit_the_completions_are_refused():
    with pytest.raises(RewardError, match="2 completions came with 1 targets"):
        Mix(RewardsSection().components, TAGS)(completions=["a", "b"], target=["34"])


def test_an_unknown_reward_is_refused_with_the_known_ones():
    with pytest.raises(RecipeError) as caught:
        Mix([RewardComponent(name="corect")], TAGS)
    assert all(word in str(caught.value) for word in ("corect", *COMPONENTS))


def test_trl_finds_a_name_to_log_the_reward_under():
    assert Mix(RewardsSection().components, TAGS).__name__ == "reward"


def test_no_order_of_a_batch_changes_what_a_completion_is_paid():
    texts = (solved("34"), solved("35"), "", r"\boxed{34}")
    mix = notebook_mix()
    expected = dict(zip(texts, mix(completions=texts, target=["34"] * 4), strict=True))
    for order in itertools.permutations(texts):
        assert mix(completions=order, target=["34"] * 4) == [expected[text] for text in order]
