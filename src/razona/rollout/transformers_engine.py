"""Sampling with any Hugging Face causal language model.

A plain decoding loop over `model(...)` with a dynamic cache: rows that are done leave the batch, so that one
long completion does not keep a hundred finished ones company.
"""

# Shapes: B rows still running, T tokens, V vocabulary.

from collections.abc import Sequence

import torch
from peft import PeftModel
from transformers import DynamicCache, LogitsProcessorList, PreTrainedModel
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from razona.rollout.sampling import Sampling

SHRINK_AT = 0.75
"""The cache is cut to the running rows when fewer than this share of it still runs: cutting copies it."""


def _warpers(sampling: Sampling) -> LogitsProcessorList:
    warpers = LogitsProcessorList()
    if sampling.temperature not in (0.0, 1.0):
        warpers.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k > 0:
        warpers.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        warpers.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p > 0:
        warpers.append(MinPLogitsWarper(sampling.min_p))
    return warpers


def decode(
    model: PreTrainedModel | PeftModel,
    prompts: Sequence[Sequence[int]],
    *,
    padding: int,
    ends: Sequence[int],
    sampling: Sampling,
    generator: torch.Generator,
) -> list[list[int]]:
    """Give the sampled ids of each prompt, the end-of-text id included where it was sampled.

    A prompt that occurs several times, as in a group, is read once and its keys and values are copied.

    Args:
        prompts: token ids, one row a completion to sample.
        ends: ids that end a completion.
        generator: of the model's device; the draws depend on it and on the batch.
    """
    distinct = list(dict.fromkeys(map(tuple, prompts)))
    place = {ids: number for number, ids in enumerate(distinct)}
    row_of = torch.tensor([place[tuple(ids)] for ids in prompts], device=model.device)
    longest = max(map(len, distinct))
    ids_BT = torch.tensor([[padding] * (longest - len(ids)) + list(ids) for ids in distinct], device=model.device)
    mask_BT = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in distinct], device=model.device)
    cache = DynamicCache(config=model.config)
    logits_BV = model(
        ids_BT,
        attention_mask=mask_BT,
        position_ids=(mask_BT.cumsum(dim=1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]
    cache.batch_select_indices(row_of)
    logits_BV, mask_BT, ids_BT = logits_BV[row_of], mask_BT[row_of], ids_BT[row_of]
    position_B1 = mask_BT.sum(dim=1, keepdim=True)
    ends_E = torch.tensor(list(ends), device=model.device)
    warpers = _warpers(sampling)
    output: list[list[int]] = [[] for _ in prompts]
    alive_B = torch.arange(len(prompts), device=model.device)  # row of the cache -> row of the batch
    done_B = torch.zeros(len(prompts), dtype=torch.bool, device=model.device)
    for made in range(sampling.max_tokens):
        next_B = _draw(logits_BV.float(), ids_BT, warpers, sampling, generator)
        for row, token, is_done in zip(alive_B.tolist(), next_B.tolist(), done_B.tolist(), strict=True):
            if not is_done:
                output[row].append(token)
        done_B = done_B | torch.isin(next_B, ends_E)
        running = int((~done_B).sum())
        if running == 0 or made + 1 == sampling.max_tokens:
            break
        if running < SHRINK_AT * len(done_B):
            keep = (~done_B).nonzero().squeeze(1)
            cache.batch_select_indices(keep)
            alive_B, next_B, done_B = alive_B[keep], next_B[keep], done_B[keep]
            mask_BT, position_B1, ids_BT = mask_BT[keep], position_B1[keep], ids_BT[keep]
        mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(mask_BT), 1)], dim=1)
        logits_BV = model(
            next_B[:, None], attention_mask=mask_BT, position_ids=position_B1, past_key_values=cache, use_cache=True
        ).logits[:, -1]
        position_B1 = position_B1 + 1
    return output


def _draw(
    logits_BV: torch.Tensor,
    ids_BT: torch.Tensor,
    warpers: LogitsProcessorList,
    sampling: Sampling,
    generator: torch.Generator,
) -> torch.Tensor:
    """Give one token id a row, [B]."""
    if sampling.temperature == 0:
        return logits_BV.argmax(dim=-1)
    warped_BV = warpers(ids_BT, logits_BV)  # pyright: ignore[reportArgumentType]  a tensor of int64 is a LongTensor
    return torch.multinomial(warped_BV.softmax(dim=-1), 1, generator=generator).squeeze(1)
