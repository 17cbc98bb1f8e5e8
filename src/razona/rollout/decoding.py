"""One decoding step through the layers, a token of each row at a time. torch may compile it first."""

# Shapes: S rows, T tokens of the cache that any row reads, H query heads, K key heads, D values of a head, E hidden
# size.

import functools
from collections.abc import Callable

import torch
from torch.nn import functional

from razona.models.compiling import compiling
from razona.rollout.fused import FusedLayers

Angles = tuple[torch.Tensor, torch.Tensor]
"""Cosine and sine of each position, as `FusedLayers.angles` gives them."""


def last_hidden(
    layers: FusedLayers,
    cache: list[torch.Tensor],
    next_S: torch.Tensor,
    length_S: torch.Tensor,
    position_T: torch.Tensor,
    angles: Angles,
) -> torch.Tensor:
    """Run one token a row.

    Args:
        cache: keys, then values, one tensor a layer, [S or more, 2 K, T or more, D]. The tokens' own are written to it.
        next_S: the tokens' ids.
        length_S: how many tokens of its row each follows.
        position_T: 0 to T - 1.

    Returns:
        What the last layer gives, [S, E].
    """
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


@functools.cache
def _compiled() -> Callable[..., torch.Tensor]:
    return torch.compile(last_hidden, fullgraph=True)


def compiled_last_hidden(
    layers: FusedLayers,
    cache: list[torch.Tensor],
    next_S: torch.Tensor,
    length_S: torch.Tensor,
    position_T: torch.Tensor,
    angles: Angles,
) -> torch.Tensor:
    """Do what `last_hidden` does, through torch's compiler: once for all numbers of rows and of tokens.

    Raises:
        MachineError: it does not compile here.
    """
    if len(next_S) == 1:  # the compiler takes a size of one for a constant; one row is not worth a second program
        return last_hidden(layers, cache, next_S, length_S, position_T, angles)
    for tensor in (next_S, length_S, position_T, *angles):
        torch._dynamo.mark_dynamic(tensor, 0)
    for part in cache:
        torch._dynamo.mark_dynamic(part, (0, 2))
    with compiling("the decoding step", "rollout.compile"):
        return _compiled()(layers, cache, next_S, length_S, position_T, angles)
