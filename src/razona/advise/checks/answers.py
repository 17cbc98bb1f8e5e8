"""Rules on the rewards: the data's own targets are paid in full, wrong ones less, and the red team finds nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from razona.advise.checks.data import MAX_UNREAD
from razona.advise.checks.finding import Finding, error, named, warning
from razona.advise.pay import pay
from razona.core.errors import RewardError
from razona.core.nouns import Outcome, Problem
from razona.data import tags_of
from razona.recipe import Recipe
from razona.recipe.components import NEGLIGIBLE, facts_of, is_user_function
from razona.rewards import Mix
from razona.rewards.mix import Receipt
from razona.verify import Tags, extract

NUM_WORKED = 50
"""Targets from which completions are made."""
NOT_OF_THE_ANSWER = ("random", "length", "language")
"""Rewards that do not read the answer, so that a right one says nothing about them."""
WORKING = "I work it out step by step."
NOT_MORE = "it is paid no more than a wrong one"
TIME_CHECKS = ("deadline",)
"""Checks of the red team that a busy machine can fail: they only warn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """A right and a wrong completion of one problem, in the form that the prompt asks for."""

    problem: Problem
    right: str
    wrong: str


def form_asked(recipe: Recipe, shown: str) -> str:
    r"""Say in which form the prompt asks for the answer: `tags`, `boxed`, or `boxed in tags`.

    Args:
        shown: what the model is told besides the question, tags included.
    """
    has_tags = recipe.prompt.solution_open in shown
    if "\\boxed" not in shown:
        return "tags"
    return "boxed in tags" if has_tags else "boxed"


def work_out(recipe: Recipe, problems: Sequence[Problem], shown: str) -> list[Worked]:
    """Make a right and a wrong completion for each problem; those without a wrong answer to give are left out."""
    tags, form = tags_of(recipe.prompt), form_asked(recipe, shown)
    answers = [bare_answer(problem.target, tags) for problem in problems]
    worked = []
    for problem, answer in zip(problems, answers, strict=True):
        wrong = _wrong_answer(answer, answers)
        if wrong is not None:
            right, other = (_write(one, form, tags) for one in (answer, wrong))
            worked.append(Worked(problem=problem, right=right, wrong=other))
    return worked


def bare_answer(target: str, tags: Tags) -> str:
    r"""Give a target as a completion would write it: what stands in its box, or the target itself.

    >>> bare_answer(r"so it is \boxed{34}", Tags())
    '34'
    """
    if "\\boxed" not in target:
        return target
    found = extract(target, tags)
    return found.answers[-1] if found.answers else target


def _wrong_answer(answer: str, others: Sequence[str]) -> str | None:
    """Give the number after this one, or the first answer of another problem that has other words."""
    try:
        return str(Fraction(answer.replace(",", "")) + 1)
    except (ValueError, ZeroDivisionError):
        plain = "".join(answer.split()).casefold()
        return next((other for other in others if "".join(other.split()).casefold() != plain), None)


def _write(answer: str, form: str, tags: Tags) -> str:
    boxed = f"\\boxed{{{answer}}}" if form != "tags" else answer
    block = boxed if form == "boxed" else f"{tags.solution_open}{boxed}{tags.solution_close}"
    return f"{WORKING}{tags.working_close}{block}"


def check_answers(recipe: Recipe, problems: Sequence[Problem], shown: str) -> Iterator[Finding]:
    """Pay worked completions of the data's own targets: the right ones in full, the wrong ones less.

    Does not look at problems of code and logic, whose targets are no answers: `reward-red-team` has its own.
    """
    components = [one for one in recipe.rewards.components if one.name not in NOT_OF_THE_ANSWER]
    if recipe.rewards.kind != "math" or not components:
        return
    worked = work_out(recipe, problems[:NUM_WORKED], shown)
    mix = Mix(components, tags_of(recipe.prompt), kind="math", mix="sum", verify=recipe.rewards.verify)
    right = _pay(mix, worked, [one.right for one in worked])
    wrong = _pay(mix, worked, [one.wrong for one in worked])
    rows = [
        row for row in zip(worked, right, wrong, strict=True) if row[1].verdict.outcome is not Outcome.UNVERIFIED
    ]  # the others are the business of `unreadable-targets`
    if not rows:
        return
    pays = {round(one.reward.total, 9) for _, *both in rows for one in both if one.reward.total is not None}
    if len(pays) == 1:
        yield error(
            "flat-reward",
            f"right and wrong completions of {len(rows)} problems are all paid {pays.pop():g}",
            "add {name: correct} to rewards.components",
        )
    unpaid = [(one, reason) for one, good, bad in rows if (reason := _fault(mix, good, bad))]
    if unpaid and (pays or unpaid[0][1] != NOT_MORE):
        yield _mismatch(recipe, unpaid, len(rows), form_asked(recipe, shown))


def _pay(mix: Mix, worked: Sequence[Worked], texts: Sequence[str]) -> list[Receipt]:
    return pay(mix, [one.problem for one in worked], texts, [1] * len(worked))


def _fault(mix: Mix, right: Receipt, wrong: Receipt) -> str:
    """Give what is wrong with the pay of a right completion; "" where nothing is."""
    for component, entry in zip(mix.components, right.entries, strict=True):
        if not is_user_function(component.name):
            full = facts_of(component).if_correct.high
            if full - (entry.value or 0.0) > NEGLIGIBLE:
                return f"{component.name} gives {entry.value or 0:g} of {full:g} ({entry.why})"
    good, bad = right.reward.total or 0.0, wrong.reward.total or 0.0
    return "" if good > bad else NOT_MORE


def _mismatch(recipe: Recipe, unpaid: Sequence[tuple[Worked, str]], total: int, form: str) -> Finding:
    first, reason = unpaid[0]
    share = len(unpaid) / total
    report = error if share > MAX_UNREAD else warning
    rows = named([one.problem.id for one, _ in unpaid])
    boxed = sum("\\boxed" in one.problem.target for one, _ in unpaid)
    ways = []
    if boxed:
        ways.append(
            "write the targets without \\boxed{} (the answer alone), or pay with {name: correct}, which reads both"
        )
    if form != "tags":
        ways.append(
            f"let prompt.system ask for {recipe.prompt.solution_open}...{recipe.prompt.solution_close} in place of "
            "\\boxed{}"
        )
    if not ways:
        ways.append("pay with {name: correct}, which reads numbers and formulas in any spelling")
    return report(
        "gold-form-mismatch",
        f"{len(unpaid)} of {total} right completions ({share:.0%}), made from the targets in the form that the prompt "
        f"asks for, are not paid in full: {rows}. {first.right!r} for the target {first.problem.target!r}: {reason}",
        "; ".join(ways),
    )


def check_red_team(recipe: Recipe) -> Iterator[Finding]:
    """Attack the rewards with completions whose worth is known."""
    from razona.rewards.redteam import red_team

    if any(component.name == "random" for component in recipe.rewards.components):
        return
    try:
        card = red_team(recipe.rewards, tags_of(recipe.prompt))
    except RewardError as refused:
        yield warning(
            "reward-red-team",
            f"the attacks could not be paid: {refused}",
            "let the function do without the data set's other columns, or see what it pays: razona redteam RECIPE",
        )
        return
    failed = [check for check in card.checks if not check.is_passed]
    if not failed:
        return
    report = warning if all(check.name in TIME_CHECKS for check in failed) else error
    pair = card.worst[0] if card.worst else None
    told = (
        f"; for {pair.problem}, {pair.wrong_text} is paid {pair.wrong_pay:g} and the right {pair.right_text} "
        f"{pair.right_pay:g}"
        if pair
        else ""
    )
    yield report(
        "reward-red-team",
        "; ".join(f"{check.name}: {check.finding}" for check in failed) + told,
        "set rewards.mix: sound with {name: correct} among rewards.components, or, for a baseline whose faults are "
        "known, check.allow: [reward-red-team]",
    )
