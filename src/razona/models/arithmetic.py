"""bfloat16 where it pays: autocast on a GPU, large products alone on a CPU that has instructions for them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn import functional

BLOCK_ROWS = 512
"""Rows of a product at a time: what lies between two products of a block stays in the processor's cache."""
ROW_STEP = 32
"""A block's rows are filled up to a multiple of it. oneDNN compiles a kernel for each shape that it meets and keeps the
last thousand: with any number of rows a step would compile dozens and the process would grow by 50 MB a step."""


def wants_autocast(precision: str, *, is_packed: bool) -> bool:
    """Say whether the forward pass runs under bf16 autocast.

    On a GPU by request, and with `auto` where it has bf16. On a CPU by request, where the layers are not ours.

    Args:
        is_packed: log-probs are computed by `razona.train.packed`, whose layers multiply in bf16 on a CPU themselves.
    """
    if not torch.cuda.is_available():
        return precision == "bfloat16" and not is_packed
    return precision == "bfloat16" or (precision == "auto" and torch.cuda.is_bf16_supported())


def wants_short_products(precision: str) -> bool:
    """Say whether a CPU multiplies large fp32 matrices in bf16: by request, or where it has AMX."""
    if torch.cuda.is_available():
        return False
    if precision == "auto":
        return bool(torch.cpu.get_capabilities().get("amx_bf16", False))
    return precision == "bfloat16"


@contextmanager
def short_products(is_on: bool) -> Iterator[None]:
    """Let a CPU's fp32 matrix products read their factors rounded to bf16 and add up in fp32 (oneDNN's mode for it).

    For large products only: attention's small ones become ten times slower by it.
    """
    if not is_on:
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def filled_up(block: torch.Tensor) -> torch.Tensor:
    """Give [n, K] with rows of zeros after it, up to a multiple of `ROW_STEP`."""
    missing = -len(block) % ROW_STEP
    return functional.pad(block, (0, 0, 0, missing)) if missing else block


def multiply_into(out: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """Write left @ right to `out`, which may have fewer rows: `left` may be filled up."""
    if len(left) == len(out):
        torch.mm(left, right, out=out)
    else:
        out.copy_((left @ right)[: len(out)])


def short_product(value_TK: torch.Tensor, weight_NK: torch.Tensor) -> torch.Tensor:
    """Give value @ weight^T, [T, N], from factors rounded to bf16, in blocks of few different shapes."""
    if len(value_TK) <= BLOCK_ROWS:
        with short_products(True):
            return (filled_up(value_TK) @ weight_NK.T)[: len(value_TK)]
    out_TN = value_TK.new_empty(len(value_TK), len(weight_NK))
    with short_products(True):
        for value, out in zip(value_TK.split(BLOCK_ROWS), out_TN.split(BLOCK_ROWS), strict=True):
            multiply_into(out, filled_up(value), weight_NK.T)
    return out_TN


def short_outer_product(left_TN: torch.Tensor, right_TK: torch.Tensor) -> torch.Tensor:
    """Give left^T @ right, [N, K], from factors rounded to bf16, in blocks of few different shapes."""
    out_NK = left_TN.new_zeros(left_TN.shape[1], right_TK.shape[1])
    with short_products(True):
        for left, right in zip(left_TN.split(BLOCK_ROWS), right_TK.split(BLOCK_ROWS), strict=True):
            out_NK.addmm_(filled_up(left).T, filled_up(right))
    return out_NK
