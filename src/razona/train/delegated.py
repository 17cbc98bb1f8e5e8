"""Sampling that TRL does for us: vLLM, and the generate that Unsloth puts into TRL's place.

Our trainer asks TRL's `_generate_single_turn` for completions where it would ask its own engine, so all that follows
(verdicts, groups with signal, receipts, records) is the same. What it got it hands back to TRL with the log-probs that
vLLM reported, from which TRL computes its importance-sampling correction.
"""

import math
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, requires, version

import torch
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from razona.core.errors import MachineError, RecipeError
from razona.models.unsloth import is_rewritten
from razona.recipe import Recipe
from razona.recipe.training import VllmSection
from razona.rollout import OnFinished, Sampled

BY_TRL = ("vllm", "generate")
"""Engines whose completions TRL samples while it trains; `generate` is what a model of Unsloth's samples with."""


def as_sampled(
    ids: Sequence[Sequence[int]], logprobs: Sequence[Sequence[float | None]] | None, on_finished: OnFinished
) -> list[Sampled]:
    """Give what TRL sampled as our engine would, and tell of it: all rows are done at once."""
    rows = [list(row) for row in ids]
    on_finished(list(range(len(rows))), rows)
    if logprobs is None:
        return [Sampled(ids=row, logprobs=None) for row in rows]
    return [
        Sampled(ids=row, logprobs=[math.nan if value is None else value for value in values])
        for row, values in zip(rows, logprobs, strict=True)
    ]


def unpatched_note(model: object, trainer_class: type) -> str:
    """Say that Unsloth has loaded the model and not replaced TRL's trainer, which it passes over with a warning."""
    if not is_rewritten(model) or any("Unsloth" in one.__name__ for one in trainer_class.__mro__):
        return ""
    return "Unsloth has not rewritten TRL's trainer, so the loss is TRL's own and takes more memory than Unsloth's"


def supported_vllm() -> SpecifierSet:
    """Give the versions of vLLM that the installed TRL names for its extra `vllm`."""
    for line in requires("trl") or []:
        requirement = Requirement(line)
        if requirement.name == "vllm" and requirement.marker and requirement.marker.evaluate({"extra": "vllm"}):
            return requirement.specifier
    raise MachineError(
        f"TRL {version('trl')} names no version of vLLM for its extra `vllm`, so rollout.engine: vllm has nothing to "
        "go by. Install a TRL that does (1.15 and 1.16 do), or set rollout.engine: native."
    )


def check_vllm_here(recipe: Recipe, num_processes: int) -> None:
    """Refuse `rollout.engine: vllm` where it cannot run; do nothing for other engines and for runs without GRPO.

    Raises:
        MachineError: vLLM is not installed, in a version that TRL does not support, or there is no NVIDIA GPU.
        RecipeError: the processes do not fit the engine.
    """
    if recipe.rollout.engine != "vllm" or recipe.train.method == "sft":
        return
    vllm, supported = recipe.rollout.vllm or VllmSection(), supported_vllm()
    wants = f"TRL {version('trl')} supports vLLM {','.join(sorted(map(str, supported), reverse=True))}"
    install = f'pip install "razona[vllm]" (or pip install "vllm{supported}")'
    try:
        found = version("vllm")
    except PackageNotFoundError:
        raise MachineError(
            f"rollout.engine: vllm needs the package vllm, and it is not installed. {wants}. Install it: {install}, or "
            "set rollout.engine: native."
        ) from None
    if not supported.contains(Version(found).base_version, prereleases=True):
        raise MachineError(
            f"rollout.engine: vllm: vllm {found} is installed, and {wants}. Install one of them: {install}, or set "
            "rollout.engine: native."
        )
    if not torch.cuda.is_available():
        raise MachineError(
            f"rollout.engine: vllm needs an NVIDIA GPU in the training process, in either mode, and torch "
            f"{torch.__version__} finds none here. Set rollout.engine: native, which runs on any machine."
        )
    _check_processes(recipe, vllm, num_processes)


def _check_processes(recipe: Recipe, vllm: VllmSection, num_processes: int) -> None:
    shared = vllm.tensor_parallel_size
    if num_processes % shared:
        raise RecipeError(
            f"rollout.vllm.tensor_parallel_size = {shared} does not divide the {num_processes} processes of the run, "
            f"and each engine is shared by so many. Set it to 1, or start a multiple of {shared} processes."
        )
    if recipe.train.sampling == "informative" and num_processes > 1 and (shared > 1 or vllm.mode == "server"):
        what = "mode: server" if vllm.mode == "server" else f"tensor_parallel_size = {shared}"
        raise RecipeError(
            f"train.sampling: informative with rollout.vllm.{what} in {num_processes} processes: each samples as many "
            "rounds as its own groups need, and such an engine serves all of them at once, so one would wait for "
            "ever. Set train.sampling: uniform, or rollout.vllm: {mode: colocate, tensor_parallel_size: 1}."
        )
