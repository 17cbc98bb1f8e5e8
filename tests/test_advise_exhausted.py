"""Out of memory ends a run with the settings that take less."""

import json

import pytest
from shapes import QWEN3_4B

from razona.advise import exhausted
from razona.advise.devices import Device
from razona.advise.exhausted import exhaustion_message, explained_exhaustion
from razona.core.errors import MachineError, RecipeError
from razona.recipe import Recipe, load

GIB = 2**30


def gpu(gib: int) -> Device:
    return Device(name="A GPU", kind="gpu", memory=gib * GIB, bf16_flop_s=1e14, bandwidth=1e12, source="made up")


@pytest.fixture
def recipe(tmp_path) -> Recipe:
    (tmp_path / "config.json").write_text(json.dumps(QWEN3_4B), encoding="utf-8")
    changes = ["train.completions_per_step=64", "train.microbatch_size=8", "rollout.max_completion_tokens=1024"]
    return load("demo", [f"model.name={tmp_path}", *changes])


class OutOfMemoryError(RuntimeError):
    """As torch's is called."""


ERRORS = [
    OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    MemoryError(),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_each_kind_of_exhaustion_becomes_one_with_values_that_fit(error, recipe, monkeypatch):
    monkeypatch.setattr(exhausted, "this_device", lambda: gpu(24))
    expected = r"--set rollout\.max_slots=32 \(estimated 1\d\.\d GiB\)"
    with pytest.raises(MachineError, match=expected) as raised, explained_exhaustion(recipe):
        raise error
    assert raised.value.__cause__ is error
    assert "most of it keys and values" in str(raised.value)


def test_torchs_own_error_is_known():
    import torch

    assert exhausted.is_exhaustion(torch.OutOfMemoryError("no room"))


@pytest.mark.parametrize("error", [RuntimeError("a shape does not fit"), RecipeError("memory"), ValueError("x")])
def test_other_errors_pass(error, recipe):
    with pytest.raises(type(error)) as raised, explained_exhaustion(recipe):
        raise error
    assert raised.value is error


def test_where_it_should_have_fitted_the_other_program_is_named_and_less_is_proposed(recipe):
    message = exhaustion_message(recipe, MemoryError(), gpu(80))
    assert "It should have fitted" in message and "--set rollout.max_slots=" in message


def test_where_nothing_helps_enough_it_says_so(recipe):
    message = exhaustion_message(recipe, MemoryError(), gpu(2))
    assert "--set rollout.max_slots=8 --set train.microbatch_size=1" in message
    assert "choose a smaller model" in message


def test_without_the_models_sizes_what_costs_memory_is_halved(recipe):
    unknown = recipe.model_copy(update={"model": recipe.model.model_copy(update={"name": "./nowhere"})})
    message = exhaustion_message(unknown, MemoryError(), gpu(8))
    assert "--set train.microbatch_size=4 --set rollout.max_slots=32" in message


@pytest.mark.parametrize("verb", ["train", "demo"])
def test_the_verbs_that_train_explain_it(verb, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from razona.cli.main import app

    def exhaust(*arguments, **options):
        raise OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr({"train": "razona.train.train", "demo": "razona.embedded.demo.demo"}[verb], exhaust)
    result = CliRunner().invoke(app, [verb, "demo", "--out", str(tmp_path / "run")])
    assert isinstance(result.exception, MachineError)
    assert "ran out of memory" in str(result.exception) and "Start it again with --set " in str(result.exception)
