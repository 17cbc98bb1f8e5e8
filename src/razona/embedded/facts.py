"""Tables of arithmetic and plain sentences: the part of the corpus that asks nothing."""

from random import Random

from razona.core.nouns import Problem
from razona.tasks.item import NAMES

SENTENCES = (
    "A week has 7 days.", "A dozen is 12.", "A foot has 12 inches.", "A yard has 3 feet.", "A day has 24 hours.",
    "A dollar is 100 cents.", "A quarter is 25 cents.", "A dime is 10 cents.", "A nickel is 5 cents.",
    "Knights tell the truth.", "Knaves lie.", "Half of them are gone.", "Products come before sums.",
    "To find x, take the same from both sides.", "The remainder is smaller than the divisor.",
    "The difference between terms stays the same.", "Think about the problem.", "Put the solution last.",
)  # fmt: skip
PLACES = ("school", "home", "the market", "the park", "the shop", "the farm")
VERBS = ("goes to", "walks to", "comes from", "thinks about", "works at")


def _sum(rng: Random) -> str:
    left, right = rng.randint(0, 100), rng.randint(0, 60)
    return f"{left} + {right} = {left + right}"


def _difference(rng: Random) -> str:
    left = rng.randint(1, 130)
    right = rng.randint(0, min(left, 99))
    return f"{left} - {right} = {left - right}"


def _product(rng: Random) -> str:
    left, right = rng.choice(((12, 14), (24, 4), (9, 25), (40, 2), (12, 10)))
    a, b = rng.randint(1, left), rng.randint(1, right)
    if right == 25:
        b = 25
    elif left == 24:
        a = 24
    if rng.random() < 0.5:
        a, b = b, a
    return f"{a} * {b} = {a * b}"


def _quotient(rng: Random) -> str:
    divisor, result = rng.randint(2, 12), rng.randint(1, 12)
    if rng.random() < 0.3:
        divisor, result = 2, rng.randint(1, 50)
    return f"{divisor * result} / {divisor} = {result}"


def _multiple(rng: Random) -> str:
    """The largest multiple below a number, as the remainder family writes it."""
    divisor = rng.randint(3, 12)
    number = rng.randint(divisor, 120)
    product = divisor * (number // divisor)
    return (
        f"{number} by {divisor}: {divisor} * {number // divisor} = {product}, {number} - {product} = {number - product}"
    )


def _order(rng: Random) -> str:
    numbers = rng.sample(range(1, 100), rng.randint(3, 5))
    if rng.random() < 0.5:
        return f"{', '.join(map(str, numbers))}: {' < '.join(map(str, sorted(numbers)))}"
    return f"{', '.join(map(str, numbers))}: {' > '.join(map(str, sorted(numbers, reverse=True)))}"


def _truth(rng: Random) -> str:
    """Truth values, and what follows from them."""
    letters = "PQRS"[: rng.randint(2, 4)]
    values = {letter: rng.random() < 0.5 for letter in letters}
    left, right = rng.sample(letters, 2)
    one, other = _word(values[left]), _word(values[right])
    conclusions = [
        f"{left} and {right}: {one} and {other} is {_word(values[left] and values[right])}",
        f"{left} or {right}: {one} or {other} is {_word(values[left] or values[right])}",
        f"not {left}: not {one} is {_word(not values[left])}",
    ]
    rng.shuffle(conclusions)
    given = ". ".join(f"{letter} is {_word(value)}" for letter, value in values.items())
    return f"{given}. {', '.join(conclusions)}"


def _word(value: bool) -> str:
    return "true" if value else "false"


def _claim(rng: Random) -> str:
    """What a knight or a knave says of another, and what follows."""
    speaker, other = rng.sample(NAMES, 2)
    is_knight, claim = rng.random() < 0.5, rng.random() < 0.5
    return (
        f"{speaker} is a {_kind(is_knight)}. {speaker} says {other} is a {_kind(claim)}: "
        f"{other} is {'a' if is_knight else 'no'} {_kind(claim)}: a {_kind(is_knight == claim)}"
    )


def _kind(is_knight: bool) -> str:
    return "knight" if is_knight else "knave"


def _count(rng: Random) -> str:
    """A row of kinds or truth values, and how many are knights or true."""
    values = [rng.random() < 0.5 for _ in range(rng.randint(2, 5))]
    if rng.random() < 0.5:
        return f"{', '.join(map(_kind, values))}: knights {sum(values)}"
    return f"{', '.join(map(_word, values))}: true {sum(values)}"


TABLES = {
    _sum: 3, _difference: 3, _product: 1.5, _quotient: 1, _multiple: 2.5, _order: 1,
    _truth: 0.7, _claim: 0.7, _count: 0.3,
}  # fmt: skip
"""Kind of fact -> weight."""


def table(rng: Random) -> str:
    """Write four to ten facts of one kind, one a line or in a row."""
    kind = rng.choices(list(TABLES), weights=list(TABLES.values()))[0]
    return rng.choice(("\n", ". ", ". ", "; ")).join(kind(rng) for _ in range(rng.randint(4, 10)))


def plain_text(rng: Random, problem: Problem) -> str:
    """Write a story without its question, or sentences about the world."""
    sentences = problem.question.split(". ")
    if len(sentences) > 2 and rng.random() < 0.6:
        return ". ".join(sentences[:-1]) + "."
    chosen = rng.sample(SENTENCES, rng.randint(1, 3))
    chosen += [f"{rng.choice(NAMES)} {rng.choice(VERBS)} {rng.choice(PLACES)}." for _ in range(rng.randint(0, 3))]
    rng.shuffle(chosen)
    return " ".join(chosen)
