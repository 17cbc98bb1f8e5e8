"""Rules on the machine: memory, free disk, and the hours that a run will take."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from razona.advise.checks.finding import Finding, error, warning
from razona.advise.devices import Device
from razona.advise.hours import estimate_hours
from razona.advise.memory import estimate_memory, propose
from razona.advise.setting import Setting
from razona.advise.shape import ModelShape
from razona.recipe import Recipe

GIB = 2**30
BYTES_OF_A_TRAINED_PARAMETER = 12
"""In a checkpoint: the parameter and AdamW's two moments in fp32."""
REST_OF_A_CHECKPOINT = 20 * 2**20
CHECKPOINTS = 3
"""Two that are kept and one that is being written; with a guard one more, the best."""
SAVED_BY_COMPILING = 1 / 6
"""Of the time of sampling: the least that `rollout.compile` saved with models of 2, 10 and 50 million numbers on two
cores (17, 32 and 20 %; docs/LOG.md, 2026-11-22)."""
LARGEST_COMPILED = 100_000_000
"""Numbers of a model; of larger ones nothing was measured."""
SLOTS_COMPILED = 48
"""`razona.rollout.fused.SHORT_ROWS`, which would load torch: fewer rows take the plain step. A test compares."""
WORTH_COMPILING_S = 300


def check_memory(recipe: Recipe, shape: ModelShape, device: Device, num_processes: int) -> Iterator[Finding]:
    """Compare the estimated peak with what the machine has."""
    estimate = estimate_memory(recipe, shape, device, num_processes)
    if estimate.fits:
        return
    proposals = propose(recipe, shape, device, num_processes)
    best = next((one for one in proposals if one.fits), proposals[-1] if proposals else None)
    change = "a machine with more memory, or a smaller model"
    if best is not None and best.fits:
        change = f"{best.options} (then {best.total / GIB:.1f} GiB)"
    elif best is not None:
        change = f"{change}; {best.options} alone still needs {best.total / GIB:.1f} GiB"
    report = error if estimate.total > device.memory else warning
    yield report("memory", estimate.sentence.rstrip("."), change)


def tell_hours(recipe: Recipe, shape: ModelShape, device: Device, num_processes: int) -> str:
    """Give the estimated time of the run in one line."""
    estimate = estimate_hours(recipe, shape, device, num_processes)
    seconds = estimate.hours * 3600
    told = f"{estimate.hours:.1f} hours" if seconds >= 3600 else f"{max(1, seconds / 60):.0f} minutes"
    return (
        f"estimated time: {told} for {estimate.steps} steps of {estimate.step_s:.1f} s on {device.name} "
        f"({'; '.join(estimate.assumptions)})"
    )


def tell_compiling(recipe: Recipe, shape: ModelShape, device: Device, num_processes: int) -> str | None:
    """Give what `rollout.compile` would save of the run's time in one line; None where that is little or not known."""
    is_known = Setting.of(recipe, shape, device).is_ours and shape.num_parameters <= LARGEST_COMPILED
    rows = recipe.train.completions_per_step // num_processes
    has_rows = min(rows, recipe.rollout.max_slots or rows) >= SLOTS_COMPILED
    if recipe.rollout.engine != "native" or recipe.rollout.compile or not is_known or not has_rows:
        return None
    estimate = estimate_hours(recipe, shape, device, num_processes)
    saved = SAVED_BY_COMPILING * estimate.sampling_s * estimate.steps
    if saved < WORTH_COMPILING_S:
        return None
    return (
        f"--set rollout.compile=true would save up to {saved / 60:.0f} minutes of it: torch then compiles the decoding "
        "step. It needs a C++ compiler"
    )


def check_disk(recipe: Recipe, shape: ModelShape, folder: Path) -> Iterator[Finding]:
    """Compare what checkpoints take with what is free where the run folder will be."""
    trained = shape.lora_parameters(recipe.lora) if recipe.lora else shape.num_parameters
    one = trained * BYTES_OF_A_TRAINED_PARAMETER + REST_OF_A_CHECKPOINT
    count = CHECKPOINTS + bool(recipe.guard.every)
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < count * one:
        yield error(
            "disk",
            f"{free / GIB:.1f} GiB are free in {place}; {count} checkpoints of {one / GIB:.2f} GiB take "
            f"{count * one / GIB:.1f} GiB",
            f"free {(count * one - free) / GIB:.1f} GiB, or give the run another disk with --out",
        )
