"""bfloat16 where it pays: autocast on a GPU, large products alone on a CPU that has instructions for them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


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
    """Say whether a CPU's training pass multiplies fp32 matrices in bf16: by request, or where it has AMX."""
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
