"""Out of memory: what ended the run, what it was estimated to take, and the settings with which it takes less."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from razona.advise.devices import GIB, Device, this_device
from razona.advise.memory import estimate_memory, propose
from razona.advise.shape import ModelShape, config_of
from razona.core.errors import MachineError, ModelError, RazonaError
from razona.core.exhaustion import is_exhaustion
from razona.core.launch import num_processes
from razona.recipe import Recipe

SHOWN_CHARACTERS = 200
"""Of the error's own text."""


@contextmanager
def explained_exhaustion(recipe: Recipe) -> Iterator[None]:
    """Let an error for want of memory become one that says which settings take less; every other passes.

    Raises:
        MachineError: the block ran out of memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RazonaError) or not is_exhaustion(error):
            raise
        raise MachineError(exhaustion_message(recipe, error, this_device())) from error


def exhaustion_message(recipe: Recipe, error: BaseException, device: Device) -> str:
    """Say what happened, what was estimated, and which values to give instead."""
    what = " ".join(str(error).split()) or type(error).__name__
    shown = what if len(what) <= SHOWN_CHARACTERS else f"{what[:SHOWN_CHARACTERS]} ..."
    return f"{device.name} ran out of memory while training: {shown} {_advice(recipe, device)}"


def _advice(recipe: Recipe, device: Device) -> str:
    count = num_processes()
    try:
        shape = ModelShape.of_config(config_of(recipe.model))
    except ModelError:
        return _without_estimate(recipe)
    estimate = estimate_memory(recipe, shape, device, count)
    proposals = propose(recipe, shape, device, count)
    told = (
        f"The estimate for {device.name} was {estimate.total / GIB:.1f} of {device.memory_gib:.1f} GiB, most of it "
        f"{estimate.largest.name}."
    )
    if not proposals:
        # It was to fit, and did not: something else has the rest. What fits into less than was estimated is next.
        told += " It should have fitted: see whether another program uses the memory (nvidia-smi, or free -g)."
        proposals = propose(recipe, shape, replace(device, memory=estimate.total), count)
    if not proposals:
        return f"{told} No setting takes less; choose a smaller model or a machine with more memory."
    best = proposals[-1]
    verdict = "" if best.fits else "; that alone may not do, so choose a smaller model or a machine with more memory"
    return f"{told} Start it again with {best.options} (estimated {best.total / GIB:.1f} GiB{verdict})."


def _without_estimate(recipe: Recipe) -> str:
    """Halve what costs memory, where the sizes of the model are not known."""
    train, rollout = recipe.train, recipe.rollout
    slots = min(rollout.max_slots or train.completions_per_step, train.completions_per_step)
    size = next((one for one in range(train.microbatch_size // 2, 0, -1) if train.microbatch_size % one == 0), 1)
    return (
        "The sizes of the model are not known, so nothing was estimated. Start it again with "
        f"--set train.microbatch_size={size} --set rollout.max_slots={max(1, slots // 2)}."
    )
