"""A run without an adapter (`lora: null`), from training to the page and the chat."""

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from razona.cli.main import app
from razona.core.rundir import RunDir
from razona.evaluate.chat import load_speakers
from razona.models.load import embedded_folder
from razona.recipe import load
from razona.report import write_page
from razona.train import train

CHANGES = [
    "lora=null", "train.steps=2", "train.learning_rate=1e-3", "train.sampling=uniform", "train.completions_per_step=32",
    "train.microbatch_size=16", "rollout.group_size=8", "rollout.max_completion_tokens=24", "train.warmup_steps=0",
    "guard.every=1", "guard.num_problems=8", "guard.samples=1", "data.levels=[1]",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return train(load("demo", CHANGES), tmp_path_factory.mktemp("full") / "run").run


def test_weights_outside_every_projection_are_trained_and_saved_whole(run: RunDir):
    before, after = load_file(embedded_folder() / "model.safetensors"), load_file(run.adapter / "model.safetensors")
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name].float(), after[name].float())}
    assert {"model.norm.weight", "model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight"} <= changed
    plain = AutoModelForCausalLM.from_pretrained(run.adapter)
    assert not isinstance(plain, PeftModel) and not (run.adapter / "adapter_config.json").exists()


def test_a_run_of_all_weights_is_compared_reported_and_talked_to(run: RunDir, tmp_path: Path):
    arguments = ["embedded", str(run.root), "--problems", "8", "--samples", "2", "--no-best-prompt", "--json"]
    result = CliRunner().invoke(app, ["compare", *arguments, "--out", str(tmp_path / "comparison")])
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert (summary["base"]["n"], summary["tuned"]["n"]) == (8, 8)
    assert summary["base"]["mean_length"] != summary["tuned"]["mean_length"]
    assert "lora: null" in write_page(run).read_text()
    asked = ["chat", str(run.root), "--versus", "base", "--prompt", "What is 3 + 4?", "--json"]
    told = json.loads(CliRunner().invoke(app, asked).stdout)
    assert [answer["model"] for answer in told["answers"]] == ["embedded", str(run.root)]


def test_beside_a_run_of_all_weights_its_base_has_weights_of_its_own(run: RunDir):
    base, tuned = load_speakers(str(run.root), load(run.recipe), "base")
    assert base.is_adapter_on and base.policy is not tuned.policy
    theirs = load_file(embedded_folder() / "model.safetensors")["model.norm.weight"]
    assert torch.equal(base.policy.model.state_dict()["model.norm.weight"], theirs.float())
    assert not torch.equal(tuned.policy.model.state_dict()["model.norm.weight"], theirs.float())
