"""Razona: teach a base language model to reason with verifiable rewards and GRPO."""

from razona.core.telemetry import switch_off_telemetry

__version__ = "0.1.0"

switch_off_telemetry()
