"""Measures a base model on a recipe's problems: stored as it goes, gone on with after an interruption."""

import re
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from razona.advise.decision import needs_many_tries
from razona.advise.evidence import BAND, Evidence, share_with_signal
from razona.advise.pay import pay_rows
from razona.core.errors import DataError, RecipeError
from razona.core.nouns import Completion, Outcome, Problem
from razona.core.seeds import derive_seed
from razona.data import PromptWriter, load_problems, tags_of
from razona.data.filters import keep_usable
from razona.data.source import TASKS
from razona.data.targets import unread_reason
from razona.evaluate.compare import gain
from razona.evaluate.evaluation import Evaluation, Judged
from razona.evaluate.named import load_model, source_of
from razona.evaluate.prompts import NUM_EXAMPLES, TRAINING_PROMPT, Asking, other_prompts, prompt_writer, working_of
from razona.evaluate.sampling import judge_of
from razona.evaluate.statistics import difference_with_interval, mean_share_with_interval
from razona.evaluate.stored import Request, evaluate_in, read_sides
from razona.recipe import Recipe
from razona.rewards.judge import settings_of
from razona.verify import Settings

if TYPE_CHECKING:
    from razona.models.load import Policy

BLURTED_SAMPLES, PROMPT_PROBLEMS = 4, 100
"""Samples of a problem without working, and problems on which other prompts are tried."""
MANY, MANY_PROBLEMS = 64, 128
"""Tries of the last measurement, and problems of it (Yue et al., arXiv:2504.13837, go up to 256)."""
BLURTED, BLURTED_TOKENS = "blurted", 64
"""Folder of the answers without working, and their limit: an answer is short."""
PROBE_PROBLEMS = 8
"""Of the first measurement, which tells how fast the machine is."""
Z = 1.96
MAX_WORDS = 6
"""Of a target that a program compares; names, units and choices have fewer (our choice)."""
_WORD, _COMMAND = re.compile(r"[^\W\d_]{2,}"), re.compile(r"\\[A-Za-z]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much may be measured."""

    minutes: float = 5.0
    interval: float = 0.1
    """Half the width that the 95 % interval of pass@1 may have."""

    @property
    def problems(self) -> int:
        """Give the problems that this width takes at worst: 0.25 (1.96 / w)^2, every problem always right or wrong."""
        return ceil(0.25 * (Z / self.interval) ** 2)


class Watcher(Protocol):
    """What is told while the model is measured."""

    def stage(self, title: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Open an evaluation of `total` completions."""
        ...


@dataclass(slots=True, kw_only=True)
class Measuring:
    """A model on the problems of a recipe, in a folder."""

    recipe: Recipe
    out: Path
    problems: Sequence[Problem]
    budget: Budget
    watcher: Watcher
    _policy: "Policy | None" = None

    def policy(self) -> "Policy":
        """Load the model, once.

        Raises:
            ModelError: it cannot be loaded.
        """
        if self._policy is None:
            self._policy = load_model(self.recipe.model.name, self.recipe)
        return self._policy

    def evaluate(
        self, name: str, problems: Sequence[Problem], samples: int, prompt: str = TRAINING_PROMPT
    ) -> Evaluation:
        """Sample problems under a prompt and judge the completions; what is stored already is read.

        Args:
            name: of the folder. `blurted` closes the working before it has begun.
        """
        recipe, total, is_blurted = self.recipe, samples * len(problems), name == BLURTED
        limit = recipe.rollout.max_completion_tokens
        judge = self._judge_blurted if is_blurted else judge_of(recipe)
        request = Request(
            model=recipe.model.name,
            data=recipe.data.source,
            kind=recipe.rewards.kind,
            prompt=f"{prompt}, {name}",
            samples=samples,
            temperature=recipe.rollout.temperature,
            is_greedy_too=False,
            max_tokens=min(BLURTED_TOKENS, limit) if is_blurted else limit,
            batch_size=recipe.evaluate.batch_size,
            seed=derive_seed("advise", recipe.train.seed),
            form={"prompt": recipe.prompt.model_dump(mode="json"), "verify": recipe.rewards.verify.model_dump()},
            source=source_of(recipe.model.name, recipe.model),
        )
        with self.watcher.stage(name, total) as on_batch:
            evaluate_in(
                self.out / name,
                self.policy,
                problems,
                self._write_blurted if is_blurted else lambda policy: self._writer(policy, prompt),
                judge,
                request,
                on_batch,
            )
        sampled = read_sides(self.out / name).sampled
        ours = {problem.id: problem for problem in problems}  # with the columns that are not stored
        return replace(sampled, problems=tuple(ours[one.id] for one in sampled.problems))

    def _writer(self, policy: "Policy", prompt: str) -> Callable[[Problem], str]:
        return prompt_writer(prompt, self.recipe.prompt, self.asking(policy))

    def asking(self, policy: "Policy") -> Asking:
        """Give what other ways to ask may use."""
        return Asking(tokenizer=policy.tokenizer, examples=list(self.problems[: NUM_EXAMPLES + 1]))

    def _opened(self) -> str:
        return f"{self.recipe.prompt.working_close}{self.recipe.prompt.solution_open}"

    def _write_blurted(self, policy: "Policy") -> Callable[[Problem], str]:
        """Close the working before it has begun and open the solution: the answer comes without thought."""
        writer = PromptWriter(section=self.recipe.prompt, tokenizer=policy.tokenizer)
        return lambda problem: writer.write(problem) + self._opened()

    def _judge_blurted(self, completions: Sequence[Completion], problems: Sequence[Problem]) -> list[Judged]:
        whole = [replace(one, text=self._opened() + one.text) for one in completions]
        return judge_of(self.recipe)(whole, problems)


def gather(
    recipe: Recipe,
    out: Path,
    budget: Budget,
    watcher: Watcher,
    inputs_shift: bool | None = None,
    worked_solutions: int | None = None,
) -> Evidence:
    """Measure the recipe's model on its problems.

    Args:
        inputs_shift: the person's word; None: not asked.
        worked_solutions: that the person could get; None: those in the data.

    Raises:
        DataError: no problem is left.
        RecipeError: the budget is too small for the interval asked for.
        ModelError: the model cannot be loaded.
    """
    pool = read_pool(recipe, budget)
    verifiable = share_verifiable(pool) if recipe.rewards.kind == "math" else 1.0
    if verifiable >= 0.5:
        pool = keep_trainable(recipe, pool)
    problems = pool[: budget.problems]
    measuring = Measuring(recipe=recipe, out=out, problems=problems, budget=budget, watcher=watcher)
    samples = max(8, recipe.rollout.group_size)
    if verifiable < 0.5:
        samples, problems = recipe.rollout.group_size, problems[:PROBE_PROBLEMS]  # whatever it writes: nobody can tell
    else:
        check_budget(measuring, samples)
    first = measuring.evaluate(TRAINING_PROMPT, problems, samples)
    found = _read(recipe, first, pool, verifiable, inputs_shift)
    if recipe.rewards.kind == "math":
        found = replace(found, signal_by_chance=signal_by_chance(recipe, first))
    if worked_solutions is not None:
        found = replace(found, worked_solutions=worked_solutions)
    if verifiable < 0.5:
        return found
    blurted = measuring.evaluate(BLURTED, problems, BLURTED_SAMPLES)
    found = replace(found, working_gain=gain(blurted.only([one.id for one in first.problems]), first))
    found = _under_other_prompts(measuring, found, first)
    return _in_many_tries(measuring, found) if needs_many_tries(found) else found


def read_pool(recipe: Recipe, budget: Budget) -> list[Problem]:
    """Give the problems of the recipe's source, in an order of the advice's own.

    Raises:
        DataError: no problem is left.
    """
    seed = derive_seed("advise", recipe.train.seed)
    pool = load_problems(recipe.data, count=budget.problems, at_least=1, seed=seed)
    if not pool:
        raise DataError(
            f"data.source = {recipe.data.source}: no problem is left after the filters of the section `data`; expected "
            "at least one. Loosen data.max_problems, data.max_prompt_tokens or data.levels."
        )
    return pool


def keep_trainable(recipe: Recipe, pool: Sequence[Problem]) -> list[Problem]:
    """Leave out what training leaves out; the prompts' length, which the tokenizer tells, apart.

    Raises:
        DataError: nothing is left, or an evaluation set of `data.not_in` cannot be read.
    """
    settings = settings_of(recipe.rewards.verify, tags_of(recipe.prompt))
    usable = keep_usable(pool, recipe.data, recipe.rewards.kind, settings)
    if not usable.problems:
        told = "; ".join(one.told() for one in usable.left_out if one.count)
        raise DataError(
            f"data.source = {recipe.data.source}: the filters of the section `data` leave none of {len(pool)} "
            f"problems: {told}. razona data inspect shows them."
        )
    return usable.problems


def share_verifiable(problems: Sequence[Problem]) -> float:
    """Give the share of targets that can be read, as training reads them, and are no prose.

    A sentence can be compared letter by letter alone: whoever says the same in other words is judged wrong.
    """
    return sum(is_verifiable(problem.target) for problem in problems) / len(problems)


def is_verifiable(target: str) -> bool:
    """Say whether a program can compare answers with this target.

    >>> is_verifiable("x = 12"), is_verifiable("By induction on the number of edges of the graph.")
    (True, False)
    """
    if len(_WORD.findall(_COMMAND.sub(" ", target))) > MAX_WORDS:
        return False
    return not unread_reason(Problem(id="", question="", target=target), "math", Settings())


def check_budget(measuring: Measuring, samples: int) -> None:
    """Measure a few problems, and refuse where all of them would take longer than the budget.

    Raises:
        RecipeError: the budget is too small.
    """
    problems, budget = measuring.problems, measuring.budget
    measuring.policy()
    started = time.monotonic()
    measuring.evaluate("probe", problems[:PROBE_PROBLEMS], samples)
    seconds = time.monotonic() - started
    rate = PROBE_PROBLEMS * samples / max(seconds, 1e-3)
    total = len(problems) * (samples + BLURTED_SAMPLES) + 5 * min(PROMPT_PROBLEMS, len(problems))
    minutes = total / rate / 60
    if minutes <= budget.minutes:
        return
    raise RecipeError(
        f"--minutes {budget.minutes:g} is too little for --interval {budget.interval:g}: it takes {len(problems)} "
        f"problems and {total:,} completions in all, about {minutes:.1f} minutes at {rate:.1f} completions a second "
        f"(measured). Give --minutes {ceil(minutes)}, or a wider --interval; "
        f"{min(0.5, budget.interval * (minutes / budget.minutes) ** 0.5):.2f} would fit."
    )


def _read(
    recipe: Recipe, first: Evaluation, pool: Sequence[Problem], verifiable: float, inputs_shift: bool | None
) -> Evidence:
    completions = [[one.completion for one in row] for row in first.judged_PK]
    rewards, paid = pay_rows(recipe, first.problems, completions)  # training reads an answer in its place alone
    tokens = sorted(one.completion.num_tokens for one in first.all_judged)
    shares = first.share_P
    return Evidence(
        model=recipe.model.name,
        problems=len(pool),
        is_endless=recipe.data.source == TASKS and recipe.data.max_problems is None,
        verifiable=verifiable,
        worked_solutions=_worked_solutions(recipe, pool),
        group_size=recipe.rollout.group_size,
        num_sampled=len(first.problems),
        samples=first.num_samples,
        paid=mean_share_with_interval([sum(row) / len(row) for row in paid]),
        right=first.pass_at(1),
        right_in_k=first.pass_at(first.num_samples),
        signal=mean_share_with_interval(share_with_signal(rewards, recipe.rollout.group_size)),
        form=first.form_rate(),
        truncated=first.truncation_rate(),
        unverified=first.unverified_rate(),
        above_zero=sum(share > 0 for share in shares) / len(shares),
        perfect=sum(share == 1 for share in shares) / len(shares),
        in_band=sum(BAND[0] <= share <= BAND[1] for share in shares) / len(shares),
        mean_tokens=first.mean_length(),
        tokens_p90=tokens[int(0.9 * (len(tokens) - 1))],
        working_gain=None,
        best_prompt=TRAINING_PROMPT,
        best_prompt_right=first.pass_at(1).value,
        many=0,
        right_in_many=None,
        inputs_shift=inputs_shift,
    )


def _worked_solutions(recipe: Recipe, pool: Sequence[Problem]) -> int:
    """Count the worked solutions that are given. Those of our generators cost nobody anything, and are not counted:
    with them the question would not arise.
    """
    return 0 if recipe.data.source == TASKS else sum(bool(working_of(problem)) for problem in pool)


def _under_other_prompts(measuring: Measuring, found: Evidence, first: Evaluation) -> Evidence:
    """Ask in other ways, once each, on a part of the problems that the training prompt has seen, too."""
    part = list(measuring.problems[:PROMPT_PROBLEMS])
    best, most = TRAINING_PROMPT, first.only([problem.id for problem in part]).pass_at(1).value
    for name in other_prompts(measuring.asking(measuring.policy()), part[0]):
        right = measuring.evaluate(f"prompt-{name}", part, 1, name).pass_at(1).value
        if right > most:
            best, most = name, right
    return replace(found, best_prompt=best, best_prompt_right=most)


def _in_many_tries(measuring: Measuring, found: Evidence) -> Evidence:
    problems = list(measuring.problems[:MANY_PROBLEMS])
    tried = measuring.evaluate("many", problems, MANY, found.best_prompt)
    solved_P = [_has_right(row) for row in tried.judged_PK]
    by_chance_P = [False] * len(solved_P)
    if measuring.recipe.rewards.kind == "math":
        by_chance_P = solved_by_chance(measuring.recipe, tried)
    return replace(
        found,
        many=MANY,
        right_in_many=tried.pass_at(MANY),
        right_by_chance=sum(by_chance_P) / len(by_chance_P),
        beyond_chance=difference_with_interval(
            [float(one) - float(other) for one, other in zip(solved_P, by_chance_P, strict=True)]
        ),
    )


def signal_by_chance(recipe: Recipe, first: Evaluation) -> float:
    """Give the share of groups with signal where each problem's completions are paid by the target of another one.

    A model that knows nothing, and writes small numbers in the form asked for, has groups with signal, too: of the
    damaged models in docs/advise.md three quarters and more are of that kind.
    """
    completions = [[one.completion for one in row] for row in first.judged_PK]
    rewards, _ = pay_rows(recipe, others_of(first.problems), completions)
    shares = share_with_signal(rewards, recipe.rollout.group_size)
    return sum(shares) / len(shares)


def others_of(problems: Sequence[Problem]) -> list[Problem]:
    """Give another problem for each, of the same family where there is one: its target is the kind that is guessed."""
    order = sorted(range(len(problems)), key=lambda place: (problems[place].family, place))
    other_of = dict(zip(order, [*order[1:], order[0]], strict=True))
    return [problems[other_of[place]] for place in range(len(problems))]


def solved_by_chance(recipe: Recipe, tried: Evaluation) -> list[bool]:
    """Say of each problem whether one of its completions is right by another problem's target.

    Answers are small numbers, and in 64 tries even a model that knows nothing hits some.
    """
    judge = judge_of(recipe)
    others = zip(tried.judged_PK, others_of(tried.problems), strict=True)
    return [_has_right(judge([one.completion for one in row], [other] * len(row))) for row, other in others]


def _has_right(judged: Sequence[Judged]) -> bool:
    return any(one.verdict.outcome is Outcome.CORRECT for one in judged)
