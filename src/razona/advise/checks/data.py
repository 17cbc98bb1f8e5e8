"""Rules on the problems: the right columns, targets that can be read, repeats, evaluation sets among them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from razona.advise.checks.finding import Finding, error, named, warning
from razona.core.errors import RewardError
from razona.core.nouns import Outcome, Problem, Verdict
from razona.data import tags_of
from razona.data.inspect import SETTINGS, find_overlap, find_repeats
from razona.data.source import TASKS
from razona.data.targets import is_same_target
from razona.recipe import Recipe
from razona.rewards.judge import Problems, judge_batch

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
NOBODYS_ANSWER = "-7919.25"
"""A number that is no problem's answer."""
NO_ANSWERS = ("n/a", "nan", "null", "tbd", "todo", "unknown")
"""What tables hold where an answer is missing."""
_DIGITS = re.compile(r"\d+")


def check_data(
    recipe: Recipe, problems: Sequence[Problem], against: Mapping[str, Sequence[Problem]], most: int | None = None
) -> Iterator[Finding]:
    """Look through the training problems.

    Args:
        against: name -> evaluation problems that must not be among them.
        most: targets that are read, the first of the problems; None: all.
    """
    if recipe.data.source != TASKS:
        yield from check_size(recipe, problems, "")
        wrong = wrong_column(recipe, problems)
        yield from wrong
        if not wrong:
            yield from check_targets(recipe, problems[:most])
        yield from check_repeats(problems)
    yield from check_overlaps(problems, against)


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
    sample = problems[: 10 * ENOUGH]
    unread = sum(bool(_unread_reasons(recipe, [problem])) for problem in sample)
    if unread > MOST * len(sample):
        return f"{unread} of {len(sample)} targets cannot be read"
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
    """Find targets that no answer can be compared with."""
    try:
        unread = _unread_reasons(recipe, problems)
    except RewardError as refused:  # of kinds code and logic, whose columns are not there
        yield error("wrong-column", str(refused), f"rename the column in the file. {_other_columns(problems[0])}")
        return
    if not unread:
        return
    share = len(unread) / len(problems)
    rows = [f"{name} ({reason})" for name, reason in unread.items()]
    saw = f"{len(unread)} of {len(problems)} targets ({share:.1%}) cannot be read: {named(rows)}"
    report = error if share > MAX_UNREAD else warning
    yield report(
        "unreadable-targets",
        saw,
        "mend or remove these rows (`razona data inspect FILE` lists them), or set rewards.verify to what the targets "
        "need",
    )


def _unread_reasons(recipe: Recipe, problems: Sequence[Problem]) -> dict[str, str]:
    """Give problem id -> why its target, or its tests or puzzle, cannot be used.

    A target that is given as the answer word for word is right without being read. So another answer is tried as well:
    it must be wrong, and where the target cannot be read there is no verdict on it.
    """
    if recipe.rewards.kind != "math":
        judged = _judge(recipe, problems, [""] * len(problems))
        return {
            problem.id: one.reason
            for problem, one in zip(problems, judged, strict=True)
            if one.outcome is Outcome.UNVERIFIED
        }
    own = _judge(recipe, problems, [problem.target for problem in problems])
    other = _judge(recipe, problems, [NOBODYS_ANSWER] * len(problems))
    reasons = {}
    for problem, right, wrong in zip(problems, own, other, strict=True):
        if right.outcome is not Outcome.CORRECT:
            reasons[problem.id] = right.reason or "it is not judged right as its own answer"
        elif wrong.outcome is not Outcome.INCORRECT:
            reasons[problem.id] = wrong.reason or f"{NOBODYS_ANSWER} is judged {wrong.outcome}"
        elif not any(map(str.isalnum, problem.target)) or problem.target.casefold() in NO_ANSWERS:
            reasons[problem.id] = f"{_shown(problem.target)} is no answer"
    return reasons


def _judge(recipe: Recipe, problems: Sequence[Problem], answers: Sequence[str]) -> list[Verdict]:
    tags, section = tags_of(recipe.prompt), recipe.rewards
    truth = Problems(
        targets=[problem.target for problem in problems],
        rows=[{"question": one.question, "target": one.target, **one.extra} for one in problems],
    )
    texts = [f"{tags.solution_open}{answer}{tags.solution_close}" if answer else "" for answer in answers]
    return [one.verdict for one in judge_batch(section.kind, texts, truth, section.verify, tags)]


def check_repeats(problems: Sequence[Problem]) -> Iterator[Finding]:
    """Find repeated questions, and those with two targets."""
    repeats = list(find_repeats(problems))
    if len(repeats) > REPEATED * len(problems):
        yield warning(
            "duplicates",
            f"{len(repeats)} of {len(problems)} questions ({len(repeats) / len(problems):.1%}) repeat an earlier one: "
            f"{named([f'{two.id} = {one.id}' for one, two in repeats])}",
            "remove the repeats (`razona data inspect FILE` names them)",
        )
    against = [
        f"{two.id} ({two.target}) = {one.id} ({one.target})"
        for one, two in repeats
        if not is_same_target(one, two, SETTINGS)
    ]
    if against:
        yield warning(
            "contradictions",
            f"{len(against)} repeated questions have another target than before: {named(against)}",
            "find out which target is right, and remove the other row",
        )


def check_overlaps(problems: Sequence[Problem], against: Mapping[str, Sequence[Problem]]) -> Iterator[Finding]:
    """Find training problems that hold half of an evaluation question."""
    for name, held_out in against.items():
        overlap = find_overlap(problems, held_out)
        if overlap.count:
            yield error(
                "evaluation-in-training",
                f"{overlap.count} of {len(problems)} training problems overlap with {name}: "
                f"{', '.join(overlap.examples)}{' and more' if overlap.count > len(overlap.examples) else ''}",
                f"remove them from the training set (`razona data inspect FILE --against {name}` names them), or "
                "measure on another set",
            )


def _other_columns(problem: Problem) -> str:
    columns = [f"{name} ({_shown(value)})" for name, value in list(problem.extra.items())[:6]]
    return f"The other columns are {', '.join(columns)}" if columns else "There are no other columns"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
