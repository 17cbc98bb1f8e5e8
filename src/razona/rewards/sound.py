"""Rewards in which correctness decides: between 0 and 1 each (`length` between -1 and 0), weighed by the recipe."""

from hashlib import blake2b

from razona.core.errors import DataError
from razona.core.nouns import Outcome
from razona.rewards.sample import Sample, Value
from razona.verify import Tags, read_form

CLOSE = 0.2
"""Relative distance at which `number_close` has fallen to 0."""


def correct(sample: Sample) -> Value:
    """1 if the completion solves the problem (its answer is the target, all tests pass, the puzzle holds), else 0.

    None where the target cannot be read.
    """
    verdict = sample.verdict
    if verdict.outcome is Outcome.UNVERIFIED:
        return Value(None, verdict.reason)
    if verdict.outcome is Outcome.CORRECT:
        return Value(1.0, verdict.reason or (code_tests(sample).why if sample.tests_run else "the answer is right"))
    return Value(0.0, verdict.reason)


def form(sample: Sample) -> Value:
    """1 if the completion has exactly the form the prompt asks for, some working included, else 0."""
    if read_form(sample.text, sample.tags).is_exact:
        return Value(1.0, "the form is the one asked for")
    return Value(0.0, form_fault(sample.text, sample.tags))


def form_fault(text: str, tags: Tags) -> str:
    """Give the first thing that is wrong with the form of a completion whose form is not exact."""
    working, closed, rest = text.partition(tags.working_close)
    if not closed:
        return "the working never ends"
    if not working.strip():
        return "the working is empty"
    for mark in (tags.working_open, tags.solution_open, tags.solution_close):
        if mark in working:
            return f"{mark} stands in the working"
    for mark in (tags.solution_open, tags.solution_close):
        if rest.count(mark) != 1:
            return f"{mark} stands {rest.count(mark)} times after the working, and should once"
    between, _, rest = rest.partition(tags.solution_open)
    answer, _, after = rest.partition(tags.solution_close)
    if between.strip():
        return "text stands between the working and the solution"
    if after.strip():
        return "text stands after the solution"
    return "the solution is empty" if not answer.strip() else "a mark stands where it should not"


def form_partial(sample: Sample) -> Value:
    """The share, in quarters, of what the form needs: each of its three marks once and in order, and some working.

    Does not look at what stands between the marks or after them; `format` does.
    """
    text, tags = sample.text, sample.tags
    faults, last = [], -1
    for mark in (tags.working_close, tags.solution_open, tags.solution_close):
        position = text.find(mark)
        if text.count(mark) != 1:
            faults.append(f"{mark} stands {text.count(mark)} times")
        elif position < last:
            faults.append(f"{mark} stands too early")
        else:
            last = position
    working, closed, _ = text.partition(tags.working_close)
    if not closed or not working.strip():
        faults.append("the working is empty" if closed else "the working never ends")
    return Value(1.0 - len(faults) / 4, "; ".join(faults) or "every mark stands where it should")


def number_close(sample: Sample) -> Value:
    """1 for a right number, falling linearly to 0 at a relative distance of 20 %; 0 for anything but one number.

    It lies wherever nearness means nothing, which is nearly everywhere: a wrong 35 for 34 is still wrong, and gets
    0.85. A policy can learn to guess the size of an answer from it. No recipe of ours uses it.
    """
    if sample.verdict.outcome is Outcome.CORRECT:
        return Value(1.0, "the number is right")
    from razona.verify.maths.exact import exact
    from razona.verify.maths.syntax import LimitError
    from razona.verify.reading import read, read_target

    nodes = read(sample.verdict.answer or "").node, read_target(sample.target).node
    try:
        answer, target = (exact(node) if node is not None else None for node in nodes)
    except (LimitError, ZeroDivisionError):
        return Value(0.0, "the answer or the target is too large a number")
    if answer is None or target is None:
        return Value(0.0, "the answer or the target is no number")
    if target == 0:
        return Value(0.0, "nothing is relatively close to 0")
    distance = abs(answer - target) / abs(target)
    if distance >= CLOSE:
        return Value(0.0, "the number is more than 20 % off")
    return Value(float(1 - distance * 5), f"the number is {float(distance):.1%} off, and wrong")


def code_tests(sample: Sample) -> Value:
    """The share of the tests that pass; 1 only where the verdict is CORRECT.

    Does not tell a test that is close to passing from one that is not, nor an easy test from a hard one.
    """
    if sample.verdict.outcome is Outcome.CORRECT:
        return Value(1.0, f"all {sample.tests_run} tests pass")
    if not sample.tests_run:
        return Value(0.0, sample.verdict.reason)
    passed = min(sample.tests_passed, sample.tests_run - 1)
    return Value(passed / sample.tests_run, f"{passed} of {sample.tests_run} tests pass")


def logic(sample: Sample) -> Value:
    """1 if the completion solves the puzzle that the problem's columns hold; None where they hold none.

    With `rewards.kind: logic` it equals `correct`; it is there for data sets that mix puzzles with other problems.
    """
    from razona.verify.logic import check_logic, read_puzzle

    try:
        puzzle = read_puzzle(sample.row)
    except DataError as error:
        return Value(None, str(error))
    verdict = check_logic(sample.text, puzzle, sample.tags, is_unmarked_allowed=False)
    if verdict.outcome is Outcome.UNVERIFIED:
        return Value(None, verdict.reason)
    is_solved = verdict.outcome is Outcome.CORRECT
    return Value(float(is_solved), verdict.reason or ("the puzzle is solved" if is_solved else "it is not solved"))


def random_number(sample: Sample) -> Value:
    """A number between 0 and 1 that means nothing, drawn anew for every completion: the control run of a benchmark.

    Fixed by its place in the run, not by the text: else the same short answer, written again and again, would be paid
    the same each time, and that is a preference that can be learnt.
    """
    number = int.from_bytes(blake2b(sample.place.encode(), digest_size=4).digest(), "big") / 2**32
    return Value(number, "drawn at random")
