"""Reinforcement or supervised fine-tuning: the evidence, the rules, the tree, and five planted situations."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from advised import HEALTHY, exactly, solved_in_many
from typer.testing import CliRunner

from razona.advise.advice import advise, lines_of, useful_steps
from razona.advise.decision import TREE, Answer, Asked, decide, first_mend, leaves
from razona.advise.evidence import Evidence, expected_signal, share_with_signal
from razona.advise.measuring import Budget, keep_trainable, others_of, read_pool, share_verifiable
from razona.advise.page import lines_of_tree, place_tree, tree_svg
from razona.advise.published import PUBLISHED_RULES, apply_rules
from razona.advise.questions import PAID, QUESTIONS, answer, read_answer
from razona.cli.main import app
from razona.core.errors import DataError, ModelError, RecipeError
from razona.core.files import write_jsonl
from razona.core.nouns import Problem
from razona.evaluate.statistics import Estimate
from razona.recipe import load

SMALL = Budget(minutes=5, interval=0.2)


class Silent:
    """Watches nothing."""

    def stage(self, title: str, total: int):
        from contextlib import nullcontext

        return nullcontext(lambda done: None)


@pytest.mark.parametrize(
    ("rewards", "group_size", "expected"),
    [
        ([1.0] * 8, 8, 0.0),
        ([1.0] * 7 + [0.0], 8, 1.0),
        ([1.0, 1.0, 0.0, 0.0], 2, 1 - 2 / 6),
        ([1.2, 1.0, 1.0, 0.0], 2, 1 - 1 / 6),  # rewards that differ, not verdicts, are what teaches
        ([1.0, None, None, None], 2, 0.0),
        ([1.0, None, 0.0, None], 8, 1.0),  # what has no verdict is left out of its group
        ([0.1 + 0.2, 0.3], 2, 0.0),  # the same number but for its last bit
    ],
)
def test_the_share_of_groups_with_signal_is_counted_over_all_groups_of_the_samples(rewards, group_size, expected):
    assert share_with_signal([rewards], group_size) == pytest.approx([expected])


def test_the_share_with_signal_agrees_with_every_group_drawn_by_hand():
    rewards = [1.0, 0.0, 0.0, 0.2, 1.0, 1.0]
    groups = [one for one in product(range(6), repeat=3) if len(set(one)) == 3]
    mixed = sum(len({rewards[place] for place in group}) > 1 for group in groups) / len(groups)
    assert share_with_signal([rewards], 3) == pytest.approx([mixed])


@pytest.mark.parametrize(("rate", "share"), [(0.01, 0.08), (0.05, 0.34), (0.1, 0.57), (0.25, 0.90), (0.95, 0.34)])
def test_expected_signal_is_the_published_table_for_groups_of_eight(rate, share):
    assert expected_signal(rate, 8) == pytest.approx(share, abs=0.005)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Answer.RFT),
        ({"worked_solutions": 99}, Answer.RFT),
        ({"worked_solutions": 100}, Answer.SFT_THEN_RFT),
        ({"worked_solutions": 499}, Answer.SFT_THEN_RFT),
        ({"worked_solutions": 500}, Answer.SFT),
        ({"worked_solutions": 500, "inputs_shift": True}, Answer.SFT_THEN_RFT),
        ({"verifiable": 0.2}, Answer.UNVERIFIABLE),
        ({"verifiable": 0.2, "worked_solutions": 50}, Answer.SFT),
        ({"problems": 49}, Answer.TOO_LITTLE_DATA),
        ({"problems": 49, "is_endless": True}, Answer.RFT),
        ({"paid": exactly(0.96)}, Answer.SOLVED),
        ({"signal": exactly(0.2), **solved_in_many(0.5)}, Answer.SFT_THEN_RFT),
        ({"signal": exactly(0.2), **solved_in_many(0.04)}, Answer.DISTIL),
        ({"signal": exactly(0.2), **solved_in_many(0.5, 0.42)}, Answer.DISTIL),
        ({"signal": exactly(0.2), **solved_in_many(0.5, 0.38)}, Answer.SFT_THEN_RFT),
        ({"signal": exactly(0.2), **solved_in_many(0.5, 0.38, low=-0.01)}, Answer.DISTIL),
        ({"signal": exactly(0.2), **solved_in_many(0.04), "worked_solutions": 60}, Answer.SFT),
    ],
)
def test_the_tree_answers(changes, expected):
    assert decide(replace(HEALTHY, **changes)).answer is expected


def test_every_answer_is_at_an_end_of_the_tree():
    assert set(leaves()) == set(Answer)


def test_every_rule_has_a_source_and_sees_something_and_rules_may_disagree():
    rulings = apply_rules(replace(HEALTHY, worked_solutions=500, paid=exactly(0.2)))
    assert len(rulings) == len(PUBLISHED_RULES) and all(one.source and one.saw and one.says for one in rulings)
    fired = {one.rule.split()[0] for one in rulings if one.fired}
    assert {"R3b", "R8", "R19"} <= fired and "R3" not in fired


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("R1", {"verifiable": 0.4}),
        ("R2", {"worked_solutions": 0}),
        ("R3", {"worked_solutions": 99}),
        ("R4", {"working_gain": Estimate(value=0.1, low=0.01, high=0.2)}),
        ("R5", {"worked_solutions": 50, "best_prompt_right": 0.9}),
        ("R6", {"problems": 99}),
        ("R7", {"paid": exactly(0.0)}),
        ("R7b", {"paid": exactly(0.96)}),
        ("R8", {"paid": exactly(0.24)}),
        ("R8b", {"paid": exactly(0.86)}),
        ("R8c", {"above_zero": 0.1}),
        ("R9", {"paid": exactly(0.49)}),
        ("R10", {"right": exactly(0.0)}),
        ("R11", {"in_band": 0.3}),
        ("R12", {"signal": exactly(0.5)}),
        ("R13", {"form": exactly(0.49)}),
        ("R15", {"inputs_shift": True}),
        ("R17", solved_in_many(0.09)),
        ("R19", {"worked_solutions": 50}),
        ("R22", {"truncated": 0.31}),
        ("V1", {"unverified": 0.021}),
    ],
)
def test_a_rule_fires_just_beyond_its_threshold_and_not_where_all_is_well(rule, changes):
    calm = replace(HEALTHY, worked_solutions=49, paid=exactly(0.6), in_band=0.2, signal=exactly(0.4), perfect=0.2)
    calm = replace(calm, working_gain=Estimate(value=0.1, low=-0.1, high=0.2))

    def fired(found: Evidence) -> set[str]:
        return {one.rule.split()[0] for one in apply_rules(found) if one.fired}

    assert rule in fired(replace(calm, **changes))
    if rule not in ("R2", "R3"):
        assert rule not in fired(calm)
    else:
        assert rule not in fired(replace(calm, worked_solutions=100))


def test_what_is_to_be_mended_first_is_named_with_its_figure():
    told = " ".join(first_mend(replace(HEALTHY, unverified=0.04, verifiable=0.88, truncated=0.5)))
    assert "4.0% of completions" in told and "12% of targets" in told and "50% of completions reach the limit" in told
    assert first_mend(HEALTHY) == []


@pytest.mark.parametrize(
    ("changes", "span"),
    [
        ({"is_endless": True}, (50, 300)),
        ({}, (50, 300)),
        ({"problems": 1_000}, (50, 66)),  # 3 passes x 1,000 problems x 70 % signal / 32 groups a step
        ({"problems": 100}, (7, 7)),
    ],
)
def test_useful_steps_end_where_the_problems_with_signal_do(changes, span):
    assert useful_steps(load("demo"), replace(HEALTHY, **changes)) == span


def test_the_drawn_tree_holds_every_question_once_and_lights_the_way_taken_alone():
    decision = decide(HEALTHY)
    placed = place_tree(decision.path)
    assert len({(one.x, one.y) for one in placed}) == len(placed)
    assert [one.text for one in placed if one.is_lit and one.is_answer] == ["RFT"]
    assert sorted(one.text for one in placed if one.is_lit and not one.is_answer) == sorted(
        one.question for one in decision.path
    )
    assert sum(one.parent is None for one in placed) == 1
    for one in placed:  # no box stands over another
        assert not any(other.y == one.y and 0 < abs(other.x - one.x) < 1 for other in placed)
    svg = tree_svg([Asked(question=TREE.question, saw="<script>", is_yes=False)], Answer.SFT)
    assert "<script>" not in svg and "&lt;script&gt;" in svg


def test_the_tree_in_a_terminal_names_the_other_ways():
    lines = list(lines_of_tree(decide(HEALTHY).path, Answer.RFT))
    assert lines[0] == (
        "can a program check the answers? YES (100% of targets verify)   [no: at least 50 worked solutions?]"
    )
    assert lines[-1].strip() == "└─ RFT"


def row(number: int, question: str, target: str) -> dict[str, str]:
    return {"id": f"row-{number}", "question": question, "answer": target}


def run_advise(tmp_path: Path, *changes: str, budget: Budget = SMALL, **asked: object) -> dict:
    return advise(load("demo", list(changes)), tmp_path / "advice", budget, Silent(), **asked)


def test_chance_asks_another_problem_of_the_same_family_where_there_is_one():
    problems = [Problem(id=str(place), question="", target="", family=family) for place, family in enumerate("abba")]
    others = others_of(problems)
    assert [other.id for other in others] == ["3", "2", "0", "1"]
    assert all(one.id != other.id for one, other in zip(problems, others, strict=True))


def test_what_training_leaves_out_is_neither_measured_nor_counted(tmp_path: Path):
    rows = [row(number, f"What is {number} + 6?", str(number + 6)) for number in range(5)]
    rows += [row(5, "What is 2 + 2?", "4"), row(6, "What is 2 + 2?", "5"), row(7, "What is 0 + 6?", "6")]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    recipe = load("demo", [f"data.source={tmp_path / 'rows.jsonl'}"])
    pool = read_pool(recipe, SMALL)
    kept = sorted(problem.question for problem in keep_trainable(recipe, pool))
    assert len(pool) == 8 and kept == [f"What is {number} + 6?" for number in range(5)]
    write_jsonl(tmp_path / "rows.jsonl", rows[5:7])
    with pytest.raises(DataError, match="leave none of 2 problems: 2 ask the same with targets that differ"):
        keep_trainable(recipe, read_pool(recipe, SMALL))


@pytest.mark.slow
def test_a_base_with_signal_is_told_to_reinforce(tmp_path: Path):
    told = run_advise(tmp_path)
    assert told["answer"] == Answer.RFT
    assert 0.4 < told["evidence"]["signal"]["value"] < 0.9
    assert 0.05 < told["evidence"]["signal_by_chance"] < told["evidence"]["signal"]["value"] - 0.1
    assert any("groups of 8 with signal" in line for line in lines_of(told))
    page = (tmp_path / "advice" / "advice.html").read_text(encoding="utf-8")
    assert (
        "<svg" in page
        and "<script" not in page
        and "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")
    )


@pytest.fixture(scope="module")
def solved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model after it was fine-tuned, all weights, on one answer to everything."""
    from razona.train import train

    folder = tmp_path_factory.mktemp("solved")
    write_sevens(folder / "rows.jsonl")
    changes = [
        f"data.source={folder / 'rows.jsonl'}",
        "lora=null",
        "guard.every=0",
        "train.method=sft",
        "train.steps=1",
        "sft.source=given",
        "sft.epochs=8",
        "sft.batch_size=16",
        "sft.learning_rate=0.002",
    ]
    return train(load("demo", changes), folder / "run").run.adapter


def write_sevens(path: Path) -> None:
    rows = [{**row(number, f"Which number follows {number} + 6?", "7"), "solution": "It is 7."} for number in range(80)]
    write_jsonl(path, rows)


@pytest.mark.slow
def test_what_the_base_solves_already_needs_neither(tmp_path: Path, solved_model: Path):
    write_sevens(tmp_path / "rows.jsonl")
    told = run_advise(
        tmp_path, f"data.source={tmp_path / 'rows.jsonl'}", f"model.name={solved_model}", worked_solutions=0
    )
    assert told["answer"] == Answer.SOLVED
    assert told["evidence"]["paid"]["value"] > 0.95


@pytest.mark.slow
def test_what_the_base_never_solves_is_to_be_distilled(tmp_path: Path, random_model: Path):
    told = run_advise(tmp_path, f"model.name={random_model}", "rollout.max_completion_tokens=24")
    assert told["answer"] == Answer.DISTIL
    found = told["evidence"]
    assert found["many"] == 64 and found["right_in_many"]["value"] - found["right_by_chance"] < 0.1
    assert found["signal_by_chance"] == 0.0 == found["signal"]["value"]


@pytest.mark.slow
def test_a_base_that_solves_but_never_in_the_form_is_warmed_up_first(tmp_path: Path):
    form = [
        "prompt.working_open=<think>",
        "prompt.working_close=</think>",
        "prompt.solution_open=<answer>",
        "prompt.solution_close=</answer>",
    ]
    told = run_advise(tmp_path, *form)
    assert told["answer"] == Answer.SFT_THEN_RFT
    found = told["evidence"]
    assert found["form"]["value"] < 0.05 and found["right_in_many"]["value"] - found["right_by_chance"] > 0.4
    assert any(one["rule"].startswith("R13") and one["fired"] for one in told["rulings"])


@pytest.mark.slow
def test_targets_that_are_prose_are_not_verifiable(tmp_path: Path):
    proof = "By induction on the number of edges; the base case is a single vertex, and each further edge keeps it."
    write_jsonl(tmp_path / "rows.jsonl", [row(number, f"Prove claim {number}.", proof) for number in range(60)])
    told = run_advise(tmp_path, f"data.source={tmp_path / 'rows.jsonl'}")
    assert told["answer"] == Answer.UNVERIFIABLE
    worked = run_advise(tmp_path, f"data.source={tmp_path / 'rows.jsonl'}", worked_solutions=200)
    assert worked["answer"] == Answer.SFT


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("34", True),
        ("\\frac{1}{2}", True),
        ("12 cm per second", True),
        ("The claim follows from the lemma above", False),
    ],
)
def test_a_target_is_verifiable_unless_it_is_prose(target, expected):
    problem = Problem(id="p", question="?", target=target)
    assert share_verifiable([problem]) == float(expected)


@pytest.mark.slow
def test_a_second_call_goes_on_from_what_is_stored(tmp_path: Path):
    first = run_advise(tmp_path)
    (tmp_path / "advice" / "advice.json").unlink()
    stored = {path: path.stat().st_mtime_ns for path in (tmp_path / "advice").glob("*/completions.jsonl")}
    assert run_advise(tmp_path)["evidence"] == first["evidence"]
    assert {path: path.stat().st_mtime_ns for path in stored} == stored


def test_a_budget_too_small_for_the_interval_names_what_would_fit(tmp_path: Path):
    with pytest.raises(RecipeError, match=r"--minutes 0\.001 is too little for --interval 0\.1: it takes 97 problems"):
        run_advise(tmp_path, budget=Budget(minutes=0.001, interval=0.1))


def test_a_model_that_is_not_there_and_problems_that_are_none_are_told(tmp_path: Path):
    with pytest.raises(ModelError, match=r"model\.name = \./nowhere: there is no such folder"):
        run_advise(tmp_path, "model.name=./nowhere")
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="holds no rows"):
        run_advise(tmp_path, f"data.source={tmp_path / 'empty.jsonl'}")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (("no", 500, 0, "sometimes", "yes"), Answer.UNVERIFIABLE),
        (("no", 500, 400, "sometimes", "yes"), Answer.SFT),
        (("yes", 30, 0, "sometimes", "yes"), Answer.TOO_LITTLE_DATA),
        (("yes", 500, 0, "nearly always", "no"), Answer.SOLVED),
        (("yes", 500, 0, "sometimes", "no"), Answer.RFT),
        (("yes", 5_000, 2_000, "sometimes", "no"), Answer.SFT),
        (("yes", 5_000, 2_000, "sometimes", "yes"), Answer.SFT_THEN_RFT),
        (("yes", 500, 0, "not in the form", "no"), Answer.SFT_THEN_RFT),
        (("yes", 500, 0, "rarely", "no"), Answer.SFT_THEN_RFT),
        (("yes", 500, 0, "never", "no"), Answer.DISTIL),
    ],
)
def test_five_questions_answer_without_a_model(answers, expected):
    given = {question.key: str(one) for question, one in zip(QUESTIONS, answers, strict=True)}
    assert answer(given).answer is expected


def test_an_answer_may_be_shortened_and_nonsense_is_told():
    success = next(one for one in QUESTIONS if one.key == "success")
    assert read_answer(success, " Some ") == "sometimes" and set(success.choices) == set(PAID)
    with pytest.raises(RecipeError, match="'n' is no answer; expected one of never, not in the form"):
        read_answer(success, "n")
    with pytest.raises(RecipeError, match="expected a whole number"):
        read_answer(QUESTIONS[1], "many")


def test_the_questions_can_be_answered_on_the_command_line():
    done = CliRunner().invoke(app, ["advise", "--questions"], input="yes\nmany\n500\n0\nsometimes\nno\n")
    assert done.exit_code == 0, done.output
    assert "RFT" in done.output and "expected a whole number" in done.output and "Nothing was measured" in done.output


def test_questions_and_a_recipe_at_once_are_refused():
    done = CliRunner().invoke(app, ["advise", "demo", "--questions"])
    assert isinstance(done.exception, RecipeError) and "Leave one of the two out" in str(done.exception)
