"""Sampling with a model's own `generate`: for models whose forward is not the one that our loops know (Unsloth's)."""

# Shapes: B rows, P prompt tokens, T tokens of prompt and completion.

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from razona.core.errors import ModelError
from razona.rollout.sampling import Sampling


@contextmanager
def _inference_mode(model: Any) -> Iterator[None]:
    """Switch a model of Unsloth's to its layers for inference, and back to how it was trained."""
    if not callable(getattr(model, "for_inference", None)):
        yield
        return
    was_training = model.training
    model.for_inference()
    try:
        yield
    finally:
        model.for_training(use_gradient_checkpointing=getattr(model, "_unsloth_gradient_checkpointing", "unsloth"))
        model.train(was_training)


@torch.no_grad()
def decode_with_generate(
    model: PreTrainedModel | PeftModel,
    prompts: Sequence[Sequence[int]],
    *,
    padding: int,
    ends: Sequence[int],
    sampling: Sampling,
    seed: int,
) -> list[list[int]]:
    """Give the sampled ids of each prompt, the end-of-text id included where it was sampled.

    Every field that draws is given, so that none is taken from the model's own generation settings.

    Args:
        prompts: token ids, one row a completion to sample.
        ends: ids that end a completion.
        seed: of torch's global generators, which are put back afterwards.

    Raises:
        ModelError: a text could be longer than a model of Unsloth's was loaded for.
    """
    longest, limit = max(map(len, prompts)), getattr(model, "max_seq_length", None)
    if limit is not None and longest + sampling.max_tokens > limit:
        raise ModelError(
            f"a prompt of {longest} tokens with completions of {sampling.max_tokens} is longer than the {limit} that "
            "Unsloth was told when the model was loaded, and it would cut the text off. Lower "
            "rollout.max_completion_tokens or data.max_prompt_tokens, or set model.backend: peft."
        )
    ids_BP = torch.tensor([[padding] * (longest - len(ids)) + list(ids) for ids in prompts], device=model.device)
    mask_BP = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts], device=model.device)
    is_greedy = sampling.temperature == 0
    draws = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
    if sampling.min_p > 0:
        draws["min_p"] = sampling.min_p
    devices = [model.device] if model.device.type == "cuda" else []
    with _inference_mode(model), torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        out_BT = model.generate(  # pyright: ignore[reportCallIssue]
            input_ids=ids_BP,
            attention_mask=mask_BP,
            max_new_tokens=sampling.max_tokens,
            do_sample=not is_greedy,
            repetition_penalty=1.0,
            pad_token_id=padding,
            eos_token_id=list(ends),
            **({} if is_greedy else draws),
        )
    return [_until_end(row, ends) for row in out_BT[:, longest:].tolist()]


def _until_end(ids: list[int], ends: Sequence[int]) -> list[int]:
    """Cut off the padding behind the first end."""
    place = next((place for place, token in enumerate(ids) if token in ends), len(ids))
    return ids[: place + 1]
