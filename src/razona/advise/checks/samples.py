"""Completions of the untrained model on the recipe's own problems, and the rules that read them."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from razona.advise.checks.finding import Finding, error, warning
from razona.advise.evidence import chance_of_signal
from razona.advise.pay import pay_rows
from razona.core.nouns import Completion, Problem
from razona.core.seeds import derive_seed
from razona.data import PromptWriter
from razona.evaluate.statistics import Estimate, mean_share_with_interval
from razona.recipe import Recipe

if TYPE_CHECKING:
    from razona.models.load import Policy

MIN_SAMPLES, MAX_SAMPLES = 8, 16
"""Completions of a problem: a group, but no fewer and no more than these."""
LONGER = 4
"""The limit times this is given to the completions whose length is measured, where many are cut off."""
LONG_PROBLEMS, LONG_SAMPLES = 4, 4
PROBE_TOKENS = 16
TRUNCATED = 0.3
"""Axolotl's training_stability guide: below it a run is healthy."""
LEAST_SIGNAL = 0.2
"""Axolotl's guide: under 0.8 of the groups without signal is healthy."""
HARD, HARSH, EASY = 0.10, 0.30, 0.85
"""Share of right completions. Lucy's tree: under 0.10 a hard stop, over 0.85 too easy; azure-skills: over 70 % failing
is too hard."""
FEW = 4
"""Completions of a group below which its size is looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is sampled."""

    num_problems: int = 16
    budget_s: float | None = 10.0
    """None: as long as it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What the untrained model wrote, and what it would be paid."""

    completions_PK: tuple[tuple[Completion, ...], ...]
    rewards_PK: tuple[tuple[float | None, ...], ...]
    correct_PK: tuple[tuple[bool, ...], ...]
    limit: int
    long_lengths: tuple[int, ...]
    """Tokens of a few completions under a limit of `LONGER` x `limit`; empty where few were cut off."""
    seconds: float

    @property
    def flat(self) -> list[Completion]:
        """Every completion."""
        return [one for row in self.completions_PK for one in row]

    def truncated(self) -> float:
        """Give the share that the limit cut off."""
        return sum(one.is_truncated for one in self.flat) / len(self.flat)

    def accuracy(self) -> Estimate:
        """Give the share of right ones with its interval over problems."""
        return mean_share_with_interval([sum(row) / len(row) for row in self.correct_PK])

    def informative(self, group_size: int) -> Estimate:
        """Give the expected share of groups of this size whose rewards are not all equal, with its interval."""
        return mean_share_with_interval([chance_of_signal(row, group_size) for row in self.rewards_PK])


def sample_base(
    recipe: Recipe, policy: "Policy", problems: Sequence[Problem], effort: Effort
) -> tuple[Samples | None, str]:
    """Sample and pay completions of the untrained model; touches no random state.

    Returns:
        None, with the reason, where the budget does not allow even one problem.
    """
    with _kept_random_states():
        return _sample(recipe, policy, problems[: effort.num_problems], effort)


def _sample(
    recipe: Recipe, policy: "Policy", problems: Sequence[Problem], effort: Effort
) -> tuple[Samples | None, str]:
    writer = PromptWriter(section=recipe.prompt, tokenizer=policy.tokenizer)
    requests = [(problem.id, writer.write(problem)) for problem in problems]
    group = min(max(recipe.rollout.group_size, MIN_SAMPLES), MAX_SAMPLES)
    limit = recipe.rollout.max_completion_tokens
    started = time.monotonic()
    if effort.budget_s is not None:
        each = _seconds_of_problem(recipe, policy, requests[:1], group)
        affordable = int((effort.budget_s - (time.monotonic() - started)) / each)
        if affordable < 1:
            return None, (
                f"sampling the untrained model takes about {each:.0f} s a problem here, and {effort.budget_s:g} s are "
                "allowed: razona check RECIPE --samples N samples N problems, however long it takes"
            )
        requests = requests[:affordable]
    completions = _draw(recipe, policy, requests, group, limit, "check")
    problems = problems[: len(requests)]
    rewards, correct = pay_rows(recipe, problems, completions)
    cut = sum(one.is_truncated for row in completions for one in row) / (group * len(requests))
    long: list[int] = []
    if cut > TRUNCATED and not _is_over(effort, started):
        few = _draw(recipe, policy, requests[:LONG_PROBLEMS], LONG_SAMPLES, LONGER * limit, "check long")
        long = [one.num_tokens for row in few for one in row]
    return (
        Samples(
            completions_PK=tuple(map(tuple, completions)),
            rewards_PK=rewards,
            correct_PK=correct,
            limit=limit,
            long_lengths=tuple(long),
            seconds=time.monotonic() - started,
        ),
        "",
    )


def _is_over(effort: Effort, started: float) -> bool:
    return effort.budget_s is not None and time.monotonic() - started > effort.budget_s / 2


def _seconds_of_problem(recipe: Recipe, policy: "Policy", requests: list[tuple[str, str]], group: int) -> float:
    """Estimate a problem's time from its first tokens. Several at once take less each, so this is the most."""
    tokens = min(PROBE_TOKENS, recipe.rollout.max_completion_tokens)
    started = time.monotonic()
    _draw(recipe, policy, requests, group, tokens, "check probe")
    return max(1e-6, (time.monotonic() - started) / tokens * recipe.rollout.max_completion_tokens)


def _draw(
    recipe: Recipe, policy: "Policy", requests: list[tuple[str, str]], samples: int, limit: int, seed: str
) -> list[list[Completion]]:
    from razona.rollout import Sampling, sample

    rollout = recipe.rollout
    positions = getattr(policy.model.config, "max_position_embeddings", None)
    if isinstance(positions, int):
        longest = max(len(ids) for ids in policy.tokenizer([text for _, text in requests])["input_ids"])
        limit = max(1, min(limit, positions - longest))
    return sample(
        policy.model,
        policy.tokenizer,
        requests,
        samples=samples,
        sampling=Sampling(
            max_tokens=limit,
            temperature=rollout.temperature,
            top_p=rollout.top_p,
            top_k=rollout.top_k,
            min_p=rollout.min_p,
        ),
        batch_size=recipe.evaluate.batch_size if rollout.max_slots is None else rollout.max_slots,
        seed=derive_seed(seed, recipe.train.seed),
    )


@contextmanager
def _kept_random_states() -> Iterator[None]:
    """Leave every random state as it was: a run with the check takes the same steps as one without."""
    import numpy as np
    import torch

    plain, arrays = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(plain)
        np.random.set_state(arrays)


def check_samples(recipe: Recipe, samples: Samples) -> Iterator[Finding]:
    """Read what the untrained model wrote."""
    yield from _check_limit(samples)
    count = sum(map(len, samples.rewards_PK))
    pays = {round(one, 9) for row in samples.rewards_PK for one in row if one is not None}
    if len(pays) < 2:
        told = f"all paid {next(iter(pays)):g}" if pays else "all without a verdict"
        yield error(
            "flat-reward",
            f"{count} completions of {len(samples.rewards_PK)} problems by the untrained model are {told}",
            "read some of them (razona eval MODEL), then easier problems, another prompt form, or a reward that tells "
            "right from wrong ({name: correct}); --samples 64 looks at more",
        )
        return
    yield from _check_signal(recipe, samples)


def _check_limit(samples: Samples) -> Iterator[Finding]:
    cut, limit = samples.truncated(), samples.limit
    if cut <= TRUNCATED:
        return
    lengths = samples.long_lengths
    told = f"{cut:.0%} of {len(samples.flat)} completions by the untrained model are cut off at {limit} tokens"
    wanted = LONGER * limit
    if lengths:
        ordered = sorted(lengths)
        wanted = ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))]
        told += (
            f"; with {LONGER * limit} allowed, half of {len(ordered)} have up to {median(ordered):g}, nine in ten "
            f"up to {wanted}{' or more' if wanted >= LONGER * limit else ''}"
        )
    change = f"--set rollout.max_completion_tokens={max(wanted, limit + 1)}"
    if cut > 0.5:
        yield error("limit-below-median", told, change)
    else:
        yield warning("truncation", told, change)


def _check_signal(recipe: Recipe, samples: Samples) -> Iterator[Finding]:
    group = recipe.rollout.group_size
    accuracy, signal = samples.accuracy(), samples.informative(group)
    told = f"{_told(accuracy)} of the untrained model's completions are right (n = {len(samples.correct_PK)} problems)"
    if signal.value < LEAST_SIGNAL:
        yield warning(
            "no-signal",
            f"expected share of groups of {group} with signal: {_told(signal)}; {told}{_published(accuracy)}",
            ", or ".join(["easier problems", f"--set rollout.group_size={2 * group}", *_more_sampling(recipe)]),
        )
    if accuracy.value > EASY:
        yield warning("too-easy", told, "harder problems (data.levels, another data set), or none of this training")
    larger = samples.informative(MIN_SAMPLES)
    if group < FEW and signal.value < larger.value / 2:
        yield warning(
            "group-size",
            f"groups of {group} have signal in {_told(signal)} of cases at this accuracy, groups of {MIN_SAMPLES} "
            f"in {_told(larger)}",
            f"--set rollout.group_size={MIN_SAMPLES}",
        )


def _published(accuracy: Estimate) -> str:
    """Give what published rules say of this accuracy. They do not fire: the demo learns well from 11 %."""
    if accuracy.value < HARD:
        return f" (under {HARD:.0%}: a hard stop by one published rule, too hard by another)"
    return f" (under {HARSH:.0%}: too hard by one published rule)" if accuracy.value < HARSH else ""


def _more_sampling(recipe: Recipe) -> list[str]:
    if recipe.train.sampling == "informative":
        return []
    return ["--set train.sampling=informative, which samples on until it has groups with signal"]


def _told(estimate: Estimate) -> str:
    return f"{estimate.value:.0%} ({estimate.low:.0%} to {estimate.high:.0%})"


def describe(recipe: Recipe, samples: Samples) -> str:
    """Give what the samples show in one line, whether or not a rule was broken."""
    lengths = sorted(one.num_tokens for one in samples.flat)
    group = recipe.rollout.group_size
    return (
        f"untrained model, {len(samples.correct_PK)} problems x {len(samples.correct_PK[0])}, {samples.seconds:.1f} s: "
        f"{_told(samples.accuracy())} right, groups of {group} with signal {_told(samples.informative(group))}, "
        f"{samples.truncated():.0%} cut off, tokens: half up to {median(lengths):g}, longest {lengths[-1]}"
    )
