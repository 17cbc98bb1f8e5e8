"""Figures and their intervals, against enumeration, closed formulas and simulation; a step's figures by hand."""

import itertools
import math

import numpy as np
import pytest
from scipy import special

from razona.core.nouns import Completion, Outcome, Problem, Verdict
from razona.evaluate import (
    Evaluation,
    Judge,
    Judged,
    mean_with_interval,
    measure,
    pass_at_k,
    share_with_interval,
)
from razona.train.metrics import step_metrics, variance_shares
from razona.verify import Tags

TAGS = Tags()


@pytest.mark.parametrize(
    ("num_samples", "num_correct", "k"),
    [(n, c, k) for n in range(1, 8) for c in range(n + 1) for k in range(1, n + 1)],
)
def test_pass_at_k_is_the_share_of_subsets_with_a_right_sample(num_samples, num_correct, k):
    samples = [place < num_correct for place in range(num_samples)]
    subsets = list(itertools.combinations(samples, k))
    assert pass_at_k(num_samples, num_correct, k) == pytest.approx(sum(map(any, subsets)) / len(subsets), abs=1e-12)


def test_pass_at_k_of_more_samples_than_there_are_is_refused():
    with pytest.raises(ValueError, match="pass@9 needs at least 9 samples a problem, there are 8"):
        pass_at_k(8, 1, 9)


def wilson(num_true: int, num: int) -> tuple[float, float]:
    """Give (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), Wilson 1927."""
    z = float(special.ndtri(0.975))
    share = num_true / num
    middle = share + z**2 / (2 * num)
    half = z * math.sqrt(share * (1 - share) / num + z**2 / (4 * num**2))
    return (middle - half) / (1 + z**2 / num), (middle + half) / (1 + z**2 / num)


@pytest.mark.parametrize(("num_true", "num"), [(0, 1), (1, 1), (0, 20), (1, 20), (10, 20), (20, 20), (300, 512)])
def test_the_interval_of_a_share_is_wilsons(num_true, num):
    estimate = share_with_interval(num_true, num)
    low, high = wilson(num_true, num)
    assert estimate.value == num_true / num
    assert (estimate.low, estimate.high) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))


def test_the_interval_of_10_of_20_is_the_one_in_the_books():
    estimate = share_with_interval(10, 20)
    assert (round(estimate.low, 4), round(estimate.high, 4)) == (0.2993, 0.7007)


def test_the_bootstrap_interval_covers_the_truth_in_about_95_of_100_evaluations():
    # Problems differ: half of them are easy. A sample is drawn from its problem, 8 a problem.
    rng = np.random.default_rng(20)
    covered = 0
    for number in range(300):
        chances_P = np.where(rng.random(60) < 0.5, 0.8, 0.1)
        shares_P = rng.binomial(8, chances_P) / 8
        estimate = mean_with_interval(shares_P.tolist(), seed=number)
        covered += estimate.low <= 0.45 <= estimate.high
    assert 0.90 <= covered / 300 <= 0.98


def test_the_bootstrap_interval_is_as_wide_as_the_spread_of_problems_says():
    values_P = [0.0, 1.0] * 200
    estimate = mean_with_interval(values_P)
    standard_error = 0.5 / math.sqrt(400)
    assert estimate.value == 0.5
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * standard_error, rel=0.08)


def test_samples_of_one_problem_do_not_count_as_problems():
    few = mean_with_interval([0.0, 1.0] * 20)
    assert few.high - few.low > 0.25  # 40 problems; 40 x 8 samples taken for problems would give 0.11


@pytest.mark.parametrize("values", [[0.5], [0.5] * 10, [0.0, 0.0], [1.0, 1.0]])
def test_equal_figures_have_an_interval_of_no_width(values):
    estimate = mean_with_interval(values)
    assert (estimate.value, estimate.low, estimate.high) == (values[0],) * 3


def test_the_same_figures_have_the_same_interval():
    values = [0.1, 0.9, 0.4, 0.3]
    assert mean_with_interval(values) == mean_with_interval(values)


# --- An evaluation -------------------------------------------------------------------------------------------------


def judged(is_right: bool, *, has_form: bool = True, tokens: int = 10, steps: int = 2, cut: bool = False) -> Judged:
    return Judged(
        completion=Completion(problem_id="p", text="", num_tokens=tokens, is_truncated=cut),
        verdict=Verdict(outcome=Outcome.CORRECT if is_right else Outcome.NO_ANSWER),
        has_form=has_form,
        num_steps=steps,
    )


def evaluation(*rows: tuple[Judged, ...]) -> Evaluation:
    problems = tuple(Problem(id=str(number), question="", target="") for number in range(len(rows)))
    return Evaluation(problems=problems, judged_PK=rows)


def test_the_figures_of_an_evaluation_are_counted_right():
    sampled = evaluation(
        (judged(True, tokens=8), judged(False, tokens=4, steps=0)),
        (judged(False, has_form=False, tokens=12, cut=True), judged(False, steps=0)),
        (judged(True), judged(True, tokens=6)),
        (judged(False, has_form=False), judged(True, has_form=False, tokens=20)),
    )
    greedy = evaluation((judged(True),), (judged(False),), (judged(True),), (judged(True),))
    figures = measure(sampled, greedy, 2)
    curve = figures.pop("pass_at")
    assert [(one["k"], one["value"]) for one in curve] == [(1, 0.5), (2, 0.75)]
    assert figures | {"ci95": None} == {
        "pass_at_1": 0.5,  # 1/2, 0, 1, 1/2
        "pass_at_2": 0.75,
        "maj_at_2": 0.75,  # no wrong sample has an answer, so none votes
        "format_rate": 0.625,  # 1, 1/2, 1, 0
        "greedy": 0.75,
        "ci95": None,
        "n": 4,
        "k": 2,
        "mean_length": 10.0,
        "tokens_per_correct": 20.0,
        "worked_steps": 1.5,
        "truncated": 0.125,
        "unverified": 0.0,
    }
    assert set(figures["ci95"]) == {"pass_at_1", "pass_at_2", "maj_at_2", "format_rate", "greedy"}
    assert figures["ci95"]["greedy"] == [round(bound, 4) for bound in wilson(3, 4)]


@pytest.mark.parametrize(
    ("text", "outcome", "has_form", "num_steps"),
    [
        ("3 + 4 = 7<end_working_out><SOLUTION>7</SOLUTION>", Outcome.CORRECT, True, 1),
        ("3 + 4 = 7. 7", Outcome.CORRECT, False, 1),  # the last number counts in an evaluation
        ("3 + 4 = 7, so 8", Outcome.INCORRECT, False, 1),
        ("seven", Outcome.INCORRECT, False, 0),
        ("", Outcome.NO_ANSWER, False, 0),
    ],
)
def test_an_evaluation_reads_an_answer_in_any_form(text, outcome, has_form, num_steps):
    completion = Completion(problem_id="p", text=text, num_tokens=1, is_truncated=False)
    (one,) = Judge(tags=TAGS)([completion], [Problem(id="p", question="", target="7")])
    assert (one.verdict.outcome, one.has_form, one.num_steps) == (outcome, has_form, num_steps)


# --- A step --------------------------------------------------------------------------------------------------------


def row(
    outcome: Outcome,
    reward: float | None,
    completion: str,
    *,
    tokens: int = 10,
    cut: bool = False,
    is_trained: bool = True,
) -> dict:
    parts = {} if reward is None else {"correct": float(outcome is Outcome.CORRECT), "format": reward % 1}
    return {
        "outcome": str(outcome),
        "reward": reward,
        "parts": parts,
        "completion": completion,
        "num_tokens": tokens,
        "is_truncated": cut,
        "is_trained": is_trained,
    }


IN_FORM = "3 + 4 = 7<end_working_out><SOLUTION>7</SOLUTION>"
FALSE_STEP = "3 + 4 = 8. 1 + 1 = 2<end_working_out><SOLUTION>8</SOLUTION>"
RIGHT, WRONG, NONE, UNVERIFIED = Outcome.CORRECT, Outcome.INCORRECT, Outcome.NO_ANSWER, Outcome.UNVERIFIED
STEP = [
    # a group with signal
    row(RIGHT, 1.25, IN_FORM),
    row(WRONG, 0.0, FALSE_STEP, tokens=20),
    # all right, all equal
    row(RIGHT, 1.25, IN_FORM),
    row(RIGHT, 1.25, IN_FORM),
    # all right, but for the form not equal
    row(RIGHT, 1.25, IN_FORM),
    row(RIGHT, 1.0, "The answer is 7.", tokens=6),
    # all wrong
    row(WRONG, 0.0, "8", is_trained=False),
    row(NONE, 0.0, "so", tokens=96, cut=True, is_trained=False),
    # one without a verdict: what is left cannot be compared
    row(RIGHT, 1.25, IN_FORM, tokens=8),
    row(UNVERIFIED, None, "3 + 4 = 7"),
]


def test_the_figures_of_a_step_are_counted_right():
    figures = step_metrics(STEP, 2, TAGS)
    assert figures == {
        "reward": pytest.approx(7.25 / 9),
        "reward/correct": pytest.approx(6 / 9),
        "reward/format": pytest.approx(5 * 0.25 / 9),
        "accuracy": pytest.approx(6 / 9),
        "unverified": pytest.approx(1 / 10),
        "format_rate": 0.6,
        "length": 19.0,
        "truncated": 0.1,
        "worked_steps": 0.8,
        "worked_share": 0.7,
        "steps_all_true": pytest.approx(6 / 7),
        "informative_groups": 0.4,
        "informative/correct": 0.2,
        "informative/format": 0.4,
        "signal/correct": pytest.approx(
            (1 / 1.25 + 0) / 2
        ),  # of the first group 0.8, of the third, where form decides, 0
        "signal/format": pytest.approx((0.25 / 1.25 + 1) / 2),
        "informative_trained": 0.5,
        "groups_sampled": 5,
        "all_right_groups": 0.6,
        "all_wrong_groups": 0.2,
    }


def test_a_step_without_any_verdict_has_no_reward_and_no_accuracy():
    figures = step_metrics([row(UNVERIFIED, None, "")] * 2, 2, TAGS)
    assert (figures["reward"], figures["accuracy"], figures["steps_all_true"]) == (None, None, None)
    assert (figures["unverified"], figures["informative_groups"]) == (1.0, 0.0)


def test_a_components_share_of_the_variance_is_what_it_adds_to_the_rewards_differences():
    parts = [{"correct": 1.0, "format": 0.2}, {"correct": 0.0, "format": 0.0}, {"correct": 1.0, "format": 0.0}]
    group = [{"reward": sum(one.values()), "parts": one} for one in parts]
    rewards = [1.2, 0.0, 1.0]
    mean = sum(rewards) / 3
    by_hand = (0.2 * (1.2 - mean)) / sum((one - mean) ** 2 for one in rewards)
    shares = variance_shares(group, ["correct", "format"])
    assert shares["format"] == pytest.approx(by_hand) and sum(shares.values()) == pytest.approx(1.0)
    constant = [{"reward": 1.0 + one, "parts": {"correct": one, "always": 1.0}} for one in (0.0, 1.0)]
    assert variance_shares(constant, ["correct", "always"]) == {"correct": pytest.approx(1.0), "always": 0.0}
