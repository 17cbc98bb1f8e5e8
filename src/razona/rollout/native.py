"""Our own decoding loop over the policy's own weights, for the Llama, Qwen2 and Qwen3 families.

A group's prompt is read once and its keys and values are copied to the group's rows; finished rows leave the batch and
waiting ones take their place; projections that read the same input run as one product. Adapters are added to the
weights they adapt for the length of one call (`FusedLayers`), in the weights' own precision; nothing is written back.

A row's tokens depend on its own seed and prompt alone: randomness is one stream a row, turned into a token by inverting
the cumulative probabilities. (Rounding may differ with the number of rows, as it does in any engine; with short
products it does, for few rows are multiplied in fp32. A compiled step does that for the head alone.)
"""

# Shapes: B rows of the batch, M sampled tokens, S slots, T tokens of the cache, P prompt tokens, Q distinct prompts,
# H query heads, K key heads, D values of a head, E hidden size, V vocabulary.

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from peft import PeftModel
from torch.nn import functional
from transformers import PreTrainedModel

from razona.core.activity import moved
from razona.core.seeds import derive_seed
from razona.rollout.decoding import Angles, Inputs, compiled_last_hidden, last_hidden
from razona.rollout.fused import SHORT_ROWS, FusedLayers
from razona.rollout.sampling import Sampling, draw

LEAVE_AT = 0.875
"""Rows that have finished leave, and waiting ones are let in, when fewer than this share of the slots runs."""
ZEROS_AHEAD = 15
"""Tokens of the cache that are written beyond those that are needed: sixteen take little longer than one."""
COMPILED_ROWS = 8
"""A compiled step's rows are filled up to a multiple of it: oneDNN compiles and keeps a kernel for each number of rows.
(Of 1, 8 and 32 it is the fastest, by 4 and 7 %.)"""
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


class Room:
    """Memory of keys and values that is kept from one call to the next.

    For a CPU: there a training pass between two calls breaks freed memory into pieces, and each call would fault new
    pages in. A GPU needs the memory for the training pass.
    """

    SPARE = 1.25

    def __init__(self) -> None:
        self._kept: list[torch.Tensor] = []

    def take(self, count: int, shape: Sequence[int], like: torch.Tensor) -> list[torch.Tensor]:
        """Give `count` tensors of a shape, with anything in them."""
        size = math.prod(shape)
        kept = self._kept
        if len(kept) != count or kept[0].numel() < size or (kept[0].dtype, kept[0].device) != (like.dtype, like.device):
            self._kept = kept = []  # gone before the new ones come
            kept += [like.new_empty(int(self.SPARE * size)) for _ in range(count)]
        return [one[:size].view(*shape) for one in kept]


@dataclass(slots=True)
class _Slots:
    """The running rows. The cache is made once; the other tensors have one entry a running row."""

    cache: list[torch.Tensor]
    """Keys, then values, one tensor a layer, [slots, 2 K, T, D]: the running rows first, then what others left."""
    written: int
    """Tokens of the cache that are written in every slot: by its row, by one before it, or with zeros. Later ones hold
    anything, and must not be read: 0 times infinity is no number."""
    row_S: torch.Tensor
    length_S: torch.Tensor
    """Tokens in the cache."""
    made_S: torch.Tensor
    """Tokens sampled."""
    logits_SV: torch.Tensor

    @staticmethod
    def empty(layers: FusedLayers, count: int, capacity: int, room: Room | None) -> "_Slots":
        """Make slots for `count` rows of `capacity` tokens."""
        shape = (count, 2 * layers.num_key_heads, capacity, layers.head_size)
        like = torch.empty(0, dtype=layers.dtype, device=layers.device)
        nothing = torch.zeros(0, dtype=torch.long, device=layers.device)
        return _Slots(
            cache=(room or Room()).take(len(layers.layers), shape, like),
            written=0,
            row_S=nothing,
            length_S=nothing,
            made_S=nothing,
            logits_SV=torch.zeros(0, len(layers.head), device=layers.device),
        )

    def keep(self, is_kept_S: torch.Tensor) -> torch.Tensor:
        """Cut to the chosen rows: those at the end move into the places of those that leave.

        Returns:
            Where each row stood before.
        """
        count = int(is_kept_S.sum())
        order = torch.arange(count, device=is_kept_S.device)
        free = (~is_kept_S[:count]).nonzero().squeeze(1)
        moving = count + is_kept_S[count:].nonzero().squeeze(1)
        order[free] = moving
        if len(free):
            reach = int(self.length_S[is_kept_S].max())
            for part in self.cache:
                part[free, :, :reach] = part[moving, :, :reach]
        self.row_S, self.length_S, self.made_S = self.row_S[order], self.length_S[order], self.made_S[order]
        self.logits_SV = self.logits_SV[order]
        return order

    def write_zeros_to(self, reach: int) -> None:
        """See to it that the first `reach` tokens are written."""
        if reach > self.written:
            ahead = min(reach + ZEROS_AHEAD, self.cache[0].shape[2])
            for part in self.cache:
                part[:, :, self.written : ahead] = 0
            self.written = ahead


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
    has_short_products: bool = False,
    is_compiled: bool = False,
    room: Room | None = None,
    on_finished: OnFinished | None = None,
) -> list[Sampled]:
    """Sample a completion of each prompt.

    Args:
        prompts: token ids, one entry a completion; equal prompts are read once.
        ends: ids that end a completion.
        seed: row i draws from a stream hashed from it and i.
        max_slots: rows that run at a time; bounds the memory of keys and values. None: all.
        has_short_products: large products read their factors rounded to bf16, which pays on a CPU with AMX.
        is_compiled: torch compiles the decoding step, in the first call. With short products all of the layers' are in
            bf16 then, their sums rounded to it; with fewer slots than these pay for, the step is the plain one.
        room: keeps memory for the next call.
        on_finished: called with rows that are done and their ids, each row once, some while others still run.

    Raises:
        MachineError: the step does not compile on this machine.
    """
    num_slots = min(len(prompts), max_slots or len(prompts))
    if has_short_products and num_slots < SHORT_ROWS:
        is_compiled = False  # so few rows are in fp32, which would be a second program, for the last round of a step
    layers = FusedLayers.of(model, has_short_products=has_short_products, keeps_rounded=is_compiled)
    device = layers.device
    first_with: dict[tuple[int, ...], int] = {}
    waiting = sorted(
        range(len(prompts)),  # a group's rows together, short prompts first
        key=lambda row: (len(prompts[row]), first_with.setdefault(tuple(prompts[row]), row)),
        reverse=True,  # taken from the end
    )
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

    def admit(count: int) -> None:
        rows = [waiting.pop() for _ in range(count)]
        untold.update(rows)
        _prefill(layers, slots, prompts, rows, angles)

    def tell(running: torch.Tensor) -> None:
        if on_finished is None:
            return
        rows = sorted(untold.difference(running.tolist()))
        untold.difference_update(rows)
        lengths = lengths_B[rows].tolist()
        on_finished(rows, [ids[:length] for ids, length in zip(ids_BM[rows].tolist(), lengths, strict=True)])

    slots = _Slots.empty(layers, num_slots, capacity, room)
    admit(num_slots)
    while True:
        next_S, logprob_S = draw(slots.logits_SV, uniform_BM[slots.row_S, slots.made_S], sampling)
        ids_BM[slots.row_S, slots.made_S] = next_S
        logprobs_BM[slots.row_S, slots.made_S] = logprob_S.float()
        slots.made_S = slots.made_S + 1
        lengths_B[slots.row_S] = slots.made_S
        moved()
        running_S = ~(torch.isin(next_S, ends_E) | (slots.made_S >= sampling.max_tokens))
        running = int(running_S.sum())
        if running == 0 and not waiting:
            tell(slots.row_S[:0])
            break
        if running < LEAVE_AT * len(next_S):
            next_S = next_S[slots.keep(running_S)]
            tell(slots.row_S)
        else:
            slots.row_S = torch.where(running_S, slots.row_S, nobody)
            slots.made_S = torch.where(running_S, slots.made_S, sampling.max_tokens - 1)
            slots.length_S = torch.where(running_S, slots.length_S, 0)
        if len(next_S):
            _forward_one(layers, slots, next_S, angles, is_compiled)
        if waiting and len(next_S) < num_slots:
            admit(min(num_slots - len(next_S), len(waiting)))
    lengths = lengths_B[:nobody].tolist()
    return [
        Sampled(ids=ids[:length], logprobs=logprobs[:length])
        for ids, logprobs, length in zip(ids_BM[:nobody].tolist(), logprobs_BM[:nobody].tolist(), lengths, strict=True)
    ]


def _prefill(
    layers: FusedLayers, slots: _Slots, prompts: Sequence[Sequence[int]], rows: Sequence[int], angles: Angles
) -> None:
    """Read the prompts of the rows, each distinct one once, and let the rows run in the next free slots."""
    distinct = list(dict.fromkeys(tuple(prompts[row]) for row in rows))
    place = {ids: number for number, ids in enumerate(distinct)}
    longest = max(map(len, distinct))
    per_batch = max(1, PREFILL_TOKENS // longest)
    read = [
        _read_prompts(layers, distinct[start : start + per_batch], longest, angles)
        for start in range(0, len(distinct), per_batch)
    ]
    device = layers.device
    prompt_of_S = torch.tensor([place[tuple(prompts[row])] for row in rows], device=device)
    slots.write_zeros_to(longest)
    first = len(slots.row_S)
    for part, *keys_values in zip(slots.cache, *(cache for cache, _ in read), strict=True):
        part[first : first + len(rows), :, :longest] = torch.cat(keys_values)[prompt_of_S]
    lengths = torch.tensor([len(prompts[row]) for row in rows], device=device)
    slots.row_S = torch.cat([slots.row_S, torch.tensor(list(rows), device=device)])
    slots.length_S = torch.cat([slots.length_S, lengths])
    slots.made_S = torch.cat([slots.made_S, torch.zeros_like(lengths)])
    slots.logits_SV = torch.cat([slots.logits_SV, torch.cat([logits for _, logits in read])[prompt_of_S]])


def _read_prompts(
    layers: FusedLayers, prompts: Sequence[Sequence[int]], longest: int, angles: Angles
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Run the prompts, padded on the right to `longest`: what is real never sees the padding.

    Returns:
        Keys and values of each layer, [Q, 2 K, P, D], and the logits after each prompt, [Q, V].
    """
    ids_QP = torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in prompts], device=layers.device)
    last_Q = torch.tensor([len(ids) - 1 for ids in prompts], device=layers.device)
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
        cache.append(keys_values)
    return cache, layers.logits(hidden_QPE[torch.arange(len(prompts), device=layers.device), last_Q])


def _forward_one(layers: FusedLayers, slots: _Slots, next_S: torch.Tensor, angles: Angles, is_compiled: bool) -> None:
    """Run one token a slot and store what follows from it."""
    count = len(next_S)
    reach = int(slots.length_S.max()) + 1
    slots.write_zeros_to(reach)
    position_T = torch.arange(reach, device=layers.device)
    if is_compiled:
        idle = min(-count % COMPILED_ROWS, len(slots.cache[0]) - count)  # they write to the first token of free slots
        next_S, length_S = (functional.pad(one_S, (0, idle)) for one_S in (next_S, slots.length_S))
        hidden_SE = compiled_last_hidden(layers, Inputs(slots.cache, next_S, length_S, position_T, angles))[:count]
    else:
        hidden_SE = last_hidden(layers, Inputs(slots.cache, next_S, slots.length_S, position_T, angles))
    slots.length_S = slots.length_S + 1
    slots.logits_SV = layers.logits(hidden_SE)
