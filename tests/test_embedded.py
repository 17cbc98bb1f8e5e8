"""The base model's build, and what the shipped one promises."""

import json
from pathlib import Path

import pytest
import torch

from razona.core.nouns import Problem
from razona.data import PromptWriter
from razona.embedded.build import BuildOptions, build_base
from razona.embedded.corpus import prompt_text
from razona.embedded.pretrain import PretrainSettings, make_model, next_token_loss
from razona.models.load import embedded_folder, load_tokenizer
from razona.recipe import ModelSection, PromptSection
from razona.train.attention import install


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("base")
    options = BuildOptions(steps=20, evaluate_every=20, evaluate_problems=16)
    return out, build_base(out, options, say=lambda line: None)


@pytest.mark.slow
def test_a_build_of_twenty_steps_learns_and_writes_what_it_promises(built: tuple[Path, dict]):
    out, build = built
    losses = dict(build["losses"])
    assert losses[1] > 6 and build["tokens"] == 20 * 16 * 160
    for name in (
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "chat_template.jinja",
        "build.json",
        "README.md",
    ):
        assert (out / name).exists(), name
    assert build["checkpoints"][0]["step"] == 20
    assert build["command"] == "razona base build --seed 0 --steps 20"


@pytest.mark.slow
def test_the_shipped_tokenizer_is_the_one_a_build_learns(built: tuple[Path, dict]):
    ours = json.loads((embedded_folder() / "tokenizer.json").read_text())
    assert json.loads((built[0] / "tokenizer.json").read_text()) == ours


@pytest.mark.parametrize("has_short_products", [False, True])
def test_the_loss_of_pretraining_is_the_cross_entropy_of_each_sequences_next_token(has_short_products: bool):
    settings = PretrainSettings(
        hidden_size=32, layers=2, heads=4, key_value_heads=2, head_dim=8, mlp_size=48, sequences_per_step=3,
        sequence_tokens=50,
    )  # fmt: skip
    model = make_model(settings, load_tokenizer(ModelSection()))
    with torch.no_grad():  # else attention's gradients cancel to nothing, and what is left is rounding
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2 if parameter.dim() > 1 else 1.0)
    tokens = torch.randint(5, 700, (3, 50), generator=torch.Generator().manual_seed(0))
    logits = model(tokens).logits
    wanted = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    wanted.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    install(model, has_short_products=has_short_products)
    loss = next_token_loss(model, tokens.flatten(), settings, is_short=has_short_products)
    loss.backward()
    tolerance = 0.05 if has_short_products else 1e-5
    assert abs(loss.item() - wanted.item()) < tolerance * wanted.item()
    for name, parameter in model.named_parameters():
        assert (parameter.grad - gradients[name]).norm() < tolerance * gradients[name].norm(), name


def test_the_corpus_writes_prompts_as_training_does():
    writer = PromptWriter(section=PromptSection(), tokenizer=load_tokenizer(ModelSection()))
    problem = Problem(id="a", question="What is 1 + 1?", target="2")
    assert writer.write(problem) == prompt_text(problem.question)


def test_the_shipped_base_is_poor_under_every_prompt_and_able_in_eight_tries():
    build = json.loads((embedded_folder() / "build.json").read_text())
    training = build["training"]
    assert training["n"] >= 500
    assert 0.05 <= training["pass_at_1"] <= 0.25
    assert training["pass_at_8"] >= 0.40
    assert training["greedy"] <= 0.25
    assert max(row[how] for row in build["prompts"].values() for how in ("sampled", "greedy")) <= 0.45
    assert build["document_shares"]["tagged_worked"] <= 0.05


def test_the_card_tells_command_seed_and_loss():
    card = (embedded_folder() / "README.md").read_text()
    build = json.loads((embedded_folder() / "build.json").read_text())
    assert build["command"] in card and "--seed" in build["command"]
    assert f"{build['losses'][-1][1]:.3f}" in card
