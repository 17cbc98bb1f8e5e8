"""How long will it take: seconds of a step from what sampling must read and training must multiply."""

from dataclasses import dataclass

from razona.advise.devices import Device, rates_of
from razona.advise.shape import ModelShape
from razona.recipe import Recipe

READ_SHARE = 0.5
"""Share of the memory bandwidth that decoding reaches."""
MULTIPLY_SHARE = 0.3
"""Share of the rated FLOP/s that prompts and the training pass reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeEstimate:
    """What a run takes, estimated."""

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


def estimate_hours(recipe: Recipe, shape: ModelShape, device: Device, num_processes: int = 1) -> TimeEstimate:
    """Estimate the time of `razona train`."""
    rates = rates_of(device)
    rows = recipe.train.completions_per_step // num_processes
    tokens = rows * recipe.rollout.max_completion_tokens
    reads = recipe.rollout.max_completion_tokens * shape.num_parameters * (2 if device.kind == "gpu" else 4)
    return TimeEstimate(
        sampling_s=reads / (READ_SHARE * rates.bandwidth),
        training_s=6 * shape.num_parameters * tokens / (MULTIPLY_SHARE * rates.flop_s),
        steps=recipe.train.steps,
        assumptions=("every completion reaches its limit",),
    )
