"""Will it fit, and what makes it fit: the memory of a run from the recipe and the sizes of its model.

docs/memory.md says what was measured, and what is not modelled.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from razona.advise.devices import GIB, Device
from razona.advise.parts import MemoryPart, parts_of
from razona.advise.setting import Phase, prompt_tokens_of
from razona.advise.shape import ModelShape
from razona.recipe import LoraSection, Recipe

MARGIN = 1.15
"""A run fits where the estimate times this does: estimates are held to 15 % of what was measured (docs/memory.md)."""
LEAST_SLOTS = 8
"""Fewer completions at a time leave most of a machine idle (our choice)."""
LEAST_COMPLETION_TOKENS = 256
"""Below, working out has no room (our choice)."""


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
        held = [part for part in self.parts if part.phase in ("always", self.peak_phase) and part.bytes]
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
        spare = "" if self.fits or self.total > self.device.memory else f", with {MARGIN - 1:.0%} to spare,"
        return (
            f"{self.total / GIB:.1f} GiB estimated, which{spare} {verdict} the {self.device.memory_gib:.1f} GiB of "
            f"{self.device.name}; the largest part is {self.largest.name} with {self.largest.bytes / GIB:.1f} GiB."
        )


def estimate_memory(
    recipe: Recipe,
    shape: ModelShape,
    device: Device,
    num_processes: int = 1,
    *,
    prompt_tokens: int | None = None,
) -> MemoryEstimate:
    """Estimate the peak memory of `razona train`, every completion at its longest.

    Args:
        num_processes: that share a step's completions; each holds the whole model.
        prompt_tokens: of the longest prompt; None: as `data.max_prompt_tokens` says, or an assumption.

    Raises:
        RecipeError: `lora.target_modules` names what the model has not.
    """
    parts = parts_of(recipe, shape, device, prompt_tokens_of(recipe, prompt_tokens), num_processes)
    return MemoryEstimate(device=device, parts=parts, num_processes=num_processes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Changes of a recipe that lower its memory."""

    changes: tuple[str, ...]
    """`key=value` each, as `--set` takes them; those of the proposals before it come first."""
    total: int
    """Bytes with them."""
    fits: bool

    @property
    def options(self) -> str:
        """The changes as they are typed."""
        return " ".join(f"--set {change}" for change in self.changes)


def propose(recipe: Recipe, shape: ModelShape, device: Device, num_processes: int = 1) -> list[Proposal]:
    """Give changes that lower the memory until it fits, each with those before it; empty where it fits already.

    The mildest that suffice: `rollout.max_slots` and `train.microbatch_size` first, which change nothing of what is
    learned, then `rollout.max_completion_tokens`, `model.load_in_4bit`, and an adapter in place of all weights. Where
    nothing suffices each that helps stands at its strongest, and the last proposal says so.
    """

    def estimate(changes: Sequence[_Change]) -> MemoryEstimate:
        changed = recipe
        for change in changes:
            changed = change.make(changed)
        return estimate_memory(changed, shape, device, num_processes)

    if estimate([]).fits:
        return []
    kinds = [
        list(kind(recipe, device, num_processes)) for kind in (_slots, _microbatches, _lengths, _four_bits, _adapters)
    ]
    # The last of `product` varies fastest: slots, then microbatches, and so on.
    mildest_first = product(*([None, *kind] for kind in reversed(kinds)))
    combinations = ([change for change in reversed(one) if change is not None] for one in mildest_first)
    taken = next((changes for changes in combinations if estimate(changes).fits), None)
    if taken is None:
        taken = []
        for strongest in [kind[-1] for kind in kinds if kind]:
            if estimate([*taken, strongest]).total < estimate(taken).total:
                taken.append(strongest)
    proposals = []
    for count in range(1, len(taken) + 1):
        found = estimate(taken[:count])
        changes = tuple(one.text for one in taken[:count])
        proposals.append(Proposal(changes=changes, total=found.total, fits=found.fits))
    return proposals


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """One change of a recipe."""

    text: str
    """`key=value`."""
    make: Callable[[Recipe], Recipe]


def _set(section: str, key: str, value: object) -> _Change:
    def make(recipe: Recipe) -> Recipe:
        return recipe.model_copy(update={section: getattr(recipe, section).model_copy(update={key: value})})

    shown = str(value).lower() if isinstance(value, bool) else value
    return _Change(text=f"{section}.{key}={shown}", make=make)


def _slots(recipe: Recipe, device: Device, num_processes: int) -> Iterator[_Change]:
    """Halves of what runs at a time, down to `LEAST_SLOTS`."""
    slots = recipe.train.completions_per_step // num_processes
    slots = min(slots, recipe.rollout.max_slots or slots)
    while slots > LEAST_SLOTS:
        slots = max(LEAST_SLOTS, slots // 2)
        yield _set("rollout", "max_slots", slots)


def _microbatches(recipe: Recipe, device: Device, num_processes: int) -> Iterator[_Change]:
    """Smaller divisors of the present one, largest first: what a step shares out stays whole."""
    size = recipe.train.microbatch_size
    for smaller in range(size - 1, 0, -1):
        if size % smaller == 0:
            yield _set("train", "microbatch_size", smaller)


def _lengths(recipe: Recipe, device: Device, num_processes: int) -> Iterator[_Change]:
    """Halves of the longest completion, down to `LEAST_COMPLETION_TOKENS`."""
    length = recipe.rollout.max_completion_tokens
    while length > LEAST_COMPLETION_TOKENS:
        length = max(LEAST_COMPLETION_TOKENS, length // 2)
        yield _set("rollout", "max_completion_tokens", length)


def _four_bits(recipe: Recipe, device: Device, num_processes: int) -> Iterator[_Change]:
    """4-bit weights, beneath an adapter on a GPU, where recipes know them."""
    if device.kind == "gpu" and recipe.lora is not None and getattr(recipe.model, "load_in_4bit", None) is False:
        yield _set("model", "load_in_4bit", True)


def _adapters(recipe: Recipe, device: Device, num_processes: int) -> Iterator[_Change]:
    """An adapter of the default size."""
    if recipe.lora is None:
        section = LoraSection()
        yield _Change(text=f"lora.rank={section.rank}", make=lambda one: one.model_copy(update={"lora": section}))
