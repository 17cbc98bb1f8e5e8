"""The check: every planted fault is found by its rule's name, and a sound recipe has none."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from machines import cpu

from razona.advise.check import Check, CheckOptions, CheckResult, check, explain_refusal, load_recipe
from razona.advise.checks.engine import check_engine
from razona.advise.checks.rules import RULES
from razona.advise.checks.samples import Effort
from razona.advise.checks.versions import Installed
from razona.core.errors import CheckError, DataError, ModelError, RecipeError
from razona.models.load import Policy, load_policy
from razona.recipe import ModelSection, load

QUICK = CheckOptions(effort=Effort(num_problems=8, budget_s=None))
BOXED_SYSTEM = r"Think. Put your working out before {working_close}, and the answer in \boxed{{}}."
NO_TAGS = "Solve the problem, step by step."
DOUBLE = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}<start_working_out>\nLet me see. "
OTHER = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}<think>\n"


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy(ModelSection())


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., str]:
    """Give a function that writes 100 problems, changed row by row, and gives the file's name."""

    def write(change: Callable[[int, dict], dict] = lambda number, row: row, count: int = 100) -> str:
        path = tmp_path / "rows.jsonl"
        made = [
            {
                "question": f"A train has {number} wagons with {number + 3} seats each. How many seats has it in all?",
                "answer": str(number * (number + 3)),
                "subject": "arithmetic",
                "number": number,
                "working": f"There are {number} wagons. " * 12 + "So one multiplies.",
            }
            for number in range(1, count + 1)
        ]
        lines = [json.dumps(change(number, row)) for number, row in enumerate(made, start=1)]
        path.write_text("\n".join(lines))
        return str(path)

    return write


def examine(policy: Policy | None, *overrides: str, options: CheckOptions = QUICK) -> CheckResult:
    recipe = load("demo", ["guard.every=0", *overrides])
    return check(recipe, options, load_policy=None if policy is None else lambda: policy)


def errors(result: CheckResult) -> dict[str, str]:
    return {finding.rule: finding.saw for finding in result.errors}


def test_the_sound_demo_has_no_errors_and_its_figures_are_told(policy: Policy):
    result = check(load("demo"), QUICK, load_policy=lambda: policy)
    assert errors(result) == {}
    assert any("groups of 8 with signal" in note for note in result.notes)
    assert any("estimated time" in note for note in result.notes)
    assert result.not_looked_at == ()


def test_a_long_run_on_a_cpu_is_told_of_compiling(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("razona.advise.check.this_device", lambda: cpu(is_short=True))
    for steps, is_told in ((20_000, True), (40, False)):
        made = Check(load("demo", [f"train.steps={steps}"]), QUICK)
        made.before_loading()
        made.tell_hours()
        assert any("--set rollout.compile=true" in note for note in made.result.notes) == is_told


def test_sound_rows_of_a_file_have_no_finding_at_all(policy: Policy, rows: Callable[..., str]):
    result = examine(policy, f"data.source={rows()}", "train.completions_per_step=64")
    assert [one.rule for one in result.findings if one.rule not in ("no-signal",)] in ([], ["flat-reward"])


# fault 1
@pytest.mark.parametrize(
    ("override", "seen"),
    [
        ("data.target_column=subject", "all 100 targets are the same"),
        ("data.target_column=number", "number the rows"),
        ("data.target_column=working", "100 of 100 targets cannot be read"),
        ("data.target_column=question", "the question's own column"),
        ("data.target_column=solved", "no such column"),
        ("data.question_column=subject", "1 different questions"),
        ("data.question_column=ask", "no such column"),
    ],
)
def test_a_wrong_column_is_found(override: str, seen: str, rows: Callable[..., str]):
    result = examine(None, f"data.source={rows()}", override)
    assert seen in errors(result)["wrong-column"]


# fault 2: gold unparseable in 5 % of rows
def test_five_unreadable_targets_of_100_stop_the_run_and_are_named(rows: Callable[..., str]):
    source = rows(lambda number, row: row | {"answer": r"\frac{1}{"} if number % 20 == 0 else row)
    told = errors(examine(None, f"data.source={source}"))["unreadable-targets"]
    assert "5 of 100 targets (5.0%)" in told and "row-0000" in told


@pytest.mark.parametrize("target", ["???", "n/a", r"\sqrt{", "9^{9^{9^9}}"])
def test_a_target_that_only_equals_itself_in_writing_is_unreadable(target: str, rows: Callable[..., str]):
    source = rows(lambda number, row: row | {"answer": target} if number % 20 == 0 else row)
    assert "5 of 100 targets" in errors(examine(None, f"data.source={source}"))["unreadable-targets"]


def test_one_unreadable_target_of_100_only_warns(rows: Callable[..., str]):
    source = rows(lambda number, row: row | {"answer": r"\frac{1}{"} if number == 7 else row)
    result = examine(None, f"data.source={source}")
    assert "unreadable-targets" not in errors(result)
    assert "row-000007" in next(one.saw for one in result.findings if one.rule == "unreadable-targets")


# fault 3
NOTEBOOK = "rewards.components=[{name: format_exact}, {name: check_answer}]"


def test_a_boxed_gold_is_found_where_the_reward_compares_it_with_what_is_in_the_tag(rows: Callable[..., str]):
    source = rows(lambda number, row: row | {"answer": rf"\boxed{{{row['answer']}}}"})
    told = errors(examine(None, f"data.source={source}", "rewards.mix=sum", NOTEBOOK))["gold-form-mismatch"]
    assert "50 of 50" in told and "check_answer gives -4.5 of 5" in told


def test_a_boxed_gold_is_no_fault_where_the_verifier_reads_it(rows: Callable[..., str]):
    source = rows(lambda number, row: row | {"answer": rf"\boxed{{{row['answer']}}}"})
    assert errors(examine(None, f"data.source={source}")) == {}


def test_a_prompt_that_asks_for_a_box_is_found_where_the_reward_wants_the_tag():
    found = errors(examine(None, f"prompt.system='{BOXED_SYSTEM}'"))
    assert "format gives 0 of 1" in found["gold-form-mismatch"]


# faults 4 and 5
def test_a_prompt_without_the_tags_is_found():
    assert (
        "<end_working_out>, <SOLUTION>, </SOLUTION>"
        in errors(examine(None, f"prompt.system='{NO_TAGS}'"))["missing-tag"]
    )


def test_a_template_that_drops_the_system_message_is_found():
    template = "{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}\n{% endfor %}"
    result = examine(None, f'prompt.chat_template="{template}"')
    assert "missing-tag" in errors(result)
    assert "leaves the system message out" in next(one.change for one in result.errors if one.rule == "missing-tag")


@pytest.mark.parametrize(("template", "seen"), [(DOUBLE, "stands 2 times"), (OTHER, "opens the working with <think>")])
@pytest.mark.parametrize("has_model", [True, False])
def test_a_working_that_is_opened_twice_is_found(template: str, seen: str, has_model: bool, policy: Policy):
    text = json.dumps(template)
    found = errors(examine(policy if has_model else None, f"prompt.chat_template={text}"))
    assert seen in found["double-tag"]


# fault 6
def changed_model(folder: Path, random_model: Path, name: str, **values: object) -> str:
    copy = folder / "model"
    shutil.copytree(random_model, copy)
    path = copy / name
    settings = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(settings | values))
    return str(copy)


@pytest.mark.parametrize(
    ("name", "values", "seen"),
    [
        ("generation_config.json", {"suppress_tokens": [0]}, "suppress_tokens"),
        ("generation_config.json", {"bad_words_ids": [[0], [5, 6]]}, "bad_words_ids"),
        ("config.json", {"vocab_size": 0}, "gives ids up to -1 only"),
        ("tokenizer_config.json", {"eos_token": "<|absent|>"}, "its vocabulary does not have it"),
    ],
)
def test_an_end_of_text_that_cannot_come_is_found(name: str, values: dict, seen: str, tmp_path, random_model):
    folder = changed_model(tmp_path, random_model, name, **values)
    assert seen in errors(examine(None, f"model.name={folder}"))["eos-masked"]


def test_an_end_of_text_that_is_suppressed_is_found_in_the_loaded_model(tmp_path, random_model):
    folder = changed_model(tmp_path, random_model, "generation_config.json", suppress_tokens=[0])
    assert (
        "suppress_tokens"
        in errors(examine(load_policy(ModelSection(name=folder)), f"model.name={folder}"))["eos-masked"]
    )


def test_a_word_of_two_tokens_that_holds_the_end_is_no_fault(tmp_path, random_model):
    folder = changed_model(tmp_path, random_model, "generation_config.json", bad_words_ids=[[0, 5]])
    assert "eos-masked" not in errors(examine(None, f"model.name={folder}"))


# fault 7
def test_a_limit_below_the_median_length_is_found_with_the_length_that_is_needed(policy: Policy):
    result = examine(policy, "rollout.max_completion_tokens=4")
    assert "cut off at 4 tokens" in errors(result)["limit-below-median"]
    change = next(one.change for one in result.errors if one.rule == "limit-below-median")
    assert int(change.rsplit("=", 1)[1]) > 4


def test_a_prompt_and_completion_beyond_the_models_positions_are_found():
    found = errors(examine(None, "rollout.max_completion_tokens=2040"))
    assert "2048 positions" in found["beyond-positions"]


# fault 8
def test_a_group_of_one_is_found_by_name_though_the_recipe_refuses_it():
    result = explain_refusal("demo", ["rollout.group_size=1"])
    assert result is not None and list(errors(result)) == ["group-size"]
    with pytest.raises(CheckError, match="group-size"):
        load_recipe("demo", ["rollout.group_size=1"])


def test_another_mistake_in_a_recipe_stays_the_recipes_own():
    with pytest.raises(RecipeError, match=r"train\.stepz"):
        load_recipe("demo", ["train.stepz=1"])


# fault 9
def test_a_reward_that_is_always_equal_is_found_on_samples(policy: Policy):
    component = "rewards.components=[{name: length, options: {target_tokens: 1000}}]"
    told = errors(examine(policy, "rewards.mix=sum", component))["flat-reward"]
    assert "64 completions of 8 problems by the untrained model are all paid 0" in told


def test_a_reward_that_pays_right_and_wrong_alike_is_found_without_a_model():
    component = "rewards.components=[{name: format, when: always}]"
    told = errors(examine(None, "rewards.mix=sum", component))["flat-reward"]
    assert "right and wrong completions of 50 problems are all paid 1" in told


# fault 10
def test_an_evaluation_set_inside_the_training_set_is_found(rows: Callable[..., str], tmp_path: Path):
    source = rows()
    held_out = tmp_path / "held_out.jsonl"
    lines = Path(source).read_text().splitlines()
    held_out.write_text(lines[41])
    options = CheckOptions(against=[str(held_out)])
    told = errors(examine(None, f"data.source={source}", options=options))["evaluation-in-training"]
    assert "1 of 100" in told and "held_out.jsonl" in told and "row-000042" in told


def test_what_the_recipe_itself_leaves_out_as_overlapping_only_warns(rows: Callable[..., str], tmp_path: Path):
    source = rows()
    held_out = tmp_path / "held_out.jsonl"
    held_out.write_text(Path(source).read_text().splitlines()[41])
    result = examine(None, f"data.source={source}", f"data.not_in=[{held_out}]")
    assert errors(result) == {}
    assert "row-000042" in next(one.saw for one in result.findings if one.rule == "evaluation-in-training")


def test_an_evaluation_set_of_other_questions_is_no_fault(rows: Callable[..., str], tmp_path: Path):
    held_out = tmp_path / "held_out.jsonl"
    held_out.write_text(json.dumps({"problem": "Find the area of a circle of radius 3 in terms of pi.", "answer": "9"}))
    options = CheckOptions(against=[str(held_out)])
    assert errors(examine(None, f"data.source={rows()}", options=options)) == {}


# fault 11
def test_min_p_is_found_where_the_engine_ignores_it():
    recipe = load("demo", ["rollout.min_p=0.1", "rollout.engine=transformers"])
    finding = next(check_engine(recipe, honoured={"transformers": frozenset({"top_p"})}))
    assert finding.rule == "engine-ignores-option"
    assert "rollout.engine = transformers does not draw with rollout.min_p = 0.1" in finding.saw


@pytest.mark.parametrize("option", ["min_p=0.1", "top_p=0.9", "top_k=20"])
def test_an_option_that_the_trainers_logprobs_ignore_is_found(option: str):
    found = errors(examine(None, f"rollout.{option}"))
    assert f"rollout.{option.replace('=', ' = ')}" in found["engine-ignores-option"]


# fault 12
def test_incompatible_versions_are_found_in_the_check(monkeypatch: pytest.MonkeyPatch):
    planted = Installed(
        versions={"trl": "1.15.0", "torch": "2.13.0"}, ranges={"trl": ">=1.15,<1.17"}, has_gpu=False, has_triton=False
    )
    monkeypatch.setattr("razona.advise.check.installed", lambda: planted)
    assert "Triton" in errors(examine(None))["incompatible-versions"]


# what is done about findings
def test_an_error_that_is_allowed_by_name_does_not_stop_and_the_others_do():
    overrides = ["rollout.min_p=0.1", f"prompt.system='{NO_TAGS}'"]
    result = examine(None, *overrides, options=CheckOptions(allow=["engine-ignores-option"]))
    assert list(errors(result)) == ["missing-tag"]
    assert {one.rule for one in result.findings} == {"missing-tag", "engine-ignores-option"}
    with pytest.raises(CheckError, match=r"--allow missing-tag$"):
        result.raise_errors()
    assert errors(examine(None, *overrides, "check.allow=[engine-ignores-option, missing-tag]")) == {}


@pytest.mark.parametrize("overrides", [[], ["check.allow=[eos-maskd]"]])
def test_a_rule_that_does_not_exist_is_refused_with_the_nearest_name(overrides: list[str]):
    options = CheckOptions(allow=[] if overrides else ["eos-maskd"])
    with pytest.raises(RecipeError, match=r"eos-maskd.*Did you mean eos-masked"):
        Check(load("demo", overrides), options)


def test_a_file_that_is_not_there_and_a_model_that_is_not_are_told_and_are_no_finding(tmp_path: Path):
    with pytest.raises(DataError, match="no such file"):
        examine(None, "data.source=absent.jsonl")
    recipe = load("demo", [f"model.name={tmp_path}/absent"])
    with pytest.raises(ModelError, match="no such folder"):
        check(recipe, QUICK, load_policy=lambda: load_policy(recipe.model))


def test_filters_that_leave_nothing_are_told_with_what_they_left_out(rows: Callable[..., str]):
    found = errors(examine(None, f"data.source={rows()}", "data.max_prompt_tokens=5"))
    assert "0 problems are left" in found["too-few-problems"] and "100 of 100 have prompts" in found["too-few-problems"]


def test_what_fine_tuning_will_teach_only_warns_and_what_it_never_reads_is_not_looked_at(policy: Policy):
    faults = [f"prompt.system='{NO_TAGS}'", "rollout.min_p=0.1"]
    first = examine(policy, "train.method=sft_then_grpo", *faults)
    assert list(errors(first)) == ["engine-ignores-option"]
    assert "missing-tag" in {one.rule for one in first.findings}
    alone = examine(policy, "train.method=sft", *faults)
    assert errors(alone) == {} and any("pays no rewards" in reason for reason in alone.not_looked_at)


def test_every_finding_names_its_rule_reason_change_and_source(policy: Policy):
    result = examine(policy, "rollout.max_completion_tokens=4", "rollout.min_p=0.1", f"prompt.system='{NO_TAGS}'")
    for finding in result.findings:
        assert finding.rule in RULES
        assert all((finding.saw, finding.why, finding.change, finding.wrong_when, finding.source))


def test_the_docs_have_a_row_for_every_rule():
    page = (Path(__file__).parents[1] / "docs" / "check.md").read_text(encoding="utf-8")
    assert [name for name in RULES if f"| `{name}` |" not in page] == []
