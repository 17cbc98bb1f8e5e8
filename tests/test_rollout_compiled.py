"""The decoding step through torch's compiler: what the plain step gives, from one program for all sizes."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from compilers import needs_compiler, programs
from small_models import END, adapted, generated, made, prompts

from razona import tasks
from razona.core.errors import MachineError, RecipeError
from razona.data import PromptWriter
from razona.models.load import Policy, load_policy
from razona.recipe import ModelSection, PromptSection, load
from razona.rollout import Sampled, Sampling
from razona.rollout.native import native_decode
from razona.train import train


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy(ModelSection())


@pytest.fixture(scope="module")
def asked(policy: Policy) -> list[list[int]]:
    """The prompts of 500 problems of the demo."""
    writer = PromptWriter(section=PromptSection(), tokenizer=policy.tokenizer)
    problems = tasks.distinct_problems("evaluation", 500, seed=5)
    return policy.tokenizer([writer.write(problem) for problem in problems], add_special_tokens=False)["input_ids"]


def ids_of(sampled: Sequence[Sampled]) -> list[list[int]]:
    return [one.ids for one in sampled]


@needs_compiler
@pytest.mark.slow
def test_greedy_on_500_prompts_is_the_plain_steps_from_one_program(policy: Policy, asked: list[list[int]]):
    """In fp32; `test_rollout_native` holds the plain step to transformers' generate on the same prompts."""
    end, before = policy.tokenizer.eos_token_id, programs()
    sampling = Sampling(max_tokens=48, temperature=0)
    plain = native_decode(policy.model, asked, ends=[end], sampling=sampling, seed=0)
    for max_slots in (None, 50, 2):
        rows = len(asked) if max_slots != 2 else 6
        compiled = native_decode(
            policy.model, asked[:rows], ends=[end], sampling=sampling, seed=0, max_slots=max_slots, is_compiled=True
        )
        assert ids_of(compiled) == ids_of(plain)[:rows]
    assert len({len(ids) for ids in ids_of(plain)}) > 1
    assert programs() == before + 1


@needs_compiler
@pytest.mark.slow
def test_short_products_are_as_near_to_the_training_forward_as_bf16_must_be(policy: Policy, asked: list[list[int]]):
    rows = [ids for ids in asked[:32] for _ in range(8)]
    sampling = Sampling(max_tokens=64)
    sampled = native_decode(
        policy.model,
        rows,
        ends=[policy.tokenizer.eos_token_id],
        sampling=sampling,
        seed=1,
        has_short_products=True,
        is_compiled=True,
    )
    before = programs()
    last_round = native_decode(
        policy.model, rows[:16], ends=[], sampling=sampling, seed=1, has_short_products=True, is_compiled=True
    )
    plain = native_decode(policy.model, rows[:16], ends=[], sampling=sampling, seed=1, has_short_products=True)
    assert programs() == before and last_round == plain  # too few rows for a program of their own
    gaps = []
    for prompt, one in zip(rows, sampled, strict=True):
        with torch.no_grad():
            logits = policy.model(torch.tensor([prompt + one.ids])).logits[0]
        logprobs = logits.log_softmax(-1)[len(prompt) - 1 : -1].gather(1, torch.tensor(one.ids)[:, None])[:, 0]
        gaps.append((logprobs - torch.tensor(one.logprobs)).abs())
    gap = torch.cat(gaps)
    assert 0 < gap.mean() < 2e-3
    assert gap.quantile(0.99) < 0.05


@needs_compiler
@pytest.mark.long
@pytest.mark.parametrize(("name", "max_fused_bytes"), [("qwen2", 2**30), ("llama", 2**30), ("qwen3", 0)])
def test_greedy_of_each_family_is_transformers_generate(name: str, max_fused_bytes: int, monkeypatch):
    monkeypatch.setattr("razona.rollout.fused.MAX_FUSED_BYTES", max_fused_bytes)
    model = adapted(made(name))
    rows = prompts(12)
    sampling = Sampling(max_tokens=24, temperature=0)
    ours = native_decode(model, rows, ends=[END], sampling=sampling, seed=0, is_compiled=True)
    assert ids_of(ours) == [generated(model, prompt, 24) for prompt in rows]


SMALL = [
    "rollout.compile=true",
    "train.steps=1",
    "train.completions_per_step=48",
    "train.microbatch_size=48",
    "evaluate.num_problems=8",
]


@pytest.mark.slow
def test_without_a_compiler_the_run_says_what_is_missing(tmp_path: Path):
    sets = [word for change in SMALL for word in ("--set", change)]
    done = subprocess.run(
        [sys.executable, "-m", "razona", "train", "demo", "--out", str(tmp_path / "run"), "--no-check", *sets],
        env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "programs"), "CXX": str(tmp_path / "missing")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    said = " ".join(done.stderr.split())
    assert "rollout.compile: true, and torch" in said and "cannot compile the decoding step on this machine" in said
    assert "It needs a C++ compiler: g++, or the one that CXX names" in said and "Traceback" not in said


def test_an_engine_that_has_no_such_step_is_refused():
    with pytest.raises(RecipeError, match=r"rollout.engine = transformers samples. Set rollout.compile: false"):
        load("demo", ["rollout.compile=true", "rollout.engine=transformers"])


def test_too_few_rows_for_bf16_products_are_refused(tmp_path: Path):
    changes = [*SMALL, "train.precision=bfloat16", "rollout.max_slots=47"]
    with pytest.raises(MachineError, match="it pays from 48 completions at a time, and a process runs 47"):
        train(load("demo", changes), tmp_path / "run")


def test_a_model_that_our_engine_does_not_know_is_refused(random_model: Path, tmp_path: Path):
    folder = shutil.copytree(random_model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_act": "gelu"}))
    with pytest.raises(MachineError, match=r"our own engine: rollout.engine: native cannot.*'gelu' and not 'silu'"):
        train(load("demo", [*SMALL, f"model.name={folder}"]), tmp_path / "run")
