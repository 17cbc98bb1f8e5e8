"""Qwen3 models of any size with random weights: what a step costs does not depend on what the weights know."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # Unsloth must be imported before torch and transformers
    import torch
    from transformers import PreTrainedTokenizerBase, Qwen3Config

    from razona.models.load import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of a Qwen3 model whose head is its embedding."""

    hidden: int
    layers: int
    heads: int
    key_heads: int
    head_size: int
    intermediate: int
    vocabulary: int = 792
    """The embedded model's; its tokenizer's ids are the first of a larger one."""


def random_policy(shape: Shape, dtype: "torch.dtype", device: "torch.device") -> "Policy":
    """Give a model, made where it will stay, with the embedded model's tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM

    from razona.models.load import Policy

    config, tokenizer = config_and_tokenizer(shape)
    torch.manual_seed(0)
    with device:
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return Policy(model=model, tokenizer=tokenizer, name="random")


def config_and_tokenizer(shape: Shape) -> "tuple[Qwen3Config, PreTrainedTokenizerBase]":
    """Give transformers' configuration of a shape, and the embedded model's tokenizer."""
    from transformers import Qwen3Config

    from razona.models.load import EMBEDDED, load_tokenizer
    from razona.recipe import ModelSection

    tokenizer = load_tokenizer(ModelSection(name=EMBEDDED))
    end, padding = tokenizer.eos_token_id, tokenizer.pad_token_id
    assert isinstance(end, int) and isinstance(padding, int)
    config = Qwen3Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        head_dim=shape.head_size,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=padding,
    )
    return config, tokenizer
