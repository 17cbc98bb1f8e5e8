"""What is known about a base model on a recipe's problems before anything is trained."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import comb

from razona.evaluate.statistics import Estimate

BAND = (0.2, 0.8)
"""Pass rates of a problem that suit reinforcement best (prime-rl; arXiv:2504.03380)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Measured on N problems, G samples each, under the training prompt unless another is named."""

    model: str
    problems: int
    """That the recipe can train on."""
    is_endless: bool
    """They are generated as needed."""
    verifiable: float
    """Share of the targets that the verifier judges right against themselves."""
    worked_solutions: int
    """Problems that come with one."""
    group_size: int
    num_sampled: int
    samples: int
    paid: Estimate
    """Completions that training would pay as correct: right, and in a form that the reward reads."""
    right: Estimate
    """Completions that are right wherever the answer stands; pass@1."""
    right_in_k: Estimate
    """pass@k, k = `samples`, wherever the answer stands."""
    signal: Estimate
    """Groups whose rewards are not all equal."""
    form: Estimate
    """Completions in exactly the form asked for."""
    truncated: float
    unverified: float
    """Completions on which our side failed."""
    above_zero: float
    """Problems with at least one right sample."""
    perfect: float
    """Problems with right samples only."""
    in_band: float
    """Problems with a pass rate from 20 to 80 %."""
    mean_tokens: float
    tokens_p90: int
    working_gain: Estimate | None
    """pass@1 with working less pass@1 without, paired; None where it was not measured."""
    best_prompt: str
    """Under which the model solves most in one try."""
    best_prompt_right: float
    many: int
    """Tries of the last measurement, 64; 0 where it was not needed."""
    right_in_many: Estimate | None
    """Problems solved at least once in that many tries, under the prompt that suits the model best; None: not
    measured."""
    signal_by_chance: float = 0.0
    """Groups whose rewards would not all be equal with another problem's target: what guessing gives of `signal`. 0
    where problems are of another kind than math."""
    right_by_chance: float = 0.0
    """The same where each problem is judged by another one's target: what guessing gives."""
    beyond_chance: Estimate | None = None
    """`right_in_many` less `right_by_chance`, paired by problem; None: not measured."""
    inputs_shift: bool | None = None
    """The person's word on whether rules or inputs will differ from the training's; None: not asked."""

    def as_row(self) -> dict[str, object]:
        """Give it as JSON holds it."""
        return asdict(self)


def chance_of_signal(rewards: Sequence[float | None], group_size: int) -> float:
    """Give the chance that a group of this size, drawn from a problem's rewards, is not all alike.

    1 - sum over values v of C(n_v, G) / C(n, G), which has no bias, where there are at least G rewards; else
    1 - sum of (n_v / n)^G, which is too low on average. For 0/1 rewards and many samples, 1 - p^G - (1-p)^G.

    >>> chance_of_signal([1.0, 0.0, 0.0, 0.0], 2)
    0.5
    """
    counts = Counter(round(reward, 9) for reward in rewards if reward is not None)
    total = sum(counts.values())
    if total == 0:
        return 0.0
    if total >= group_size:
        alike = sum(comb(count, group_size) for count in counts.values()) / comb(total, group_size)
    else:
        alike = sum((count / total) ** group_size for count in counts.values())
    return 1.0 - alike


def share_with_signal(rewards_PK: Sequence[Sequence[float | None]], group_size: int) -> list[float]:
    """Give `chance_of_signal` of each problem; where it has fewer rewards than a group, of a group of those it has.

    >>> share_with_signal([[1.0, 0.0], [1.0, 1.0]], 2)
    [1.0, 0.0]
    """
    return [chance_of_signal(row, min(group_size, sum(one is not None for one in row))) for row in rewards_PK]


def expected_signal(pass_rate: float, group_size: int) -> float:
    """Give the share of groups with signal where every problem had this pass rate and rewards were 0 or 1.

    1 - p^G - (1 - p)^G.

    >>> round(expected_signal(0.25, 8), 2)
    0.9
    """
    return 1.0 - pass_rate**group_size - (1.0 - pass_rate) ** group_size
