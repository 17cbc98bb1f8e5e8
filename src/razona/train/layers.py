"""Decoder layers that pass over memory less often, for the training pass of small models in fp32.

The layers compute what transformers' do. A small model's step is bound by memory, not by arithmetic: each elementwise
operation reads and writes all activations. So projections that read the same input are one product, adapters are added
to the weights they adapt where that costs less than a product of their own, and norms, rotations and activations have
gradients written out by hand. `modules` stay what they are: parameters, hooks and wrappers see no difference.
"""

# Shapes: T packed tokens, E hidden size, H query heads, K key heads, N = H + 2K heads of one projection, D values of
# a head, M width of the MLP.

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch.nn import functional
from transformers import PreTrainedModel

from razona.models.arithmetic import (
    BLOCK_ROWS,
    filled_up,
    multiply_into,
    short_outer_product,
    short_product,
    short_products,
)
from razona.rollout.fused import SHORT_ROWS

MERGE_FACTOR = 6
"""An adapter of rank r is added to its weight (E in, E' out) where 6 r (E + E') >= E E'. Its own products cost 6 r (E +
E') operations a token with their gradients, in thin matrices; the gradient of the sum costs 2 E E', in thick ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Adapter:
    """What a LoRA projection adds."""

    down: torch.Tensor
    up: torch.Tensor
    scale: float


def speed_up(model: PreTrainedModel, *, has_short_products: bool = False) -> None:
    """Give the model's layers forwards with fewer passes; a call that these do not cover runs as it was.

    Args:
        model: of the families that `razona.train.packed` covers, without PEFT's wrapper; its projections may hold
            adapters.
        has_short_products: the projections multiply in bf16, which pays on a CPU that has instructions for it.
    """
    for layer in model.model.layers:
        for norm in (layer.input_layernorm, layer.post_attention_layernorm):
            norm.forward = partial(_norm_forward, norm, norm.forward)
        layer.mlp.forward = partial(_mlp_forward, layer.mlp, layer.mlp.forward, has_short_products)
    model.model.norm.forward = partial(_norm_forward, model.model.norm, model.model.norm.forward)


def is_sped_up(model: PreTrainedModel) -> bool:
    """Say whether `speed_up` was called on the model."""
    return isinstance(model.model.norm.__dict__.get("forward"), partial)


def is_plain(value: torch.Tensor) -> bool:
    """Say whether a call is of the kind that is covered here: fp32, without autocast."""
    return value.dtype == torch.float32 and not torch.is_autocast_enabled(value.device.type)


def joint_weight(
    modules: Sequence[torch.nn.Module], *, may_merge: bool
) -> tuple[torch.Tensor, torch.Tensor | None] | None:
    """Give weight [sum of outputs, E] and bias of projections that read the same input, their adapters added.

    Args:
        may_merge: adapters may be added. That rounds their sum with the weight to fp32, which alone can move a gradient
            by 2e-5 of its norm, twice as far as other fp32 arithmetic does: nothing beside bf16 products.

    Returns:
        None where a module is no plain or LoRA projection in fp32, or an adapter is better left by itself.
    """
    weights, biases = [], []
    for module in modules:
        known = _known(module)
        if known is None:
            return None
        base, adapter = known
        weight = base.weight
        if adapter is not None:
            rank, wide = adapter.down.shape
            if not may_merge or MERGE_FACTOR * rank * (wide + weight.shape[0]) < weight.numel():
                return None
            weight = torch.addmm(weight, adapter.up, adapter.down, alpha=adapter.scale)
        weights.append(weight)
        biases.append(base.bias)
    if any(one is None for one in biases):
        if not all(one is None for one in biases):
            return None
        return torch.cat(weights), None
    return torch.cat(weights), torch.cat(biases)


def project(modules: Sequence[torch.nn.Module], value: torch.Tensor, is_short: bool) -> torch.Tensor:
    """Give what projections of one input give, side by side: one product, or each by itself where that is better."""
    joint = joint_weight(modules, may_merge=is_short)
    if joint is not None:
        return linear(value, *joint, is_short)
    parts = [_project_apart(module, value, is_short) for module in modules]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def _project_apart(module: torch.nn.Module, value: torch.Tensor, is_short: bool) -> torch.Tensor:
    """Run a projection whose adapter is better left by itself: its weight's products short, the adapter's not.

    A module that is no plain or LoRA projection in fp32 runs as it is.
    """
    known = _known(module) if is_short else None
    if known is None:
        return module(value)
    base, adapter = known
    rows = value.flatten(0, -2)
    out = linear(rows, base.weight, base.bias, is_short)
    if adapter is not None:
        out = torch.addmm(out, rows @ adapter.down.T, adapter.up.T, alpha=adapter.scale)
    return out.unflatten(0, value.shape[:-1])


def head_norm(attention: Any) -> tuple[torch.Tensor | None, float]:
    """Give weights of the norm of heads, a row for each query and key head, and its epsilon; None where it has none."""
    if getattr(attention, "q_norm", None) is None:
        return None, 0.0
    counts = (attention.config.num_attention_heads, attention.config.num_key_value_heads)
    weights = (attention.q_norm.weight, attention.k_norm.weight)
    rows = [weight.expand(count, -1) for weight, count in zip(weights, counts, strict=True)]
    return torch.cat(rows), attention.q_norm.variance_epsilon


def _known(module: torch.nn.Module) -> tuple[torch.nn.Linear, _Adapter | None] | None:
    """Give a projection and its adapter, if it has one; None where it is no plain or LoRA projection in fp32."""
    base = module.get_base_layer() if isinstance(module, LoraLinear) else module
    if type(base) is not torch.nn.Linear or base.weight.dtype != torch.float32:
        return None
    adapter = _adapter_of(module) if isinstance(module, LoraLinear) else None
    if isinstance(module, LoraLinear) and adapter is None and not _is_without_adapter(module):
        return None
    return base, adapter


def _is_without_adapter(module: LoraLinear) -> bool:
    return module.merged or module.disable_adapters or not any(name in module.lora_A for name in module.active_adapters)


def _adapter_of(module: LoraLinear) -> _Adapter | None:
    """Give the adapter that is active; None where there is none, several, or one that is no plain LoRA."""
    active = [name for name in module.active_adapters if name in module.lora_A]
    if _is_without_adapter(module) or len(active) != 1 or module.lora_variant.get(active[0]) is not None:
        return None
    name = active[0]
    dropout = module.lora_dropout[name]
    has_dropout = isinstance(dropout, torch.nn.Dropout) and dropout.p > 0 and module.training
    down, up = module.lora_A[name], module.lora_B[name]
    if has_dropout or getattr(up, "bias", None) is not None or down.weight.dtype != torch.float32:
        return None
    assert isinstance(down.weight, torch.Tensor) and isinstance(up.weight, torch.Tensor)
    return _Adapter(down=down.weight, up=up.weight, scale=float(module.scaling[name]))


Forward = Callable[..., Any]


def _norm_forward(module: torch.nn.Module, original: Forward, hidden: torch.Tensor) -> torch.Tensor:
    weight, eps = module.weight, module.variance_epsilon
    assert isinstance(weight, torch.Tensor) and isinstance(eps, float)
    if not is_plain(hidden) or weight.dtype != torch.float32:
        return original(hidden)
    return RmsNorm.apply(hidden, weight, eps)  # pyright: ignore[reportReturnType]


def _mlp_forward(module: Any, original: Forward, is_short: bool, hidden: torch.Tensor) -> torch.Tensor:
    is_known = module.config.hidden_act == "silu" and is_plain(hidden)
    joint = joint_weight([module.gate_proj, module.up_proj], may_merge=is_short) if is_known else None
    down = None if joint is None else joint_weight([module.down_proj], may_merge=is_short)
    if joint is None or down is None or joint[1] is not None or down[1] is not None:
        if not is_known or not is_short or hidden.shape[:-1].numel() < SHORT_ROWS:
            return original(hidden)
        gate, up = (_project_apart(one, hidden, is_short) for one in (module.gate_proj, module.up_proj))
        return _project_apart(module.down_proj, functional.silu(gate) * up, is_short)
    out = ChunkedMlp.apply(hidden.flatten(0, -2), joint[0], down[0], is_short)
    assert isinstance(out, torch.Tensor)
    return out.view_as(hidden)


def linear(value: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, is_short: bool) -> torch.Tensor:
    """Give value @ weight^T + bias; the products of a short one, and of its gradients, are in bf16."""
    if not is_short:
        return functional.linear(value, weight, bias)
    product = ShortProduct.apply(value, weight)
    assert isinstance(product, torch.Tensor)
    return product if bias is None else product + bias


class ShortProduct(torch.autograd.Function):
    """value @ weight^T from factors rounded to bf16, added up in fp32."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Give [..., outputs]."""
        ctx.save_for_backward(value if ctx.needs_input_grad[1] else None, weight)
        return short_product(value.flatten(0, -2), weight).unflatten(0, value.shape[:-1])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Give the gradients of value and weight."""
        value, weight = ctx.saved_tensors
        of_value = of_weight = None
        gradient_TN = gradient.flatten(0, -2)
        if ctx.needs_input_grad[0]:
            of_value = short_product(gradient_TN, weight.T).unflatten(0, gradient.shape[:-1])
        if ctx.needs_input_grad[1]:
            of_weight = short_outer_product(gradient_TN, value.flatten(0, -2))
        return of_value, of_weight


class RmsNorm(torch.autograd.Function):
    """weight * x / sqrt(mean(x^2) + eps), over the last dimension."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        """Compute the norm and keep the reciprocal root."""
        root = _reciprocal_root(value, eps)
        ctx.save_for_backward(value, weight, root)
        return (value * root).mul_(weight)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        """Give the gradients of value and weight."""
        value, weight, root = ctx.saved_tensors
        of_weight = None
        if ctx.needs_input_grad[1]:
            of_weight = _sum_to(gradient * value * root, weight)
        return _norm_gradient(gradient * weight, value, root), of_weight, None


def _reciprocal_root(value: torch.Tensor, eps: float) -> torch.Tensor:
    square = torch.linalg.vecdot(value, value)[..., None]
    return square.div_(value.shape[-1]).add_(eps).rsqrt_()


def _norm_gradient(scaled: torch.Tensor, value: torch.Tensor, root: torch.Tensor) -> torch.Tensor:
    """Give root * (g - n mean(g n)) with n = x root, and use up `scaled`, which is g."""
    normed = value * root
    mean = torch.linalg.vecdot(scaled, normed)[..., None].div_(value.shape[-1])
    return scaled.addcmul_(normed, mean, value=-1).mul_(root)


def _sum_to(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Sum over the leading dimensions that `like` does not have."""
    return value.flatten(0, value.dim() - like.dim() - 1).sum(0)


class ChunkedMlp(torch.autograd.Function):
    """(silu(x G^T) * (x U^T)) D^T, a few rows at a time, so that what lies between stays in the processor's cache.

    Nothing in between is kept: the backward pass computes it again, which costs less than reading it would.
    """

    @staticmethod
    def forward(
        ctx: Any, value_TE: torch.Tensor, gate_up: torch.Tensor, down: torch.Tensor, is_short: bool
    ) -> torch.Tensor:
        """Give [T, E].

        Args:
            gate_up: [2 M, E], the gate's rows first.
            down: [E, M].
        """
        ctx.save_for_backward(value_TE, gate_up, down)
        ctx.is_short = is_short
        out_TE = torch.empty_like(value_TE)
        with short_products(is_short):
            for value, out in zip(value_TE.split(BLOCK_ROWS), out_TE.split(BLOCK_ROWS), strict=True):
                gate, up = (_block(value, is_short) @ gate_up.T).chunk(2, dim=-1)
                multiply_into(out, functional.silu(gate).mul_(up), down.T)
        return out_TE

    @staticmethod
    def backward(ctx: Any, gradient_TE: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Give the gradients of value and weights."""
        value_TE, gate_up, down = ctx.saved_tensors
        of_value_TE = torch.empty_like(value_TE)
        of_gate_up, of_down = torch.zeros_like(gate_up), torch.zeros_like(down)
        parts = (value_TE, gradient_TE.contiguous(), of_value_TE)
        with short_products(ctx.is_short):
            for block_value, block_gradient, of_value in zip(*(part.split(BLOCK_ROWS) for part in parts), strict=True):
                value, gradient = (_block(part, ctx.is_short) for part in (block_value, block_gradient))
                both = value @ gate_up.T
                gate, up = both.chunk(2, dim=-1)
                of_active = gradient @ down
                active = functional.silu(gate)
                of_both = torch.empty_like(both)
                of_gate, of_up = of_both.chunk(2, dim=-1)
                torch.mul(active, of_active, out=of_up)
                if ctx.needs_input_grad[2]:
                    of_down.addmm_(gradient.T, active.mul_(up))
                torch.ops.aten.silu_backward.grad_input(of_active.mul_(up), gate, grad_input=of_gate)
                if ctx.needs_input_grad[1]:
                    of_gate_up.addmm_(of_both.T, value)
                multiply_into(of_value, of_both, gate_up)
        return of_value_TE, of_gate_up, of_down, None


def _block(rows: torch.Tensor, is_short: bool) -> torch.Tensor:
    return filled_up(rows) if is_short else rows


class NormAndRotate(torch.autograd.Function):
    """The norm of each query and key head, where the model has one, and the rotation by position; values stay."""

    @staticmethod
    def forward(
        ctx: Any,
        heads_TND: torch.Tensor,
        weight_RD: torch.Tensor | None,
        cosine_TD: torch.Tensor,
        sine_TD: torch.Tensor,
        eps: float,
        num_rotated: int,
    ) -> torch.Tensor:
        """Give [T, N, D].

        Args:
            heads_TND: queries, keys, values.
            weight_RD: of the norm, one row a query or key head.
            num_rotated: R, the number of query and key heads.
        """
        half = heads_TND.shape[-1] // 2
        cosine, sine = cosine_TD[:, None, :half], sine_TD[:, None, :half]
        value = heads_TND[:, :num_rotated]
        root = None
        normed = value
        if weight_RD is not None:
            root = _reciprocal_root(value, eps)
            normed = (value * root).mul_(weight_RD)
        out = torch.empty_like(heads_TND)
        one, other = normed[..., :half], normed[..., half:]
        torch.mul(one, cosine, out=out[:, :num_rotated, :half]).addcmul_(other, sine, value=-1)
        torch.mul(other, cosine, out=out[:, :num_rotated, half:]).addcmul_(one, sine)
        out[:, num_rotated:] = heads_TND[:, num_rotated:]
        ctx.save_for_backward(heads_TND if weight_RD is not None else None, weight_RD, root, cosine, sine)
        ctx.num_rotated = num_rotated
        return out

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Give the gradients of heads and weight."""
        heads, weight, root, cosine, sine = ctx.saved_tensors
        num, half = ctx.num_rotated, gradient.shape[-1] // 2
        one, other = gradient[:, :num, :half], gradient[:, :num, half:]
        out = torch.empty_like(gradient)
        torch.mul(one, cosine, out=out[:, :num, :half]).addcmul_(other, sine)
        torch.mul(other, cosine, out=out[:, :num, half:]).addcmul_(one, sine, value=-1)
        out[:, num:] = gradient[:, num:]
        of_weight = None
        if weight is not None:
            value, turned = heads[:, :num], out[:, :num]
            if ctx.needs_input_grad[1]:
                of_weight = (turned * value * root).sum(0)
            _norm_gradient(turned.mul_(weight), value, root)
        return out, of_weight, None, None, None, None
