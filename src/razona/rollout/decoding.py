"""One decoding step through the layers, a token of each row at a time. torch may compile it first."""

# Shapes: S rows, T tokens of the cache that any row reads, H query heads, K key heads, D values of a head, E hidden
# size.

from typing import NamedTuple

import torch
from torch.nn import functional

from razona.models.compiling import compiled, compiling, vary
from razona.rollout.fused import FusedLayers

Angles = tuple[torch.Tensor, torch.Tensor]
"""Cosine and sine of each position, as `FusedLayers.angles` gives them."""


class Inputs(NamedTuple):
    """What a step reads beside the weights."""

    cache: list[torch.Tensor]
    """Keys, then values, one tensor a layer, [S or more, 2 K, T or more, D]. The tokens' own are written to it."""
    next_S: torch.Tensor
    """The tokens' ids."""
    length_S: torch.Tensor
    """How many tokens of its row each follows."""
    position_T: torch.Tensor
    """0 to T - 1."""
    angles: Angles


def last_hidden(layers: FusedLayers, inputs: Inputs) -> torch.Tensor:
    """Run one token a row, and give what the last layer makes of it, [S, E]."""
    cache, next_S, length_S, position_T, angles = inputs
    count, reach = len(next_S), len(position_T)
    slot_S = torch.arange(count, device=layers.device)
    is_hidden_ST = position_T > length_S[:, None]
    # Of a mask of bool attention makes this one itself, once a layer: a quarter of its time on a CPU.
    mask_ST = torch.zeros(count, reach, dtype=layers.dtype, device=layers.device).masked_fill_(is_hidden_ST, -torch.inf)
    cosine, sine = (table[length_S][:, None, None, :] for table in angles)
    hidden_S1E = layers.embedding[next_S][:, None].float()
    repeat = layers.num_heads // layers.num_key_heads
    for layer, part in zip(layers.layers, cache, strict=True):
        query, keys_values = layers.attention_inputs(layer, hidden_S1E, cosine, sine)
        part[slot_S, :, length_S] = keys_values[:, 0]
        key, value = part[:count, :, :reach].chunk(2, dim=1)
        attended = functional.scaled_dot_product_attention(  # the heads that share a key are its queries
            query.view(count, layers.num_key_heads, repeat, layers.head_size),
            key,
            value,
            attn_mask=mask_ST[:, None, None],
            scale=layers.scaling,
        )
        hidden_S1E = layers.after_attention(layer, hidden_S1E, attended.reshape(count, 1, -1))
    return hidden_S1E[:, 0]


def compiled_last_hidden(layers: FusedLayers, inputs: Inputs) -> torch.Tensor:
    """Do what `last_hidden` does, through torch's compiler: once for all numbers of rows and of tokens.

    Raises:
        MachineError: it does not compile here.
    """
    if len(inputs.next_S) == 1:  # the compiler takes a size of one for a constant; one row is not worth a program
        return last_hidden(layers, inputs)
    vary(inputs.next_S, inputs.length_S, inputs.position_T, *inputs.angles)
    vary(*inputs.cache, dimensions=(0, 2))
    with compiling("the decoding step", "rollout.compile"):
        return compiled(last_hidden)(layers, inputs)
