"""Processors for estimates."""

from razona.advise.devices import Device


def cpu(is_short: bool) -> Device:
    """Give a made-up CPU; a short one multiplies in bf16 by itself."""
    return Device(
        name="CPU",
        kind="cpu",
        memory=2**34,
        bf16_flop_s=1e12,
        bandwidth=1e10,
        source="made up",
        has_short_products=is_short,
    )
