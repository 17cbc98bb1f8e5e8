"""Remainders of numbers, of sums, of products and sums; greatest common divisors by subtraction."""

from math import gcd
from random import Random

from razona.tasks.item import Family, Item, arithmetic_item, step

PHRASES = (
    "What is the remainder when {e} is divided by {d}?",
    "Divide {e} by {d}. What remains?",
    "{e} things are packed in boxes of {d}. How many are left over?",
)


def _remainder_steps(number: int, divisor: int) -> list[str]:
    product_text, product = step(divisor, "*", number // divisor)
    return [product_text, step(number, "-", product)[0]]


def _common_divisor(rng: Random) -> Item | None:
    """Take the smaller from the larger until both are equal; None where that takes too long or no time."""
    larger, smaller = sorted((rng.randint(4, 90), rng.randint(4, 90)), reverse=True)
    question = f"What is the greatest common divisor of {larger} and {smaller}?"
    key, divisor, steps = f"gcd {larger} {smaller}", gcd(larger, smaller), []
    while larger != smaller:
        text, rest = step(larger, "-", smaller)
        steps.append(text)
        larger, smaller = max(rest, smaller), min(rest, smaller)
    if not 2 <= len(steps) <= 3 or divisor < 2:
        return None
    return arithmetic_item(question=question, steps=steps, target=divisor, key=key)


def generate(rng: Random, level: int) -> Item:
    """Make a remainder with `level + 1` steps; a quarter of level 2 are greatest common divisors."""
    if level == 2 and rng.random() < 0.25:
        while True:
            item = _common_divisor(rng)
            if item is not None:
                return item
    divisor = rng.randint(3, 12)
    steps: list[str] = []
    if level == 1:
        number = rng.randint(divisor + 1, 120)
        expression = str(number)
    elif level == 2:
        left, right = rng.randint(5, 60), rng.randint(5, 60)
        text, number = step(left, "+", right)
        steps.append(text)
        expression = f"{left} + {right}"
    else:
        left, right, more = rng.randint(2, 9), rng.randint(2, 9), rng.randint(5, 40)
        product_text, product = step(left, "*", right)
        sum_text, number = step(product, "+", more)
        steps += [product_text, sum_text]
        expression = f"{left} * {right} + {more}"
    steps += _remainder_steps(number, divisor)
    question = rng.choice(PHRASES).format(e=expression, d=divisor)
    return arithmetic_item(question=question, steps=steps, target=number % divisor, key=f"{expression} % {divisor}")


FAMILY = Family(
    name="remainders",
    description="remainders and greatest common divisors",
    generate=generate,
    distinct={1: 10 * 108, 2: 10 * 56 * 56, 3: 10 * 8 * 8 * 36},
)
