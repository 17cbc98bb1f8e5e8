"""What goes with an export: the model card, the chat template, the command line."""

import json
from pathlib import Path

import pytest
import yaml
from export_runs import make_run
from test_cli import razona

from razona.core.errors import ExportError
from razona.core.files import write_json
from razona.core.nouns import Problem
from razona.core.rundir import RunDir
from razona.data import PromptWriter
from razona.export.card import Card, fenced, front_matter, write_card
from razona.export.merged import write_merged
from razona.export.proof import Reference
from razona.export.source import Source
from razona.export.template import check_template, prompt_template
from razona.models.load import load_policy, load_tokenizer
from razona.recipe import ModelSection, load

PROOF = {
    "logits": {"positions": 256, "relative_error": 6.5e-7, "tolerance": 1e-5, "effect_kept": 0.999},
    "score": {"n": 50, "are_held_out": False, "same_text": 49, "run": {"value": 0.8}, "export": {"value": 0.78}},
}
SIDE = {"pass_at_1": 0.158, "pass_at_8": 0.69, "greedy": 0.088, "format_rate": 0.2, "n": 512, "k": 8}
CI = {"pass_at_1": [0.145, 0.171], "pass_at_8": [0.648, 0.729], "greedy": [0.066, 0.116], "format_rate": [0.1, 0.3]}


def card_of(folder: Path, *changes: str, format: str = "merged") -> Card:
    recipe = load("demo", list(changes))
    source = Source(run=RunDir(folder), recipe=recipe, has_adapter=recipe.lora is not None, is_of_4_bits=False)
    return Card(source=source, format=format, dtype="bfloat16", proof=PROOF, prompt="PROMPT ``` END")


def fields_of(text: str) -> dict:
    _, head, _ = text.split("---\n", 2)
    return yaml.safe_load(head)


@pytest.mark.parametrize(
    ("format", "library", "relation"),
    [("adapter", "peft", "adapter"), ("merged", "transformers", "finetune"), ("gguf", "gguf", "finetune")],
)
def test_the_front_matter_names_what_is_on_the_hub(format: str, library: str, relation: str, tmp_path: Path):
    hub = ("model.name=Qwen/Qwen3-4B-Base", "data.source=open-r1/DAPO-Math-17k-Processed")
    found = fields_of(write_card(card_of(tmp_path, *hub, format=format)))
    assert found["base_model"] == "Qwen/Qwen3-4B-Base" and found["base_model_relation"] == relation
    assert found["datasets"] == ["open-r1/DAPO-Math-17k-Processed"]
    assert found["library_name"] == library and found["pipeline_tag"] == "text-generation"
    assert {"grpo", "lora", "razona"} <= set(found["tags"]) and "license" not in found


def test_a_base_and_data_that_are_not_on_the_hub_are_not_named_there(tmp_path: Path):
    found = front_matter(card_of(tmp_path))
    assert "base_model" not in found and "datasets" not in found and found["license"] == "apache-2.0"
    local = front_matter(card_of(tmp_path, "model.name=/models/mine", "data.source=/data/rows.jsonl", "lora=null"))
    assert not {"base_model", "datasets", "license"} & set(local) and "lora" not in local["tags"]


def test_the_comparison_is_on_the_card_with_its_intervals(tmp_path: Path):
    tuned = {**SIDE, "pass_at_1": 0.94}
    intervals = {**CI, "pass_at_1": [0.928, 0.95]}
    summary = {"base": {**SIDE, "ci95": CI}, "tuned": {**tuned, "ci95": intervals}, "paragraph": "IN PLAIN WORDS"}
    write_json(RunDir(tmp_path).summary, summary)
    text = write_card(card_of(tmp_path))
    assert "512 problems, the same for both, with 95 % intervals" in text
    assert "| right in one try (pass@1) | 15.8% (14.5-17.1) | 94.0% (92.8-95.0) |" in text
    assert "IN PLAIN WORDS" in text and "Not measured" not in text


def test_a_run_without_comparison_is_not_said_to_be_better(tmp_path: Path):
    text = write_card(card_of(tmp_path))
    assert "Not measured" in text and "nothing is known here about whether it is better" in text
    assert f"razona compare embedded {tmp_path.name}" in text


def test_the_card_tells_licences_to_check_and_how_faithful_the_export_is(tmp_path: Path):
    text = write_card(card_of(tmp_path, "model.name=Qwen/Qwen3-4B-Base", "data.source=openai/gsm8k"))
    assert "Licences to check before you pass it on: the base model `Qwen/Qwen3-4B-Base` and the training data" in text
    assert "6.5e-07" in text and "99.9% of what training changed" in text
    assert "solves 80.0% and these files 78.0%" in text and "which it may have been trained on" in text
    own = write_card(card_of(tmp_path))
    assert "Licences to check" not in own and "Apache-2.0" in own


@pytest.mark.parametrize(
    ("changes", "told", "not_told"),
    [
        (["train.method=grpo"], ["trained with GRPO", "1 for `correct`, 0.2 for `format`", "- grpo"], ["- sft"]),
        (
            ["train.method=sft"],
            ["fine-tuned on worked solutions", "nobody labelled one", "- sft"],
            ["`correct`", "grpo"],
        ),
        (
            ["train.method=sft_then_grpo", "sft.source=given"],
            ["then trained with GRPO", "given with the data", "`correct`", "- sft\n- grpo"],
            ["nobody labelled"],
        ),
    ],
)
def test_the_card_says_how_the_model_was_trained(
    changes: list[str], told: list[str], not_told: list[str], tmp_path: Path
):
    text = write_card(card_of(tmp_path, *changes))
    assert [part for part in told if part not in text] == [] and [
        part for part in not_told if part in text.lower()
    ] == []


def test_a_prompt_with_backticks_stays_in_its_block(tmp_path: Path):
    assert "````text\nPROMPT ``` END\n````" in write_card(card_of(tmp_path))
    assert fenced("python", "x") == "```python\nx\n```\n"


CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TEMPLATES = {
    "the tokenizer's own": None,
    "chatml": CHATML,
    "with a line end that rendering drops": CHATML + "\n",
    "with text at the end": "{% for message in messages %}{{ message['content'] }}\n{% endfor %}Answer:\n",
    "that begins with a line end": "\n{% for message in messages %}{{ message['content'] }}{% endfor %}",
    "that opens the working itself": CHATML[: -len("{% endif %}")] + "{{ '<start_working_out>\n' }}{% endif %}",
    "with a default system text": "{% if messages[0]['role'] != 'system' %}BE KIND\n{% endif %}" + CHATML,
}


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
@pytest.mark.parametrize("system", ["default", None, "Say \"yes\" or 'no'.\nUse \\boxed{{x}} {working_open}"])
def test_a_question_alone_becomes_the_prompt_of_the_training(template: str | None, system: str | None):
    changes = [] if template is None else [f"prompt.chat_template={json.dumps(template)}"]
    changes += [] if system == "default" else [f"prompt.system={json.dumps(system)}"]
    section = load("demo", changes).prompt
    tokenizer = load_tokenizer(ModelSection())
    problem = Problem(id="p", question="What is {{ 3 }} + 4?", target="7")
    prompt = PromptWriter(section=section, tokenizer=tokenizer).write(problem)
    tokenizer.chat_template = prompt_template(section, tokenizer)
    check_template(tokenizer, problem.question, prompt)
    # Where the recipe's own writer uses the exported tokenizer, nothing is there twice.
    plain = section.model_copy(update={"chat_template": None})
    assert PromptWriter(section=plain, tokenizer=tokenizer).write(problem) == prompt


def test_a_beginning_of_text_that_the_tokenizer_has_not_is_written_by_no_program():
    """llama.cpp hands a token to `bos_token` even where a file names none."""
    tokenizer = load_tokenizer(ModelSection())
    assert tokenizer.bos_token is None and "bos_token" in tokenizer.get_chat_template()
    tokenizer.chat_template = prompt_template(load("demo").prompt, tokenizer)
    messages = [{"role": "user", "content": "Q"}]
    written = tokenizer.apply_chat_template(messages, tokenize=False, bos_token="JUNK")
    assert written == f"{load('demo').prompt.system_text()}\nQ\n"


def test_a_system_message_of_ones_own_goes_before_the_recipes():
    tokenizer = load_tokenizer(ModelSection())
    tokenizer.chat_template = prompt_template(load("demo").prompt, tokenizer)
    messages = [{"role": "system", "content": "MINE"}, {"role": "user", "content": "Q"}]
    assert tokenizer.apply_chat_template(messages, tokenize=False) == "MINE\nQ\n"
    with pytest.raises(ExportError, match=r"the exported chat template writes .* that the training asked as 'OTHER'"):
        check_template(tokenizer, "Q", "OTHER")


def test_an_exported_model_ends_where_the_training_ended_it(tmp_path: Path):
    policy = load_policy(ModelSection())
    reference = Reference.__new__(Reference)
    object.__setattr__(reference, "ends", (0, 7))
    write_merged(tmp_path, policy.model, policy.tokenizer, reference)
    settings = json.loads((tmp_path / "generation_config.json").read_text())
    assert settings["eos_token_id"] == [0, 7] and settings["pad_token_id"] == 1
    assert not settings.get("_from_model_config")  # else generate() would make them anew from config.json


@pytest.mark.slow
def test_the_command_prints_the_figures_and_ends_with_1_where_the_adapter_has_no_effect(tmp_path: Path):
    run = make_run(tmp_path / "good").root
    done = razona("export", str(run), "--to", "adapter", "--problems", "3", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["adapter"] == json.loads((run / "export" / "adapter" / "export.json").read_text())
    assert figures["adapter"]["logits"]["relative_error"] == 0
    empty = make_run(tmp_path / "empty", up=0).root
    done = razona("export", str(empty), cwd=tmp_path)
    assert done.returncode == 1 and "lora_B" in done.stderr and "Traceback" not in done.stderr
    done = razona("export", str(run), "--to", "onnx", cwd=tmp_path)
    assert done.returncode == 2 and "adapter, merged, gguf" in done.stderr
