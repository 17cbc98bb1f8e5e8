"""Every shipped recipe: it loads, says what it is after, and trains two steps on rows of its own data set's layout."""

import json
from pathlib import Path

import pytest

from razona.core.files import read_jsonl
from razona.core.nouns import Outcome
from razona.core.rundir import RunDir
from razona.data import tags_of
from razona.models.load import load_tokenizer
from razona.recipe import ModelSection, Recipe, load, shipped
from razona.rewards.batch import problem_rows
from razona.rewards.judge import Problems, judge_batch
from razona.train import train
from razona.train.dataset import _row
from razona.train.selection import select

ROWS = Path(__file__).parent / "data" / "recipes"
DOCS = Path(__file__).parents[1] / "docs" / "recipes.md"
ROWS_OF = {
    "demo": None,
    "gsm8k-smoke": "gsm8k.jsonl",
    "open-r1-smoke": "open_r1.jsonl",
    "qwen3-4b-open-r1": "open_r1.jsonl",
    "qwen3-4b-open-r1-16gb": "open_r1.jsonl",
    "gsm8k": "gsm8k.jsonl",
    "code": "mbpp.jsonl",
    "logic": "knights.jsonl",
}
"""Recipe -> rows in the layout of the data set that it names; None: it makes its own."""
NAMES = sorted(ROWS_OF)
SMALL = [
    "model.name=embedded",
    "model.load_in_4bit=false",  # needs a GPU
    "train.steps=2",
    "train.completions_per_step=8",
    "train.microbatch_size=8",
    "rollout.group_size=4",
    "rollout.max_completion_tokens=12",
    "guard.num_problems=2",
    "guard.samples=1",
]


def small(name: str, *changes: str) -> Recipe:
    """Give a shipped recipe with a small model and rows that lie here; its own prompt, columns, filters and loss."""
    rows = ROWS_OF[name]
    local = [f"data.source={ROWS / rows}", "data.not_in=[]"] if rows else []
    return load(name, [*SMALL, *local, *changes])


def test_there_are_rows_for_every_shipped_recipe() -> None:
    assert list(shipped()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_trains_two_steps(name: str, tmp_path: Path) -> None:
    result = train(small(name), tmp_path / "run")
    assert result.steps == 2
    rows = list(read_jsonl(RunDir(tmp_path / "run").completions(2)))
    assert sum(row["is_trained"] for row in rows) == 8
    assert "unverified" not in {row["outcome"] for row in rows}  # their tests, puzzles and targets could all be read
    assert all(row["reward"] is not None for row in rows)
    assert (result.kept is not None) == (load(name).guard.every > 0)


@pytest.mark.parametrize("name", [name for name in NAMES if ROWS_OF[name]])
def test_the_solution_of_each_row_is_judged_right_as_training_judges_it(name: str) -> None:
    recipe = small(name, "guard.every=0", "data.drop_longest=0", "data.max_prompt_tokens=null")
    tags, kind = tags_of(recipe.prompt), recipe.rewards.kind
    asked = select(recipe, load_tokenizer(ModelSection())).to_train_on
    assert len(asked) == 16
    table = [_row(one) for one in asked]
    columns = {key: [row[key] for row in table] for key in table[0] if key not in ("prompt", "target")}
    targets = [row["target"] for row in table]
    told = [f"```python\n{target}\n```" if kind == "code" else target for target in targets]
    texts = [f"{tags.working_close}{tags.solution_open}{one}{tags.solution_close}" for one in told]
    problems = Problems(targets=targets, rows=problem_rows(targets, columns, len(table)))
    judged = judge_batch(kind, texts, problems, recipe.rewards.verify, tags)
    assert {one.verdict.outcome for one in judged} == {Outcome.CORRECT}
    wrong = [texts[-1], *texts[:-1]]  # each with the next one's
    outcomes = [one.verdict.outcome for one in judge_batch(kind, wrong, problems, recipe.rewards.verify, tags)]
    assert outcomes.count(Outcome.CORRECT) < 8 and Outcome.UNVERIFIED not in outcomes


def test_a_question_of_mbpp_says_what_the_function_is_called_and_keeps_the_other_tests_back() -> None:
    recipe = small("code", "guard.every=0")
    row = json.loads((ROWS / "mbpp.jsonl").read_text().splitlines()[0])
    problem = next(one.problem for one in select(recipe, load_tokenizer(ModelSection())).to_train_on
                   if one.problem.id == "row-000001")  # fmt: skip
    assert problem.question == f"{row['prompt']}\n\nYour code should pass this test:\n{row['test_list'][0]}"
    assert problem.extra["test_list"] == row["test_list"] and len(row["test_list"]) > 1


def test_the_4b_recipe_is_what_was_published() -> None:
    recipe = load("qwen3-4b-open-r1")
    assert recipe.lora is not None
    assert (recipe.model.name, recipe.lora.rank, recipe.lora.alpha) == ("Qwen/Qwen3-4B-Base", 32, 64)
    assert len(recipe.lora.target_modules) == 7
    assert (recipe.data.source, recipe.data.config) == ("open-r1/DAPO-Math-17k-Processed", "en")
    assert recipe.data.max_prompt_tokens is not None
    assert recipe.data.max_prompt_tokens + recipe.rollout.max_completion_tokens == 2048
    assert (recipe.rollout.min_p, recipe.rollout.temperature) == (0.0, 1.0)
    assert recipe.train.warmup_steps == recipe.train.steps // 10


def test_the_16_gb_recipe_is_the_same_but_for_what_saves_memory() -> None:
    full, small_one = load("qwen3-4b-open-r1"), load("qwen3-4b-open-r1-16gb")
    assert small_one.model.load_in_4bit and not full.model.load_in_4bit
    assert (small_one.lora, small_one.data, small_one.prompt) == (full.lora, full.data, full.prompt)
    changed = {key for key, value in small_one.train if value != getattr(full.train, key)}
    assert changed == {"microbatch_size"} and small_one.rollout == full.rollout


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_has_a_section_with_its_command(name: str) -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert f"## `{name}`" in text
    section = text.split(f"## `{name}`", 1)[1].split("\n## ", 1)[0]
    assert f"razona train {name}" in section or f"razona {name}" in section
    assert "*estimated*" in section or "*measured*" in section
