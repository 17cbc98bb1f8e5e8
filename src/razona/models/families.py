"""Which models have the plain attention that our own loops lay out."""

from transformers import PretrainedConfig

FAMILIES = ("llama", "qwen2", "qwen3", "mistral")
"""`model_type` of these models."""


def unusual_attention(config: PretrainedConfig) -> str:
    """Give how a model's attention differs from the plain one; "" where it does not."""
    if config.model_type not in FAMILIES:
        return f"the model type {config.model_type!r} is not one of {', '.join(FAMILIES)}"
    if getattr(config, "sliding_window", None) is not None and getattr(config, "use_sliding_window", True):
        return "the model attends in a sliding window"
    return ""
