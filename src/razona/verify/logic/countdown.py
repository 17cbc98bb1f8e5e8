r"""Countdown: an expression over given numbers that reaches a target, in exact arithmetic.

Fields of a row with `puzzle: "countdown"`, also recognised by its numbers and its target:

- `numbers` (or `nums`): a list of at most 50 whole numbers, none negative;
- `target`: a whole number;
- `use`: `any` (each number at most once, the default) or `all` (each exactly once; the default where the field is
  `nums`, as in the Countdown-Tasks data sets, whose scorer asks for all).

An answer is one expression of these numbers with `+ - * /` and brackets (also the signs of print and LaTeX's `\times`
`\div` `\cdot`), which may end in `= target`. Fractions on the way are exact and allowed. A minus before a bracket or a
number is allowed: with positive numbers it reaches no positive target that subtraction does not. Which numbers are used
is settled before any arithmetic, so the work is bounded by the puzzle and not by the answer.

Does not cover: powers, factorials, numbers joined to longer ones, `\frac`, several lines of steps, the rule of the
television game that every intermediate result is a positive whole number.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from razona.core.nouns import Outcome, Verdict
from razona.verify.logic.rows import UnreadableText, choice_field, is_integer, list_field, row_error, shortened

KIND = "countdown"
MAX_NUMBERS = 50
MAX_DIGITS = 30
_TOKEN = re.compile(r"\s+|([0-9]+)|(\\[A-Za-z]+|[-+*/()\[\]:\u00d7\u00f7\u00b7\u22c5\u2217\u2212])")
_MEANINGS = {
    "\N{MULTIPLICATION SIGN}": "*",
    "\N{MIDDLE DOT}": "*",
    "\N{DOT OPERATOR}": "*",
    "\N{ASTERISK OPERATOR}": "*",
    "\\times": "*",
    "\\cdot": "*",
    "\N{DIVISION SIGN}": "/",
    ":": "/",
    "\\div": "/",
    "\N{MINUS SIGN}": "-",
    "[": "(",
    "]": ")",
}
_STRENGTH = {"+": 1, "-": 1, "*": 2, "/": 2, "negate": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class CountdownPuzzle:
    """The numbers and the target."""

    numbers: tuple[int, ...]
    target: int
    must_use_all: bool


def read_countdown(row: Mapping[str, object]) -> CountdownPuzzle:
    """Read a row of the kind `countdown`; its fields stand at this file's head.

    Raises:
        DataError: a field is missing or not of its form.
    """
    name = "nums" if "nums" in row and "numbers" not in row else "numbers"
    expected = f"a list of 1 to {MAX_NUMBERS} whole numbers of at most {MAX_DIGITS} digits, none negative"
    numbers = [one for one in list_field(row, KIND, name, expected) if isinstance(one, int) and is_integer(one)]
    is_whole = len(numbers) == len(list_field(row, KIND, name, expected))
    if not is_whole or len(numbers) > MAX_NUMBERS or any(not 0 <= one < 10**MAX_DIGITS for one in numbers):
        raise row_error(row, KIND, name, expected)
    target = row.get("target")
    if not isinstance(target, int) or not is_integer(target):
        raise row_error(row, KIND, "target", "a whole number")
    use = choice_field(row, KIND, "use", ("all", "any") if name == "nums" else ("any", "all"))
    return CountdownPuzzle(numbers=tuple(numbers), target=target, must_use_all=use == "all")


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise UnreadableText(f"{shortened(text[position:], 20)!r} begins with no part of an expression")
        position = match.end()
        if match[1]:
            if len(match[1]) > MAX_DIGITS:
                raise UnreadableText(f"a number of {len(match[1])} digits; at most {MAX_DIGITS} are read")
            tokens.append(str(int(match[1])))
        elif match[2]:
            tokens.append(_MEANINGS.get(match[2], match[2]))
    return tokens


def parse_expression(text: str) -> list[str]:
    """Give an expression in postfix order, numbers as digits; linear in the text's length, without recursion.

    Raises:
        UnreadableText: it is none.

    >>> parse_expression("(25 - 5) * 3")
    ['25', '5', '-', '3', '*']
    """
    steps: list[str] = []
    waiting: list[str] = []
    expects_operand = True
    for token in _tokens(text):
        if expects_operand and token == "-":
            waiting.append("negate")
        elif expects_operand and token == "(":
            waiting.append(token)
        elif expects_operand and token.isdigit():
            steps.append(token)
            expects_operand = False
        elif not expects_operand and token == ")":
            while waiting and waiting[-1] != "(":
                steps.append(waiting.pop())
            if not waiting:
                raise UnreadableText("a bracket closes that was never opened")
            waiting.pop()
        elif not expects_operand and token in _STRENGTH:
            while waiting and waiting[-1] != "(" and _STRENGTH[waiting[-1]] >= _STRENGTH[token]:
                steps.append(waiting.pop())
            waiting.append(token)
            expects_operand = True
        else:
            wanted = "a number or a bracket" if expects_operand else "one of + - * / or the end"
            raise UnreadableText(f"{shortened(token, 20)!r} stands where {wanted} was expected")
    if expects_operand or "(" in waiting:
        raise UnreadableText("the expression ends too early" if text.strip() else "no expression")
    return steps + waiting[::-1]


def _value(steps: Iterable[str]) -> Fraction:
    """Give the value of a postfix expression; ZeroDivisionError where it has none."""
    stack: list[Fraction] = []
    for step in steps:
        if step == "negate":
            stack.append(-stack.pop())
        elif step in _STRENGTH:
            right, left = stack.pop(), stack.pop()
            if step == "+":
                stack.append(left + right)
            elif step == "-":
                stack.append(left - right)
            else:
                stack.append(left * right if step == "*" else left / right)
        else:
            stack.append(Fraction(step))
    (value,) = stack
    return value


def check_countdown(answer: str, puzzle: CountdownPuzzle) -> Verdict:
    """Say whether an answer is an expression of the puzzle's numbers that has the target's value.

    Raises:
        UnreadableText: it is no expression.
    """
    sides = [parse_expression(side) for side in answer.strip().rstrip(".").split("=", 2)]
    stated = [str(puzzle.target)] if puzzle.target >= 0 else [str(-puzzle.target), "negate"]
    if len(sides) == 2 and stated in sides:
        sides = [sides[0] if sides[1] == stated else sides[1]]
    if len(sides) > 1:
        return Verdict(outcome=Outcome.INCORRECT, reason=f"more than one expression, or not equal to {puzzle.target}")
    steps = sides[0]
    used = Counter(int(step) for step in steps if step.isdigit())
    extra = used - Counter(puzzle.numbers)
    if extra:
        return Verdict(outcome=Outcome.INCORRECT, reason=f"{min(extra)} is not given, or not that often")
    unused = Counter(puzzle.numbers) - used
    if puzzle.must_use_all and unused:
        return Verdict(outcome=Outcome.INCORRECT, reason=f"{min(unused)} is left over; every number must be used")
    try:
        value = _value(steps)
    except ZeroDivisionError:
        return Verdict(outcome=Outcome.INCORRECT, reason="the expression divides by zero")
    if value == puzzle.target:
        return Verdict(outcome=Outcome.CORRECT)
    return Verdict(
        outcome=Outcome.INCORRECT, reason=f"the expression is {shortened(str(value), 40)}, not {puzzle.target}"
    )
