"""The red team: it finds what the notebook's rewards pay wrongly, and nothing in the sound ones."""

import json
import subprocess
import sys

import pytest

from razona.core.errors import RecipeError, RewardError
from razona.recipe import RewardComponent, RewardsSection, VerifySection, load
from razona.rewards.attacks import TARGETS, math_exams
from razona.rewards.redteam import ScoreCard, red_team
from razona.verify import Tags

TAGS = Tags()
THINK = Tags(working_open="<think>", working_close="</think>", solution_open="[[", solution_close="]]")
NOTEBOOK = [
    RewardComponent(name=name) for name in ("format_exact", "format_approximate", "check_answer", "check_numbers")
]


def sum_of(*components: tuple) -> RewardsSection:
    made = [RewardComponent(name=name, options=options) for name, options in components]
    return RewardsSection(mix="sum", components=made)


def failed(card: ScoreCard) -> dict[str, str]:
    return {check.name: check.finding for check in card.checks if not check.is_passed}


SOUND = [
    (RewardsSection(), TAGS),
    (load("demo").rewards, THINK),
    (RewardsSection(verify=VerifySection(tolerance=0.15)), TAGS),
    (
        RewardsSection(
            components=[
                RewardComponent(name="correct", weight=2.0),
                RewardComponent(name="format", weight=0.5),
                RewardComponent(name="format_partial", weight=0.5),
                RewardComponent(name="number_close", weight=0.5),
                RewardComponent(name="length", weight=0.2, options={"target_tokens": 64}),
            ]
        ),
        TAGS,
    ),
]


@pytest.mark.parametrize(("section", "tags"), SOUND, ids=["default", "demo", "tolerant", "many"])
def test_sound_rewards_hold_every_check(section, tags):
    card = red_team(section, tags)
    assert failed(card) == {}, card.worst
    assert card.is_passed and card.num_violations == 0


def test_the_rewards_of_the_notebook_are_shown_to_pay_wrong_more_than_right():
    card = red_team(RewardsSection(mix="sum", components=NOTEBOOK), TAGS)
    assert set(failed(card)) == {"order"}
    assert card.num_violations > 1_000
    assert len(card.worst) == 5
    assert all(pair.wrong_pay > pair.right_pay for pair in card.worst)
    near = next(pair for pair in card.worst if pair.wrong_pattern == "one more")  # 5.0 for 35, as FIELD measured
    assert (near.problem, near.wrong_pay) == ("target 34", 5.0)


def test_there_are_at_least_60_patterns_and_each_target_has_right_and_wrong_ones():
    card = red_team(RewardsSection(), TAGS)
    assert card.num_patterns >= 60
    exams = math_exams(TAGS, VerifySection())
    assert [exam.target for exam in exams] == list(TARGETS)
    assert card.num_pairs == sum(
        sum(case.is_right for case in exam.cases) * sum(not case.is_right for case in exam.cases) for exam in exams
    )


def test_no_text_is_called_both_right_and_wrong_and_the_first_is_the_plain_right_one():
    for exam in math_exams(TAGS, VerifySection()):
        right = {case.text for case in exam.cases if case.is_right}
        wrong = {case.text for case in exam.cases if not case.is_right}
        assert right & wrong == set()
        assert exam.cases[0].text == f"I work it out step by step.<end_working_out><SOLUTION>{exam.target}</SOLUTION>"


def test_logic_rewards_hold_every_check():
    card = red_team(RewardsSection(kind="logic"), TAGS)
    assert failed(card) == {}, card.worst


@pytest.mark.slow
def test_code_rewards_hold_every_check():
    section = RewardsSection(
        kind="code", components=[RewardComponent(name="correct"), RewardComponent(name="code_tests", weight=0.9)]
    )
    card = red_team(section, TAGS)
    assert failed(card) == {}, card.worst
    assert card.num_patterns >= 60


# --- Rewards of a person's own that each break one thing ------------------------------------------------------------

CALLS = []


def pays_everyone(completions, **columns):
    return [1.0] * len(completions)


def pays_long_texts(completions, **columns):
    return [min(1.0, len(one) / 100_000) for one in completions]


def pays_by_the_call(completions, **columns):
    CALLS.append(1)
    return [len(CALLS) / 1e6] * len(completions)


def pays_by_the_row(completions, **columns):
    return [row / 1e6 for row in range(len(completions))]


def pays_by_the_batch(completions, **columns):
    return [len(completions) / 1e6] * len(completions)


def pays_late(completions, **columns):
    import time

    if len(completions) == 1 and completions[0] == "":
        time.sleep(1.1)
    return [0.0] * len(completions)


def raises_on_nothing(completions, **columns):
    return [1 / len(one) for one in completions]


@pytest.mark.parametrize(
    ("function", "broken"),
    [
        ("pays_everyone", {"order"}),
        ("pays_long_texts", {"order", "maximum"}),
        ("pays_by_the_call", {"order", "determinism", "row order", "batch"}),
        ("pays_by_the_row", {"order", "maximum", "row order", "batch"}),
        ("pays_by_the_batch", {"order", "batch"}),
    ],
)
def test_each_check_fails_for_a_reward_that_breaks_it(function, broken):
    alone = sum_of((f"{__name__}:{function}", {}))
    assert set(failed(red_team(alone, TAGS))) == broken


@pytest.mark.slow
def test_a_late_reward_fails_the_deadline():
    section = RewardsSection(
        components=[
            RewardComponent(name="correct"),
            RewardComponent(name=f"{__name__}:pays_late", options={"range": [0, 0]}),
        ]
    )
    assert set(failed(red_team(section, TAGS))) == {"deadline"}


def test_a_reward_that_raises_on_an_attack_is_named():
    with pytest.raises(RewardError, match="raises_on_nothing raised ZeroDivisionError"):
        red_team(sum_of((f"{__name__}:raises_on_nothing", {})), TAGS)


def test_random_rewards_cannot_be_judged():
    with pytest.raises(RecipeError, match="random, whose pay means nothing"):
        red_team(sum_of(("correct", {}), ("random", {})), TAGS)


# --- The verb ------------------------------------------------------------------------------------------------------


def razona(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "razona", "redteam", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_verb_ends_with_0_for_the_demo_and_loads_no_torch():
    done = razona("demo", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    card = json.loads(done.stdout)
    assert card["is_passed"] and card["num_violations"] == 0 and len(card["checks"]) == 8
    code = (
        "import sys; from razona.cli import redteam; import razona.rewards.redteam; assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


@pytest.mark.slow
def test_the_verb_ends_with_1_for_the_notebook_and_prints_the_pairs():
    done = razona("open-r1-smoke")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "7 of 8 checks passed" in done.stdout
    assert "one more" in done.stdout and "box without a block" in done.stdout


def test_the_verb_ends_with_2_for_random_rewards():
    done = razona("demo", "--set", "rewards.mix=sum", "--set", "rewards.components=[{name: random}]")
    assert done.returncode == 2
    assert "cannot be judged" in done.stderr and "Traceback" not in done.stderr
