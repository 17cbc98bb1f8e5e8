"""What an evaluation counts, how it is read back, and what a comparison says and refuses."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from razona.cli.compare import table_rows
from razona.core.errors import DataError
from razona.core.nouns import Completion, Outcome, Problem, Verdict
from razona.evaluate.compare import boundary, changes, compare, gain, is_distinguishable, pair
from razona.evaluate.contest import Contest, is_worse, summarise
from razona.evaluate.evaluation import Evaluation, Judged, Sides, sides_of_rows
from razona.evaluate.majority import majority_share
from razona.evaluate.sources import Found
from razona.evaluate.statistics import (
    difference_with_interval,
    mcnemar_p_value,
    mean_share_with_interval,
    mean_with_interval,
    smallest_gain,
)
from razona.evaluate.words import describe, paragraph


def judged(outcome: Outcome, answer: str | None = None, *, tokens: int = 10) -> Judged:
    return Judged(
        completion=Completion(problem_id="p", text=f"so {answer}", num_tokens=tokens, is_truncated=False),
        verdict=Verdict(outcome=outcome, answer=answer, reason="why"),
        has_form=True,
        num_steps=1,
    )


RIGHT, WRONG = judged(Outcome.CORRECT, "4"), judged(Outcome.INCORRECT, "5")


def evaluation(right_PK: list[list[bool]] | np.ndarray) -> Evaluation:
    problems = tuple(Problem(id=f"p{number}", question=f"q{number}", target="4") for number in range(len(right_PK)))
    return Evaluation(
        problems=problems, judged_PK=tuple(tuple(RIGHT if one else WRONG for one in row) for row in right_PK)
    )


def sides(right_PK: list[list[bool]] | np.ndarray, greedy: list[bool] | None = None) -> Sides:
    return Sides(sampled=evaluation(right_PK), greedy=None if greedy is None else evaluation([[one] for one in greedy]))


def found(name: str, one: Sides) -> Found:
    return Found(name=name, sides=one, settings={})


# --- Majority ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "share"),
    [
        ("44555", 0.0),
        ("44455", 1.0),
        ("4455", 0.5),  # a tie of two
        ("456", 1 / 3),  # a tie of three
        ("4", 1.0),
        ("5", 0.0),
        ("44--", 1.0),  # no answer, no vote
        ("--", 0.0),
    ],
)
def test_the_majority_is_what_most_samples_say(answers: str, share: float):
    outcome = {"4": Outcome.CORRECT, "-": Outcome.NO_ANSWER}
    row = [judged(outcome.get(one, Outcome.INCORRECT), None if one == "-" else one) for one in answers]
    assert majority_share(row) == pytest.approx(share)


def test_wrong_answers_that_mean_the_same_vote_together():
    wrong = [judged(Outcome.INCORRECT, one) for one in ("1/2", "0.5", r"\frac{1}{2}")]
    assert majority_share([RIGHT, RIGHT, *wrong]) == 0.0  # three against two; apart, they would lose
    assert majority_share([RIGHT, RIGHT, judged(Outcome.INCORRECT, "3"), *wrong[:1]]) == 1.0


# --- Statistics ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("won", "lost"), [(8, 0), (0, 8), (5, 2), (30, 12), (1, 1)])
def test_the_mcnemar_test_is_a_fair_coin_on_the_problems_that_changed(won: int, lost: int):
    total, tail = won + lost, min(won, lost)
    chance = sum(math.comb(total, count) for count in range(tail + 1)) / 2**total
    assert mcnemar_p_value(won, lost) == pytest.approx(min(1.0, 2 * chance))


def test_without_a_changed_problem_there_is_nothing_to_test():
    assert mcnemar_p_value(0, 0) == 1.0


def test_a_gain_of_the_smallest_size_is_found_four_times_in_five():
    rng = np.random.default_rng(3)
    spread, count = 0.4, 200
    smallest = smallest_gain(rng.normal(0, spread, 100_000).tolist())
    assert smallest is not None
    at_200 = smallest * math.sqrt(100_000 / count)
    hits = sum(stats.ttest_1samp(rng.normal(at_200, spread, count), 0).pvalue < 0.05 for _ in range(1_000))
    assert 0.76 <= hits / 1_000 <= 0.84


def test_equal_differences_say_nothing_about_what_could_be_found():
    assert smallest_gain([0.0] * 10) is None


def test_no_right_answer_among_20_problems_does_not_mean_that_there_is_none():
    estimate = mean_share_with_interval([0.0] * 20)
    assert (estimate.low, round(estimate.high, 4)) == (0.0, 0.1611)  # Wilson's for 0 of 20
    assert mean_with_interval([0.0] * 20).high == 0.0  # what drawing them anew would say


def test_the_interval_of_a_paired_gain_covers_the_truth_in_93_to_97_of_100_comparisons():
    # Problems differ, the two models agree about which are hard, and the true gain is 5 points. 4 samples a problem.
    rng, covered, rounds = np.random.default_rng(11), 0, 600
    for _ in range(rounds):
        ease_P = rng.beta(0.8, 0.8, 150)
        lifted_P = 0.9 * ease_P + 0.1  # raises a mean of 0.5 by 0.05
        base, tuned = (rng.binomial(4, chance) / 4 for chance in (ease_P, lifted_P))
        estimate = mean_with_interval((tuned - base).tolist(), seed=int(rng.integers(2**31)))
        covered += estimate.low <= 0.05 <= estimate.high
    assert 0.93 <= covered / rounds <= 0.97


# --- Rows ----------------------------------------------------------------------------------------------------------


def test_stored_rows_read_back_as_what_was_stored():
    before = sides([[True, False], [False, False]], [True, False])
    assert before.greedy is not None
    rows = [*before.sampled.rows(1.0), *before.greedy.rows(0.0)]
    after = sides_of_rows(json.loads(json.dumps(rows)), "rows")
    assert after.sampled.correct_PK == before.sampled.correct_PK
    assert after.greedy is not None and after.greedy.correct_PK == [[True], [False]]
    assert after.sampled.rows(1.0) == before.sampled.rows(1.0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows[:-1], r"problem p1 has 1 samples and others have 2.*goes on where it stopped"),
        (lambda rows: [*rows, rows[0]], r"row 5: sample 0 of problem p0 is there twice"),
        (lambda rows: [{"problem_id": "p"}], r"row 1: KeyError"),
        (lambda rows: [], r"holds no sampled completion"),
    ],
)
def test_rows_that_are_no_whole_evaluation_are_refused(spoil, message: str):
    with pytest.raises(DataError, match=message):
        sides_of_rows(spoil(evaluation([[True, False], [False, True]]).rows(1.0)), "file")


# --- Comparison ----------------------------------------------------------------------------------------------------


def test_a_model_compared_with_itself_is_not_distinguishable():
    rng = np.random.default_rng(0)
    one = sides(rng.random((60, 4)) < 0.5, (rng.random(60) < 0.5).tolist())
    summary, _ = summarise(Contest(base=found("a", one), tuned=found("a", one)))
    assert summary["gain"]["ci95"] == [0.0, 0.0] and not summary["gain"]["is_distinguishable"]
    assert "not distinguishable" in summary["paragraph"] and "a (second)" in summary["paragraph"]
    assert not is_worse(summary)


@pytest.mark.parametrize(("count", "is_told"), [(1, False), (2, False), (5, False), (6, True), (40, True)])
def test_problems_that_all_changed_alike_need_to_be_six(count: int, is_told: bool):
    base, tuned = evaluation([[True, True]] * count), evaluation([[False, False]] * count)
    assert is_distinguishable(gain(base, tuned)) is is_told
    assert gain(base, tuned).value == -1.0


def test_few_problems_have_students_interval():
    values = [1.0, 0.0, 0.5, 0.5]  # mean 0.5, s = sqrt(1/6), t(3) = 3.1824
    estimate = difference_with_interval(values)
    half = 3.182446 * math.sqrt(1 / 6) / 2
    assert (estimate.low, estimate.high) == (pytest.approx(0.5 - half, abs=1e-5), pytest.approx(0.5 + half, abs=1e-5))


def test_sides_with_other_samples_and_without_greedy_are_compared_on_what_both_have():
    one = sides([[True, False, True, True]] * 8 + [[False] * 4], [True] * 9)
    two = sides([[True, False]] * 8 + [[True, True]])
    best = Found(name="best", sides=sides([[True] * 6] * 9), settings={"prompt": "bare"})
    summary, _ = summarise(Contest(base=found("a", one), tuned=found("b", two), best=best))
    assert summary["base"]["k"] == summary["tuned"]["k"] == summary["base_best"]["k"] == 2
    assert "maj_at_2" not in summary["base"] and "maj_at_2" in summary["tuned"] and "mcnemar_p" not in summary
    assert [label for label, _, tuned in table_rows(summary) if tuned == "\u2013"] == ["greedy decoding"]
    assert [label for label, base, _ in table_rows(summary) if base == "\u2013"] == ["majority of 2 (maj@2)"]
    assert "under the prompt that suits it best (bare;" in summary["paragraph"]


def test_settings_that_differ_are_told():
    one = Found(name="a", sides=sides([[True]] * 3), settings={"max_tokens": 64, "prompt": "training"})
    two = Found(name="b", sides=sides([[True]] * 3), settings={"max_tokens": 1024, "prompt": "training"})
    summary, _ = summarise(Contest(base=one, tuned=two))
    assert summary["different_settings"] == ["max_tokens"]
    assert "not measured alike: max_tokens differ" in summary["paragraph"]


def test_two_samplings_of_equally_good_models_are_mostly_not_distinguishable():
    rng, told = np.random.default_rng(5), 0
    for _ in range(60):
        chance_P1 = rng.beta(1, 1, (100, 1))
        base, tuned = (evaluation(rng.random((100, 4)) < chance_P1) for _ in range(2))
        told += is_distinguishable(gain(base, tuned))
    assert told <= 8  # 5 % of 60 are 3


def test_damage_on_5_percent_of_1319_problems_is_found_with_4_samples():
    rng = np.random.default_rng(7)
    chance_P1 = rng.beta(2, 1.5, (1_319, 1))
    damaged_P1 = chance_P1.copy()
    damaged_P1[rng.choice(1_319, 66, replace=False)] = 0.0
    base, damaged = rng.random((1_319, 4)) < chance_P1, rng.random((1_319, 4)) < damaged_P1
    summary, rows = summarise(Contest(base=found("whole", sides(base)), tuned=found("damaged", sides(damaged))))
    assert is_worse(summary) and summary["gain"]["is_distinguishable"]
    assert summary["gain"]["pass_at_1"] == pytest.approx((damaged.mean(1) - base.mean(1)).mean(), abs=1e-4)
    assert (
        "damaged is right" in summary["paragraph"] and "not distinguishable:" not in summary["paragraph"].split(".")[0]
    )
    assert rows[0]["change"] == "lost"


def test_the_figures_of_a_comparison_are_those_counted_by_hand():
    base = sides([[True, False], [False, False], [True, True]], [True, False, True])
    tuned = sides([[True, True], [True, False], [False, True]], [True, True, False])
    figures = compare(pair(base, tuned, base_name="a", tuned_name="b"))
    assert figures["gain"]["pass_at_1"] == pytest.approx((0.5 + 0.5 - 0.5) / 3, abs=1e-4)
    assert [one["value"] for one in figures["pass_at_k_gain"]] == [0.1667, 0.3333]  # at 2: 1, 0, 1 against 1, 1, 1
    assert (figures["greedy_won"], figures["greedy_lost"], figures["mcnemar_p"]) == (1, 1, 1.0)
    told = [(row["id"], row["change"]) for row in changes(pair(base, tuned, base_name="a", tuned_name="b"))]
    assert told == [("p2", "lost"), ("p0", "won"), ("p1", "won")]


def test_problems_that_only_one_model_has_are_named_and_left_out_only_if_asked():
    one, two = sides([[True], [False], [True]]), sides([[True], [False], [True]])
    problems = tuple(replace(problem, id=f"p{number + 1}") for number, problem in enumerate(two.sampled.problems))
    problems = tuple(replace(problem, question=f"q{problem.id[1:]}") for problem in problems)
    two = Sides(sampled=replace(two.sampled, problems=problems), greedy=None)
    with pytest.raises(DataError, match=r"1 only in a \(p0\) and 1 only in b \(p3\); 2 are in both.*--intersect"):
        pair(one, two, base_name="a", tuned_name="b")
    common = pair(one, two, base_name="a", tuned_name="b", is_intersected=True)
    assert [problem.id for problem in common.tuned.sampled.problems] == ["p1", "p2"]
    assert common.tuned.sampled.correct_PK == [[True], [False]]  # each with its own samples
    summary, _ = summarise(Contest(base=found("a", one), tuned=found("b", two)), is_intersected=True)
    assert summary["left_out_problems"] == 2 and "2 problems that only one of them has" in summary["paragraph"]


def test_equal_ids_of_other_problems_are_refused():
    one, two = sides([[True]]), sides([[True]])
    two = Sides(sampled=replace(two.sampled, problems=(Problem(id="p0", question="other", target="4"),)), greedy=None)
    with pytest.raises(DataError, match=r"1 problems have the same id and another question or target in a than in b"):
        pair(one, two, base_name="a", tuned_name="b", is_intersected=True)


@pytest.mark.parametrize(
    ("ends", "told"), [([0.01, 0.2], "wider"), ([-0.2, -0.01], "narrower"), ([-0.1, 0.1], "not distinguishable")]
)
def test_the_boundary_is_what_the_last_k_says(ends: list[float], told: str):
    assert boundary([{"k": 1, "value": 0.5, "ci95": [0.4, 0.6]}, {"k": 8, "value": 0.0, "ci95": ends}]) == told


def test_the_headline_is_the_gain_over_the_bases_best_prompt():
    side = {"n": 100, "k": 1, "pass_at_1": 0.1, "mean_length": 9.0, "worked_steps": 0.5}
    best = {"prompt": "few-shot", "pass_at_1": 0.4, "gain": {"pass_at_1": 0.2, "ci95": [0.1, 0.3]}}
    summary = {
        "base": side,
        "tuned": side | {"pass_at_1": 0.6},
        "gain": {"pass_at_1": 0.5, "ci95": [0.4, 0.6]},
        "base_best": best,
    }
    words = paragraph(summary)
    assert "40% of the time before under the prompt that suits the base best (few-shot; 10% under" in words
    assert "+20 points (95 % interval +10.0 to +30.0 points)" in words
    level = summary | {"base_best": best | {"gain": {"pass_at_1": 0.02, "ci95": [-0.1, 0.1]}}}
    assert "not distinguishable" in paragraph(level)


def test_a_difference_that_turns_round_with_k_is_told():
    side = {"n": 100, "k": 8, "pass_at_1": 0.3, "mean_length": 9.0}
    summary = {
        "base": side,
        "tuned": side | {"pass_at_1": 0.5},
        "gain": {"pass_at_1": 0.2, "ci95": [0.1, 0.3]},
        "pass_at_k_gain": [{"k": 8, "value": -0.1, "ci95": [-0.2, -0.05]}],
    }
    assert "In 8 tries the difference is -10.0 points (-20.0 to -5.0), the other way round." in describe(
        summary, "a", "b"
    )
