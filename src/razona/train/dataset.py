"""The problems of a run: those that it trains on, in their order, and those that its guard measures on."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import datasets
from transformers import PreTrainedTokenizerBase

from razona.core.errors import DataError
from razona.core.files import write_json
from razona.core.launch import is_main_process
from razona.core.nouns import Problem
from razona.core.rundir import RunDir
from razona.core.seeds import derive_rng
from razona.core.terminal import say
from razona.data import PromptWriter
from razona.data.source import TASKS
from razona.recipe import Recipe
from razona.train.selection import Asked, num_problems, select

ROOM = 64
"""Tokens by which a generated problem of the check may be longer than all of the run's: it draws its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """What a run reads."""

    dataset: datasets.Dataset
    """A row a group, in the order in which they are trained on."""
    problems: tuple[Problem, ...]
    """Those to train on, each once."""
    held_out: tuple[Problem, ...]
    """The guard's problems; empty where it does not measure."""
    sha256: str
    """Of the problems to train on; must be the same in every process of a run."""
    longest_prompt: int
    """Tokens of the longest prompt among both."""
    longest_read: int
    """Tokens of the longest prompt, those among them that were left out for their length; with `ROOM` where problems
    are generated."""


class HasTokenizer(Protocol):
    """What prompts are written with: a policy, or its tokenizer while the policy is not loaded."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Give the tokenizer."""
        ...


def prepare_data(recipe: Recipe, policy: HasTokenizer, run: RunDir) -> RunData:
    """Give the run's problems in the order in which they are trained on, a row a group, and write the manifest.

    With `train.sampling: informative` there are more than the steps hold, where the source has them: every round of a
    step takes fresh ones while there are any. A source that holds fewer than the run needs is gone through again, in
    another order each time. The whole order is fixed here, so that a resumed run sees the problems that the
    uninterrupted one would have seen.

    Raises:
        DataError: too few problems are left to train on, or none to measure on.
    """
    wanted, count = num_problems(recipe)
    selection = select(recipe, policy.tokenizer)
    rows = [_row(one) for one in selection.to_train_on]
    order: list[dict[str, str]] = []
    most = min(count, max(wanted, len(rows)))
    while len(order) < most:
        again = list(rows)
        derive_rng("order", recipe.train.seed, len(order)).shuffle(again)
        order += again
    manifest = {"source": recipe.data.source, **selection.manifest(), "to_sample_from": min(most, len(rows))}
    if is_main_process():
        refuse_other_data(run, manifest)
        write_json(run.manifest, manifest)
        if told := selection.told():
            say(f"razona: data: {told} {run.manifest} names them all.", to_stderr=True)
    lengths, limit = selection.lengths, selection.longest_allowed
    writer = PromptWriter(section=recipe.prompt, tokenizer=policy.tokenizer)
    held_out = [writer.write(problem) for problem in selection.held_out]
    measured = writer.count_tokens(held_out) if held_out else []
    return RunData(
        dataset=datasets.Dataset.from_list(order[:most]),
        problems=tuple(one.problem for one in selection.to_train_on),
        held_out=tuple(selection.held_out),
        sha256=str(manifest["sha256_kept"]),
        longest_prompt=max([*(length for length in lengths if limit is None or length <= limit), *measured]),
        longest_read=max([*lengths, *measured]) + (ROOM if recipe.data.source == TASKS else 0),
    )


def refuse_other_data(run: RunDir, manifest: Mapping[str, object]) -> None:
    """Refuse to go on from a checkpoint with other problems than those that its steps were taken with.

    Raises:
        DataError: the source has changed since the run began.
    """
    if run.last_checkpoint() is None or not run.manifest.exists():
        return
    began_with = json.loads(run.manifest.read_text(encoding="utf-8"))
    for name, what in (("sha256_read", "what was read"), ("sha256_kept", "what is trained on")):
        before, now = began_with.get(name), manifest[name]
        if before not in (None, now):
            raise DataError(
                f"--resume: data.source = {manifest['source']} has changed since the run began: {what} had sha256 "
                f"{before} ({began_with['problems']} problems read) and has {now} now ({manifest['problems']}). Put it "
                "back as it was, or begin a new run with another --out."
            )


def _row(asked: Asked) -> dict[str, str]:
    problem = asked.problem
    return {
        "prompt": asked.prompt,
        "target": problem.target,
        "problem_id": problem.id,
        "family": problem.family,
        "question": problem.question,
        # As text: a table's column cannot hold a list in one row and a text in the next.
        "extra": json.dumps(dict(problem.extra), ensure_ascii=False, default=str) if problem.extra else "",
    }
