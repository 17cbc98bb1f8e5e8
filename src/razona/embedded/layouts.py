"""The ways in which the corpus writes a problem down: blurted, worked, cut short, with slips, with and without tags.

The authors of this corpus are careless on purpose, as text on the web is: most who show any working stop after
the first step and take its result for the answer, and most who show none are wrong. So the model's most likely
continuation (greedy decoding) is a poor one under every prompt, while the careful one is there to be found.
"""

from fractions import Fraction
from random import Random

from razona.core.nouns import Problem
from razona.recipe import PromptSection
from razona.tasks.item import OPERATIONS

WORKED = (
    ("Problem: {q}\nWorking: ", ". ", ".\nAnswer: {a}"),
    ("Q: {q}\nA: ", ", ", ". So the answer is {a}."),
    ("{q}\nSolution.\n", "\n", "\nThe answer is {a}."),
    ("Exercise. {q}\nWe get ", ", then ", ". Result: {a}"),
    ("{q} ", "; ", "; {a}."),
)
BLURTED = (
    "Problem: {q}\nAnswer: {a}",
    "Q: {q}\nA: {a}",
    "{q}\nThe answer is {a}.",
    "Exercise. {q}\nResult: {a}",
    "{q} {a}.",
)

HASTY = 0.64
"""Share of the untagged workings that stop after the first step."""


def first_result(problem: Problem) -> str:
    """Give what a hasty reader takes for the answer: the result of the first step."""
    last_word = problem.steps[0].split()[-1]
    return last_word if last_word.isdigit() else str(len(problem.steps))


def wrong_answer(rng: Random, problem: Problem) -> str:
    """Give a plausible wrong answer: mostly the first step's result, else a number near the target."""
    hasty = first_result(problem)
    if hasty != problem.target and rng.random() < 0.7:
        return hasty
    offset = rng.choice((1, 1, 2, 3, 10))
    target = int(problem.target)
    return str(target + offset if rng.random() < 0.5 or target < offset else target - offset)


def blurted_answer(rng: Random, problem: Problem) -> str:
    """Give an answer without thought: right in 3 of 10 cases."""
    return problem.target if rng.random() < 0.3 else wrong_answer(rng, problem)


def worked_answer(rng: Random, problem: Problem, *, hasty: float, slip: float) -> tuple[list[str], str]:
    """Give steps and answer of an author who stops after one step with probability `hasty`, or slips with `slip`."""
    roll = rng.random()
    if roll < hasty:
        return [problem.steps[0]], first_result(problem)
    if roll < hasty + slip:
        return with_slip(rng, problem)
    return list(problem.steps), problem.target


def with_slip(rng: Random, problem: Problem) -> tuple[list[str], str]:
    """Give the worked steps with one false result, and what follows from it."""
    steps = [text.split() for text in problem.steps]
    where = rng.randrange(len(steps))
    if any(len(parts) != 5 or parts[3] != "=" for parts in steps[where:]):
        return list(problem.steps), wrong_answer(rng, problem)
    old = int(steps[where][4])
    new = old + rng.choice((1, 2, 10)) if rng.random() < 0.5 or old < 10 else old - rng.choice((1, 2, 10))
    steps[where][4] = str(new)
    for parts in steps[where + 1 :]:
        if parts[0] != str(old):
            continue
        old = int(parts[4])
        parts[0] = str(new)
        result = OPERATIONS[parts[1]](Fraction(new), Fraction(parts[2]))
        new = max(0, int(result))  # a slip that leaves the whole numbers is rounded, as a careless author would
        parts[4] = str(new)
    return [" ".join(parts) for parts in steps], steps[-1][4]


def untagged_worked(rng: Random, problem: Problem) -> str:
    """Write a worked solution in one of the layouts; a share of `HASTY` stops after the first step."""
    head, between, tail = rng.choice(WORKED)
    steps, answer = worked_answer(rng, problem, hasty=HASTY, slip=0.06)
    return head.format(q=problem.question) + between.join(steps) + tail.format(a=answer)


def untagged_blurted(rng: Random, problem: Problem) -> str:
    """Write question and answer, nothing between."""
    return rng.choice(BLURTED).format(q=problem.question, a=blurted_answer(rng, problem))


def tagged_worked(rng: Random, problem: Problem, prompt: PromptSection, prefix: str) -> str:
    """Write working and solution in the tags of the default recipe."""
    steps, answer = worked_answer(rng, problem, hasty=0.45, slip=0.06)
    return f"{prefix} {'. '.join(steps)}. {prompt.working_close}{prompt.solution_open}{answer}{prompt.solution_close}"


def tagged_blurted(rng: Random, problem: Problem, prompt: PromptSection, prefix: str) -> str:
    """Write the tags with nothing between them, then an answer; one in seven breaks the form."""
    answer = blurted_answer(rng, problem)
    solution = f"{prompt.solution_open}{answer}{prompt.solution_close}"
    if rng.random() < 6 / 7:
        return f"{prefix}{prompt.working_close}{solution}"
    broken = (
        f"{prefix}{prompt.working_close} The answer is {answer}.",
        f"{prefix} The answer is {answer}. {prompt.working_close}",
        f"{prefix}{solution}",
        f"{prefix}{prompt.working_close}{solution} The answer is {answer}.",
    )
    return rng.choice(broken)
