"""Log-probs and entropies of packed completions on a CPU, a few positions at a time and with one pass over the logits.

TRL's head reads the logits of all positions, prompts too, a dozen times in each direction where Triton is not there.
Here the gradient of a log-prob is made while its logits lie in the processor's cache: with p the probabilities, W the
head and T the temperature, d log p(label) / d hidden = (onehot(label) - p) W / T, which the backward pass only scales.
"""

# Shapes: T packed tokens, L labelled ones, E hidden size, V vocabulary.

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from transformers import PreTrainedModel
from trl.trainer.utils import FusedCausalLMOutput

from razona.models.arithmetic import BLOCK_ROWS, filled_up, short_products
from razona.train.layers import is_plain


def speed_up_head(model: PreTrainedModel, temperature: float, *, has_short_products: bool) -> None:
    """Let packed calls of the model run through `LabelLogprobs`; every other call runs as it was.

    Args:
        model: patched by TRL's `add_fused_lm_head`, without PEFT's wrapper.
        temperature: that log-probs are scaled by.
        has_short_products: the products with the head are in bf16.
    """
    original: Callable[..., Any] = model.forward

    @wraps(type(model).forward)  # transformers reads the signature
    def forward(*args: Any, **kwargs: Any) -> Any:
        head, is_packed = model.get_output_embeddings(), kwargs.get("razona_layout") is not None
        is_ours = is_packed and kwargs.get("fused_lm_head") and not args
        if not is_ours or type(head) is not torch.nn.Linear or not _is_covered(head):
            return original(*args, **kwargs)
        labels_1T = kwargs.pop("shift_labels")
        for name in ("fused_lm_head", "labels"):
            kwargs.pop(name, None)
        hidden_1TE = model.base_model(**kwargs, use_cache=False).last_hidden_state
        is_labelled_1T = labels_1T != -100
        values_L = LabelLogprobs.apply(
            hidden_1TE[is_labelled_1T], head.weight, labels_1T[is_labelled_1T], temperature, has_short_products
        )
        assert isinstance(values_L, tuple)
        spread = [value.new_zeros(labels_1T.shape).masked_scatter(is_labelled_1T, value) for value in values_L]
        return FusedCausalLMOutput(log_probs=spread[0], entropy=spread[1])

    model.forward = forward


def _is_covered(head: torch.nn.Linear) -> bool:
    weight = head.weight
    has_known_type = is_plain(weight) or (weight.dtype == torch.bfloat16 and not torch.is_autocast_enabled("cpu"))
    return head.bias is None and not weight.requires_grad and has_known_type


class LabelLogprobs(torch.autograd.Function):
    """Log-probs of labels under softmax(x W^T / temperature), and the entropies, which have no gradient here."""

    @staticmethod
    def forward(
        ctx: Any,
        value_LE: torch.Tensor,
        weight_VE: torch.Tensor,
        labels_L: torch.Tensor,
        temperature: float,
        is_short: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Give log-probs and entropies in nats, [L] each; of bf16 values in fp32, a block at a time, as are logits."""
        has_gradient = ctx.needs_input_grad[0]
        wide = torch.promote_types(value_LE.dtype, torch.float32)
        logprobs_L, entropies_L = (value_LE.new_empty(len(labels_L), dtype=wide) for _ in range(2))
        slope_LE = torch.empty_like(value_LE) if has_gradient else value_LE[:0]
        parts = (value_LE, labels_L, logprobs_L, entropies_L)
        slopes = slope_LE.split(BLOCK_ROWS) if has_gradient else ()
        with short_products(is_short):
            for number, block in enumerate(zip(*(part.split(BLOCK_ROWS) for part in parts), strict=True)):
                value, labels, logprobs, entropies = block
                slope = slopes[number] if has_gradient else None
                _write_block(value, labels, logprobs, entropies, slope, weight_VE, temperature, is_short)
        ctx.save_for_backward(slope_LE)
        ctx.mark_non_differentiable(entropies_L)
        return logprobs_L, entropies_L

    @staticmethod
    def backward(ctx: Any, gradient_L: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Give the gradient of value."""
        (slope_LE,) = ctx.saved_tensors
        return (slope_LE * gradient_L[:, None]).to(slope_LE.dtype), None, None, None, None


def _write_block(
    value: torch.Tensor,
    labels: torch.Tensor,
    logprobs: torch.Tensor,
    entropies: torch.Tensor,
    slope: torch.Tensor | None,
    weight_VE: torch.Tensor,
    temperature: float,
    is_short: bool,
) -> None:
    """Write log-probs, entropies and slopes of some positions; their logits are gone before the next ones' come."""
    score = _product(value, weight_VE.T, is_short).to(logprobs.dtype).div_(temperature)
    score.sub_(score.max(dim=1, keepdim=True).values)
    chance = score.exp()
    mass = chance.sum(dim=1)
    log_mass = mass.log()
    torch.sub(score.gather(1, labels[:, None])[:, 0], log_mass, out=logprobs)
    torch.sub(log_mass, torch.linalg.vecdot(chance, score).div_(mass), out=entropies)
    if slope is not None:
        share = chance.div_(mass[:, None]).neg_()
        share.scatter_add_(1, labels[:, None], share.new_ones(len(labels), 1))
        torch.div(_product(share.to(value.dtype), weight_VE, is_short), temperature, out=slope)


def _product(rows: torch.Tensor, weight: torch.Tensor, is_short: bool) -> torch.Tensor:
    return (filled_up(rows) @ weight)[: len(rows)] if is_short else rows @ weight
