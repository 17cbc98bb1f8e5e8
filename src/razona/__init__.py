"""Razona: teach a base language model to reason with verifiable rewards and GRPO."""

__version__ = "0.1.0"
