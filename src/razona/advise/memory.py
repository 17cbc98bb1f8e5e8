"""Will it fit: the memory of a run, part by part, from the recipe and the sizes of its model.

First version: the parts that are kept for the whole run are exact; those of a pass are upper bounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from razona.advise.devices import GIB, Device
from razona.advise.shape import ModelShape
from razona.recipe import Recipe

MARGIN = 1.15
"""A run fits where the estimate times this does: estimates are held to 15 % of what was measured (docs/memory.md)."""
ASSUMED_PROMPT_TOKENS = 256
"""Where neither the recipe nor the caller knows how long prompts are."""

Phase = Literal["always", "loading", "sampling", "training"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPart:
    """What one thing takes."""

    name: str
    bytes: int
    phase: Phase
    """When it is held. The peak is what is always held and the largest of the other phases."""
    how: str
    """The sum that gives it, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """The memory of one process of a run, on a GPU the GPU's."""

    device: Device
    parts: tuple[MemoryPart, ...]
    num_processes: int = 1

    def of_phase(self, phase: Phase) -> int:
        """Give the bytes of a phase alone."""
        return sum(part.bytes for part in self.parts if part.phase == phase)

    @property
    def peak_phase(self) -> Phase:
        """The phase in which most is held."""
        phases: tuple[Phase, ...] = ("loading", "sampling", "training")
        return max(phases, key=self.of_phase)

    @property
    def total(self) -> int:
        """Bytes at the peak; on a CPU, which they share, of all processes."""
        one = self.of_phase("always") + self.of_phase(self.peak_phase)
        return one * (self.num_processes if self.device.kind == "cpu" else 1)

    @property
    def at_peak(self) -> tuple[MemoryPart, ...]:
        """The parts that are held at the peak, largest first."""
        held = [part for part in self.parts if part.phase in ("always", self.peak_phase)]
        return tuple(sorted(held, key=lambda part: -part.bytes))

    @property
    def largest(self) -> MemoryPart:
        """The largest part at the peak."""
        return self.at_peak[0]

    @property
    def fits(self) -> bool:
        """Whether the device holds it, with the margin."""
        return self.total * MARGIN <= self.device.memory

    @property
    def sentence(self) -> str:
        """The finding in one sentence."""
        verdict = "fits in" if self.fits else "does not fit in"
        return (
            f"{self.total / GIB:.1f} GiB estimated, which {verdict} the {self.device.memory_gib:.1f} GiB of "
            f"{self.device.name}; the largest part is {self.largest.name} with {self.largest.bytes / GIB:.1f} GiB."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Changes of a recipe that lower its memory."""

    changes: tuple[str, ...]
    """`key=value` each, as `--set` takes them; those of the proposals before it are among them."""
    total: int
    """Bytes with them."""
    fits: bool

    @property
    def options(self) -> str:
        """The changes as they are typed."""
        return " ".join(f"--set {change}" for change in self.changes)


def estimate_memory(
    recipe: Recipe,
    shape: ModelShape,
    device: Device,
    num_processes: int = 1,
    *,
    prompt_tokens: int | None = None,
) -> MemoryEstimate:
    """Estimate the peak memory of `razona train`."""
    train, rollout = recipe.train, recipe.rollout
    prompt = prompt_tokens or recipe.data.max_prompt_tokens or ASSUMED_PROMPT_TOKENS
    length = rollout.max_completion_tokens
    value = 2 if device.kind == "gpu" and recipe.lora else 4
    weights = shape.num_parameters * value
    trained = shape.lora_parameters(recipe.lora) if recipe.lora else shape.num_parameters
    micro = train.microbatch_size
    groups = -(-micro // rollout.group_size)
    tokens = groups * prompt + micro * length
    slots = min(train.completions_per_step // num_processes, rollout.max_slots or train.completions_per_step)
    cache = slots * (prompt + length) * 2 * shape.layers * shape.key_heads * shape.head_dim * value
    per_token = (8 * shape.hidden + 4 * shape.intermediate + 4 * shape.heads * shape.head_dim) * value
    layers = 1 if device.kind == "gpu" else shape.layers
    activations = layers * tokens * per_token + (shape.layers * tokens * shape.hidden * value if layers == 1 else 0)
    overhead = int(0.7 * GIB)

    def part(name: str, count: float, phase: Phase, how: str) -> MemoryPart:
        return MemoryPart(name=name, bytes=int(count), phase=phase, how=how)

    kept: Sequence[MemoryPart] = (
        part("weights", weights, "always", f"{shape.num_parameters:,} numbers of {value} bytes"),
        part("adapter", 4 * trained if recipe.lora else 0, "always", "numbers of 4 bytes"),
        part("gradients", 4 * trained, "training", "one number of 4 bytes for each trained weight"),
        part("optimizer", 8 * trained, "always", "AdamW's two moments"),
        part("activations", activations, "training", "what the backward pass needs"),
        part("head", 512 * shape.vocabulary * 12, "training", "logits of 512 positions"),
        part("keys and values", cache, "sampling", "of the completions that run at a time"),
        part("reference model", 0 if recipe.lora or not train.kl_weight else weights, "always", "a second model"),
        part("overhead", overhead, "always", "the process"),
    )
    return MemoryEstimate(device=device, parts=tuple(kept), num_processes=num_processes)


def propose(recipe: Recipe, shape: ModelShape, device: Device, num_processes: int = 1) -> list[Proposal]:
    """Give changes that lower the memory, one after the other, until it fits; empty where it does."""
    if estimate_memory(recipe, shape, device, num_processes).fits:
        return []
    changes: list[str] = []
    proposals: list[Proposal] = []
    current = recipe
    while current.train.microbatch_size > 1:
        size = current.train.microbatch_size // 2
        while recipe.train.completions_per_step % size:
            size -= 1
        current = current.model_copy(update={"train": current.train.model_copy(update={"microbatch_size": size})})
        changes = [f"train.microbatch_size={size}"]
    estimate = estimate_memory(current, shape, device, num_processes)
    proposals.append(Proposal(changes=tuple(changes), total=estimate.total, fits=estimate.fits))
    return proposals
