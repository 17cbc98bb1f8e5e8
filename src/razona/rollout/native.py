"""Our own decoding loop over the policy's own weights, for the Llama, Qwen2 and Qwen3 families.

A group's prompt is read once and its keys and values are copied to the group's rows; finished rows leave the batch and
waiting ones take their place; projections that read the same input run as one product. Adapters are added to the
weights they adapt for the length of one call (`FusedLayers`), in the weights' own precision; nothing is written back.

A row's tokens depend on its own seed and prompt alone: randomness is one stream a row, turned into a token by inverting
the cumulative probabilities. (Rounding may differ with the number of rows, as it does in any engine.)
"""

# Shapes: B rows of the batch, M sampled tokens, S slots, T tokens of the cache, P prompt tokens, Q distinct prompts,
# H query heads, K key heads, D values of a head, E hidden size, V vocabulary.

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from peft import PeftModel
from torch.nn import functional
from transformers import PreTrainedModel

from razona.core.seeds import derive_seed
from razona.rollout.fused import FusedLayers
from razona.rollout.sampling import Sampling, draw

SHRINK_AT = 0.75
"""Without waiting rows, the cache is cut to the running ones when fewer than this share of its slots runs."""
REFILL_AT = 0.125
"""Waiting rows are let in when this share of the slots has finished: each time the cache is copied."""
PREFILL_TOKENS = 16_384
"""Prompt tokens that are read in one forward pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """One sampled completion."""

    ids: list[int]
    """The end-of-text id included where it was sampled."""
    logprobs: list[float] | None
    """Of each id under the temperature-scaled, untruncated distribution, in nats; None from `transformers`."""


OnFinished = Callable[[list[int], list[list[int]]], None]
"""What is told of finished rows: their places among the prompts, and their ids."""


@dataclass(slots=True)
class _Slots:
    """The running rows; every tensor has one entry a slot."""

    cache: list[torch.Tensor]
    """Keys, then values, one tensor a layer, [S, 2 K, T, D]."""
    row_S: torch.Tensor
    length_S: torch.Tensor
    """Tokens in the cache."""
    made_S: torch.Tensor
    """Tokens sampled."""
    logits_SV: torch.Tensor

    def keep(self, index: torch.Tensor) -> None:
        """Cut to the given slots."""
        reach = int(self.length_S[index].max()) + 1 if len(index) else 0
        self.cache = [_rows(part, index, reach) for part in self.cache]
        self.row_S, self.length_S, self.made_S = self.row_S[index], self.length_S[index], self.made_S[index]
        self.logits_SV = self.logits_SV[index]

    def add(self, other: "_Slots") -> None:
        """Append the slots of another batch."""
        self.cache = [torch.cat(pair) for pair in zip(self.cache, other.cache, strict=True)]
        self.row_S = torch.cat([self.row_S, other.row_S])
        self.length_S = torch.cat([self.length_S, other.length_S])
        self.made_S = torch.cat([self.made_S, other.made_S])
        self.logits_SV = torch.cat([self.logits_SV, other.logits_SV])


def uniforms(seeds: Sequence[int], count: int) -> torch.Tensor:
    """Give each row's own stream of numbers in [0, 1), [B, count], float64."""
    out = torch.empty(len(seeds), count, dtype=torch.float64)
    generator = torch.Generator()
    for row, seed in enumerate(seeds):
        generator.manual_seed(seed)
        torch.rand(count, generator=generator, dtype=torch.float64, out=out[row])
    return out


@torch.no_grad()
def native_decode(
    model: PreTrainedModel | PeftModel,
    prompts: Sequence[Sequence[int]],
    *,
    ends: Sequence[int],
    sampling: Sampling,
    seed: int,
    max_slots: int | None = None,
    on_finished: OnFinished | None = None,
) -> list[Sampled]:
    """Sample a completion of each prompt.

    Args:
        prompts: token ids, one entry a completion; equal prompts are read once.
        ends: ids that end a completion.
        seed: row i draws from a stream hashed from it and i.
        max_slots: rows that run at a time; bounds the memory of keys and values. None: all.
        on_finished: called with rows that are done and their ids, each row once, some while others still run.
    """
    layers = FusedLayers.of(model)
    device = layers.device
    first_with: dict[tuple[int, ...], int] = {}
    waiting = sorted(
        range(len(prompts)),  # a group's rows together, short prompts first
        key=lambda row: (len(prompts[row]), first_with.setdefault(tuple(prompts[row]), row)),
        reverse=True,  # taken from the end
    )
    num_slots = min(len(prompts), max_slots or len(prompts))
    capacity = max(map(len, prompts)) + sampling.max_tokens
    angles = layers.angles(capacity)
    nobody = len(prompts)  # one row more: where slots write that have finished and are not cut yet
    seeds = [derive_seed("row", seed, row) for row in range(nobody + 1)]
    uniform_BM = uniforms(seeds, sampling.max_tokens).to(device)
    ends_E = torch.tensor(list(ends), device=device)
    ids_BM = torch.zeros(nobody + 1, sampling.max_tokens, dtype=torch.long, device=device)
    logprobs_BM = torch.zeros(nobody + 1, sampling.max_tokens, device=device)
    lengths_B = torch.zeros(nobody + 1, dtype=torch.long, device=device)

    untold: set[int] = set()

    def admit(count: int) -> _Slots:
        rows = [waiting.pop() for _ in range(count)]
        untold.update(rows)
        return _prefill(layers, prompts, rows, capacity, angles)

    def tell(running: torch.Tensor) -> None:
        if on_finished is None:
            return
        rows = sorted(untold.difference(running.tolist()))
        untold.difference_update(rows)
        lengths = lengths_B[rows].tolist()
        on_finished(rows, [ids[:length] for ids, length in zip(ids_BM[rows].tolist(), lengths, strict=True)])

    slots = admit(num_slots)
    while True:
        next_S, logprob_S = draw(slots.logits_SV, uniform_BM[slots.row_S, slots.made_S], sampling)
        ids_BM[slots.row_S, slots.made_S] = next_S
        logprobs_BM[slots.row_S, slots.made_S] = logprob_S.float()
        slots.made_S = slots.made_S + 1
        lengths_B[slots.row_S] = slots.made_S
        running_S = ~(torch.isin(next_S, ends_E) | (slots.made_S >= sampling.max_tokens))
        running = int(running_S.sum())
        if running == 0 and not waiting:
            tell(slots.row_S[:0])
            break
        if running < (1 - REFILL_AT if waiting else SHRINK_AT) * len(next_S):
            index = running_S.nonzero().squeeze(1)
            slots.keep(index)
            next_S = next_S[index]
            tell(slots.row_S)
        else:
            slots.row_S = torch.where(running_S, slots.row_S, nobody)
            slots.made_S = torch.where(running_S, slots.made_S, sampling.max_tokens - 1)
            slots.length_S = torch.where(running_S, slots.length_S, 0)
        if len(next_S):
            _forward_one(layers, slots, next_S, angles)
        if waiting and len(next_S) < num_slots:
            fresh = admit(min(num_slots - len(next_S), len(waiting)))
            if len(next_S):
                slots.add(fresh)
            else:
                slots = fresh
    lengths = lengths_B[:nobody].tolist()
    return [
        Sampled(ids=ids[:length], logprobs=logprobs[:length])
        for ids, logprobs, length in zip(ids_BM[:nobody].tolist(), logprobs_BM[:nobody].tolist(), lengths, strict=True)
    ]


def _rows(part_SKTD: torch.Tensor, index: torch.Tensor, reach: int) -> torch.Tensor:
    """Give the slots at `index`, of which the first `reach` tokens are filled."""
    out = part_SKTD.new_zeros(len(index), *part_SKTD.shape[1:])
    out[:, :, :reach] = part_SKTD[:, :, :reach].index_select(0, index)
    return out


Angles = tuple[torch.Tensor, torch.Tensor]


def _prefill(
    layers: FusedLayers, prompts: Sequence[Sequence[int]], rows: Sequence[int], capacity: int, angles: Angles
) -> _Slots:
    """Read the prompts of the rows, each distinct one once, and give their slots."""
    distinct = list(dict.fromkeys(tuple(prompts[row]) for row in rows))
    place = {ids: number for number, ids in enumerate(distinct)}
    per_batch = max(1, PREFILL_TOKENS // max(map(len, distinct)))
    read = [
        _read_prompts(layers, distinct[start : start + per_batch], capacity, angles)
        for start in range(0, len(distinct), per_batch)
    ]
    prompt_of_S = torch.tensor([place[tuple(prompts[row])] for row in rows], device=layers.device)
    return _Slots(
        cache=[
            _rows(torch.cat([one.cache[number] for one in read]), prompt_of_S, max(map(len, distinct)))
            for number in range(len(layers.layers))
        ],
        row_S=torch.tensor(list(rows), device=layers.device),
        length_S=torch.tensor([len(prompts[row]) for row in rows], device=layers.device),
        made_S=torch.zeros(len(rows), dtype=torch.long, device=layers.device),
        logits_SV=torch.cat([one.logits_SV for one in read])[prompt_of_S],
    )


def _read_prompts(layers: FusedLayers, prompts: Sequence[Sequence[int]], capacity: int, angles: Angles) -> _Slots:
    """Run the prompts, padded on the right: what is real never sees the padding."""
    longest = max(map(len, prompts))
    ids_QP = torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in prompts], device=layers.device)
    length_Q = torch.tensor([len(ids) for ids in prompts], device=layers.device)
    cosine, sine = (table[None, :longest, None, :] for table in angles)
    hidden_QPE = layers.embedding[ids_QP].float()
    cache: list[torch.Tensor] = []
    for layer in layers.layers:
        query, keys_values = (part.transpose(1, 2) for part in layers.attention_inputs(layer, hidden_QPE, cosine, sine))
        key, value = keys_values.chunk(2, dim=1)
        attended = functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=layers.scaling, enable_gqa=layers.num_heads != layers.num_key_heads
        )
        hidden_QPE = layers.after_attention(layer, hidden_QPE, attended.transpose(1, 2).flatten(2))
        cache.append(functional.pad(keys_values, (0, 0, 0, capacity - longest)))
    last_QE = hidden_QPE[torch.arange(len(prompts), device=layers.device), length_Q - 1]
    nothing = torch.zeros_like(length_Q)
    return _Slots(cache=cache, row_S=nothing, length_S=length_Q, made_S=nothing, logits_SV=layers.logits(last_QE))


def _forward_one(layers: FusedLayers, slots: _Slots, next_S: torch.Tensor, angles: Angles) -> None:
    """Run one token a slot and store what follows from it."""
    count = len(next_S)
    slot_S = torch.arange(count, device=layers.device)
    reach = int(slots.length_S.max()) + 1
    mask_S11T = (torch.arange(reach, device=layers.device) <= slots.length_S[:, None])[:, None, None, :]
    cosine, sine = (table[slots.length_S][:, None, None, :] for table in angles)
    hidden_S1E = layers.embedding[next_S][:, None].float()
    repeat = layers.num_heads // layers.num_key_heads
    for number, layer in enumerate(layers.layers):
        query, keys_values = layers.attention_inputs(layer, hidden_S1E, cosine, sine)
        slots.cache[number][slot_S, :, slots.length_S] = keys_values[:, 0]
        key, value = slots.cache[number][:, :, :reach].chunk(2, dim=1)
        attended = functional.scaled_dot_product_attention(  # the heads that share a key are its queries
            query.view(count, layers.num_key_heads, repeat, layers.head_size),
            key,
            value,
            attn_mask=mask_S11T,
            scale=layers.scaling,
        )
        hidden_S1E = layers.after_attention(layer, hidden_S1E, attended.reshape(count, 1, -1))
    slots.length_S = slots.length_S + 1
    slots.logits_SV = layers.logits(hidden_S1E[:, 0])
