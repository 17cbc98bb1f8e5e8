"""Loading: the embedded model, folders, and what is told when it cannot be."""

import json
import shutil
from pathlib import Path

import pytest

from razona.core.errors import ModelError, RecipeError
from razona.core.nouns import Problem
from razona.data import PromptWriter
from razona.models.load import embedded_folder, load_policy, load_tokenizer, load_tuned
from razona.recipe import ModelSection, load
from razona.train import train


def test_the_embedded_model_is_a_small_qwen3_within_its_size():
    config = json.loads((embedded_folder() / "config.json").read_text())
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    assert sum(path.stat().st_size for path in embedded_folder().iterdir()) <= 12 * 2**20
    parameters = sum(p.numel() for p in load_policy(ModelSection()).model.parameters())
    assert 2e6 <= parameters <= 6e6


def test_tags_are_ordinary_text_that_decoding_keeps():
    tokenizer = load_tokenizer(ModelSection())
    text = "<start_working_out> 3 + 4 = 7. <end_working_out><SOLUTION>7</SOLUTION>"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert not set(ids) & set(tokenizer.all_special_ids)


@pytest.mark.parametrize("text", ["x", "漢字 é \N{GRINNING FACE}", "\\frac{1}{2}\n\t $x^2$", "<SOLUTION", "1234567890"])
def test_every_text_survives_the_tokenizer(text: str):
    tokenizer = load_tokenizer(ModelSection())
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_a_digit_is_a_token():
    tokenizer = load_tokenizer(ModelSection())
    assert len(tokenizer(" 3907")["input_ids"]) == 4


def test_a_folder_without_tokenizer_is_told(random_model: Path, tmp_path: Path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((random_model / name).read_bytes())
    with pytest.raises(ModelError, match=r"holds a model but no tokenizer .*config\.json, model\.safetensors"):
        load_policy(ModelSection(name=str(tmp_path)))


def test_a_folder_without_model_and_no_folder_at_all_are_told(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ModelError, match=r"no config\.json \(it holds notes\.txt\)"):
        load_policy(ModelSection(name=str(tmp_path)))
    with pytest.raises(ModelError, match="no such folder"):
        load_policy(ModelSection(name=str(tmp_path / "absent")))


def test_a_hub_name_that_cannot_be_reached_is_told():
    with pytest.raises(ModelError, match=r"model\.name = nobody/nothing cannot be loaded"):
        load_policy(ModelSection(name="nobody/nothing"))


def test_a_trained_adapter_loads_upon_its_base_and_changes_it(tmp_path: Path):
    import torch

    overrides = ["train.steps=2", "train.completions_per_step=32", "train.microbatch_size=32", "train.warmup_steps=0"]
    recipe = load("demo", [*overrides, "rewards.mix=sum", "rewards.components=[{name: random}]"])
    result = train(recipe, tmp_path / "run")
    base, tuned = load_policy(recipe.model), load_tuned(recipe.model, result.run.adapter)
    ids = base.tokenizer("Q: What is 3 + 4?", return_tensors="pt")
    with torch.no_grad():
        difference = (base.model(**ids).logits - tuned.model(**ids).logits).abs().max()
    assert difference > 1e-3


def model_without_template(folder: Path) -> ModelSection:
    shutil.copytree(embedded_folder(), folder, ignore=shutil.ignore_patterns("chat_template.jinja"))
    return ModelSection(name=str(folder))


def test_a_tokenizer_without_a_chat_template_gets_the_plain_one_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture
):
    section = model_without_template(tmp_path / "bare")
    tokenizer = load_tokenizer(section)
    told = capsys.readouterr().err
    assert f"the tokenizer of {section.name} has no chat template" in told and "prompt.chat_template" in told
    prompt = load("demo").prompt
    written = PromptWriter(section=prompt, tokenizer=tokenizer).write(Problem(id="p", question="2 + 2?", target="4"))
    assert written == f"{prompt.system_text()}\n2 + 2?\n{prompt.working_open}"
    load_tokenizer(ModelSection())
    assert capsys.readouterr().err == ""  # the embedded one has its own


def test_a_recipes_chat_template_writes_the_messages(tmp_path: Path):
    tokenizer = load_tokenizer(model_without_template(tmp_path / "bare"))
    template = "{% for one in messages %}[{{ one['role'] }}] {{ one['content'] }}\n{% endfor %}"
    prompt = load("demo", ["prompt.system=null", f"prompt.chat_template={json.dumps(template)}"]).prompt
    written = PromptWriter(section=prompt, tokenizer=tokenizer).write(Problem(id="p", question="2 + 2?", target="4"))
    assert written == f"[user] 2 + 2?\n{prompt.working_open}"
    with pytest.raises(RecipeError, match=r"prompt\.chat_template is no Jinja template: line 1"):
        load("demo", ["prompt.chat_template='{% for x in %}'"])
