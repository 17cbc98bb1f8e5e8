"""Models that cannot be loaded: what is told of a hub name, pickled weights and 4 bits, and what loads all the same."""

import importlib.machinery
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
import transformers.utils.hub
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
from transformers import AutoModelForCausalLM

from razona.core.errors import ModelError, RecipeError
from razona.models.load import embedded_folder, load_policy, load_tuned
from razona.models.quantised import is_quantised, widen_adapter
from razona.recipe import ModelSection, load
from razona.rollout.engine import choose_engine


def mistake(**settings: object) -> str:
    with pytest.raises(ModelError) as caught:
        load_policy(ModelSection.model_validate(settings))
    return str(caught.value)


# --- The hub -------------------------------------------------------------------------------------------------------


class Response:
    """What the hub's errors read of a response."""

    headers: dict[str, str] = {}  # noqa: RUF012
    request = None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (GatedRepoError, ["it is gated", "https://huggingface.co/meta/llama", "`hf auth login`", "--local-dir"]),
        (RepositoryNotFoundError, ["no model of that name", "spelling", "`hf auth login`", "/ or ./"]),
        (RevisionNotFoundError, ["model.revision = v9", "null"]),
    ],
)
def test_what_the_hub_answers_is_told_with_the_way_out(
    error: type, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise error("no", response=Response())

    monkeypatch.setattr(transformers.utils.hub, "hf_hub_download", refuse)  # transformers words it in its own way
    told = mistake(name="meta/llama", revision="v9")
    assert told.startswith("the tokenizer of model.name = meta/llama cannot be loaded: ")
    assert [word for word in words if word not in told] == []


def test_a_hub_model_without_network_is_told_with_how_to_bring_it_here() -> None:
    told = mistake(name="meta/llama")  # the tests run with HF_HUB_OFFLINE
    for word in ("cannot be reached", "HF_HUB_OFFLINE", "hf download meta/llama --local-dir", "`hf auth login`"):
        assert word in told


# --- Pickled weights -----------------------------------------------------------------------------------------------


@pytest.fixture
def pickled(random_model: Path, tmp_path: Path) -> Path:
    """The random model with its weights in pytorch_model.bin alone."""
    folder = tmp_path / "pickled"
    shutil.copytree(random_model, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    torch.save(AutoModelForCausalLM.from_pretrained(random_model).state_dict(), folder / "pytorch_model.bin")
    return folder


def test_pickled_weights_are_refused_unless_they_are_asked_for(
    pickled: Path, random_model: Path, capsys: pytest.CaptureFixture
) -> None:
    told = mistake(name=str(pickled))
    for word in ("pytorch_model.bin", "can run code", "save_pretrained()", "model.allow_pickle: true"):
        assert word in told
    capsys.readouterr()
    loaded = load_policy(ModelSection(name=str(pickled), allow_pickle=True)).model.state_dict()
    assert "allow_pickle: reading pytorch_model.bin" in capsys.readouterr().err
    expected = load_policy(ModelSection(name=str(random_model))).model.state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in expected.items())


def test_a_pickle_that_would_run_code_is_not_run_even_where_pickle_is_allowed(pickled: Path, tmp_path: Path) -> None:
    class Touch:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"x": Touch()}, pickled / "pytorch_model.bin")
    with pytest.raises(ModelError, match="holds more than weights"):
        load_policy(ModelSection(name=str(pickled), allow_pickle=True))
    assert not (tmp_path / "ran").exists()


def test_safetensors_are_read_where_both_are_there(
    pickled: Path, random_model: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.copy(random_model / "model.safetensors", pickled)
    (pickled / "pytorch_model.bin").write_bytes(b"nothing that can be read")
    load_policy(ModelSection(name=str(pickled)))
    assert "pickle" not in capsys.readouterr().err


def test_a_pickled_adapter_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    (tmp_path / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match=r"adapter_model\.bin.*allow_pickle"):
        load_tuned(ModelSection(), tmp_path)


# --- 4 bits --------------------------------------------------------------------------------------------------------


def have(monkeypatch: pytest.MonkeyPatch, *, gpu: bool, bitsandbytes: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.delitem(sys.modules, "bitsandbytes", raising=False)
    if bitsandbytes:
        module = ModuleType("bitsandbytes")
        module.__spec__ = importlib.machinery.ModuleSpec("bitsandbytes", None)
        monkeypatch.setitem(sys.modules, "bitsandbytes", module)


@pytest.mark.parametrize(
    ("gpu", "bitsandbytes", "words"),
    [
        (False, False, ["no NVIDIA GPU", "bitsandbytes is not installed"]),
        (True, False, ["true for model.name = embedded: bitsandbytes is not installed"]),
        (False, True, ["true for model.name = embedded: this machine has no NVIDIA GPU"]),
    ],
)
def test_4_bits_without_what_they_need_are_refused_with_the_install_command(
    gpu: bool, bitsandbytes: bool, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    have(monkeypatch, gpu=gpu, bitsandbytes=bitsandbytes)
    told = mistake(load_in_4bit=True)
    assert [word for word in [*words, "pip install 'bitsandbytes>=", "load_in_4bit: false"] if word not in told] == []


def test_4_bits_are_asked_of_transformers_as_qlora_has_them_and_left_where_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    have(monkeypatch, gpu=True, bitsandbytes=True)
    given: dict[str, object] = {}
    model = torch.nn.Linear(1, 1)

    def from_pretrained(source: str, **kwargs: object) -> torch.nn.Module:
        given.update(kwargs)
        return model

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", from_pretrained)
    monkeypatch.setattr(torch.nn.Module, "to", lambda *args: pytest.fail("packed weights were moved"))
    assert load_policy(ModelSection(load_in_4bit=True)).model is model
    config = given["quantization_config"].to_dict()  # pyright: ignore[reportAttributeAccessIssue]
    assert config["load_in_4bit"] and config["bnb_4bit_quant_type"] == "nf4" and config["bnb_4bit_use_double_quant"]
    assert config["bnb_4bit_compute_dtype"] == "bfloat16"
    assert given["device_map"] == {"": 0} and given["dtype"] is torch.bfloat16


def test_nothing_is_quantised_unless_it_is_asked_for() -> None:
    model = load_policy(ModelSection()).model
    assert not is_quantised(model) and choose_engine(model, "native") == ("native", "")


def test_packed_weights_are_left_to_transformers() -> None:
    model = load_policy(ModelSection()).model
    model.is_loaded_in_4bit = True  # pyright: ignore[reportAttributeAccessIssue]
    engine, note = choose_engine(model, "native")
    assert engine == "transformers" and "packed" in note


def test_only_the_adapter_is_widened() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)).to(torch.bfloat16)
    model[0].requires_grad_(False)
    widen_adapter(model)  # pyright: ignore[reportArgumentType]
    assert [parameter.dtype for parameter in model.parameters()] == [torch.bfloat16] * 2 + [torch.float32] * 2


def test_4_bits_without_an_adapter_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"model\.load_in_4bit = true with lora: null .*\(lora: \{\}\)"):
        load("demo", ["model.load_in_4bit=true", "lora=null"])


def test_the_embedded_model_has_no_pickle() -> None:
    assert not list(embedded_folder().glob("*.bin"))
