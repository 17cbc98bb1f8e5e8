"""Sampling with any Hugging Face causal language model.

A plain decoding loop over `model(...)` with a dynamic cache: rows that are done leave the batch, so that one
long completion does not keep a hundred finished ones company.
"""

# Shapes: B rows still running, T tokens, V vocabulary.

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from peft import PeftModel
from transformers import DynamicCache, LogitsProcessorList, PreTrainedModel, PreTrainedTokenizerBase
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from razona.core.nouns import Completion
from razona.core.seeds import derive_seed

SHRINK_AT = 0.75
"""The cache is cut to the running rows when fewer than this share of it still runs: cutting copies it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn."""

    max_tokens: int
    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    top_k: int = 0
    """0 is off."""
    min_p: float = 0.0


def sample(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[tuple[str, str]],
    *,
    samples: int,
    sampling: Sampling,
    batch_size: int,
    seed: int,
    on_batch: Callable[[int], None] = lambda done: None,
) -> list[list[Completion]]:
    """Give `samples` completions of each request, in the order of the requests.

    Batches are sorted by prompt length. The seed of a batch is hashed from `seed` and its place, so equal
    arguments on equal hardware give equal completions.

    Args:
        requests: (problem id, prompt) pairs.
        batch_size: completions per batch.
        on_batch: called with the number of completions that each batch finished.
    """
    encoded = tokenizer([prompt for _, prompt in requests], add_special_tokens=False)["input_ids"]
    rows = [(index, copy) for index in range(len(requests)) for copy in range(samples)]
    rows.sort(key=lambda row: len(encoded[row[0]]))
    padding, ends = tokenizer.pad_token_id, end_ids(model, tokenizer)
    assert isinstance(padding, int)
    finished: list[list[Completion]] = [[] for _ in requests]
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            generator = torch.Generator(device=model.device).manual_seed(derive_seed("sample", seed, start))
            tokens = decode(
                model,
                [encoded[index] for index, _ in batch],
                padding=padding,
                ends=ends,
                sampling=sampling,
                generator=generator,
            )
            for (index, _), ids in zip(batch, tokens, strict=True):
                finished[index].append(_completion(tokenizer, requests[index][0], ids, ends))
            on_batch(len(batch))
    model.train(was_training)
    return finished


def end_ids(model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Give the ids that end a completion: the tokenizer's, and those of the model's generation settings."""
    settings = getattr(model.generation_config, "eos_token_id", None)
    named = settings if isinstance(settings, list) else [settings]
    return sorted({token for token in (tokenizer.eos_token_id, *named) if isinstance(token, int)})


def _completion(tokenizer: PreTrainedTokenizerBase, problem_id: str, ids: list[int], ends: list[int]) -> Completion:
    ended = bool(ids) and ids[-1] in ends
    text = tokenizer.decode(ids[:-1] if ended else ids, skip_special_tokens=True)
    assert isinstance(text, str)
    return Completion(problem_id=problem_id, text=text, num_tokens=len(ids), is_truncated=not ended)


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
