"""The problems of a run: those that it trains on, in their order, and those that its guard measures on."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

import datasets
from transformers import PreTrainedTokenizerBase

from razona.core.errors import DataError
from razona.core.files import write_json
from razona.core.launch import is_main_process
from razona.core.nouns import Problem
from razona.core.rundir import RunDir
from razona.core.seeds import derive_rng
from razona.data import PromptWriter, load_problems
from razona.data.source import TASKS
from razona.evaluate.held_out import generated_slice, hold_out
from razona.recipe import DataSection, Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """What a run reads."""

    dataset: datasets.Dataset
    """A row a group, in the order in which they are trained on."""
    problems: tuple[Problem, ...]
    """Those to train on, each once."""
    held_out: tuple[Problem, ...]
    """The guard's problems; empty where it does not measure."""
    longest_prompt: int
    """Tokens; no prompt of both is longer."""


class HasTokenizer(Protocol):
    """What prompts are written with: a policy, or its tokenizer while the policy is not loaded."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Give the tokenizer."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    """What the source gave, sorted by what becomes of it."""

    problems: Sequence[Problem]
    """All of it."""
    lengths: Sequence[int]
    """Of their prompts, in tokens."""
    longest_allowed: int | None
    """Tokens of a prompt; None: any number."""
    too_long: int
    rows: Sequence[dict[str, str]]
    """Those to train on, as the data set holds them."""
    trained_on: Sequence[Problem]
    """The same as problems."""
    held_out: Sequence[Problem]
    twins: int
    """Problems left out because a held-out one asks the same."""


def prepare_data(recipe: Recipe, policy: HasTokenizer, run: RunDir) -> RunData:
    """Give the run's problems in the order in which they are trained on, a row a group, and write the manifest.

    With `train.sampling: informative` there are more than the steps hold, where the source has them: every round of a
    step takes fresh ones while there are any. A source that holds fewer than the run needs is gone through again, in
    another order each time. The whole order is fixed here, so that a resumed run sees the problems that the
    uninterrupted one would have seen.

    Raises:
        DataError: too few problems are left to train on, or none to measure on.
    """
    groups_per_step = recipe.train.completions_per_step // recipe.rollout.group_size
    wanted = recipe.train.steps * groups_per_step
    has_choice = recipe.train.sampling == "informative"
    count = wanted * recipe.train.sampling_rounds if has_choice else wanted
    if recipe.train.method != "grpo":
        count = max(count, recipe.sft.num_problems)
    writer = PromptWriter(section=recipe.prompt, tokenizer=policy.tokenizer)
    loaded = _load(recipe, writer, count=count, at_least=wanted)
    _check_enough(recipe, loaded, groups_per_step)
    rows = loaded.rows
    order: list[dict[str, str]] = []
    most = min(count, max(wanted, len(rows)))
    while len(order) < most:
        again = list(rows)
        derive_rng("order", recipe.train.seed, len(order)).shuffle(again)
        order += again
    lengths = loaded.lengths
    manifest = {
        "source": recipe.data.source,
        "problems": len(loaded.problems),
        "left_out_as_too_long": loaded.too_long,
        "longest_prompt_allowed": loaded.longest_allowed,
        "held_out_for_guard": len(loaded.held_out),
        "left_out_as_twins_of_held_out": loaded.twins,
        "to_sample_from": min(most, len(rows)),
        "prompt_tokens": {"min": min(lengths), "max": max(lengths), "mean": sum(lengths) / len(lengths)},
        "sha256": sha256(json.dumps(rows, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest(),
    }
    if is_main_process():
        write_json(run.manifest, manifest)
    limit = loaded.longest_allowed
    asked = [writer.write(problem) for problem in loaded.held_out]
    sampled = [length for length in lengths if limit is None or length <= limit]
    return RunData(
        dataset=datasets.Dataset.from_list(order[:most]),
        problems=tuple(loaded.trained_on),
        held_out=tuple(loaded.held_out),
        longest_prompt=max([*sampled, *(writer.count_tokens(asked) if asked else [])]),
    )


def _load(recipe: Recipe, writer: PromptWriter, *, count: int, at_least: int) -> _Loaded:
    """Load the problems and take out those with too long a prompt and those that the guard measures on.

    What is generated is held out by its split; of a file or hub data set `guard.num_problems` are taken away.
    """
    section, guard = recipe.data, recipe.guard
    is_generated = section.source == TASKS
    most = section.max_problems
    if guard.every and not is_generated:  # what is held out must not depend on the seed that cuts the rest
        section = section.model_copy(update={"max_problems": None})
    problems = load_problems(section, count=count, at_least=at_least, seed=recipe.train.seed)
    prompts = [writer.write(problem) for problem in problems]
    lengths = writer.count_tokens(prompts)
    limit = longest_allowed(lengths, section)
    short = [
        (problem, prompt)
        for problem, prompt, length in zip(problems, prompts, lengths, strict=True)
        if limit is None or length <= limit
    ]
    held_out, asked = [], set()
    if guard.every and is_generated:
        held_out = _short_enough(generated_slice(recipe), writer, limit)
    elif guard.every:
        held_out = hold_out([problem for problem, _ in short], guard.num_problems)
        asked = {problem.question for problem in held_out}
    left = [(problem, prompt) for problem, prompt in short if problem.question not in asked]
    rows = [_row(problem, prompt) for problem, prompt in left]
    twins = 0 if is_generated else len(short) - len(rows) - len(held_out)
    return _Loaded(
        problems=problems,
        lengths=lengths,
        longest_allowed=limit,
        too_long=len(problems) - len(short),
        rows=rows[:most],
        trained_on=[problem for problem, _ in left[:most]],
        held_out=held_out,
        twins=twins,
    )


def longest_allowed(lengths: Sequence[int], section: DataSection) -> int | None:
    """Give the most tokens that a prompt may have, so that the longest share of `data.drop_longest` is left out.

    Prompts as long as the longest that stays, stay: of equal lengths none is dropped by chance.
    """
    if not section.drop_longest or not lengths:
        return section.max_prompt_tokens
    kept = max(1, math.ceil((1 - section.drop_longest) * len(lengths)))
    quantile = sorted(lengths)[kept - 1]
    return quantile if section.max_prompt_tokens is None else min(quantile, section.max_prompt_tokens)


def _short_enough(generated: Sequence[Problem], writer: PromptWriter, limit: int | None) -> list[Problem]:
    """Leave out of the guard's problems, too, those with too long a prompt."""
    lengths = writer.count_tokens([writer.write(problem) for problem in generated])
    left = [problem for problem, length in zip(generated, lengths, strict=True) if limit is None or length <= limit]
    if not left:
        raise DataError(
            f"data.max_prompt_tokens = {limit} leaves none of the guard's {len(generated)} problems: their prompts "
            f"have {min(lengths)} tokens and more. Raise data.max_prompt_tokens, or set guard.every: 0."
        )
    return left


def _check_enough(recipe: Recipe, loaded: _Loaded, groups_per_step: int) -> None:
    """Refuse to train on less than a step takes, or on less than was taken away to measure on.

    Raises:
        DataError: too little is left.
    """
    taken = 0 if recipe.data.source == TASKS else len(loaded.held_out) + loaded.twins
    if len(loaded.rows) >= max(groups_per_step, taken):
        return
    reasons, ways = [], ["lower train.completions_per_step"] if len(loaded.rows) < groups_per_step else []
    if loaded.too_long:
        limits = [f"data.max_prompt_tokens = {recipe.data.max_prompt_tokens}"]
        if recipe.data.drop_longest:
            limits.append(f"data.drop_longest = {recipe.data.drop_longest:g}")
        reasons.append(
            f"{loaded.too_long} had prompts of more than {loaded.longest_allowed} tokens ({', '.join(limits)})"
        )
        ways.insert(0, "raise data.max_prompt_tokens or lower data.drop_longest")
    if taken:
        reasons.append(f"{taken} are held out for guard.num_problems = {recipe.guard.num_problems}, with their twins")
        ways.insert(0, "lower guard.num_problems, or set guard.every: 0")
    raise DataError(
        f"data.source = {recipe.data.source}: {len(loaded.rows)} of {len(loaded.problems)} problems are left to train "
        f"on{' (' + '; '.join(reasons) + ')' if reasons else ''}; expected at least {groups_per_step}, which a step "
        f"needs, and no fewer than are held out. What helps: {'; '.join([*ways, 'more problems'])}."
    )


def _row(problem: Problem, prompt: str) -> dict[str, str]:
    return {
        "prompt": prompt,
        "target": problem.target,
        "problem_id": problem.id,
        "family": problem.family,
        "question": problem.question,
        # As text: a table's column cannot hold a list in one row and a text in the next.
        "extra": json.dumps(dict(problem.extra), ensure_ascii=False, default=str) if problem.extra else "",
    }
