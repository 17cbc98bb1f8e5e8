"""Log-probs of sampled completions without the waste: no padding, each group's prompt once, only rows that can teach.

A batch is laid out as one row of real tokens: every distinct prompt without its last token, then every completion, led
by that last token and without its own last one. Each position of a completion then predicts its next token, and all
linear layers run on real tokens only. Attention has two parts: prompts attend to themselves; a completion attends to
its prompt and to itself. The forward goes through `model(...)`, so wrappers (DDP, PEFT, gradient checkpointing) see an
ordinary call.

The idea of computing a shared prompt once: "Prefix Grouper", arXiv:2506.05433. The loss is TRL's own.
"""

# Shapes: B rows, P prompt tokens, C completion tokens, T packed tokens, Q distinct prompts, R rows of a bucket,
# S tokens that a row sees: its prompt's and its own.

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from razona.models.families import unusual_attention
from razona.models.unsloth import is_rewritten
from razona.train.attention import ATTENTION, Bucket, Layout, Part, part_of

BUCKET_SPREAD = 1.25
"""Rows attend together while the longest is at most this many times the shortest, plus 8 tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A batch as one row of tokens."""

    ids_1T: torch.Tensor
    positions_1T: torch.Tensor
    labels_1T: torch.Tensor
    """The next token where it belongs to a completion, else -100."""
    layout: Layout
    row_T: torch.Tensor
    """Row of the batch of each labelled position, in packed order."""
    column_T: torch.Tensor
    """Its place in the completion."""


def unsupported_reason(model: PreTrainedModel) -> str:
    """Give why a model's forward cannot be packed; "" where it can."""
    if is_rewritten(model):
        return "the layers and the loss are Unsloth's"
    return unusual_attention(model.config.get_text_config())


def pack(
    prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], device: torch.device, filled_to: int = 1
) -> Packed:
    """Lay a batch out; rows with equal prompts share one. Completions must hold at least one token each.

    Args:
        filled_to: the packed row is filled up to a multiple of it.
    """
    distinct: dict[tuple[int, ...], int] = {}
    prompt_of = [distinct.setdefault(tuple(prompt), len(distinct)) for prompt in prompts]
    ids: list[int] = []
    positions: list[int] = []
    labels: list[int] = []
    prompt_places: list[range] = []
    for prompt in distinct:
        prompt_places.append(range(len(ids), len(ids) + len(prompt) - 1))
        ids += prompt[:-1]
        positions += range(len(prompt) - 1)
        labels += [-100] * (len(prompt) - 1)
    completion_places: list[range] = []
    rows: list[int] = []
    columns: list[int] = []
    for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        completion_places.append(range(len(ids), len(ids) + len(completion)))
        ids += [prompt[-1], *completion[:-1]]
        positions += range(len(prompt) - 1, len(prompt) - 1 + len(completion))
        labels += completion
        rows += [row] * len(completion)
        columns += range(len(completion))
    fillers = -len(ids) % filled_to
    ids += [0] * fillers
    positions += [0] * fillers
    labels += [-100] * fillers
    prompt_part = part_of(prompt_places, device)
    layout = Layout(
        prompts=prompt_part,
        buckets=_buckets(completion_places, prompt_of, prompt_part, device),
        num_fillers=fillers,
    )
    return Packed(
        ids_1T=torch.tensor([ids], device=device),
        positions_1T=torch.tensor([positions], device=device),
        labels_1T=torch.tensor([labels], device=device),
        layout=layout,
        row_T=torch.tensor(rows, device=device),
        column_T=torch.tensor(columns, device=device),
    )


def _buckets(
    places: Sequence[range], prompt_of: Sequence[int], prompts: Part, device: torch.device
) -> tuple[Bucket, ...]:
    order = sorted(range(len(places)), key=lambda row: len(places[row]))
    buckets: list[Bucket] = []
    start = 0
    while start < len(order):
        longest_allowed = BUCKET_SPREAD * len(places[order[start]]) + 8
        stop = next((i for i in range(start, len(order)) if len(places[order[i]]) > longest_allowed), len(order))
        chosen = sorted(order[start:stop])
        part = part_of([places[row] for row in chosen], device)
        prompt_R = torch.tensor([prompt_of[row] for row in chosen], device=device)
        width = part.place_RC.shape[1]
        own_CC = torch.ones(width, width, dtype=torch.bool, device=device).tril()
        seen_RCP = prompts.is_real_RC[prompt_R][:, None, :].expand(-1, width, -1)
        mask_RCS = torch.cat([seen_RCP, own_CC.expand(len(chosen), -1, -1)], dim=2)
        buckets.append(Bucket(part=part, prompt_R=prompt_R, mask_R1CS=mask_RCS[:, None]))
        start = stop
    return tuple(buckets)


def packed_logprobs(
    model: torch.nn.Module, packed: Packed, num_rows: int, width: int
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Give the log-probs (and entropies, if the model's head computes them) of a packed batch.

    Args:
        model: patched by TRL's `add_fused_lm_head` and by `install`, wrapped or not.
        num_rows: B of the result.
        width: C of the result.

    Returns:
        [B, C] each, 0 where there is no token.
    """
    output = model(
        input_ids=packed.ids_1T,
        position_ids=packed.positions_1T,
        attention_mask=packed.ids_1T.new_ones(1, 1, 1, 1, dtype=torch.bool),  # of four dimensions: no mask is built
        shift_labels=packed.labels_1T,
        fused_lm_head=True,
        razona_layout=packed.layout,
    )
    is_labelled_T = packed.labels_1T[0] != -100

    def spread(values_1T: torch.Tensor) -> torch.Tensor:
        values = values_1T[0][is_labelled_T]
        return values.new_zeros(num_rows, width).index_put((packed.row_T, packed.column_T), values)

    return spread(output.log_probs), None if output.entropy is None else spread(output.entropy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One prompt with its completion, as ids without padding."""

    prompt: list[int]
    completion: list[int]


def is_installed(model: torch.nn.Module) -> bool:
    """Say whether `install` was called on the model, which may be wrapped in PEFT."""
    return getattr(getattr(model, "config", None), "_attn_implementation", None) == ATTENTION


def rows_of(input_ids: torch.Tensor, attention_mask: torch.Tensor, width: int) -> list[Row]:
    """Take the padding off a batch.

    Args:
        input_ids: [B, P + C], prompts padded on the left and completions on the right.
        width: C.
    """
    rows: list[Row] = []
    for ids, mask in zip(input_ids.tolist(), attention_mask.tolist(), strict=True):
        prompt_end = len(ids) - width
        length = sum(mask[prompt_end:])
        prompt_length = sum(mask[:prompt_end])
        rows.append(
            Row(prompt=ids[prompt_end - prompt_length : prompt_end], completion=ids[prompt_end : prompt_end + length])
        )
    return rows


def logprobs_of_rows(
    model: torch.nn.Module,
    rows: Sequence[Row],
    width: int,
    skipped: Sequence[bool] | None = None,
    *,
    filled_to: int = 1,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Give log-probs and entropies of the rows, 0 where there is no token or the row is skipped.

    Where every row is skipped the shortest is computed all the same: a backward pass must find every parameter, or the
    other processes of a run wait for it.

    Returns:
        [B, C] each.
    """
    device = next(model.parameters()).device
    chosen = [
        number for number, row in enumerate(rows) if row.completion and not (skipped is not None and skipped[number])
    ]
    if not chosen:
        chosen = sorted(
            (number for number, row in enumerate(rows) if row.completion), key=lambda n: len(rows[n].completion)
        )[:1]
    if not chosen:
        raise ValueError("no row of the batch has a completion token; expected at least one")
    prompts, completions = ([getattr(rows[number], part) for number in chosen] for part in ("prompt", "completion"))
    packed = pack(prompts, completions, device, filled_to)
    logprobs, entropy = packed_logprobs(model, packed, len(chosen), width)
    if len(chosen) == len(rows):
        return logprobs, logprobs.detach() * 0 if entropy is None else entropy
    place = torch.tensor(chosen, device=device)
    entropy = torch.zeros_like(logprobs) if entropy is None else entropy
    return tuple(part.new_zeros(len(rows), width).index_copy(0, place, part) for part in (logprobs, entropy))  # pyright: ignore


def shuffle_groups(batch: dict, group_size: int) -> dict:
    """Shuffle a scored batch by groups: its rows keep their neighbours, so that a microbatch can share their prompt.

    Args:
        batch: tensors of [B, ...] with B a multiple of `group_size`; values without rows stay as they are.
    """
    num_rows = len(batch["advantages"])
    order = torch.randperm(num_rows // group_size)
    index = (order[:, None] * group_size + torch.arange(group_size)).flatten()

    def shuffled(value: object) -> object:
        if isinstance(value, torch.Tensor) and value.dim() > 0 and len(value) == num_rows:
            return value[index.to(value.device)]
        if isinstance(value, list) and len(value) == num_rows:
            return [value[place] for place in index.tolist()]
        return value

    return {name: shuffled(value) for name, value in batch.items()}
