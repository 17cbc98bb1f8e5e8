"""`check`: is a completion's answer the target?"""

import re
import time
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

from razona.core.nouns import Outcome, Verdict
from razona.verify.extraction import Found, extract
from razona.verify.maths.chains import contradicts_itself, is_unfinished, last_member
from razona.verify.maths.compare import equal
from razona.verify.maths.exact import exact
from razona.verify.maths.signs import expand_signs
from razona.verify.maths.syntax import LimitError, Node, changed, is_bare_list, number
from razona.verify.reading import Reading, read, read_target
from razona.verify.settings import MAX_ANSWER_CHARACTERS, MAX_COMPLETION_CHARACTERS, Settings
from razona.verify.units import conversion
from razona.verify.words import choice, chosen, clock_minutes, has_half_of_day, is_date, means_nothing, same_words

DEFAULT = Settings()
_LEAST_S = 0.01
"""A comparison for which no time is left gets this much, and is refused when it is over."""
_DECIMAL_COMMA = re.compile(r"^([-+]?(?:\\dollar )?)([0-9]{1,9}),([0-9]+)(\s*(?:\\dollar)?)$")
_PLAIN = re.compile(r"[+-]?[0-9]{1,300}(?:\.[0-9]{1,300})?")
_TARGET_SAYS = re.compile(r"^(?:the )?(?:final )?answer is:?\s+(.{1,200})$", re.IGNORECASE)
_PERCENT_FOLLOWS = re.compile(r"^[\s$]*(?:\\?%|percent(?:age)?\b|pct\b)", re.IGNORECASE)
_SPEAKS_AGAINST = re.compile(r"\d|\b(?:wrong|incorrect|false|not|never)\b|n't\b", re.IGNORECASE)
_LABEL = re.compile(r"\\text\s*\{\s*\(?[A-J][).:]+\s*\}\s*(?=\S)|\([A-J]\)\s+(?=\S)|\(?[A-J]\)?[.:)]\s+(?=\S)")
"""The letter of a choice in front of its text, `(B) 12`."""
_SAYS = re.compile(
    r"(?:answer|result|solution|value|total|sum|product|probability|area)[^=:\d\\]{0,40}?(?:\bis\b|=|:)\s*(\S.*)$",
    re.IGNORECASE | re.DOTALL,
)


def check(completion: str, target: str, settings: Settings = DEFAULT) -> Verdict:
    r"""Say whether the answer of a completion is the target. Never raises on any text, from any thread.

    Args:
        completion: what the model wrote, all of it; `settings` says where its answer may stand.
        target: the truth, as data sets write it: `34`, `\frac{1}{2}`, `$x = 5$`, `\boxed{(1, 2)}`, `(C)`.

    Returns:
        CORRECT; INCORRECT, also where the completion exceeds a limit or hedges; NO_ANSWER, where nothing is given as
        one; UNVERIFIED only where the target is empty, or beyond our limits or our parser.

    >>> check("so it is \\boxed{0.5}", r"\frac{1}{2}").outcome
    <Outcome.CORRECT: 'correct'>
    """
    started = time.perf_counter()
    outcome, answer, reason = (_remembered if settings.is_remembered else judge)(completion, target, settings)
    return Verdict(outcome=outcome, answer=answer, reason=reason, seconds=time.perf_counter() - started)


def judge(completion: str, target: str, settings: Settings) -> tuple[Outcome, str | None, str]:
    """Give outcome, answer and reason; `check` adds the time."""
    if len(completion) > MAX_COMPLETION_CHARACTERS:
        return Outcome.INCORRECT, None, f"the completion is longer than {MAX_COMPLETION_CHARACTERS:,} characters"
    if not target.strip():
        return Outcome.UNVERIFIED, None, "the target is empty"
    found = extract(completion, settings.tags, is_unmarked_allowed=settings.is_unmarked_allowed)
    if not found.answers:
        is_taken_back = "denied" in found.reason or "supposed" in found.reason
        return Outcome.INCORRECT if is_taken_back else Outcome.NO_ANSWER, None, found.reason
    answer = found.answers[0] if len(found.answers) == 1 else ", ".join(found.answers)
    if len(answer) > MAX_ANSWER_CHARACTERS:
        return Outcome.INCORRECT, None, f"the answer is longer than {MAX_ANSWER_CHARACTERS:,} characters"
    if found.following:
        found = Found(answers=_with_percent(found), place=found.place)
    try:
        is_equal, reason = _compare(found, _target_texts(target), settings)
    except LimitError as error:
        return Outcome.INCORRECT, answer, str(error)
    except _TargetError as error:
        return Outcome.UNVERIFIED, answer, str(error)
    except RecursionError:
        return Outcome.INCORRECT, answer, "the answer is nested too deep"
    if is_equal:
        return Outcome.CORRECT, answer, ""
    return Outcome.INCORRECT, answer, reason or f"{_short(answer)} is not {_short(target)}"


_remembered = lru_cache(maxsize=4_096)(judge)
"""`judge`, by content: evaluation, rewards and the red team ask for the same verdicts again."""


class _TargetError(ValueError):
    """The target is beyond our limits."""


def _with_percent(found: Found) -> tuple[str, ...]:
    """Give the answers, the last one with a percent sign that stands right after it; each only once."""
    answers = found.answers
    if answers and found.following and _PERCENT_FOLLOWS.match(found.following) and "%" not in answers[-1]:
        answers = (*answers[:-1], answers[-1] + "%")
    return tuple(dict.fromkeys(answers))


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


@lru_cache(maxsize=65_536)
def _target_texts(target: str) -> tuple[str, ...]:
    """Give the texts a target consists of: itself, or what a worked solution that stands for it gives in boxes."""
    if _PLAIN.fullmatch(target):
        return (target,)
    says = _TARGET_SAYS.match(target)
    if says:
        return (says[1],)
    if "\\boxed" in target or "\\fbox" in target or "####" in target:
        plain = target.replace("\\\\boxed", "\\boxed").replace("\\n", "\n")
        answers = _with_percent(extract(plain, DEFAULT.tags))
        if answers:
            return answers
        if plain.count("\\boxed{") == 1 and plain.rstrip().count("}") < plain.count("{"):  # a box that was cut off
            return (plain.partition("\\boxed{")[2],)
    is_prose = len(target) > 100 and len(re.findall(r"(?<![\\{_^A-Za-z])[A-Za-z]{3,}", target)) > 12
    if is_prose or ("$" in target and re.search(r"\$[^$]*\$\s*(?:and|or|,)", target)):
        answers = _with_percent(extract(target, DEFAULT.tags, is_unmarked_allowed=True))
        if answers:
            return answers
    return (target.strip(),)


def _compare(found: Found, targets: tuple[str, ...], settings: Settings) -> tuple[bool, str]:
    if len(found.answers) == 1 and len(targets) == 1:
        return _compare_one(found.answers[0], targets[0], settings, is_marked=found.place != "unmarked")
    if len(targets) == 1:
        began = time.monotonic()
        if all(
            _compare_one(text, targets[0], _with_time_left(settings, began), is_marked=True)[0]
            for text in found.answers
        ):
            return True, ""
        if _is_single(read_target(targets[0])):
            return False, f"a hedge: {len(found.answers)} answers are given for a target with one value"
    answer, target = _joined(found.answers, is_target=False), _joined(targets, is_target=True)
    if answer is None or target is None:
        return False, ""
    return equal(target, answer, settings), ""


def _with_time_left(settings: Settings, began: float) -> Settings:
    """Give what is left of the worker's time for a verdict that may ask it more than once."""
    left_s = settings.deadline_s - (time.monotonic() - began)
    return settings if left_s > 0.99 * settings.deadline_s else replace(settings, deadline_s=max(left_s, _LEAST_S))


def _is_single(reading: Reading) -> bool:
    return reading.node is None or expand_signs(reading.node).kind not in ("list", "matrix", "relation")


def _joined(texts: tuple[str, ...], *, is_target: bool) -> Node | None:
    """Give several answers as one list; a list among them gives its entries."""
    nodes: list[Node] = []
    for text in texts:
        reading = (read_target if is_target else read)(text, is_list_expected=True)
        if reading.limit:
            raise _TargetError(reading.limit) if is_target else LimitError(reading.limit)
        if reading.node is None:
            return None
        node = reading.node
        nodes += node.parts if is_bare_list(node) else [node]
    return nodes[0] if len(nodes) == 1 else Node("list", "", tuple(nodes))


def _compare_one(answer: str, target: str, settings: Settings, *, is_marked: bool) -> tuple[bool, str]:
    if answer == target:
        return True, ""
    if settings.tolerance is None and _PLAIN.fullmatch(target) and _PLAIN.fullmatch(answer):
        if "." in target or "." in answer:
            return Fraction(answer) == Fraction(target), ""
        return int(answer) == int(target), ""
    expected = read_target(target)
    if expected.limit:
        if read(answer).text == expected.text:
            return True, ""
        raise _TargetError(f"the target is beyond our limits: {expected.limit}")
    is_list = expected.node is not None and expected.node.kind == "list"
    reading = read(answer, is_list_expected=is_list)
    if reading.limit:
        raise LimitError(reading.limit)
    if expected.condition and reading.condition and expected.condition != reading.condition:
        return False, f"the condition is {reading.condition!r} and not {expected.condition!r}"
    if reading.text == expected.text:
        return True, ""
    as_words = _compare_words(expected, reading)
    if as_words is not None:
        return as_words, ""
    began = time.monotonic()
    label = _LABEL.match(reading.text)
    if label and not choice(expected.text):
        rest = reading.text[label.end() :]
        if not _LABEL.match(rest) and _compare_one(rest, target, settings, is_marked=is_marked)[0]:
            return True, ""
    if expected.node is None or reading.node is None:
        return _compare_unreadable(answer, target, expected, reading, _with_time_left(settings, began))
    return _compare_quantities(expected, reading, settings, is_marked=is_marked)


def _compare_words(expected: Reading, reading: Reading) -> bool | None:
    """Compare words, choices and clock times; None where the answers are formulas."""
    if is_date(expected.text) or ("\\" in expected.text and _swaps_and_or(expected.text, reading.text)):
        return False
    letter = choice(expected.text)
    is_letter = reading.text.upper() == letter
    if letter and (expected.text != letter or is_letter or choice(reading.text) or reading.node is None):
        return chosen(reading.text) == letter or same_words(expected.text, reading.text)
    time_of_target, time_of_answer = clock_minutes(expected.text), clock_minutes(reading.text)
    if time_of_target is not None and time_of_answer is not None:
        return time_of_target == time_of_answer or _same_half_open_time(expected.text, reading.text)
    if expected.is_words or reading.is_words:
        if same_words(expected.text, reading.text):
            return True
        if (means_nothing(expected.text) and _is_empty(reading)) or (
            means_nothing(reading.text) and _is_empty(expected)
        ):
            return True
        return False if expected.is_words else None
    return None


def _swaps_and_or(target: str, answer: str) -> bool:
    r"""Say whether one has only `\wedge` and the other only `\vee`, which both divide the entries of a list."""
    ands, ors = ("\\wedge" in target, "\\wedge" in answer), ("\\vee" in target, "\\vee" in answer)
    return ands in ((True, False), (False, True)) and ors == (not ands[0], not ands[1])


def _same_half_open_time(target: str, answer: str) -> bool:
    """`8:34` may stand for `8:34 PM`; `20:34` only for what it says."""
    if has_half_of_day(target) == has_half_of_day(answer):
        return False
    whole, bare = (target, answer) if has_half_of_day(target) else (answer, target)
    minutes, of_whole = clock_minutes(bare), clock_minutes(whole)
    if minutes is None or of_whole is None or minutes >= 13 * 60:
        return False
    return (minutes - of_whole) % (12 * 60) == 0


def _is_empty(reading: Reading) -> bool:
    return reading.node is not None and reading.node.kind == "list" and not reading.node.parts


def _compare_unreadable(
    answer: str, target: str, expected: Reading, reading: Reading, settings: Settings
) -> tuple[bool, str]:
    """At least one side is no formula that we read: words around a formula, a macro we do not know."""
    if expected.node is None and same_words(expected.text, reading.text):
        return True, ""
    says = _SAYS.search(answer)
    if says and says[1] != answer and not _SPEAKS_AGAINST.search(answer, 0, says.start()):
        return _compare_one(says[1].strip(), target, settings, is_marked=True)
    bare = answer.strip().strip("\"'`*~{} ").rstrip("\\\"'`*~{} ")
    if bare and bare != answer:
        return _compare_one(bare, target, settings, is_marked=True)
    if expected.node is not None:
        return False, f"{_short(answer)} is no formula that can be read"
    if reading.node is None and "\\" in expected.text and "\\" in reading.text:
        return _ask_the_worker(expected.text, reading.text, settings)
    if "\\" in expected.text:
        raise _TargetError(f"the target {_short(target)} is no formula that can be read")
    return False, ""


def _ask_the_worker(target: str, answer: str, settings: Settings) -> tuple[bool, str]:
    """Have two formulas that our parser does not know compared in another process, which is killed at the deadline."""
    from razona.verify.pool import JobStatus, default_pool
    from razona.verify.symbolic import prove_equal

    result = prove_equal(target, answer, default_pool(), settings.deadline_s)
    if result.status is JobStatus.DONE:
        assert isinstance(result.value, dict)
        return bool(result.value["equal"]), ""
    if result.status is JobStatus.UNAVAILABLE:
        raise _TargetError(f"nothing could compare the answer with {_short(target)} ({result.reason})")
    if result.status is JobStatus.FAILED:
        raise _TargetError(f"the target {_short(target)} is no formula that can be read ({result.reason})")
    return False, f"the symbolic comparison was stopped: {result.reason}"


def _compare_quantities(
    expected: Reading, reading: Reading, settings: Settings, *, is_marked: bool
) -> tuple[bool, str]:
    target, answer = expected.node, reading.node
    assert target is not None and answer is not None
    target = last_member(target)
    if target.kind == "degree" and reading.unit == "rad":
        target = _in_radians(target)
    elif answer.kind == "degree" and expected.unit == "rad":
        answer = _in_radians(answer)
    elif "degree" in (target.kind, answer.kind) and {reading.unit, expected.unit} - {"", "deg"}:
        return False, "one of the two is an angle"
    factor = conversion(reading.unit, expected.unit)
    if factor is None:
        return False, f"the unit is {reading.unit!r} and not {expected.unit!r}"
    if settings.units == "required" and expected.unit and not reading.unit:
        return False, f"the unit {expected.unit!r} is missing"
    if factor != 1:
        answer = Node("mul", None, (number(factor), answer))
    elif contradicts_itself(answer, is_strict=is_marked):
        return False, "the equations of the answer contradict each other"
    elif is_marked and is_unfinished(answer) and not is_unfinished(target):
        return False, "the answer is arithmetic that was not carried out"
    try:
        if equal(target, answer, settings):
            return True, ""
        if settings.percent == "lenient" and equal(_without_percent(target), _without_percent(answer), settings):
            return True, ""
    except LimitError:
        if _is_beyond(target):
            raise _TargetError("the target is beyond our limits") from None
        raise
    decimal = _decimal_comma(expected.text), _decimal_comma(reading.text)
    if decimal[0] != expected.text or decimal[1] != reading.text:
        left, right = (read(text).node for text in decimal)
        if left is not None and right is not None and left.kind == "num" and right.kind == "num":
            return equal(left, right, settings), ""
    if is_bare_list(answer) and len(answer.parts) > 1 and target.kind not in ("list", "matrix", "relation"):
        return False, f"a hedge: {len(answer.parts)} answers are given for a target with one value"
    return False, ""


def _in_radians(node: Node) -> Node:
    pi_over_180 = Node("div", None, (Node("symbol", "pi"), number(180)))
    return Node("mul", None, (node.parts[0], pi_over_180))


def _is_beyond(node: Node) -> bool:
    try:
        exact(node)
    except LimitError:
        return True
    return False


def _without_percent(node: Node) -> Node:
    return node.parts[0] if node.kind == "percent" else changed(node, _without_percent)


def _decimal_comma(text: str) -> str:
    """Give `2,74` as `2.74`: its comma cannot group thousands, nor can that of `0,111`; `2,7` are two numbers."""
    match = _DECIMAL_COMMA.match(text)
    if match is None or len(match[3]) < 2:
        return text
    if len(match[3]) == 3 and len(match[2]) <= 3 and match[2] != "0":
        return text
    return f"{match[1]}{match[2]}.{match[3]}{match[4]}"
