"""Rules on the problems: the right columns, targets that can be read, repeats, evaluation sets among them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from razona.advise.checks.finding import Finding, error, named, warning
from razona.core.nouns import Problem
from razona.data import tags_of
from razona.data.filters import LeftOut, keep_usable
from razona.data.likeness import overlapping, same_question
from razona.data.source import TASKS
from razona.data.targets import is_same_target, unread_reason
from razona.recipe import Recipe
from razona.rewards.judge import settings_of
from razona.verify import Settings

MAX_UNREAD = 0.02
"""Share of targets that may be unreadable before training stops. Ours, without a source."""
MOST = 0.5
"""Share of rows from which on a column, and not a few rows, is wrong."""
ENOUGH = 20
"""Rows below which nothing can be said about a column as a whole."""
PROSE_CHARACTERS = 200
"""Median length from which on targets without a box are texts and no answers. Ours."""
FEW_QUESTIONS = 0.1
"""Share of distinct questions under which the column holds a subject or an instruction. Ours."""
REPEATED = 0.01
"""Share of repeats that is worth a warning. Ours."""
SHOWN_CHARACTERS = 60
OVERLAP = "overlap with "
"""What `razona.data.filters` calls the problems that are in an evaluation set."""
_DIGITS = re.compile(r"\d+")


def check_data(
    recipe: Recipe, problems: Sequence[Problem], against: Mapping[str, Sequence[Problem]], most: int | None = None
) -> tuple[list[Problem], list[Finding]]:
    """Look through the problems of the source, and give those that training may use.

    Args:
        problems: all that were read.
        against: name -> evaluation problems that must not be among them, beside those of `data.not_in`.
        most: targets that are read, the first of the problems; None: all.

    Raises:
        DataError: an evaluation set of `data.not_in` cannot be read.
    """
    is_generated = recipe.data.source == TASKS
    found = [] if is_generated else [*wrong_column(recipe, problems)]
    if found:
        return list(problems), found
    usable = keep_usable(problems, recipe.data, recipe.rewards.kind, _settings(recipe))
    if not is_generated:
        found += check_targets(recipe, problems[:most])
        if recipe.data.duplicates == "keep":
            found += check_repeats(recipe, problems)
        found += check_size(recipe, usable.problems, f" of {len(problems)} that were read")
    found += told_overlaps(usable.left_out)
    found += check_overlaps(usable.problems, against)
    return usable.problems, found


def check_size(recipe: Recipe, problems: Sequence[Problem], because: str) -> Iterator[Finding]:
    """Find too few problems for one step.

    Args:
        because: what became of the others, for the message.
    """
    needed = recipe.train.completions_per_step // recipe.rollout.group_size
    taken = recipe.guard.num_problems if recipe.guard.every and recipe.data.source != TASKS else 0
    left = max(0, len(problems) - taken)
    if left >= needed:
        return
    held = f", after {min(taken, len(problems))} for guard.num_problems" if taken else ""
    fitting = max(1, left) * recipe.rollout.group_size
    ways = [f"--set train.completions_per_step={fitting} (with a train.microbatch_size that divides it)"]
    ways += ["more problems", *(["--set guard.every=0"] if taken else [])]
    yield error(
        "too-few-problems",
        f"{left} problems are left to train on{because}{held}; one step takes {needed}",
        ", or ".join(ways),
    )


def wrong_column(recipe: Recipe, problems: Sequence[Problem]) -> list[Finding]:
    """Find a column of questions or targets that holds something else."""
    if len(problems) < ENOUGH:
        return []
    found = []
    targets = [problem.target for problem in problems]
    reason = _no_answers(recipe, problems)
    if reason:
        found.append(
            error(
                "wrong-column",
                f"data.target_column: {reason}; the first target is {_shown(targets[0])}",
                f"--set data.target_column=NAME. {_other_columns(problems[0])}",
            )
        )
    distinct = len({problem.question for problem in problems})
    if distinct < FEW_QUESTIONS * len(problems):
        found.append(
            error(
                "wrong-column",
                f"data.question_column: {len(problems)} rows hold {distinct} different questions; the first is "
                f"{_shown(problems[0].question)}",
                f"--set data.question_column=NAME. {_other_columns(problems[0])}",
            )
        )
    return found


def _no_answers(recipe: Recipe, problems: Sequence[Problem]) -> str:
    """Give why the targets are no answers; "" where nothing speaks against them."""
    sample = problems[: 10 * ENOUGH]
    unread = _unread(recipe, sample)
    if len(unread) > MOST * len(sample):
        what = "targets" if recipe.rewards.kind == "math" else f"problems of kind {recipe.rewards.kind}"
        return f"{len(unread)} of {len(sample)} {what} cannot be read ({next(iter(unread.values()))})"
    if recipe.rewards.kind != "math":
        return ""
    targets = [problem.target for problem in problems]
    if sum(one.target == one.question for one in problems) > MOST * len(problems):
        return "it is the question's own column"
    if len(set(targets)) == 1:
        return f"all {len(targets)} targets are the same"
    if _are_running_numbers(targets):
        return f"the {len(targets)} targets number the rows, as ids do"
    length = median(len(target) for target in targets)
    if length > PROSE_CHARACTERS and sum("\\boxed" in target for target in targets) < MOST * len(targets):
        return f"half of the targets are texts of {length:.0f} characters and more, without a box around an answer"
    return ""


def _are_running_numbers(targets: Sequence[str]) -> bool:
    skeletons = {_DIGITS.sub("0", target) for target in targets}
    if len(skeletons) != 1 or len(set(targets)) != len(targets):
        return False
    skeleton = skeletons.pop()
    if skeleton.count("0") != 1:
        return False
    numbers = sorted(int(found[0]) for target in targets if (found := _DIGITS.search(target)))
    return numbers == list(range(numbers[0], numbers[0] + len(numbers))) and numbers[0] in (0, 1)


def check_targets(recipe: Recipe, problems: Sequence[Problem]) -> Iterator[Finding]:
    """Find targets that no answer can be compared with, and tests and puzzles that cannot be read."""
    unread = _unread(recipe, problems)
    if not unread:
        return
    share = len(unread) / len(problems)
    rows = [f"{name} ({reason})" for name, reason in unread.items()]
    report = error if share > MAX_UNREAD else warning
    yield report(
        "unreadable-targets",
        f"{len(unread)} of {len(problems)} targets ({share:.1%}) cannot be read: {named(rows)}",
        "mend or remove these rows (`razona data inspect FILE` lists them), or set rewards.verify to what the targets "
        "need",
    )


def _unread(recipe: Recipe, problems: Sequence[Problem]) -> dict[str, str]:
    """Give problem id -> why its target, or its tests or puzzle, cannot be used."""
    settings, kind = _settings(recipe), recipe.rewards.kind
    return {problem.id: reason for problem in problems if (reason := unread_reason(problem, kind, settings))}


def _settings(recipe: Recipe) -> Settings:
    return settings_of(recipe.rewards.verify, tags_of(recipe.prompt))


def check_repeats(recipe: Recipe, problems: Sequence[Problem]) -> Iterator[Finding]:
    """Find repeated questions, and those with two targets, where `data.duplicates` keeps them."""
    first: dict[str, Problem] = {}
    pairs = [(before, one) for one in problems if (before := first.setdefault(same_question(one), one)) is not one]
    if len(pairs) > REPEATED * len(problems):
        yield warning(
            "duplicates",
            f"{len(pairs)} of {len(problems)} questions ({len(pairs) / len(problems):.1%}) repeat an earlier one: "
            f"{named([f'{two.id} = {one.id}' for one, two in pairs])}",
            "--set data.duplicates=drop",
        )
    settings = _settings(recipe)
    against = [
        f"{two.id} ({two.target}) = {one.id} ({one.target})"
        for one, two in pairs
        if recipe.rewards.kind == "math" and not is_same_target(one, two, settings)
    ]
    if against:
        yield warning(
            "contradictions",
            f"{len(against)} repeated questions have another target than before: {named(against)}",
            "--set data.duplicates=drop, which leaves both out, or remove the wrong one",
        )


def told_overlaps(left_out: Sequence[LeftOut]) -> Iterator[Finding]:
    """Find problems that `data.not_in` leaves out."""
    for one in left_out:
        if one.filter.startswith(OVERLAP) and one.count:
            yield warning(
                "evaluation-in-training",
                f"{one.told()}: data.not_in leaves them out",
                "nothing, unless they are many: then the two sets have one source",
            )


def check_overlaps(problems: Sequence[Problem], against: Mapping[str, Sequence[Problem]]) -> Iterator[Finding]:
    """Find training problems that hold half of an evaluation question."""
    for name, held_out in against.items():
        pairs = [f"{problem.id} = {other}" for problem, other in overlapping(problems, held_out)]
        if pairs:
            yield error(
                "evaluation-in-training",
                f"{len(pairs)} of {len(problems)} training problems overlap with {name}: {named(pairs)}",
                f"--set data.not_in=[{name}], which leaves them out, or measure on another set",
            )


def _other_columns(problem: Problem) -> str:
    columns = [f"{name} ({_shown(value)})" for name, value in list(problem.extra.items())[:6]]
    return f"The other columns are {', '.join(columns)}" if columns else "There are no other columns"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
