"""Evidence on a base model that an advice can be made from, without a model."""

from razona.advise.evidence import Evidence
from razona.evaluate.statistics import Estimate


def exactly(value: float) -> Estimate:
    return Estimate(value=value, low=value, high=value)


HEALTHY = Evidence(
    model="m",
    problems=5_000,
    is_endless=False,
    verifiable=1.0,
    worked_solutions=0,
    group_size=8,
    num_sampled=100,
    samples=8,
    paid=exactly(0.3),
    right=exactly(0.3),
    right_in_k=exactly(0.8),
    signal=exactly(0.7),
    form=exactly(0.9),
    truncated=0.0,
    unverified=0.0,
    above_zero=0.8,
    perfect=0.0,
    in_band=0.5,
    mean_tokens=100.0,
    tokens_p90=200,
    working_gain=exactly(0.1),
    best_prompt="training",
    best_prompt_right=0.3,
    many=0,
    right_in_many=None,
)


def solved_in_many(share: float, by_chance: float = 0.0, low: float | None = None) -> dict[str, object]:
    """Give the changes of the evidence with so many problems solved in 64 tries."""
    beyond = share - by_chance
    return {
        "many": 64,
        "right_in_many": exactly(share),
        "right_by_chance": by_chance,
        "beyond_chance": Estimate(value=beyond, low=beyond if low is None else low, high=beyond),
    }
