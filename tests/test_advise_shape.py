"""The sizes of a model from its config.json alone are those of the model."""

import pytest

from razona.advise.shape import FAMILIES, PACKED, ModelShape
from razona.core.errors import ModelError, RecipeError
from razona.recipe import LoraSection

SMALL = {
    "vocab_size": 101,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
CONFIGS = [
    {"model_type": "llama", **SMALL},
    {"model_type": "llama", **SMALL, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
    {key: value for key, value in {"model_type": "llama", **SMALL}.items() if key != "num_key_value_heads"},
    {"model_type": "qwen2", **SMALL, "tie_word_embeddings": True},
    {"model_type": "qwen3", **SMALL, "head_dim": 16},
    {"model_type": "qwen3", **SMALL, "attention_bias": True, "tie_word_embeddings": True},
    {"model_type": "mistral", **SMALL, "head_dim": 8},
    {"model_type": "qwen2", **SMALL, "num_key_value_heads": None},
    {"model_type": "gemma", **SMALL, "head_dim": 8},
    {"model_type": "gemma2", **SMALL, "head_dim": 8, "tie_word_embeddings": False},
    {"model_type": "gemma3_text", **SMALL, "head_dim": 8},
    {"model_type": "gpt2", "vocab_size": 101, "n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 64},
    {"model_type": "gpt2", "vocab_size": 101, "n_embd": 24, "n_layer": 1, "n_head": 4, "n_positions": 8, "n_inner": 30},
]


def meta_model(config: dict):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {key: value for key, value in config.items() if key != "model_type"}
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(config["model_type"], **sizes))


def named(config: dict) -> str:
    return f"{config['model_type']}-{len(config)}"


@pytest.mark.parametrize("config", CONFIGS, ids=named)
def test_parameters_are_those_of_transformers_model(config):
    model = meta_model(config)
    distinct = {id(parameter): parameter.numel() for parameter in model.parameters()}
    assert ModelShape.of_config(config).num_parameters == sum(distinct.values())


TARGETS = [LoraSection().target_modules, ["q_proj", "mlp.down_proj"], "all-linear"]


@pytest.mark.parametrize("targets", TARGETS, ids=["seven", "two", "all"])
@pytest.mark.parametrize("config", [one for one in CONFIGS if one["model_type"] != "gpt2"], ids=named)
def test_adapter_parameters_are_pefts_own_count(config, targets):
    section = LoraSection(rank=3, target_modules=targets)
    assert ModelShape.of_config(config).lora_parameters(section) == trainable(config, section)


@pytest.mark.parametrize("targets", [["c_attn"], ["c_proj"], ["mlp.c_proj"], "all-linear"])
def test_adapter_parameters_of_gpt2_are_pefts_own_count(targets):
    section = LoraSection(rank=2, target_modules=targets)
    assert ModelShape.of_config(CONFIGS[-1]).lora_parameters(section) == trainable(CONFIGS[-1], section)


def trainable(config: dict, section: LoraSection) -> int:
    import warnings

    from peft import get_peft_model

    from razona.models.load import lora_config

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's, on Conv1D
        model = get_peft_model(meta_model(config), lora_config(section))
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def test_an_unknown_family_is_refused_by_name():
    with pytest.raises(ModelError, match=r"model_type = 'mamba'.*gemma2"):
        ModelShape.of_config({"model_type": "mamba", **SMALL})


def test_missing_keys_are_named():
    with pytest.raises(ModelError, match=r"intermediate_size, num_key_value_heads missing"):
        ModelShape.of_config(
            {key: value for key, value in CONFIGS[4].items() if key not in ("intermediate_size", "num_key_value_heads")}
        )


def test_a_target_that_the_model_has_not_is_named():
    with pytest.raises(RecipeError, match=r"c_attn is none of this model's projections, which are down_proj"):
        ModelShape.of_config(CONFIGS[0]).lora_parameters(LoraSection(target_modules=["q_proj", "c_attn"]))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sliding_window": None},
        {"sliding_window": 8},
        {"sliding_window": 8, "use_sliding_window": True},
        {"use_sliding_window": False, "sliding_window": 8},
    ],
    ids=str,
)
@pytest.mark.parametrize("model_type", PACKED)
def test_what_is_packed_is_what_the_trainer_packs(model_type, changes):
    from transformers import AutoConfig

    from razona.models.families import unusual_attention

    config = {**SMALL, **changes}
    shape = ModelShape.of_config({"model_type": model_type, **config})
    if model_type in ("llama", "mistral"):
        config.pop("use_sliding_window", None)
        shape = ModelShape.of_config({"model_type": model_type, **config})
    made = AutoConfig.for_model(model_type, **config)
    assert shape.is_packed is not bool(unusual_attention(made))


def test_our_own_loops_families_are_those_of_the_room_models():
    from razona.models.families import FAMILIES as OURS

    assert set(PACKED) == set(OURS)
    assert set(PACKED) <= set(FAMILIES)
