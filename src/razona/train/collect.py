"""A step's completions: groups sampled, verdicts found meanwhile, the groups worth training on kept."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from transformers import PreTrainedTokenizerBase

from razona.core.activity import in_stage
from razona.core.errors import RewardError
from razona.rewards import Mix, Receipt
from razona.rewards.judge import Judged
from razona.rollout import OnFinished, Sampled
from razona.train.problems import ProblemQueue, has_signal

Row = Mapping[str, object]
"""A problem as the data set holds it, its prompt included."""
Generate = Callable[[list[list[int]], int, OnFinished], list[Sampled]]
"""(prompt ids, one entry a completion; number of the sampling round; who is told of finished rows) -> completions."""
LEAST_SHARE = 0.25
"""A further round expects at least this share of its groups to have signal: it samples at most four for one missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """All completions of one problem."""

    problem: Row
    sampled: Sequence[Sampled]
    texts: Sequence[str]
    receipts: Sequence[Receipt]
    extras: Mapping[str, Sequence[object]]
    """Columns that a person's reward functions logged, one entry a completion."""
    round: int
    """In which sampling round of its step, from 0."""

    @property
    def is_informative(self) -> bool:
        """Whether its rewards are not all equal."""
        return has_signal(one.reward.total for one in self.receipts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """From what, and how hard, to look for groups with signal."""

    rows: Sequence[Row]
    """This process's problems, each once."""
    max_rounds: int
    """Sampling rounds of a step, at most."""
    resample_below: float
    """A first round with this share of groups with signal is enough; once a step samples again, all are to have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What one step sampled."""

    groups: Sequence[Group]
    """All of them, in the order in which they were sampled."""
    trained: Sequence[int]
    """Places of those that the step trains on."""
    seconds: Mapping[str, Sequence[float | None]]
    """Reward component (and `verdict`) -> seconds for each completion, in the groups' order; None: not looked at."""
    sampling_s: float
    scoring_wait_s: float
    """Seconds for which sampling had ended and scoring had not."""

    @property
    def chosen(self) -> list[Group]:
        """The groups that the step trains on."""
        return [self.groups[place] for place in self.trained]


@dataclass(slots=True)
class _Extras:
    """Takes what a person's reward function logs for a batch of completions."""

    count: int
    columns: dict[str, list[object]] = field(default_factory=dict)

    def __call__(self, column: str, values: Sequence[object]) -> None:
        if len(values) != self.count:
            raise RewardError(
                f"log_extra({column!r}, ...) got {len(values)} values for {self.count} completions; one each is needed"
            )
        self.columns[column] = list(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """Samples and scores groups."""

    tokenizer: PreTrainedTokenizerBase
    mix: Mix
    group_size: int
    generate: Generate
    columns: Mapping[str, object]
    """What TRL passes to reward functions beside the data set's columns: `trainer_state`, `log_metric`."""

    def collect(self, problems: Sequence[Row]) -> Collected:
        """Sample one group of each problem and train on all of them."""
        timing = _Timing()
        groups = self._sample(problems, 0, timing)
        return timing.collected(groups, range(len(groups)))

    def collect_informative(self, choice: Choice, queue: ProblemQueue, *, wanted: int) -> Collected:
        """Sample until `wanted` groups have signal, or the rounds are over (DAPO, arXiv:2503.14476).

        Where they do not suffice, the groups sampled first fill the step up; they are flat and change no weight.

        Args:
            queue: of the choice's rows.
        """
        timing = _Timing()
        groups: list[Group] = []
        for number in range(choice.max_rounds):
            found = sum(group.is_informative for group in groups)
            if found >= (choice.resample_below * wanted if number == 1 else wanted):
                break
            share = max(LEAST_SHARE, found / len(groups)) if groups else 1.0
            taken = queue.take(min(wanted, math.ceil((wanted - found) / share)))
            fresh = self._sample([choice.rows[index] for index in taken], number, timing)
            for index, group in zip(taken, fresh, strict=True):
                queue.note(index, is_informative=group.is_informative)
            groups += fresh
        informative = [place for place, group in enumerate(groups) if group.is_informative]
        flat = [place for place, group in enumerate(groups) if not group.is_informative]
        return timing.collected(groups, sorted((informative + flat)[:wanted]))

    def _sample(self, problems: Sequence[Row], number: int, timing: "_Timing") -> list[Group]:
        rows = [problem for problem in problems for _ in range(self.group_size)]
        prompts = self.tokenizer([str(row["prompt"]) for row in problems], add_special_tokens=False)["input_ids"]
        assert isinstance(prompts, list)
        prompt_ids = [ids for ids in prompts for _ in range(self.group_size)]
        started = time.perf_counter()
        with _VerdictsAhead(self, rows) as ahead:
            sampled = self.generate(prompt_ids, number, ahead.take)
            sampled_at = time.perf_counter()
            with in_stage("scoring"):
                texts, judged = ahead.results()
        timing.sampling_s += sampled_at - started
        timing.scoring_wait_s += time.perf_counter() - sampled_at
        extras = _Extras(len(rows))
        columns = {
            **_columns_of(rows),
            **self.columns,
            "prompts": [row["prompt"] for row in rows],
            "completion_ids": [one.ids for one in sampled],
            "log_extra": extras,
        }
        try:
            with in_stage("scoring"):
                receipts = self.mix.receipts_of(judged, texts, _target_of(rows), columns)
        except RewardError as error:
            error.batch = [{**row, "completion": text} for row, text in zip(rows, texts, strict=True)]
            raise
        timing.add(self.mix.seconds)
        return [
            Group(
                problem=problem,
                sampled=sampled[part],
                texts=texts[part],
                receipts=receipts[part],
                extras={name: values[part] for name, values in extras.columns.items()},
                round=number,
            )
            for place, problem in enumerate(problems)
            for part in [slice(place * self.group_size, (place + 1) * self.group_size)]
        ]


class _VerdictsAhead:
    """Finds verdicts in a thread while other rows are still sampled.

    The thread does the cheap part; what costs time (running code, symbolic mathematics) happens in the processes that
    the verifiers start.
    """

    def __init__(self, collector: Collector, rows: Sequence[Row]) -> None:
        self._mix, self._tokenizer, self._rows = collector.mix, collector.tokenizer, rows
        self._found: list[Future[list[tuple[int, str, Judged]]]] = []

    def __enter__(self) -> "_VerdictsAhead":
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="verdicts")
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def take(self, places: list[int], ids: list[list[int]]) -> None:
        """Start on rows that are done."""
        if places:
            self._found.append(self._thread.submit(self._judge, places, ids))

    def _judge(self, places: list[int], ids: list[list[int]]) -> list[tuple[int, str, Judged]]:
        texts = self._tokenizer.batch_decode(ids, skip_special_tokens=True)
        rows = [self._rows[place] for place in places]
        judged = self._mix.judge(texts, _target_of(rows), _columns_of(rows))
        return list(zip(places, texts, judged, strict=True))

    def results(self) -> tuple[list[str], list[Judged]]:
        """Give texts and verdicts in the order of the rows, when all are there."""
        by_place = {place: (text, one) for future in self._found for place, text, one in future.result()}
        ordered = [by_place[place] for place in range(len(self._rows))]
        return [text for text, _ in ordered], [one for _, one in ordered]


class _Timing:
    """Adds up what the rounds of a step took."""

    def __init__(self) -> None:
        self.sampling_s = self.scoring_wait_s = 0.0
        self._seconds: dict[str, list[float | None]] = defaultdict(list)

    def add(self, seconds: Mapping[str, Sequence[float | None]]) -> None:
        for name, values in seconds.items():
            self._seconds[name] += values

    def collected(self, groups: Sequence[Group], trained: Sequence[int]) -> Collected:
        return Collected(
            groups=groups,
            trained=list(trained),
            seconds=self._seconds,
            sampling_s=self.sampling_s,
            scoring_wait_s=self.scoring_wait_s,
        )


def _columns_of(rows: Sequence[Row]) -> dict[str, list[object]]:
    """Give the data set's columns as TRL passes them: all but the prompt; `target` goes by itself."""
    return {name: [row[name] for row in rows] for name in rows[0] if name not in ("prompt", "target")}


def _target_of(rows: Sequence[Row]) -> list[object]:
    return [row["target"] for row in rows]
