"""Attention of packed rows: prompts attend to themselves, completions to their prompt and to themselves."""

# Shapes: T packed tokens, R rows of a part, C its longest row, Q distinct prompts, P tokens of the longest, S = P + C,
# H query heads, K key heads, N = H + 2K heads of one projection, D values of a head, F values of a token.

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from razona.train.layers import Forward, NormAndRotate, head_norm, is_plain, is_sped_up, project, speed_up

ATTENTION = "razona_shared_prompt"
"""Name under which transformers finds `shared_prompt_attention`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Rows of the batch that attend together."""

    place_RC: torch.Tensor
    """Where their tokens stand in the packed row; 0 beyond their end."""
    is_real_RC: torch.Tensor
    real: torch.Tensor
    """The real ones of the R * C places."""
    tokens: torch.Tensor
    """Where these stand in the packed row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Completions of similar length."""

    part: Part
    prompt_R: torch.Tensor
    """Which of the distinct prompts each continues."""
    mask_R1CS: torch.Tensor
    """Which of its prompt's and its own tokens each token sees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the tokens of a packed row belong."""

    prompts: Part
    """The distinct prompts without their last token; of width 0 where all have one token."""
    buckets: tuple[Bucket, ...]
    num_fillers: int = 0
    """Tokens at the end of the packed row that belong to no part, and are there for their number alone."""

    @property
    def parts(self) -> list[Part]:
        """Prompts and completions: together they hold each token once."""
        return [self.prompts, *(bucket.part for bucket in self.buckets)]


def part_of(places: Sequence[range], device: torch.device) -> Part:
    """Give the part whose rows stand at `places` of the packed row."""
    longest = max(map(len, places))
    place = torch.tensor([[*one, *[0] * (longest - len(one))] for one in places], device=device, dtype=torch.long)
    place = place.view(len(places), longest)
    length = torch.tensor([len(one) for one in places], device=device)
    is_real = torch.arange(longest, device=device) < length[:, None]
    real = is_real.flatten().nonzero().squeeze(1)
    return Part(place_RC=place, is_real_RC=is_real, real=real, tokens=place.flatten()[real])


def install(model: PreTrainedModel, *, has_short_products: bool = False) -> None:
    """Let the model's attention know packed rows; every other call gives what it would with `sdpa`.

    Args:
        has_short_products: the layers run through `razona.train.layers`, with products in bf16. Without, they are
            transformers' own, so that gradients are TRL's to the last digits that fp32 has.
    """
    AttentionInterface.register(ATTENTION, shared_prompt_attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    model.set_attn_implementation(ATTENTION)
    if not has_short_products or is_sped_up(model):
        return
    speed_up(model, has_short_products=True)
    for layer in model.model.layers:
        layer.self_attn.forward = partial(
            _attention_forward, layer.self_attn, layer.self_attn.forward, has_short_products
        )


def _attention_forward(
    module: Any, original: Forward, is_short: bool, hidden_states: torch.Tensor, *args: Any, **kwargs: Any
) -> Any:
    """Run a packed row in fp32 through as few operations as it takes; any other call as it was."""
    layout, angles = kwargs.get("razona_layout"), kwargs.get("position_embeddings")
    if not isinstance(layout, Layout) or angles is None or args or not is_plain(hidden_states):
        return original(hidden_states, *args, **kwargs)
    size = module.head_dim
    mixed_TF = project((module.q_proj, module.k_proj, module.v_proj), hidden_states[0], is_short)
    heads_TND = mixed_TF.unflatten(-1, (-1, size))
    num_keys = (heads_TND.shape[1] - module.config.num_attention_heads) // 2
    num_heads = heads_TND.shape[1] - 2 * num_keys
    weight, eps = head_norm(module)
    cosine, sine = angles
    turned = NormAndRotate.apply(heads_TND, weight, cosine[0], sine[0], eps, num_heads + num_keys)
    assert isinstance(turned, torch.Tensor)
    attended_TF = attend(turned, num_heads, layout, module.scaling).flatten(1)
    return project([module.o_proj], attended_TF, is_short)[None], None


def shared_prompt_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    razona_layout: Layout | None = None,
    **kwargs: object,
) -> tuple[torch.Tensor, None]:
    """Attend as the layout says; without one, call transformers' own `sdpa`.

    Args:
        query: [1, H, T, D]; `key` and `value` are [1, K, T, D].

    Returns:
        [1, T, H, D].
    """
    if razona_layout is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)  # pyright: ignore
    scaling = kwargs.get("scaling")
    assert scaling is None or isinstance(scaling, float)
    heads_TND = torch.cat([part[0].transpose(0, 1) for part in (query, key, value)], dim=1)
    return attend(heads_TND, query.shape[1], razona_layout, scaling)[None], None


def attend(heads_TND: torch.Tensor, num_heads: int, layout: Layout, scaling: float | None) -> torch.Tensor:
    """Let each token attend to what it sees.

    Args:
        heads_TND: rotated queries, rotated keys, values.
        num_heads: H, the number of queries.

    Returns:
        [T, H, D].
    """
    num_keys = (heads_TND.shape[1] - num_heads) // 2
    sizes = [num_heads, num_keys, num_keys]
    is_grouped = num_heads != num_keys
    copies = num_heads // num_keys if heads_TND.is_cuda else 1
    padded: tuple[torch.Tensor, ...] = ToRows.apply(heads_TND, layout)  # pyright: ignore[reportAssignmentType]
    query, prompt_key, prompt_value = (part.transpose(1, 2) for part in padded[0].split(sizes, dim=2))
    attended = []
    for bucket, heads_RCND in zip(layout.buckets, padded[1:], strict=True):
        row_query, key, value = (part.transpose(1, 2) for part in heads_RCND.split(sizes, dim=2))
        out = functional.scaled_dot_product_attention(
            row_query,
            _repeated(torch.cat([prompt_key.index_select(0, bucket.prompt_R), key], dim=2), copies),
            _repeated(torch.cat([prompt_value.index_select(0, bucket.prompt_R), value], dim=2), copies),
            attn_mask=bucket.mask_R1CS,
            scale=scaling,
            enable_gqa=is_grouped and copies == 1,
        )
        attended.append(out.transpose(1, 2))
    if layout.prompts.place_RC.shape[1]:
        out = functional.scaled_dot_product_attention(
            query, prompt_key, prompt_value, is_causal=True, scale=scaling, enable_gqa=is_grouped
        ).transpose(1, 2)
    else:
        out = attended[0].new_empty(len(query), 0, *attended[0].shape[2:])
    out_THD = FromRows.apply(layout, len(heads_TND), out, *attended)
    assert isinstance(out_THD, torch.Tensor)
    return out_THD


def _repeated(keys_RKSD: torch.Tensor, copies: int) -> torch.Tensor:
    """Give each key head `copies` times, for the heads that share it.

    On a GPU torch's attention with a mask knows no shared keys but in its plain form, which holds the scores of all
    heads and positions in fp32 (`use_gqa_in_sdpa` of transformers says the same).
    """
    return keys_RKSD if copies == 1 else keys_RKSD.repeat_interleave(copies, dim=1)


def _with_fillers(like: torch.Tensor, shape: Sequence[int], layout: Layout) -> torch.Tensor:
    """Give a packed tensor with anything in it, but zeros for the fillers."""
    out = like.new_empty(shape)
    if layout.num_fillers:
        out[-layout.num_fillers :] = 0
    return out


class ToRows(torch.autograd.Function):
    """A packed row as padded rows, one tensor a part."""

    @staticmethod
    def forward(ctx: Any, packed: torch.Tensor, layout: Layout) -> tuple[torch.Tensor, ...]:
        """Give [R, C, ...] for each part of `layout`; padding holds the first token."""
        ctx.layout = layout
        ctx.shape = packed.shape
        return tuple(
            packed.index_select(0, part.place_RC.flatten()).unflatten(0, part.place_RC.shape) for part in layout.parts
        )

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Put each token's gradient in its place; padding has none."""
        out = _with_fillers(gradients[0], ctx.shape, ctx.layout)
        for part, gradient in zip(ctx.layout.parts, gradients, strict=True):
            out.index_copy_(0, part.tokens, gradient.flatten(0, 1).index_select(0, part.real))
        return out, None


class FromRows(torch.autograd.Function):
    """Padded rows, one tensor a part, as the packed row."""

    @staticmethod
    def forward(ctx: Any, layout: Layout, num_tokens: int, *padded: torch.Tensor) -> torch.Tensor:
        """Give [T, ...]."""
        ctx.layout = layout
        out = _with_fillers(padded[-1], (num_tokens, *padded[-1].shape[2:]), layout)
        for part, values in zip(layout.parts, padded, strict=True):
            out.index_copy_(0, part.tokens, values.flatten(0, 1).index_select(0, part.real))
        return out

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Give each row its gradient, and padding 0."""
        rows = []
        for part in ctx.layout.parts:
            out = gradient.new_zeros(part.place_RC.numel(), *gradient.shape[1:])
            out.index_copy_(0, part.real, gradient.index_select(0, part.tokens))
            rows.append(out.unflatten(0, part.place_RC.shape))
        return None, None, *rows
