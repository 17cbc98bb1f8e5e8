"""What a recipe accepts, and what it says of the mistakes it refuses."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from razona.core.errors import RecipeError
from razona.recipe import (
    PromptSection,
    Recipe,
    RewardComponent,
    RewardsSection,
    TrainSection,
    __all__,
    dump,
    load,
    shipped,
)


def write(folder: Path, text: str, name: str = "my.yaml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def message(name: str, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load(name, overrides)
    return str(caught.value)


# Mistakes in a file: text, and what the message must hold.
FILE_MISTAKES = [
    (
        "train:\n  steps: 3\n  stepz: 4\n",
        ["my.yaml, line 3:", "unknown key train.stepz", "mean train.steps?", "warmup_steps"],
    ),
    ("trian: {}\n", ["my.yaml, line 1:", "unknown key trian", "mean train?", "rollout", "evaluate"]),
    ("rollout:\n  steps: 4\n", ["line 2:", "unknown key rollout.steps", "mean train.steps?", "max_completion_tokens"]),
    ("a_b_c: 1\n", ["line 1:", "unknown key a_b_c. The keys of a recipe are name,"]),
    ("train:\n  steps: many\n", ["my.yaml, line 2:", 'train.steps = "many"', "expected a whole number"]),
    ("train:\n  steps: 3.0\n", ["line 2:", "train.steps = 3.0", "a whole number"]),
    ("train:\n  steps: true\n", ["line 2:", "train.steps = true", "a whole number"]),
    ("train:\n  seed: 010\n", ["line 2:", 'train.seed = "010"', "a whole number"]),
    ("train:\n  steps: 0\n", ["line 2:", "train.steps = 0", "1 or more"]),
    ("train:\n  learning_rate: .nan\n", ["line 2:", "a number"]),
    ("train:\n  learning_rate: 1e999\n", ["line 2:", "a finite number"]),
    ("rollout:\n  top_p: 1.5\n", ["line 2:", "rollout.top_p = 1.5", "1.0 or less"]),
    ("rollout:\n  group_size: 1\n", ["line 2:", "rollout.group_size = 1", "2 or more"]),
    ("model:\n  dtype: int8\n", ["line 2:", 'model.dtype = "int8"', "'bfloat16'"]),
    ("model:\n  revision: 7\n", ["line 2:", "model.revision = 7", "text (quotes make a number text) or null"]),
    ("model:\n  trust_remote_code: yes\n", ["line 2:", '"yes"', "true or false"]),
    ("lora:\n  target_modules: 5\n", ["line 2:", "lora.target_modules = 5", "a list or 'all-linear'"]),
    ("lora:\n  target_modules:\n    - q_proj\n    - 5\n", ["line 4:", "lora.target_modules[1] = 5", "text"]),
    ("lora: 5\n", ["line 1:", "lora = 5", "rank", "or null"]),
    ("train:\n", ["line 1:", "train = null", "a mapping with some of the keys method, steps"]),
    (
        "rewards:\n  components:\n    - name: correct\n    - weight: 1\n",
        ["line 4:", "rewards.components[1].name is missing"],
    ),
    ("rewards:\n  components: []\n", ["line 2:", "rewards.components = []", "at least 1"]),
    ("name: a/b\n", ["line 1:", 'name = "a/b"', "folder name"]),
    ("name: ..\n", ["line 1:", "folder name"]),
    ("train:\n  steps: 1\ntrain:\n  steps: 2\n", ["my.yaml, line 3:", "train is there twice", "my.yaml, line 1"]),
    ("train:\n  steps: [1\n  seed: 2\n", ["my.yaml, line 3, column 7", "not YAML"]),
    ("train:\n\tsteps: 1\n", ["my.yaml, line 2, column 1", "not YAML"]),
    ("a: &x 1\nb: *x\n", ["line 2, column 4", "extends"]),
    ("a: &x [*x]\n", ["line 1, column 8", "aliases"]),
    ("a: !!python/object:os.system x\n", ["line 1", "cannot be read as"]),
    ("a: !!int x\n", ["line 1", "'x' cannot be read as int"]),
    ("1: x\n", ["line 1:", "a key must be a word", "'1'"]),
    ("? [a]\n: x\n", ["line 1:", "a key must be a word"]),
    ("a: \0\n", ["my.yaml", "not readable as YAML"]),
    ("[" * 20_000, ["my.yaml", "nested too deeply"]),
    ("", ["my.yaml", "an empty file"]),
    ("- a\n", ["my.yaml, line 1:", "expected a mapping"]),
    ("a: 1\n---\nb: 2\n", ["line 2", "single document"]),
    ("extends: 5\n", ["line 1:", "extends = 5"]),
    ("extends: demoo\n", ["my.yaml, line 1:", "no recipe 'demoo'", "mean demo?", "gsm8k-smoke"]),
    ("extends: other.yaml\n", ["my.yaml, line 1:", "no file", "other.yaml"]),
]


@pytest.mark.parametrize(("text", "fragments"), FILE_MISTAKES)
def test_a_mistake_in_a_file_is_told_with_its_line(text: str, fragments: list[str], tmp_path: Path) -> None:
    told = message(write(tmp_path, text))
    assert [fragment for fragment in fragments if fragment not in told] == []


OVERRIDE_MISTAKES = [
    ("train.stepz=3", ["--set train.stepz=3:", "unknown key train.stepz", "mean train.steps?"]),
    ("steps=3", ["--set steps=3:", "unknown key steps", "mean train.steps?"]),
    ("train.steps=many", ["--set train.steps=many:", 'train.steps = "many"', "a whole number"]),
    ("train.steps", ["--set train.steps:", "section.key=VALUE"]),
    ("train..steps=3", ["section.key=VALUE"]),
    ("=3", ["section.key=VALUE"]),
    ("model.dtype=[1", ["--set model.dtype=[1", "not YAML", "in quotes"]),
    ("lora.rank.x=1", ['lora.rank = {"x": 1}', "a whole number"]),
    ("train.seed=4294967296", ["train.seed", "less than 4294967296"]),
    ("extends=demo", ["unknown key extends"]),
]


@pytest.mark.parametrize(("override", "fragments"), OVERRIDE_MISTAKES)
def test_a_mistake_in_an_override_is_told_with_its_words(override: str, fragments: list[str]) -> None:
    told = message("demo", override)
    assert [fragment for fragment in fragments if fragment not in told] == []


# Sections that do not fit together: overrides of `demo` (groups of 8, 256 completions, microbatches of 64).
CONFLICTS = [
    (
        ["rollout.group_size=7"],
        [
            "completions_per_step = 256",
            "group_size = 7",
            "[2, 4, 8, 16, 32, 64]",
            "to 259",
            "--set rollout.group_size=7",
        ],
    ),
    (["train.completions_per_step=4", "train.microbatch_size=4"], ["one of [2, 4]", "train.completions_per_step to 8"]),
    (["train.microbatch_size=48"], ["microbatch_size = 48", "[8, 16, 32, 64, 128", "demo.yaml (shipped), line"]),
    (["train.microbatch_size=512"], ["microbatch_size = 512 does not divide", "256]"]),
    (["rewards.components=[{name: format}]"], ["rewards.mix = sound", "no `correct`", "it has format", "mix: sum"]),
    (
        ["rewards.components=[{name: correct, weight: 0.5}, {name: a, weight: 0.3}, {name: b, weight: 0.2}]"],
        ["add up to 0.5", "a 0.3, b 0.2", "the 0.5 of `correct`", "mix: sum"],
    ),
    (["rewards.components=[{name: correct}, {name: correct}]"], ["correct more than once"]),
    (["data.families=[logic]", "data.source=x.jsonl"], ["data.families = [logic]", "data.source = x.jsonl", "tasks"]),
    (["guard.every=0", "guard.patience=2"], ["guard.patience = 2", "guard.every = 0", "patience: null"]),
    (["prompt.working_open=<SOLUTION>"], ["prompt.solution_open", "prompt.working_open", "'<SOLUTION>'", "differ"]),
    (["prompt.working_open=''"], ["at least one character"]),
    (["prompt.system='say {answer}'"], ["{answer}", "{working_open}", "{{answer}}"]),
]


@pytest.mark.parametrize(("overrides", "fragments"), CONFLICTS)
def test_sections_that_do_not_fit_are_refused_with_the_way_out(overrides: list[str], fragments: list[str]) -> None:
    told = message("demo", *overrides)
    assert [fragment for fragment in fragments if fragment not in told] == []


def test_every_mistake_is_listed(tmp_path: Path) -> None:
    told = message(write(tmp_path, "train:\n  stepz: 1\nlora:\n  rank: x\n"), "model.dtype=int8")
    assert told.startswith("3 mistakes in the recipe:\n  - ")
    assert all(fragment in told for fragment in ("line 2:", "line 4:", "--set model.dtype=int8:"))


def test_every_conflict_is_listed() -> None:
    told = message("demo", "rollout.group_size=7", "train.microbatch_size=3", "rewards.components=[{name: format}]")
    assert told.startswith("3 mistakes in the recipe:")


@pytest.mark.parametrize("name", ["demoo", "", "x" * 5000, "nowhere/at_all"])
def test_an_unknown_name_is_answered_with_the_names_there_are(name: str) -> None:
    assert "code, demo, gsm8k, gsm8k-smoke, logic, open-r1-smoke, qwen3-4b-open-r1" in message(name)


def test_a_folder_or_a_binary_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"name: \xff\xfe")
    assert "is a folder" in message(str(tmp_path) + "/")
    assert "not UTF-8" in message(str(tmp_path / "binary.yaml"))
    assert "no file" in message(str(tmp_path / "absent.yaml"))


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_recipe_loads_under_its_own_name(name: str) -> None:
    assert load(name).name == name
    assert shipped()[name] == load(name).description != ""


def test_the_smoke_recipes_are_what_they_say() -> None:
    gsm8k, open_r1 = load("gsm8k-smoke"), load("open-r1-smoke")
    assert (open_r1.data.source, open_r1.data.config) == ("open-r1/DAPO-Math-17k-Processed", "en")
    assert (gsm8k.data.source, gsm8k.data.config) == ("openai/gsm8k", "main")
    assert (gsm8k.train.steps, gsm8k.train.completions_per_step, gsm8k.rollout.group_size) == (3, 16, 4)
    assert gsm8k.rewards.weights() == dict.fromkeys(
        ("format_exact", "format_approximate", "check_answer", "check_numbers"), 1.0
    )


UGLY_TEXTS = [
    "1e-3",
    "yes",
    "null",
    "~",
    "010",
    "1:30",
    "a: b # c",
    "{{x}} \\boxed{}",
    "é\n\tü ",
    "'\"",
    "- a",
    "2024-01-01",
]


@pytest.mark.parametrize("text", UGLY_TEXTS)
def test_a_dumped_recipe_loads_back_equal(text: str, tmp_path: Path) -> None:
    recipe = load("open-r1-smoke", ["lora=null", "train.learning_rate=1e-7", "rollout.min_p=0.05"])
    recipe = recipe.model_copy(update={"description": text, "prompt": PromptSection(system=text, working_open=text)})
    assert load(write(tmp_path, dump(recipe))) == recipe


@pytest.mark.parametrize(
    ("written", "value"), [("1e-3", 1e-3), ("2.5E-4", 2.5e-4), (".5", 0.5), ("1", 1.0), ("0.001", 1e-3)]
)
def test_a_number_may_be_written_in_any_usual_way(written: str, value: float) -> None:
    assert load("demo", [f"train.learning_rate={written}"]).train.learning_rate == value


def test_underscores_group_the_digits_of_a_number() -> None:
    assert load("demo", ["data.max_problems=10_000"]).data.max_problems == 10_000


def test_a_recipe_takes_over_what_it_extends_and_replaces_lists_whole(tmp_path: Path) -> None:
    write(
        tmp_path,
        "description: of the base\ntrain: {steps: 7, seed: 1}\ndata: {levels: [1, 2, 3]}\nlora: null\n",
        "base.yaml",
    )
    recipe = load(write(tmp_path, "extends: base.yaml\ntrain: {seed: 2}\ndata: {levels: [2]}\nlora: {rank: 4}\n"))
    assert (recipe.train.steps, recipe.train.seed, recipe.data.levels) == (7, 2, [2])
    assert recipe.lora is not None
    assert (recipe.lora.rank, recipe.lora.alpha) == (4, 64.0)
    assert (recipe.name, recipe.description) == ("my", "")  # both are a file's own


def test_a_path_to_extend_is_relative_to_the_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    write(tmp_path, "train: {steps: 7}\n", "base.yaml")
    assert load(write(tmp_path / "inner", "extends: ../base.yaml\n")).train.steps == 7


def test_a_mistake_is_told_with_the_line_of_the_base_it_stands_in(tmp_path: Path) -> None:
    write(tmp_path, "train:\n  stepz: 7\n", "base.yaml")
    assert "base.yaml, line 2: unknown key train.stepz" in message(write(tmp_path, "extends: base.yaml\n"))


def test_extends_that_lead_in_a_circle_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "extends: ./my.yaml\n", "other.yaml")
    told = message(write(tmp_path, "train: {}\nextends: other.yaml\n"))
    assert "other.yaml, line 1: extends leads back" in told
    assert told.count("my.yaml") == 2
    assert "leads back" in message(write(tmp_path, "extends: self.yaml\n", "self.yaml"))


def test_a_file_with_a_shipped_name_is_extended_by_its_path(tmp_path: Path) -> None:
    assert load(write(tmp_path, "extends: demo\n", "demo.yaml")).train.learning_rate == 1e-3


def test_later_overrides_win_and_mappings_are_merged() -> None:
    recipe = load("demo", ["train.steps=3", "train.steps=4", "lora={rank: 4}", "lora.dropout=0.1", "rewards.mix=sum"])
    assert (recipe.train.steps, recipe.rewards.mix) == (4, "sum")
    assert recipe.lora is not None
    assert (recipe.lora.rank, recipe.lora.dropout) == (4, 0.1)


def test_an_override_can_be_null_a_list_or_text_with_an_equals_sign() -> None:
    recipe = load(
        "demo", ["lora=null", "model.revision=", "rewards.components=[{name: correct}]", "data.source=a=b.jsonl"]
    )
    assert (recipe.lora, recipe.model.revision, recipe.data.source) == (None, None, "a=b.jsonl")
    assert recipe.rewards.components == [RewardComponent(name="correct")]


def test_other_tags_change_the_system_text() -> None:
    section = PromptSection(
        working_open="<think>", working_close="</think>", solution_open="\\boxed{", solution_close="}"
    )
    assert "between <think> and </think>, then the solution between \\boxed{ and }." in section.system_text()
    assert PromptSection(system=None).system_text() == ""
    assert PromptSection(system="{{x}} \\frac{1}{2} {solution_open}").system_text() == "{x} \\frac{1}{2} <SOLUTION>"


def test_a_tag_that_looks_like_a_placeholder_is_not_filled_again() -> None:
    assert PromptSection(system="{working_open}", working_open="{solution_open}").system_text() == "{solution_open}"


def test_the_default_rewards_are_sound_and_values_do_not_change() -> None:
    assert RewardsSection().weights() == {"correct": 1.0, "format": 0.2}
    with pytest.raises(ValidationError):
        TrainSection().steps = 3  # pyright: ignore[reportAttributeAccessIssue]


def sections_within(model: type[BaseModel]) -> set[type[BaseModel]]:
    return {
        model,
        *model.__subclasses__(),
        *(inner for sub in model.__subclasses__() for inner in sections_within(sub)),
    }


def test_every_field_is_documented() -> None:
    named = Recipe.model_fields.keys() - {"name", "description", "lora"}  # sections speak for themselves
    bare = {
        f"{section.__name__}.{name}"
        for section in sections_within(Recipe.__bases__[0])
        for name, field in section.model_fields.items()
        if not field.description and not (section is Recipe and name in named)
    }
    assert bare == set()


def test_the_public_names_are_sorted() -> None:
    assert list(__all__) == sorted(__all__)


def test_importing_the_room_loads_nothing_heavy() -> None:
    code = "import sys, razona.recipe as r; r.shipped();"
    code += "print(sorted({'torch', 'transformers', 'datasets'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_a_reference_without_its_revision_is_refused():
    changes = ["lora=null", "train.kl_weight=0.1", "model.revision=abc"]
    with pytest.raises(RecipeError, match=r"train.kl_weight = 0.1 with lora: null .* model.revision = abc"):
        load("demo", changes)
    for enough in (changes[:2], changes[1:], changes[::2]):
        load("demo", enough)
