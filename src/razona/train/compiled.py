"""Decoder layers through torch's compiler, for the training pass of small models with bf16 products on a CPU.

What lies before attention and what lies behind it are one program each, with its gradient: norms, rotations and
activations are computed while the factors of the next product are written, in bf16. Sums are rounded to bf16, too. The
first layer has programs of its own: what it reads is of another kind for the compiler (without a gradient, mostly).
"""

# Shapes: T packed tokens, E hidden size, N heads of queries, keys and values, R those that are rotated, D values of a
# head.

import functools
import warnings
from typing import Any

import torch
from torch.nn import functional
from transformers import PreTrainedModel

from razona.core.errors import MachineError
from razona.core.launch import num_processes, sharding
from razona.models.compiling import compiled, compiling, vary
from razona.recipe import Recipe
from razona.rollout.fused import SHORT_ROWS
from razona.train.attention import Layout, attend
from razona.train.layers import MERGE_FACTOR, Forward, head_norm, is_plain, joint_weight
from razona.train.trainer import Trainer

FILLED_TO = 512
"""Packed rows are filled up to a multiple of it: oneDNN compiles and keeps a kernel for each number of rows."""


def prepare_compiling(trainer: Trainer, recipe: Recipe) -> None:
    """Prepare what the recipe wants compiled, or refuse where nothing would be.

    Raises:
        MachineError: another engine samples, the layers are not ours, or the programs do not cover them.
    """
    if recipe.rollout.compile and (reason := _why_not_sampling(trainer, recipe)):
        raise MachineError(
            f"rollout.compile: true compiles a step of our own engine: {reason}. Set rollout.compile: false."
        )
    if not recipe.train.compile:
        return
    if reason := _why_not_layers(trainer, recipe):
        raise MachineError(
            "train.compile: true compiles our own layers, which run in bf16 products on a CPU, and here they do not: "
            f"{reason}. Set train.compile: false."
        )
    compile_layers(trainer._plain_model())
    trainer.filled_to = FILLED_TO


def _why_not_sampling(trainer: Trainer, recipe: Recipe) -> str:
    if not trainer.is_sampled_here or trainer.engine != "native":
        return trainer.engine_note or f"with {trainer.accelerator.distributed_type.value} TRL samples"
    rows = recipe.train.completions_per_step // num_processes()
    slots = min(recipe.rollout.max_slots or rows, rows)
    if trainer.has_short_products and slots < SHORT_ROWS:
        return (
            f"with bf16 products it pays from {SHORT_ROWS} completions at a time, and a process runs {slots} "
            "(train.completions_per_step, rollout.max_slots); with train.precision: float32 fewer will do"
        )
    return ""


def _why_not_layers(trainer: Trainer, recipe: Recipe) -> str:
    if trainer.unpacked_reason or trainer.has_short_products:
        return trainer.unpacked_reason
    if torch.cuda.is_available():
        return "this machine trains on a GPU"
    if sharding():
        return f"the model is sharded ({sharding()})"
    if recipe.train.precision == "auto":
        return "train.precision is auto, and this CPU has no AMX (bfloat16 asks for them all the same)"
    return f"train.precision is {recipe.train.precision}"


def compile_layers(model: PreTrainedModel) -> None:
    """Let the model's layers run packed rows through compiled programs; a call that these do not cover runs as it was.

    Args:
        model: as `razona.train.attention.install` with short products left it.

    Raises:
        MachineError: the programs do not cover the model's layers.
    """
    # Of weights that an adapter was added to, the compiler reads a gradient that only leaves have.
    warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")
    for layer in model.model.layers:
        if not _is_covered(layer):
            raise MachineError(
                "train.compile: true, and our programs know layers with `silu` and without biases in the MLP, all in "
                "fp32, whose adapters are plain LoRA: lora.dropout 0, and a rank r with "
                f"{MERGE_FACTOR} r (inputs + outputs) >= inputs x outputs of each weight, so that it is added to the "
                "weight. This model's are others. Set train.compile: false."
            )
        layer.forward = functools.partial(_layer_forward, layer, layer.forward)


def _is_covered(layer: Any) -> bool:
    was_training = layer.training
    layer.train()  # dropout counts
    with torch.no_grad():
        attention_weights, mlp_weights = _weights(layer)
    layer.train(was_training)
    is_plain_mlp = all(one is not None and one[1] is None for one in mlp_weights)
    return layer.mlp.config.hidden_act == "silu" and is_plain_mlp and None not in attention_weights


JointWeight = tuple[torch.Tensor, torch.Tensor | None] | None


def _weights(layer: Any) -> tuple[list[JointWeight], list[JointWeight]]:
    """Give what `joint_weight` gives: of queries, keys and values, and of the output; of gate and up, and of down."""
    attention, mlp = layer.self_attn, layer.mlp
    of_attention = [[attention.q_proj, attention.k_proj, attention.v_proj], [attention.o_proj]]
    of_mlp = [[mlp.gate_proj, mlp.up_proj], [mlp.down_proj]]
    first, second = ([joint_weight(modules, may_merge=True) for modules in group] for group in (of_attention, of_mlp))
    return first, second


def before_attention(
    hidden_TE: torch.Tensor,
    norm: torch.Tensor,
    eps: float,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    head_norm_RD: torch.Tensor | None,
    head_eps: float,
    num_rotated: int,
    cosine_TD: torch.Tensor,
    sine_TD: torch.Tensor,
) -> torch.Tensor:
    """Give rotated queries and keys, and values, [T, N, D]."""
    heads_TND = _product(_normed(hidden_TE, norm, eps), weight, bias).unflatten(-1, (-1, cosine_TD.shape[-1]))
    turned = heads_TND[:, :num_rotated]
    if head_norm_RD is not None:
        turned = _normed(turned, head_norm_RD, head_eps)
    one, other = turned.chunk(2, dim=-1)
    swapped = torch.cat([-other, one], dim=-1)
    return torch.cat([turned * cosine_TD[:, None] + swapped * sine_TD[:, None], heads_TND[:, num_rotated:]], dim=1)


def after_attention(
    hidden_TE: torch.Tensor,
    attended_TE: torch.Tensor,
    output: torch.Tensor,
    bias: torch.Tensor | None,
    norm: torch.Tensor,
    eps: float,
    gate_up: torch.Tensor,
    down: torch.Tensor,
) -> torch.Tensor:
    """Give the layer's output, [T, E]."""
    hidden_TE = hidden_TE + _product(attended_TE, output, bias)
    gate, up = _product(_normed(hidden_TE, norm, eps), gate_up, None).chunk(2, dim=-1)
    return hidden_TE + _product(functional.silu(gate) * up, down, None)


def _normed(value: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    return value * torch.rsqrt((value * value).mean(-1, keepdim=True) + eps) * weight


def _product(value: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    product = functional.linear(value.bfloat16(), weight.bfloat16()).float()
    return product if bias is None else product + bias


def _layer_forward(layer: Any, original: Forward, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    """Run a packed row in fp32 through the programs; any other call as it was."""
    layout, angles = kwargs.get("razona_layout"), kwargs.get("position_embeddings")
    if not isinstance(layout, Layout) or angles is None or args or not is_plain(hidden_states):
        return original(hidden_states, *args, **kwargs)
    (qkv, output), (gate_up, down) = _weights(layer)
    assert qkv is not None and output is not None and gate_up is not None and down is not None
    first, second, attention = layer.input_layernorm, layer.post_attention_layernorm, layer.self_attn
    num_heads, num_keys = attention.config.num_attention_heads, attention.config.num_key_value_heads
    head_norm_RD, head_eps = head_norm(attention)
    hidden_TE, cosine_TD, sine_TD = hidden_states[0], *(table[0] for table in angles)
    vary(hidden_TE, cosine_TD, sine_TD)
    with compiling("the layers", "train.compile"):
        heads_TND = compiled(before_attention)(
            hidden_TE,
            first.weight,
            first.variance_epsilon,
            *qkv,
            head_norm_RD,
            head_eps,
            num_heads + num_keys,
            cosine_TD,
            sine_TD,
        )
        attended_TE = attend(heads_TND, num_heads, layout, attention.scaling).flatten(1)
        vary(attended_TE)
        return compiled(after_attention)(
            hidden_TE, attended_TE, *output, second.weight, second.variance_epsilon, gate_up[0], down[0]
        )[None]
