"""One number a completion from the recipe's components, with a receipt of where it came from."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal, Self

from razona.core.nouns import Outcome, Reward, Verdict
from razona.recipe import RewardComponent, RewardsSection, VerifySection
from razona.recipe.components import check_components, check_soundness, is_user_function, options_of, user_range
from razona.rewards.batch import completion_texts, problem_rows, target_texts, token_counts
from razona.rewards.catalogue import COMPONENTS
from razona.rewards.judge import Judged, Problems, judge_batch, require_sandbox
from razona.rewards.sample import Sample, Value
from razona.rewards.user import call_user_function, load_user_function
from razona.verify import Tags

VERDICT = "verdict"
"""Name of the verdict among the components' seconds."""
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
    function_timeout_s: float | None = None
    """For each function of the person's own and batch; None: any time."""

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
            MachineError: the problems are of kind `code`, and this machine has no sandbox of the kind asked for.
        """
        check_components(components, kind)
        check_soundness(mix, components)
        self.components = tuple(components)
        self.tags = tags
        self.kind = kind
        self.verify = verify or VerifySection()
        require_sandbox(kind, self.verify)
        self.seed = seed
        self.functions = {one.name: load_user_function(one.name) for one in components if is_user_function(one.name)}
        self.receipts: list[Receipt] = []
        self.seconds: dict[str, list[float | None]] = {}
        """Component (and `verdict`) -> seconds for each completion of the latest batch; None where it did not look."""
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
        made = cls(section.components, tags, kind=section.kind, mix=section.mix, verify=section.verify, seed=seed)
        made.function_timeout_s = section.function_timeout_s
        return made

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
        judged = self.judge(completions, target, columns)
        self.receipts = self.receipts_of(judged, completions, target, columns)
        self.log(self.receipts, columns.get("log_metric"), columns.get("log_extra"))
        return [receipt.reward.total for receipt in self.receipts]

    def judge(
        self, completions: Sequence[object], target: Sequence[object] | None, columns: Mapping[str, object]
    ) -> list[Judged]:
        """Give the verdicts alone, which can be found while other completions are still sampled.

        Changes nothing in this object; arguments and errors are those of a call.
        """
        texts, problems = self._problems(completions, target, columns)
        return judge_batch(self.kind, texts, problems, self.verify, self.tags)

    def receipts_of(
        self,
        judged: Sequence[Judged],
        completions: Sequence[object],
        target: Sequence[object] | None,
        columns: Mapping[str, object],
    ) -> list[Receipt]:
        """Weigh a batch whose verdicts are known, and leave in `seconds` how long each component took.

        Args:
            judged: as `judge` gave it for the same batch. The other arguments and the errors are those of a call.
        """
        texts, problems = self._problems(completions, target, columns)
        given = {"completions": completions, **({} if target is None else {"target": target}), **columns}
        self.seconds = {one.name: [] for one in self.components}
        self.seconds[VERDICT] = [one.verdict.seconds for one in judged]
        users = {}
        for one in self.components:
            if one.name in self.functions:
                started = time.perf_counter()
                function = self.functions[one.name]
                users[one.name] = call_user_function(
                    one.name, function, given, len(texts), user_range(one), self.function_timeout_s
                )
                self.seconds[one.name] = [(time.perf_counter() - started) / len(texts)] * len(texts)
        tokens = token_counts(columns.get("completion_ids"), len(texts))
        step = getattr(columns.get("trainer_state"), "global_step", 0)
        samples = [
            Sample(
                text=text,
                target=problems.targets[row],
                tags=self.tags,
                verdict=judged[row].verdict,
                place=f"{self.seed}/{step}/{row}",
                num_tokens=tokens[row],
                tests_passed=judged[row].tests_passed,
                tests_run=judged[row].tests_run,
                row=problems.rows[row],
            )
            for row, text in enumerate(texts)
        ]
        return [
            self._receipt(sample, {name: values[row] for name, values in users.items()})
            for row, sample in enumerate(samples)
        ]

    def _problems(
        self, completions: Sequence[object], target: Sequence[object] | None, columns: Mapping[str, object]
    ) -> tuple[list[str], Problems]:
        texts = completion_texts(completions)
        has_rows = self.kind != "math" or any(one.name == "logic" for one in self.components)
        rows = problem_rows(target, columns, len(texts)) if has_rows else [{}] * len(texts)
        return texts, Problems(targets=target_texts(target, len(texts), self.kind), rows=rows)

    def _receipt(self, sample: Sample, users: Mapping[str, Value]) -> Receipt:
        """Weigh one completion: total = sum of weight x value over the components that apply."""
        if sample.verdict.outcome is Outcome.UNVERIFIED:
            self._note_seconds(self.components, None)
            return Receipt(verdict=sample.verdict, reward=Reward(total=None))
        is_correct = sample.verdict.outcome is Outcome.CORRECT
        entries = []
        for component in self.components:
            found = NOT_PAID
            if component.when == "always" or is_correct:
                found = users.get(component.name) or self._value(component, sample)
            else:
                self._note_seconds([component], None)
            entries.append(Entry(component=component.name, weight=component.weight, value=found.value, why=found.why))
        parts = {entry.component: entry.weight * (entry.value or 0.0) for entry in entries}
        return Receipt(
            verdict=sample.verdict, reward=Reward(total=sum(parts.values()), parts=parts), entries=tuple(entries)
        )

    def _value(self, component: RewardComponent, sample: Sample) -> Value:
        options = options_of(component)
        started = time.perf_counter()
        value = COMPONENTS[component.name](replace(sample, options=options) if options else sample)
        self._note_seconds([component], time.perf_counter() - started)
        return value

    def _note_seconds(self, components: Sequence[RewardComponent], seconds: float | None) -> None:
        for component in components:
            if component.name not in self.functions:  # a person's function is timed by the batch
                self.seconds[component.name].append(seconds)

    def log(self, receipts: Sequence[Receipt], log_metric: object, log_extra: object) -> None:
        """Hand a batch's means and columns to TRL's loggers, where they are given."""
        judged = [receipt for receipt in receipts if receipt.reward.total is not None]
        for component in self.components:
            name = f"reward/{component.name}"
            if callable(log_metric) and judged:
                log_metric(name, sum(receipt.reward.parts[component.name] for receipt in judged) / len(judged))
            if callable(log_extra):
                log_extra(name, [receipt.reward.parts.get(component.name) for receipt in receipts])
        if callable(log_extra):
            log_extra("outcome", [str(receipt.verdict.outcome) for receipt in receipts])
            log_extra("reason", [receipt.verdict.reason for receipt in receipts])


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
