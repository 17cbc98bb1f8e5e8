"""bfloat16 where it pays: autocast on a GPU, products alone on a CPU that multiplies matrices of it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def wants_autocast(precision: str) -> bool:
    """Say whether the forward pass runs under bf16 autocast: on a GPU that has it, unless float32 is asked for."""
    return precision != "float32" and torch.cuda.is_available() and torch.cuda.is_bf16_supported()


def wants_short_products(precision: str) -> bool:
    """Say whether a CPU multiplies fp32 matrices in bf16: by request, or where it has instructions for it (AMX)."""
    if torch.cuda.is_available():
        return False
    if precision == "auto":
        return bool(torch.cpu.get_capabilities().get("amx_bf16", False))
    return precision == "bfloat16"


@contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """Compute as `train.precision` says, and as before when the body is left.

    On a CPU, bf16 means that matrix products read their fp32 factors rounded to bf16 and add up in fp32 (oneDNN's mode
    for it); everything else stays in fp32. Autocast does more and is slower for small models: it stores activations in
    bf16, and the conversions cost what the products save.

    Args:
        precision: `auto`, `float32` or `bfloat16`.
    """
    before = torch.get_float32_matmul_precision()
    if not torch.cuda.is_available():
        torch.set_float32_matmul_precision("medium" if wants_short_products(precision) else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
