"""What a training pass keeps for its backward pass, layer by layer, counted as our code and PEFT's keep it.

Each function is a sum over the tensors that autograd saves; `tests/test_advise_activations.py` holds it to the bytes
that autograd's hooks see in a real pass.
"""

# Shapes: T tokens of a pass, R rows, C tokens of a completion, P of a prompt, S positions that a completion attends to,
# E hidden size, M width of the MLP, H query heads, K key heads, N = H + 2 K, D values of a head, V vocabulary,
# r the adapter's rank.

from dataclasses import replace

from razona.advise.setting import Batch, Setting
from razona.advise.shape import ModelShape, Projection

HEAD_ROWS = 512
"""Positions of a block of `razona.train.head`: `BLOCK_ROWS` of `razona.models.arithmetic`. A test compares."""
HEAD_COPIES = 4
"""Blocks of fp32 logits that `LabelLogprobs` was counted to hold, with torch's memory profiler, while a block's scores
and their exponentials still stood when the next one's came. They go before now, so that this is an upper bound."""
TRL_ROWS, TRL_COLUMNS = 4096, 32_768
"""A tile of TRL's head: `TOKEN_CHUNK_SIZE` and `_CHUNKED_LOGPROB_CHUNK_SIZE`."""
TRL_COPIES = 7
"""Tiles in fp32 that TRL's head holds where it has no Triton (counted with torch's memory profiler)."""


def saved_bytes(shape: ModelShape, setting: Setting, batch: Batch) -> int:
    """Give what the forward pass keeps: every layer, or, with checkpointing, each one's input and one layer whole."""
    layer = layer_bytes(shape, setting, batch)
    ends = batch.tokens * shape.hidden * 4 + batch.labelled * shape.hidden * setting.value_bytes
    if setting.is_checkpointed:
        return shape.layers * batch.tokens * shape.hidden * setting.value_bytes + layer + ends
    return shape.layers * layer + ends


def layer_bytes(shape: ModelShape, setting: Setting, batch: Batch) -> int:
    """Give what one decoder layer keeps."""
    into_attention, out_of_attention, into_mlp, out_of_mlp = _groups(shape)
    return (
        norm_bytes(shape, setting, batch)
        + input_bytes(shape, setting, batch, into_attention)
        + head_norm_bytes(shape, setting, batch)
        + attention_bytes(shape, setting, batch)
        + input_bytes(shape, setting, batch, out_of_attention)
        + mlp_bytes(shape, setting, batch, into_mlp, out_of_mlp)
    )


Group = tuple[Projection, ...]


def _groups(shape: ModelShape) -> tuple[Group, Group, Group, Group]:
    """Give a layer's projections by what they read: the first norm, the heads, the second norm, the MLP's middle."""
    attention = [one for one in shape.projections if not one.name.startswith("mlp.")]
    mlp = [one for one in shape.projections if one.name.startswith("mlp.")]
    return tuple(attention[:-1]), tuple(attention[-1:]), tuple(mlp[:-1]), tuple(mlp[-1:])


def norm_bytes(shape: ModelShape, setting: Setting, batch: Batch) -> int:
    """Norms keep their input in fp32: T E 4 each; a trained weight of transformers' norm keeps what it scales, too."""
    norms = shape.num_norms
    trained = setting.lora is None and not setting.is_ours
    return norms * batch.tokens * shape.hidden * (4 + (setting.value_bytes if trained else 0))


def input_bytes(shape: ModelShape, setting: Setting, batch: Batch, group: Group) -> int:
    """Projections that read one input keep it for their weights' gradients.

    As one product: the input once, where a weight is trained, and a copy of the weights. Each by itself: the input
    once where it is fp32 as the adapter is, else each adapter's own copy of it; and each adapter's r values a token. A
    frozen weight alone keeps nothing.
    """
    wide = group[0].inputs
    if setting.is_merged(shape, group):
        is_trained = setting.lora is None or any(one in shape.adapted(setting.lora) for one in group)
        return 4 * (is_trained * batch.tokens * wide + sum(one.weights for one in group))
    if setting.lora is None:
        copies = len(group) if setting.is_autocast and setting.weight_bytes == 4 else 1
        return copies * batch.tokens * wide * setting.value_bytes
    adapted = [one for one in group if one in shape.adapted(setting.lora)]
    if not adapted:
        return 0
    is_shared = setting.value_bytes == setting.copy_bytes == 4
    copies = 1 if is_shared else len(adapted)
    return batch.tokens * setting.copy_bytes * (copies * wide + len(adapted) * setting.lora.rank)


def head_norm_bytes(shape: ModelShape, setting: Setting, batch: Batch) -> int:
    """Norms of query and key heads keep these in fp32; our layers keep the values beside them, as one tensor."""
    if not shape.has_head_norm:
        return 0
    rotated = (shape.heads + shape.key_heads) * shape.head_dim * batch.tokens
    if setting.is_ours:
        return 4 * (rotated + shape.key_heads * shape.head_dim * batch.tokens)
    return rotated * (4 + (setting.value_bytes if setting.lora is None else 0))


def attention_bytes(shape: ModelShape, setting: Setting, batch: Batch) -> int:
    """Attention keeps queries, keys, values, the result, and the mask as numbers.

    Packed: completions' queries lie in the R C N D of all their heads; keys and values with their prompts' before them
    are copies, 2 R K S D (on a GPU 2 R H S D: keys are given once a query head); the mask R C S; and the prompts' own
    P N D and P H D each.
    """
    heads, keys, size, value = shape.heads, shape.key_heads, shape.head_dim, setting.value_bytes
    if not batch.is_packed:
        return value * (batch.tokens * 4 * heads * size + batch.rows * batch.seen * batch.seen)
    all_heads = heads + 2 * keys
    seen_heads = heads if setting.is_gpu else keys
    completions = batch.rows * (
        batch.length * (all_heads + heads) * size + 2 * seen_heads * batch.seen * size + batch.length * batch.seen
    )
    prompts = batch.prompts * (batch.prompt - 1) * (all_heads + heads) * size
    sums = 4 * heads * (batch.rows * batch.length + batch.prompts * (batch.prompt - 1))
    return value * (completions + prompts) + sums


def _is_in_blocks(shape: ModelShape, setting: Setting, inner: Group, outer: Group) -> bool:
    """Say whether our merged MLP runs a few hundred rows at a time, and once more in the backward pass."""
    is_merged = setting.is_merged(shape, inner) and setting.is_merged(shape, outer)
    return shape.is_packed and is_merged and not setting.is_compiled


def mlp_bytes(shape: ModelShape, setting: Setting, batch: Batch, inner: Group, outer: Group) -> int:
    """An MLP keeps its input and, a token, gate, silu(gate) and up: 3 M; our merged one its input alone.

    A compiled one keeps less than 3 M, and is counted as if it kept that.
    What the last projection reads, M values more, is kept where an adapter or a trained weight needs it.
    """
    groups = (*inner, *outer)
    if _is_in_blocks(shape, setting, inner, outer):
        return 4 * (batch.tokens * shape.hidden + sum(one.weights for one in groups))
    between = 3 if shape.is_gated else 5  # a GELU written out keeps its powers
    plain = replace(setting, is_ours=False)
    return (
        input_bytes(shape, plain, batch, inner)
        + between * batch.tokens * shape.intermediate * setting.value_bytes
        + input_bytes(shape, plain, batch, outer)
    )


def head_bytes(shape: ModelShape, setting: Setting, batch: Batch) -> int:
    """Give what the log-probs of labels take while they are computed.

    Ours, with a frozen head on a CPU: `HEAD_COPIES` blocks of fp32 logits. TRL's: its tile, on a CPU `TRL_COPIES` more
    in fp32 (and a part of a bf16 head in fp32), the gradient of the hidden values, and that of a trained head.
    """
    vocabulary, width, value = shape.vocabulary, shape.hidden, setting.value_bytes
    if setting.lora is not None and batch.is_packed and not setting.is_gpu:
        rows = min(HEAD_ROWS, batch.labelled)
        return rows * vocabulary * (4 * HEAD_COPIES + (2 if value == 2 else 0))
    positions = batch.labelled if setting.is_gpu else batch.tokens
    rows, columns = min(TRL_ROWS, positions), min(TRL_COLUMNS, vocabulary)
    tiles = rows * TRL_COLUMNS * value
    if not setting.is_gpu:
        tiles += TRL_COPIES * rows * columns * 4 + (columns * width * 4 if value == 2 else 0)
    return tiles + positions * width * 4 + (vocabulary * width * 4 if setting.lora is None else 0)


def backward_bytes(shape: ModelShape, setting: Setting, batch: Batch) -> int:
    """Give what one layer's backward pass takes beside what was kept.

    The MLP's middle has most: the gradients of gate, of up and of what follows from both. Merged, these are made a
    block at a time, and beside them stand the gradients of the merged weights.
    """
    inner, outer = _groups(shape)[2:]
    if _is_in_blocks(shape, setting, inner, outer):
        block = min(HEAD_ROWS, batch.tokens) * 6 * shape.intermediate * 4
        return block + 4 * sum(one.weights for one in (*inner, *outer)) + 3 * batch.tokens * shape.hidden * 4
    middle = max(3 * setting.value_bytes, 8 if setting.value_bytes != setting.copy_bytes else 0)
    return batch.tokens * (middle * shape.intermediate + 3 * 4 * shape.hidden)
