"""The parts of a run's memory: what each takes, when it is held, and the sum that gives it."""

from dataclasses import dataclass

from razona.advise.activations import backward_bytes, head_bytes, saved_bytes
from razona.advise.devices import GIB, MIB, Device
from razona.advise.setting import Batch, Phase, Setting
from razona.advise.shape import ModelShape
from razona.recipe import Recipe

CPU_OVERHEAD = 560 * MIB
"""A process that has imported torch, transformers, TRL and PEFT, and computed: what `make bench-memory` measured beside
the parts below (520 MiB before the first step)."""
GPU_OVERHEAD = GIB
"""CUDA's context, its libraries' workspaces and the allocator's gaps. An assumption: never measured on a GPU so far."""
ROOM_SPARE = 1.25
"""`razona.rollout.native.Room.SPARE`, which would load torch. A test compares."""
FUSED_BYTES = 2**30
"""`razona.rollout.fused.MAX_FUSED_BYTES`. A test compares."""
PREFILL_TOKENS = 16_384
"""`razona.rollout.native.PREFILL_TOKENS`. A test compares."""
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Of a weight in bitsandbytes' NF4 with double quantisation: 4 bits, a scale of 8 bits for each 64, one of 32 bits for
each 256 of these (QLoRA, arXiv:2305.14314, section 3)."""


VLLM_SHARE = 0.3
"""Of a GPU's memory, that TRL lets vLLM take where the recipe says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPart:
    """What one thing takes."""

    name: str
    bytes: int
    phase: Phase
    """When it is held. The peak is what is always held and the largest of the other phases."""
    how: str
    """The sum that gives it, in words."""


def parts_of(
    recipe: Recipe, shape: ModelShape, device: Device, prompt: int, num_processes: int
) -> tuple[MemoryPart, ...]:
    """Give every part of one process's memory.

    Args:
        prompt: tokens of the longest prompt.
    """
    setting = Setting.of(recipe, shape, device)
    is_vllm = recipe.rollout.engine == "vllm"
    return (
        _weights(shape, setting),
        *_trained(recipe, shape, setting, prompt, num_processes),
        _reference(recipe, shape, setting),
        *_training(recipe, shape, setting, prompt),
        *(_vllm(recipe, device) if is_vllm else _sampling(recipe, shape, setting, prompt, num_processes)),
        _part(
            "overhead",
            GPU_OVERHEAD if setting.is_gpu else CPU_OVERHEAD,
            "always",
            "CUDA's context and workspaces, assumed" if setting.is_gpu else "the process and its libraries, measured",
        ),
    )


def _part(name: str, count: float, phase: Phase, how: str) -> MemoryPart:
    return MemoryPart(name=name, bytes=int(count), phase=phase, how=how)


def _weights(shape: ModelShape, setting: Setting) -> MemoryPart:
    """Every number once; in 4 bits the layers' projections alone, without biases."""
    if not setting.is_4bit:
        count = shape.num_parameters * setting.weight_bytes
        return _part("weights", count, "always", f"{shape.num_parameters:,} numbers of {setting.weight_bytes} bytes")
    short = shape.layers * sum(one.inputs * one.outputs for one in shape.projections)
    count = short * NF4_BYTES + (shape.num_parameters - short) * 2
    return _part("weights", count, "always", f"{short:,} numbers of {NF4_BYTES:.3f} bytes, the others of 2")


def _trained(recipe: Recipe, shape: ModelShape, setting: Setting, prompt: int, num_processes: int) -> list[MemoryPart]:
    """What is trained: the adapter's own numbers, a gradient for each, and AdamW's two moments."""
    lora, size = recipe.lora, setting.trained_bytes
    trained = shape.lora_parameters(lora) if lora else shape.num_parameters
    gradients = trained * size * (2 if num_processes > 1 else 1)
    once = recipe.train.completions_per_step <= recipe.train.microbatch_size * num_processes
    how = f"{trained:,} numbers of {size} bytes"
    if num_processes > 1:
        how += ", and once more in DDP's buckets"
    if once and lora is None:
        # They come while activations go; before the pass there are none.
        saved = saved_bytes(shape, setting, Batch.of(recipe, setting, prompt))
        gradients = max(0, gradients - saved)
        how += ", as far as they are more than the activations that go meanwhile"
    return [
        _part("adapter", trained * size if lora else 0, "always", how),
        _part("optimizer", 2 * trained * size, "always", f"AdamW's two moments of {trained:,} numbers"),
        _part("gradients", gradients, "training", how),
    ]


def _reference(recipe: Recipe, shape: ModelShape, setting: Setting) -> MemoryPart:
    """A second model for the KL term; with an adapter its base is the reference."""
    is_there = recipe.lora is None and recipe.train.kl_weight > 0
    count = shape.num_parameters * setting.weight_bytes if is_there else 0
    return _part("reference model", count, "always", "a second model, because train.kl_weight is above 0")


def _training(recipe: Recipe, shape: ModelShape, setting: Setting, prompt: int) -> list[MemoryPart]:
    """What a backward pass needs: what was kept, and the larger of the head's and of one layer's own."""
    batch = Batch.of(recipe, setting, prompt)
    kept = saved_bytes(shape, setting, batch)
    how = f"of {batch.tokens:,} tokens in {shape.layers} layers"
    if setting.is_checkpointed:
        how = f"of {batch.tokens:,} tokens: each layer's input, and one layer whole"
    head, backward = head_bytes(shape, setting, batch), backward_bytes(shape, setting, batch)
    parts = [
        _part("activations", kept, "training", how),
        _part("log-probs", max(head, backward), "training", "logits a block at a time, or one layer's backward pass"),
    ]
    if setting.is_autocast and setting.weight_bytes == 4:
        parts.append(_part("autocast", 2 * shape.num_parameters, "training", "weights in bf16 beside those in fp32"))
    return parts


def _vllm(recipe: Recipe, device: Device) -> list[MemoryPart]:
    """What a vLLM engine beside the policy takes: the share of the GPU that it is given, weights and cache in it."""
    section = getattr(recipe.rollout, "vllm", None)
    share = getattr(section, "gpu_memory_utilization", VLLM_SHARE)
    count = 0 if getattr(section, "mode", "colocate") == "server" else share * device.memory
    phase = "sampling" if getattr(section, "enable_sleep_mode", False) else "always"
    return [_part("vLLM", count, phase, f"{share:.0%} of the GPU, rollout.vllm.gpu_memory_utilization")]


def _sampling(recipe: Recipe, shape: ModelShape, setting: Setting, prompt: int, num_processes: int) -> list[MemoryPart]:
    """What the engine needs: keys and values of the rows that run at a time, logits, prompts, weights side by side.

    Keys and values: rows x (prompt + completion) x layers x 2 K D. On a CPU our engine keeps their memory, and a
    quarter more, from step to step; on a GPU it goes before training begins. Logits: four numbers a word and row, for
    the logits, their exponentials in fp32 and the sums of these in fp64.
    """
    rows = recipe.train.completions_per_step // num_processes
    is_ours = shape.is_packed and recipe.rollout.engine == "native"
    slots = min(rows, recipe.rollout.max_slots or rows) if is_ours else rows
    value = setting.value_bytes if setting.is_autocast else setting.weight_bytes
    per_token = 2 * shape.layers * shape.key_heads * shape.head_dim * value
    length = prompt + recipe.rollout.max_completion_tokens
    is_kept = is_ours and not setting.is_gpu
    cache = slots * length * per_token * (ROOM_SPARE if is_kept else 1)
    distinct = -(-slots // recipe.rollout.group_size)
    read = min(PREFILL_TOKENS, distinct * prompt)
    prompts = distinct * prompt * per_token + slots * prompt * per_token // shape.layers
    prompts += read * (8 * shape.hidden + 5 * shape.intermediate * value)
    layers = shape.layers * shape.layer_weights * value
    fused = layers if is_ours and layers <= FUSED_BYTES else 0
    head = shape.head_weights * value if is_ours and value != setting.weight_bytes else 0
    how = f"{slots:,} completions of {length:,} tokens, {per_token:,} bytes each"
    return [
        _part("keys and values", cache, "always" if is_kept else "sampling", how),
        _part("sampling", fused + head + max(prompts, 16 * slots * shape.vocabulary), "sampling", "logits and prompts"),
    ]
