"""The experiment: what its arms learn from, what they spend, and what is told of them."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from razona.advise.arms import MAX_EPOCHS, Arm, Method, arms_for, recipe_of
from razona.advise.contrasts import contrasts
from razona.advise.experiment import Design, run_and_write
from razona.cli.experiment import read_counts
from razona.core.errors import RecipeError, RunFolderError
from razona.core.files import write_json, write_jsonl
from razona.recipe import load
from razona.report.experiment import contrast_table, experiment_table, write_experiment_picture
from razona.train.cost import grpo_cost


class Silent:
    """Watches nothing."""

    def arm(self, name: str, number: int, total: int) -> None:
        pass

    def stage(self, title: str, total: int):
        return nullcontext(lambda done: None)


def letters(texts: list[str]) -> list[int]:
    return [len(text) for text in texts]


def test_a_step_costs_its_prompts_and_samples_once_and_what_is_trained_on_three_times_more():
    rows = [
        *({"group": 0, "prompt": "12345", "num_tokens": count, "is_trained": True} for count in (10, 20)),
        *({"group": 1, "prompt": "1234567", "num_tokens": count, "is_trained": False} for count in (3, 4)),
    ]
    cost = grpo_cost(rows, letters)
    assert (cost.forward, cost.trained) == (5 + 30 + 7 + 7, 5 + 30)
    assert cost.passes == 49 + 3 * 35


def test_the_arm_that_sets_the_budget_comes_before_those_that_spend_it():
    names = [arm.name for arm in arms_for([128, 0, 128])]
    assert names == ["base", "grpo-0", "random", "sft-0", "sft_then_grpo-0", "grpo-128", "sft-128", "sft_then_grpo-128"]


def test_an_arm_with_labels_sees_so_many_problems_and_their_solutions_and_no_guard():
    recipe = recipe_of(Arm(method=Method.SFT_THEN_GRPO, labels=32), load("demo"), budget=1_000)
    assert recipe.data.max_problems == recipe.sft.num_problems == 32 and recipe.sft.source == "given"
    assert recipe.sft.max_token_passes == 250 and recipe.sft.epochs == MAX_EPOCHS and recipe.train.steps == 30
    assert recipe.guard.every == 0


def test_an_arm_without_labels_learns_from_its_own_solutions_and_the_control_from_nothing():
    own = recipe_of(Arm(method=Method.SFT), load("demo"), budget=1_000)
    assert own.sft.source == "own" and own.data.max_problems is None and own.sft.max_token_passes == 1_000
    control = recipe_of(Arm(method=Method.RANDOM), load("demo"), budget=1_000)
    assert [one.name for one in control.rewards.components] == ["random"] and control.train.method == "grpo"


def store(folder: Path, name: str, right: list[list[int]]) -> None:
    """Write an evaluation in which sample s of problem p is right where `right[p][s]` is 1."""
    rows = [
        {
            "problem_id": f"p{number}", "question": "?", "target": "1", "sample": sample, "temperature": 1.0,
            "completion": "", "num_tokens": 1, "is_truncated": False, "outcome": "correct" if one else "incorrect",
            "answer": None, "reason": "", "has_form": True, "num_steps": 0,
        }
        for number, row in enumerate(right)
        for sample, one in enumerate(row)
    ]  # fmt: skip
    write_jsonl(folder / name / "completions.jsonl", rows)
    write_json(folder / name / "evaluation.json", {})


def test_arms_are_held_against_each_other_problem_by_problem(tmp_path: Path):
    store(tmp_path, "grpo-0-held_out", [[1, 1], [1, 0]] * 10)
    store(tmp_path, "sft-0-held_out", [[1, 0], [1, 0]] * 10)
    arms = {name: {"labels": 0} for name in ("grpo-0", "sft-0")}
    [one] = contrasts(arms, tmp_path, ["held_out"])
    assert (one["one"], one["other"], one["gain"], one["is_distinguishable"]) == ("grpo-0", "sft-0", 0.25, True)
    low, high = one["ci95"]
    assert 0.1 < low < 0.25 < high < 0.4


def arm_row(method: str, labels: int, value: float, passes: int | None) -> dict:
    figures = {"pass_at_1": value, "greedy": value, "ci95": {"pass_at_1": [0.1, 0.9], "greedy": [0.1, 0.9]}}
    spent = None if passes is None else {"passes": passes, "seconds": 12.3}
    return {"method": method, "labels": labels, "spent": spent, "held_out": figures, "ood": figures}


FOUND = {
    "budget_token_passes": 1_000,
    "arms": {
        "base": arm_row("base", 0, 0.25, None),
        "random": arm_row("random", 0, 0.26, 450),
        "grpo-0": arm_row("grpo", 0, 0.9, 1_000),
        "sft-2048": arm_row("sft", 2_048, 0.95, 990),
    },
    "contrasts": [
        {"question": "why", "one": "a", "other": "b", "set": name, "gain": -0.021, "ci95": [-0.04, -0.003]}
        for name in ("held_out", "ood")
    ],
}


def test_the_table_tells_figures_intervals_and_the_share_of_the_budget():
    table = experiment_table(FOUND)
    assert "| base |  | 25.0% (10.0-90.0) |" in table
    assert "| SFT | 2,048 | 95.0% (10.0-90.0) | 95.0% (10.0-90.0) |" in table and "| 99% | 12 |" in table
    assert "| GRPO, paid at random |  |" in table and "| 45% | 12 |" in table
    assert {line.count("|") for line in table.strip().splitlines()} == {9}
    assert "| why | a - b | -2.1 (-4.0 to -0.3) | -2.1 (-4.0 to -0.3) |" in contrast_table(FOUND)


def test_an_arm_that_found_nothing_to_learn_from_stands_in_the_table_and_not_in_the_figure(tmp_path: Path):
    left_out = {"method": "sft", "labels": 0, "left_out": "sft.source = own: none of 8 completions is right"}
    found = {**FOUND, "arms": {**FOUND["arms"], "sft-0": left_out}}
    rows = experiment_table(found).strip().splitlines()
    assert "| SFT | 0 | left out: nothing to learn from |  |  |  |  |  |" in rows
    assert {line.count("|") for line in rows} == {9}
    write_experiment_picture(found, tmp_path / "figure.svg")


def test_the_figure_holds_every_arm_and_names_base_and_control(tmp_path: Path):
    write_experiment_picture(FOUND, tmp_path / "figure.svg")
    svg = (tmp_path / "figure.svg").read_text(encoding="utf-8")
    for told in ("GRPO, paid at random", "base", "2,048", "Harder problems", "SFT"):
        assert told in svg
    write_experiment_picture(FOUND, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("text", "expected"), [("0,32", [0, 32]), (" 128 ", [128]), ("32,0,", [32, 0])])
def test_label_counts_are_read(text, expected):
    assert read_counts(text) == expected


@pytest.mark.parametrize("text", ["", "a few", "-1", "1.5"])
def test_label_counts_that_are_none_are_refused(text):
    with pytest.raises(RecipeError, match="expected whole numbers from 0"):
        read_counts(text)


def test_other_data_than_generated_problems_is_refused(tmp_path: Path):
    design = Design(recipe=load("demo", ["data.source=rows.jsonl"]), labels=(0,))
    with pytest.raises(RecipeError, match=r"data\.source = rows\.jsonl: the experiment measures on generated"):
        run_and_write(design, tmp_path / "experiment", Silent())


def test_fewer_labels_than_a_step_has_groups_are_refused_before_anything_is_trained(tmp_path: Path):
    design = Design(recipe=load("demo"), labels=(0, 8, 32))
    with pytest.raises(RecipeError, match=r"--labels 8: a step trains on 32 problems"):
        run_and_write(design, tmp_path / "experiment", Silent())


def test_a_folder_of_another_experiment_is_refused(tmp_path: Path):
    write_json(tmp_path / "design.json", {"recipe": "other", "problems": 8, "samples": 4})
    design = Design(recipe=load("demo"), labels=(0,), num_problems=8)
    with pytest.raises(RunFolderError, match=r"holds an experiment with another recipe\. Ask for the same"):
        run_and_write(design, tmp_path, Silent())


@pytest.mark.slow
def test_an_experiment_goes_through_and_a_second_call_reads_what_is_there(tmp_path: Path):
    tiny = ["train.steps=2", "train.completions_per_step=32", "train.microbatch_size=32", "train.sampling=uniform"]
    tiny += ["rollout.max_completion_tokens=48", "sft.num_problems=16", "sft.samples=4"]
    arms = [Arm(method=Method.BASE), Arm(method=Method.GRPO), Arm(method=Method.SFT_THEN_GRPO, labels=8)]
    design = Design(recipe=load("demo", tiny), num_problems=8, samples=2, arms=arms)
    found = run_and_write(design, tmp_path / "experiment", Silent())
    spent = found["arms"]["sft_then_grpo-8"]["spent"]
    assert spent["solutions"] == 8 and spent["updates"] >= 1 and spent["steps"] >= 1
    assert found["arms"]["grpo-0"]["spent"]["passes"] == found["budget_token_passes"]
    metrics = (tmp_path / "experiment/arms/grpo-0/metrics.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line)["step"] for line in metrics.splitlines()] == [1, 2]
    before = (tmp_path / "experiment/arms/grpo-0/adapter/adapter_model.safetensors").stat().st_mtime_ns
    again = run_and_write(design, tmp_path / "experiment", Silent())
    assert (tmp_path / "experiment/arms/grpo-0/adapter/adapter_model.safetensors").stat().st_mtime_ns == before
    assert again["arms"]["grpo-0"]["held_out"] == found["arms"]["grpo-0"]["held_out"]


@pytest.mark.slow
def test_a_model_that_writes_nothing_right_leaves_out_the_arm_that_would_learn_from_it(
    random_model: Path, tmp_path: Path
):
    tiny = ["train.steps=1", "train.completions_per_step=16", "train.microbatch_size=16", "train.sampling=uniform"]
    tiny += [f"model.name={random_model}", "rollout.max_completion_tokens=16", "sft.num_problems=4", "sft.samples=1"]
    arms = [Arm(method=Method.BASE), Arm(method=Method.GRPO), Arm(method=Method.SFT)]
    design = Design(recipe=load("demo", tiny), num_problems=8, samples=1, arms=arms)
    found = run_and_write(design, tmp_path / "experiment", Silent())
    assert "none of 4 completions" in found["arms"]["sft-0"]["left_out"] and found["contrasts"] == []
    assert run_and_write(design, tmp_path / "experiment", Silent())["arms"]["sft-0"] == found["arms"]["sft-0"]
