"""What every generator gives, and the proof that its own worked steps lead to its target."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from random import Random

OPERATIONS: Mapping[str, Callable[[Fraction, Fraction], Fraction]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
NAMES = ("Ann", "Bob", "Cid", "Dan", "Eva", "Fay", "Gus", "Ida", "Jon", "Kim", "Leo", "Mia")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One generated problem, before it is placed in a split.

    `key` is the structure without the wording: two items that differ only in names or phrasing share it,
    and a split is chosen by it, so a reworded training problem cannot turn up in an evaluation. The exception
    are knights and knaves (half of `logic`): who says what has few forms, so there the names belong to the key,
    and a held-out puzzle is a known form with other people. Commuted twins (5 + 7 and 7 + 5) count as two.
    """

    question: str
    target: str
    steps: tuple[str, ...]
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A kind of problem: how to make one, and how many there are."""

    name: str
    description: str
    generate: Callable[[Random, int], Item]
    """(random stream, level 1-3) -> item. Equal streams give equal items."""
    distinct: Mapping[int, int]
    """Level -> number of distinct keys: a lower bound, counted from the ranges in the generator."""


def step(left: int, sign: str, right: int) -> tuple[str, int]:
    """Give one worked step as text and its whole-number result, for example `("34 + 8 = 42", 42)`."""
    result = OPERATIONS[sign](Fraction(left), Fraction(right))
    assert result.denominator == 1, f"{left} {sign} {right} is not a whole number"
    return f"{left} {sign} {right} = {result}", int(result)


def arithmetic_item(*, question: str, steps: list[str], target: int, key: str) -> Item:
    """Build an item whose last step ends in its target, after checking that every step is true."""
    for text in steps:
        left, sign, right, equals, result = text.split()
        assert equals == "=", text
        assert OPERATIONS[sign](Fraction(left), Fraction(right)) == Fraction(result), text
    assert steps[-1].split()[-1] == str(target), (steps, target)
    return Item(question=question, target=str(target), steps=tuple(steps), key=key)
