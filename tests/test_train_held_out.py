"""What the guard measures on: problems that are neither trained on nor decide the final comparison."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from planted import small_recipe

from razona import tasks
from razona.core.errors import DataError, RecipeError
from razona.core.nouns import Problem
from razona.core.rundir import RunDir
from razona.data import load_problems
from razona.evaluate.held_out import generated_slice, hold_out
from razona.evaluate.plan import Plan
from razona.models.load import load_policy
from razona.recipe import DataSection, ModelSection, Recipe, load
from razona.train.dataset import prepare_data
from razona.train.selection import longest_allowed


def structures(problems: Sequence[Problem]) -> set[tuple[str, object]]:
    return {(problem.family, problem.extra["key"]) for problem in problems}


def test_the_generated_slice_is_neither_trained_on_nor_in_the_final_comparison():
    recipe = load("demo", ["train.steps=10"])
    held_out, plan = generated_slice(recipe), Plan(recipe=recipe)
    assert len(structures(held_out)) == len(held_out) == 64
    assert not structures(held_out) & structures(plan.held_out())
    assert not structures(held_out) & structures(plan.out_of_distribution())
    trained = load_problems(recipe.data, count=960, seed=0)
    assert not structures(held_out) & structures(trained)
    assert {tasks.split_of(one.family, str(one.extra["key"])) for one in held_out} == {"evaluation"}
    assert {problem.level for problem in held_out} == {1, 2}


def test_the_slice_is_the_same_for_every_seed_of_training():
    assert generated_slice(load("demo", ["train.seed=1"])) == generated_slice(load("demo", ["train.seed=2"]))


FEW = ("data.families=[remainders]", "data.levels=[1]")
"""1,080 structures, of which 16 in 100 are in the split."""


def test_families_that_do_not_hold_enough_for_both_are_told():
    recipe = load("demo", [*FEW, "evaluate.num_problems=120", "guard.num_problems=100"])
    with pytest.raises(RecipeError, match=r"guard\.num_problems = 100 beside evaluate\.num_problems = 120, none"):
        generated_slice(recipe)


def of_file(count: int) -> list[Problem]:
    return [Problem(id=f"p{number}", question=f"question {number}", target="1") for number in range(count)]


def test_what_is_held_out_depends_on_the_questions_alone():
    problems = of_file(50)
    chosen = {problem.question for problem in hold_out(problems, 10)}
    assert len(chosen) == 10
    assert {problem.question for problem in hold_out(problems[::-1], 10)} == chosen
    fewer = [problem for problem in problems if problem.question in chosen or problem.id > "p3"]
    assert {problem.question for problem in hold_out(fewer, 10)} == chosen


def file_recipe(folder: Path, problems: Sequence[Problem], *changes: str) -> Recipe:
    source = folder / "rows.jsonl"
    rows = [{"question": problem.question, "answer": problem.target} for problem in problems]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return small_recipe(f"data.source={source}", "guard.num_problems=10", "train.steps=8", *changes)


def test_a_file_gives_up_problems_that_are_then_not_trained_on(tmp_path: Path):
    twice = [*of_file(30), *of_file(30)]
    recipe = file_recipe(tmp_path, twice, "train.steps=10", "data.duplicates=keep")
    policy, run = load_policy(ModelSection()), RunDir(tmp_path / "run")
    data = prepare_data(recipe, policy, run)
    held_out = {problem.question for problem in data.held_out}
    assert len(held_out) == len(data.held_out) == 10
    assert set(data.dataset["question"][:]) == {problem.question for problem in of_file(30)} - held_out
    manifest = json.loads(run.manifest.read_text())
    assert (manifest["held_out_for_guard"], manifest["left_out_as_twins_of_held_out"]) == (10, 10)
    assert (manifest["problems"], manifest["to_sample_from"]) == (60, 40)
    other = prepare_data(recipe.model_copy(update={"train": recipe.train.model_copy(update={"seed": 9})}), policy, run)
    assert {problem.question for problem in other.held_out} == held_out


def test_max_problems_counts_what_is_trained_on(tmp_path: Path):
    recipe = file_recipe(tmp_path, of_file(60), "data.max_problems=20")
    data = prepare_data(recipe, load_policy(ModelSection()), RunDir(tmp_path / "run"))
    assert len(set(data.dataset["question"][:])) == 20 and len(data.held_out) == 10
    seeds = {"train": recipe.train.model_copy(update={"seed": 9})}
    other = prepare_data(recipe.model_copy(update=seeds), load_policy(ModelSection()), RunDir(tmp_path / "other"))
    assert other.held_out == data.held_out  # the seed cuts what is trained on, and chooses nothing else
    assert set(other.dataset["question"][:]) != set(data.dataset["question"][:])


@pytest.mark.parametrize(
    ("share", "limit", "expected"),
    [(0.0, None, None), (0.0, 7, 7), (0.1, None, 9), (0.25, None, 8), (0.1, 4, 4), (0.5, None, 5), (0.99, None, 1)],
)
def test_the_longest_share_of_the_prompts_is_left_out(share: float, limit: int | None, expected: int | None):
    section = DataSection(drop_longest=share, max_prompt_tokens=limit)
    assert longest_allowed([10, 1, 9, 2, 8, 3, 7, 4, 6, 5], section) == expected


def test_of_equal_prompts_none_is_left_out_by_chance():
    assert longest_allowed([5, 5, 5, 9], DataSection(drop_longest=0.5)) == 5


def test_what_is_left_out_as_too_long_is_counted(tmp_path: Path):
    long = [replace(problem, question=problem.question + " again" * 60) for problem in of_file(6)]
    recipe = file_recipe(tmp_path, [*of_file(60), *long], "data.drop_longest=0.1", "guard.every=0")
    run = RunDir(tmp_path / "run")
    data = prepare_data(recipe, load_policy(ModelSection()), run)
    manifest = json.loads(run.manifest.read_text())
    assert manifest["left_out_as_too_long"] == 6 and not any("again again" in one for one in data.dataset["question"])
    assert manifest["longest_prompt_allowed"] < manifest["prompt_tokens"]["max"]


def test_a_file_that_the_guard_would_halve_is_refused(tmp_path: Path):
    policy = load_policy(ModelSection())
    assert len(prepare_data(file_recipe(tmp_path, of_file(20)), policy, RunDir(tmp_path)).held_out) == 10
    with pytest.raises(DataError, match=r"9 of 19 problems .*\(10 are held out for guard\.num_problems = 10.*every: 0"):
        prepare_data(file_recipe(tmp_path, of_file(19)), policy, RunDir(tmp_path))
