"""What this machine can do at most, and how much of it decoding needs: the least work that any engine must do."""

# Shapes: B rows, E hidden size, H query heads, K key heads, D values of a head, V vocabulary.

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import PretrainedConfig

LARGE = 2048
"""Side of the large square product."""
COPIED_MIB = 512
MEASURE_S = 1.0
"""How long each limit is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Arithmetic and memory traffic."""

    flop: float
    bytes: float


def weight_shapes(config: PretrainedConfig) -> list[tuple[int, int]]:
    """Give inputs and outputs of the products of one layer, those of equal inputs as one."""
    heads = config.num_attention_heads + 2 * config.num_key_value_heads
    return [
        (config.hidden_size, heads * config.head_dim),
        (config.num_attention_heads * config.head_dim, config.hidden_size),
        (config.hidden_size, 2 * config.intermediate_size),
        (config.intermediate_size, config.hidden_size),
    ]


def num_layer_weights(config: PretrainedConfig) -> int:
    """Give the weights of all products of all layers; the head's are hidden size x vocabulary."""
    return config.num_hidden_layers * sum(inputs * outputs for inputs, outputs in weight_shapes(config))


def cache_bytes_per_token(config: PretrainedConfig, value_bytes: int) -> int:
    """Give the size of one token's keys and values in all layers."""
    return 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * value_bytes


def decoding_work(
    config: PretrainedConfig, prompts: Sequence[Sequence[int]], lengths: Sequence[int], value_bytes: int
) -> Work:
    """Give what sampling completions of these lengths needs at the least.

    flop = 2 x weights x tokens + 4 x layers x H x D x tokens attended to, each distinct prompt read once;
    bytes = weights once a step, and at each step the keys and values of the rows that still run.

    Args:
        lengths: tokens sampled for each prompt, the end token included.
        value_bytes: of one weight, key or value.
    """
    distinct = {tuple(prompt) for prompt in prompts}
    head = config.hidden_size * config.vocab_size
    # The first token follows from the prompt's last one, and the last one sampled is not read again.
    rows = [(len(prompt), length - 1) for prompt, length in zip(prompts, lengths, strict=True)]
    read = sum(len(prompt) for prompt in distinct) + sum(made for _, made in rows)
    seen = [start * made + made * (made + 1) // 2 for start, made in rows]
    seen_in_prompts = sum(len(prompt) * (len(prompt) + 1) // 2 for prompt in distinct)
    attention = 4 * config.num_hidden_layers * config.num_attention_heads * config.head_dim
    headed = len(distinct) + sum(made for _, made in rows)  # one row of logits a distinct prompt, one a token read
    return Work(
        flop=2.0 * (num_layer_weights(config) * read + head * headed) + attention * (sum(seen) + seen_in_prompts),
        bytes=float(
            max(lengths) * (num_layer_weights(config) + head) * value_bytes
            + cache_bytes_per_token(config, value_bytes) * sum(seen)
        ),
    )


def _rate(act: Callable[[], object], amount: float, device: torch.device) -> float:
    """Give the best `amount` a second of several calls."""

    def clock() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    act()
    best = float("inf")
    end = clock() + MEASURE_S
    while (started := clock()) < end:
        act()
        best = min(best, clock() - started)
    return amount / best


def matrix_rate(device: torch.device, dtype: torch.dtype, side: int = LARGE) -> float:
    """Give FLOP/s of a large square product."""
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return _rate(lambda: one @ other, 2.0 * side**3, device)


def model_rate(config: PretrainedConfig, num_rows: int, device: torch.device, dtype: torch.dtype) -> float:
    """Give FLOP/s of the products of one decoding step and nothing else."""
    shapes = [*weight_shapes(config) * config.num_hidden_layers, (config.hidden_size, config.vocab_size)]
    weights = [torch.randn(outputs, inputs, device=device, dtype=dtype) for inputs, outputs in shapes]
    values = {inputs: torch.randn(num_rows, inputs, device=device, dtype=dtype) for inputs, _ in shapes}

    def step() -> None:
        for (inputs, _), weight in zip(shapes, weights, strict=True):
            torch.nn.functional.linear(values[inputs], weight)

    return _rate(step, 2.0 * num_rows * sum(inputs * outputs for inputs, outputs in shapes), device)


def copy_rate(device: torch.device, mib: int = COPIED_MIB) -> float:
    """Give bytes/s of a large copy, what is read and what is written."""
    source = torch.ones(mib * 2**18, device=device)
    target = torch.empty_like(source)
    return _rate(lambda: target.copy_(source), 2.0 * mib * 2**20, device)
