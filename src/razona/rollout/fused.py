"""The weights of a Llama, Qwen2 or Qwen3 model as few large products, with the adapter added to what it adapts."""

# Shapes: B rows, T tokens of one call, E hidden size, H query heads, K key heads, D values of a head, V vocabulary.

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import Linear as LoraLinear
from torch.nn import functional
from transformers import PreTrainedModel

from razona.models.arithmetic import filled_up, short_product
from razona.models.families import unusual_attention
from razona.models.quantised import is_quantised

MAX_FUSED_BYTES = 2**30
"""Up to this size the layers' weights are copied side by side; larger ones are used where they are."""
ROPE_TYPES = ("default", "linear", "llama3", "yarn")
"""Positions whose angles do not depend on the length of the text."""

SHORT_ROWS = 48
"""For fewer rows a product in bf16 does not pay: reading and converting the weights costs what it saves."""

Project = Callable[[torch.Tensor], torch.Tensor]


def unsupported_reason(model: PreTrainedModel | PeftModel) -> str:
    """Give why a model cannot be decoded here; "" where it can."""
    plain = _plain(model)
    config = plain.config
    if is_quantised(plain):
        return "its weights are packed into a few bits"
    if reason := unusual_attention(config):
        return reason
    if getattr(config, "hidden_act", "silu") != "silu":
        return f"the activation is {config.hidden_act!r} and not 'silu'"
    rope = getattr(plain.model.rotary_emb, "rope_type", "default")
    if rope not in ROPE_TYPES:
        return f"the position type {rope!r} is not one of {', '.join(ROPE_TYPES)}"
    odd = next((name for name, module in plain.model.layers.named_modules() if not _is_known(module)), None)
    return f"the module {odd} is no plain or LoRA projection" if odd else ""


def _is_known(module: torch.nn.Module) -> bool:
    if isinstance(module, LoraLinear):
        return not any(getattr(module, "use_dora", {}).values())
    return not hasattr(module, "modules_to_save")


def _plain(model: PreTrainedModel | PeftModel) -> Any:
    """Give the model without PEFT around it. The families share the names of their attributes and no base class."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One decoder layer."""

    input_norm: torch.Tensor
    qkv: Project
    head_norm: torch.Tensor | None
    """One row of weights for each query head, then for each key head, [H + K, D]."""
    output: Project
    mlp_norm: torch.Tensor
    gate_up: Project
    down: Project


@dataclass(frozen=True, slots=True, kw_only=True)
class FusedLayers:
    """What a forward pass needs of a model, gathered for the length of one call to the engine."""

    layers: tuple[Layer, ...]
    embedding: torch.Tensor
    final_norm: torch.Tensor
    head: torch.Tensor
    rotary: torch.nn.Module
    eps: torch.Tensor
    """A single number; to make a tensor of it takes as long as the norm of a few rows."""
    num_heads: int
    num_key_heads: int
    head_size: int
    scaling: float
    dtype: torch.dtype
    """Of the products; sums over the layers and norms are in fp32 or the weights' own type, whichever is wider."""
    has_short_products: bool
    """Products of fp32 matrices with many rows read their factors rounded to bf16, unless weights are used in place;
    those with weights that are kept in bf16, with any number of rows."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embedding.device

    @staticmethod
    def of(
        model: PreTrainedModel | PeftModel, *, has_short_products: bool = False, keeps_rounded: bool = False
    ) -> "FusedLayers":
        """Gather a model's weights as they are now.

        Args:
            keeps_rounded: with short products, the layers' weights are rounded to bf16 once and not at each product.
                Sums are then rounded, too. It pays where a compiler rounds what is multiplied with them while it writes
                that. The head stays as it is: rounded logits put log-probs three times as far off as all other sums.
        """
        plain = _plain(model)
        config = plain.config
        kind = plain.device.type
        own = plain.model.embed_tokens.weight.dtype
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else own
        total = sum(parameter.numel() for parameter in plain.model.layers.parameters()) * dtype.itemsize
        is_short = has_short_products and dtype == torch.float32 and total <= MAX_FUSED_BYTES
        kept_dtype = torch.bfloat16 if is_short and keeps_rounded else dtype
        project = _fused(dtype, kept_dtype, is_short) if total <= MAX_FUSED_BYTES else _in_place
        attention = plain.model.layers[0].self_attn
        layers = tuple(
            Layer(
                input_norm=layer.input_layernorm.weight,
                qkv=project([layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj]),
                head_norm=_head_norm(layer.self_attn, config.num_attention_heads, config.num_key_value_heads),
                output=project([layer.self_attn.o_proj]),
                mlp_norm=layer.post_attention_layernorm.weight,
                gate_up=project([layer.mlp.gate_proj, layer.mlp.up_proj]),
                down=project([layer.mlp.down_proj]),
            )
            for layer in plain.model.layers
        )
        return FusedLayers(
            layers=layers,
            embedding=plain.model.embed_tokens.weight,
            final_norm=plain.model.norm.weight,
            head=plain.lm_head.weight.to(dtype),
            rotary=plain.model.rotary_emb,
            eps=torch.tensor(config.rms_norm_eps, dtype=torch.float32, device=plain.device),
            num_heads=config.num_attention_heads,
            num_key_heads=config.num_key_value_heads,
            head_size=attention.head_dim,
            scaling=attention.scaling,
            dtype=dtype,
            has_short_products=is_short,
        )

    def angles(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Give cosine and sine of positions 0 to count - 1, [count, D] each.

        The first half of the sines has its sign turned: a head [a, b] becomes [a, b] cos + [b, a] sine.
        """
        position_1T = torch.arange(count, device=self.device)[None]
        cosine, sine = self.rotary(torch.zeros(1, dtype=torch.float32, device=self.device), position_1T)
        first, second = sine[0].chunk(2, dim=-1)
        return cosine[0], torch.cat([-first, second], dim=-1)

    def norm(self, value: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Give the root-mean-square norm over the last dimension."""
        return _normed(value.float(), self.eps).mul_(weight)

    def attention_inputs(
        self, layer: Layer, hidden_BTE: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Give rotated queries [B, T, H, D], and rotated keys with the values after them [B, T, 2 K, D].

        Args:
            cosine: broadcastable to [B, T, 1, D], like `sine`; both as `angles` gave them.
        """
        heads = layer.qkv(self.norm(hidden_BTE, layer.input_norm).to(self.dtype)).unflatten(-1, (-1, self.head_size))
        rotated = heads[..., : self.num_heads + self.num_key_heads, :]
        turned = rotated.float()
        if layer.head_norm is not None:
            turned = _normed(turned, self.eps).mul_(layer.head_norm)
        swapped = torch.cat(turned.chunk(2, dim=-1)[::-1], dim=-1)
        rotated.copy_(torch.mul(turned, cosine).addcmul_(swapped, sine))
        return heads[..., : self.num_heads, :], heads[..., self.num_heads :, :]

    def after_attention(self, layer: Layer, hidden_BTE: torch.Tensor, attended_BTE: torch.Tensor) -> torch.Tensor:
        """Give the layer's output from its input and what its heads attended to."""
        hidden_BTE = hidden_BTE + layer.output(attended_BTE)
        gate, up = layer.gate_up(self.norm(hidden_BTE, layer.mlp_norm).to(self.dtype)).chunk(2, dim=-1)
        return hidden_BTE.add_(layer.down(functional.silu(gate).mul_(up)))

    def logits(self, hidden_BE: torch.Tensor) -> torch.Tensor:
        """Give fp32 logits, [B, V]."""
        normed_BE = self.norm(hidden_BE, self.final_norm).to(self.dtype)
        return _linear(self.head, None, self.has_short_products, normed_BE).float()


def _normed(value: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    """Give x / sqrt(mean(x^2) + eps) over the last dimension, in half the passes of torch's on a CPU."""
    norm = torch.linalg.vector_norm(value, dim=-1, keepdim=True)
    return value * torch.addcmul(eps, norm, norm, value=1 / value.shape[-1]).rsqrt_()


def _linear(weight: torch.Tensor, bias: torch.Tensor | None, is_short: bool, value: torch.Tensor) -> torch.Tensor:
    """Give value @ weight^T + bias, in bf16 where that is wanted and pays, in the type of `value`."""
    if is_short and weight.dtype != value.dtype:
        return _rounded_linear(weight, bias, value)
    if not is_short or value.numel() < SHORT_ROWS * value.shape[-1]:
        return functional.linear(value, weight, bias)
    product = short_product(value.flatten(0, -2), weight).unflatten(0, value.shape[:-1])
    return product if bias is None else product.add_(bias)


def _rounded_linear(weight: torch.Tensor, bias: torch.Tensor | None, value: torch.Tensor) -> torch.Tensor:
    """Give value @ weight^T + bias from a weight that is kept in bf16."""
    rounded = value.flatten(0, -2).to(weight.dtype)
    if torch.compiler.is_compiling():  # the compiled step's rows are filled up as a whole
        product = functional.linear(rounded, weight)
    else:
        product = functional.linear(filled_up(rounded), weight)[: len(rounded)]
    product = product.to(value.dtype).unflatten(0, value.shape[:-1])
    return product if bias is None else product + bias


def _head_norm(attention: Any, num_heads: int, num_key_heads: int) -> torch.Tensor | None:
    if getattr(attention, "q_norm", None) is None:
        return None
    weights = [attention.q_norm.weight.expand(num_heads, -1), attention.k_norm.weight.expand(num_key_heads, -1)]
    return torch.cat(weights).float()


def _fused(
    dtype: torch.dtype, kept_dtype: torch.dtype, is_short: bool
) -> Callable[[Sequence[torch.nn.Module]], Project]:
    def project(modules: Sequence[torch.nn.Module]) -> Project:
        weight = torch.cat([_merged(module) for module in modules]).to(kept_dtype)
        biases = [getattr(module, "base_layer", module).bias for module in modules]
        bias = None if all(one is None for one in biases) else torch.cat(biases).to(dtype)  # pyright: ignore
        return partial(_linear, weight, bias, is_short)

    return project


def _merged(module: torch.nn.Module) -> torch.Tensor:
    """Give a projection's weight with its active adapters added."""
    if not isinstance(module, LoraLinear):
        assert isinstance(module.weight, torch.Tensor)
        return module.weight
    weight = module.get_base_layer().weight
    assert isinstance(weight, torch.Tensor)
    if module.disable_adapters or module.merged:
        return weight
    for adapter in module.active_adapters:
        if adapter in module.lora_A:
            weight = weight + module.get_delta_weight(adapter).to(weight.dtype)
    return weight


def _in_place(modules: Sequence[torch.nn.Module]) -> Project:
    if len(modules) == 1:
        return modules[0]
    return lambda value: torch.cat([module(value) for module in modules], dim=-1)
