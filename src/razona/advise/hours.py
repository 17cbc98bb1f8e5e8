"""How long will it take: seconds of a step from what sampling must read and what training must multiply. Estimates."""

# Shapes: E hidden size, H query heads, K key heads, D values of a head, V vocabulary.

from dataclasses import dataclass

from razona.advise.devices import Device, rates_of
from razona.advise.setting import Batch, Setting, prompt_tokens_of
from razona.advise.shape import ModelShape
from razona.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """What part of a device's rates is reached."""

    read: float
    """Of the memory bandwidth, by decoding."""
    multiply: float
    """Of the FLOP/s of large products, by prompts and the training pass."""
    source: str


SHARES = {
    "cpu": Shares(read=0.41, multiply=0.13, source="fitted to two models, of 50 and 300 million numbers, on two cores"),
    "gpu": Shares(read=0.5, multiply=0.3, source="assumed, not measured on a GPU so far"),
}
"""By kind of device. The CPU's: sampling and the rest of a step in `docs/results/scale.json`, of the models of 50 and
300 M, over the rates that `rates_of` measured on the machine some minutes later, gave 0.40 and 0.43, 0.12 and 0.15."""
GPU_TOKEN_S = 0.5e-3
"""Seconds a layer and token that a GPU waits for Python to start its kernels: some 20 of them at 25 us (assumed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeEstimate:
    """What a run takes, estimated; loading, scoring, the guard's measurements and the evaluation are not in it."""

    sampling_s: float
    """Of a step."""
    training_s: float
    """Of a step."""
    steps: int
    assumptions: tuple[str, ...]

    @property
    def step_s(self) -> float:
        """Seconds of a step."""
        return self.sampling_s + self.training_s

    @property
    def hours(self) -> float:
        """Hours of the run."""
        return self.step_s * self.steps / 3600


def estimate_hours(
    recipe: Recipe,
    shape: ModelShape,
    device: Device,
    num_processes: int = 1,
    *,
    prompt_tokens: int | None = None,
    completion_tokens: float | None = None,
) -> TimeEstimate:
    """Estimate the time of `razona train`.

    Args:
        num_processes: that share a step's completions, each with a device of its own; on a CPU they share it.
        prompt_tokens: of a prompt; None: as `data.max_prompt_tokens` says, or an assumption.
        completion_tokens: mean of what the model writes, once it was measured. None: every completion reaches the
            limit, which makes the estimate an upper bound.
    """
    setting, rates, shares = Setting.of(recipe, shape, device), rates_of(device), SHARES[device.kind]
    length = min(completion_tokens or recipe.rollout.max_completion_tokens, recipe.rollout.max_completion_tokens)
    prompt = prompt_tokens_of(recipe, prompt_tokens)
    rows = recipe.train.completions_per_step // num_processes
    flop_s, bandwidth = shares.multiply * rates.flop_s, shares.read * rates.bandwidth
    if device.kind == "cpu":
        flop_s, bandwidth = flop_s / num_processes, bandwidth / num_processes
    sampled = _sampling(recipe, shape, setting, prompt=prompt, length=length, rows=rows)
    waits = GPU_TOKEN_S * shape.layers * sampled.steps if device.kind == "gpu" else 0.0
    known = "as measured" if completion_tokens else "every completion reaches its limit"
    return TimeEstimate(
        sampling_s=max(sampled.bytes / bandwidth + sampled.flop / flop_s, waits),
        training_s=_training_flop(shape, setting, prompt=prompt, length=length, rows=rows, recipe=recipe) / flop_s,
        steps=recipe.train.steps,
        assumptions=(
            f"{prompt} tokens a prompt and {length:.0f} a completion ({known})",
            f"sampling reads at {shares.read:.0%} of {rates.bandwidth / 1e9:,.0f} GB/s, training multiplies at "
            f"{shares.multiply:.0%} of {rates.flop_s / 1e12:,.1f} TFLOP/s ({shares.source})",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decoding:
    """Work of sampling a step's completions."""

    bytes: float
    flop: float
    steps: float
    """Forward passes of one token a row."""


def _sampling(
    recipe: Recipe, shape: ModelShape, setting: Setting, *, prompt: int, length: float, rows: int
) -> _Decoding:
    """Decoding reads every weight once a token, and the keys and values of all rows that run.

    bytes = passes x weights + rows x completion x (prompt + completion / 2) x 2 layers K D; the passes are those of
    all rows over those that run at a time. flop = 2 weights for each token of a completion and of a distinct prompt.
    """
    is_ours = shape.is_packed and recipe.rollout.engine == "native"
    slots = min(rows, recipe.rollout.max_slots or rows) if is_ours else rows
    passes = length * rows / slots
    weights = shape.layers * shape.layer_weights + shape.head_weights
    value = setting.value_bytes if setting.is_autocast else setting.weight_bytes
    cache = 2 * shape.layers * shape.key_heads * shape.head_dim * value
    distinct = rows / recipe.rollout.group_size
    return _Decoding(
        bytes=passes * weights * value + rows * length * (prompt + length / 2) * cache,
        flop=2.0 * weights * rows * length + 2.0 * shape.layers * shape.layer_weights * distinct * prompt,
        steps=passes,
    )


def _training_flop(
    shape: ModelShape, setting: Setting, *, prompt: int, length: float, rows: int, recipe: Recipe
) -> float:
    """Operations of a step's backward passes.

    A token takes 2 operations a weight forward and 2 for its own gradient; the weights' gradients take 2 more where
    all are trained, and checkpointing 2 more, for the second forward. Attention takes 4 H D a position seen in each.
    """
    batch = Batch.of(recipe, setting, prompt)
    tokens = rows / batch.rows * (batch.tokens - batch.labelled + batch.rows * length)
    each = 4 + (2 if setting.lora is None else 0) + (2 if setting.is_checkpointed else 0)
    products = each * (tokens * shape.layers * shape.layer_weights + rows * length * shape.head_weights)
    seen = rows * length * (prompt + length / 2)
    return products + 2 * each * shape.layers * shape.heads * shape.head_dim * seen
