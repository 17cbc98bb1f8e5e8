"""One number a completion from the recipe's components, with a receipt of where it came from."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal, Self

from razona.core.nouns import Outcome, Reward, Verdict
from razona.recipe import RewardComponent, RewardsSection, VerifySection
from razona.recipe.components import check_components, check_soundness, is_user_function, options_of, user_range
from razona.rewards.batch import completion_texts, problem_rows, target_texts, token_counts
from razona.rewards.catalogue import COMPONENTS
from razona.rewards.judge import Problems, judge_batch
from razona.rewards.sample import Sample, Value
from razona.rewards.user import call_user_function, load_user_function
from razona.verify import Tags

NOT_PAID = Value(0.0, "only paid to correct completions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a receipt: the part is weight x value."""

    component: str
    weight: float
    value: float | None
    """None where the component could not judge: its part is 0."""
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What one completion was paid, and why."""

    verdict: Verdict
    reward: Reward
    entries: tuple[Entry, ...] = ()
    """One a component, in the recipe's order; none where there is no verdict."""


class Mix:
    """The recipe's components weighed into one TRL-compatible reward function.

    TRL leaves a completion out of its group only if every reward function returns None, so it is given this
    one alone. `receipts` of the same batch are there after each call. It can be pickled, and called from any thread
    that does not share it.

    >>> mix = Mix([RewardComponent(name="correct")], Tags(), mix="sound")
    >>> mix(completions=["<SOLUTION>4</SOLUTION>"], target=["4"])
    [1.0]
    """

    __name__ = "reward"

    def __init__(
        self,
        components: Sequence[RewardComponent],
        tags: Tags,
        *,
        kind: Literal["math", "code", "logic"] = "math",
        mix: Literal["sound", "sum"] = "sum",
        verify: VerifySection | None = None,
        seed: int = 0,
    ) -> None:
        """Load what the components need.

        Args:
            mix: `sound` proves that no wrong completion can be paid as much as a correct one, or refuses.

        Raises:
            RecipeError: a component or option is unknown, a person's function is not there, or the mix is not sound.
        """
        check_components(components, kind)
        check_soundness(mix, components)
        self.components = tuple(components)
        self.tags = tags
        self.kind = kind
        self.verify = verify or VerifySection()
        self.seed = seed
        self.functions = {one.name: load_user_function(one.name) for one in components if is_user_function(one.name)}
        self.receipts: list[Receipt] = []
        if any(one.name == "number_close" for one in components):
            logging.getLogger(__name__).warning(
                "number_close pays for wrong numbers that are near: 35 for 34 is wrong and gets 0.85. "
                "It teaches to guess the size of an answer."
            )

    @classmethod
    def of(cls, section: RewardsSection, tags: Tags, *, seed: int = 0) -> Self:
        """Give the mix that a recipe asks for.

        Raises:
            RecipeError: as the constructor.
        """
        return cls(section.components, tags, kind=section.kind, mix=section.mix, verify=section.verify, seed=seed)

    def __call__(
        self, completions: Sequence[object], target: Sequence[object] | None = None, **columns: object
    ) -> list[float | None]:
        """Score a batch of completions against their problems, in TRL's calling convention.

        Args:
            completions: texts, or conversations whose last message counts.
            target: the truth of each, as text; problems of kind `code` and `logic` need none.
            columns: `completion_ids`, `trainer_state`, `log_metric`, `log_extra` and the data set's other columns.

        Returns:
            One number a completion; None where our side failed.

        Raises:
            RewardError: the columns do not fit the completions, or a person's function broke its contract.
        """
        texts = completion_texts(completions)
        given = {"completions": completions, **({} if target is None else {"target": target}), **columns}
        users = {
            one.name: call_user_function(one.name, self.functions[one.name], given, len(texts), user_range(one))
            for one in self.components
            if one.name in self.functions
        }
        samples = self._samples(texts, target, columns)
        self.receipts = [
            self._receipt(sample, {name: values[row] for name, values in users.items()})
            for row, sample in enumerate(samples)
        ]
        self._log(columns.get("log_metric"), columns.get("log_extra"))
        return [receipt.reward.total for receipt in self.receipts]

    def _samples(
        self, texts: Sequence[str], target: Sequence[object] | None, columns: Mapping[str, object]
    ) -> list[Sample]:
        count = len(texts)
        targets = target_texts(target, count, self.kind)
        has_rows = self.kind != "math" or any(one.name == "logic" for one in self.components)
        rows = problem_rows(target, columns, count) if has_rows else [{}] * count
        judged = judge_batch(self.kind, texts, Problems(targets=targets, rows=rows), self.verify, self.tags)
        tokens = token_counts(columns.get("completion_ids"), count)
        step = getattr(columns.get("trainer_state"), "global_step", 0)
        return [
            Sample(
                text=texts[row],
                target=targets[row],
                tags=self.tags,
                verdict=judged[row].verdict,
                place=f"{self.seed}/{step}/{row}",
                num_tokens=tokens[row],
                tests_passed=judged[row].tests_passed,
                tests_run=judged[row].tests_run,
                row=rows[row],
            )
            for row in range(count)
        ]

    def _receipt(self, sample: Sample, users: Mapping[str, Value]) -> Receipt:
        """Weigh one completion: total = sum of weight x value over the components that apply."""
        if sample.verdict.outcome is Outcome.UNVERIFIED:
            return Receipt(verdict=sample.verdict, reward=Reward(total=None))
        is_correct = sample.verdict.outcome is Outcome.CORRECT
        entries = []
        for component in self.components:
            found = NOT_PAID
            if component.when == "always" or is_correct:
                found = users.get(component.name) or self._value(component, sample)
            entries.append(Entry(component=component.name, weight=component.weight, value=found.value, why=found.why))
        parts = {entry.component: entry.weight * (entry.value or 0.0) for entry in entries}
        return Receipt(
            verdict=sample.verdict, reward=Reward(total=sum(parts.values()), parts=parts), entries=tuple(entries)
        )

    def _value(self, component: RewardComponent, sample: Sample) -> Value:
        options = options_of(component)
        return COMPONENTS[component.name](replace(sample, options=options) if options else sample)

    def _log(self, log_metric: object, log_extra: object) -> None:
        """Hand means and columns to TRL's loggers, where it gave them."""
        judged = [receipt for receipt in self.receipts if receipt.reward.total is not None]
        for component in self.components:
            name = f"reward/{component.name}"
            if callable(log_metric) and judged:
                log_metric(name, sum(receipt.reward.parts[component.name] for receipt in judged) / len(judged))
            if callable(log_extra):
                log_extra(name, [receipt.reward.parts.get(component.name) for receipt in self.receipts])
        if callable(log_extra):
            log_extra("outcome", [str(receipt.verdict.outcome) for receipt in self.receipts])
            log_extra("reason", [receipt.verdict.reason for receipt in self.receipts])


def parts_row(receipt: Receipt) -> Mapping[str, object]:
    """Give the receipt as the columns that are stored beside a completion."""
    return {
        "outcome": str(receipt.verdict.outcome),
        "answer": receipt.verdict.answer,
        "reason": receipt.verdict.reason,
        "reward": receipt.reward.total,
        "parts": dict(receipt.reward.parts),
        "receipt": [asdict(entry) for entry in receipt.entries],
    }
