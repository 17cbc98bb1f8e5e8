"""One unknown: a x + b = c, then x on both sides, then a bracket."""

from random import Random

from razona.tasks.item import Family, Item, arithmetic_item, step

PHRASES = ("Solve {e}.", "Find x: {e}.", "Which x makes {e} true?", "{e}. What is x?")


def _one_side(rng: Random) -> tuple[str, list[str], int]:
    factor, x, shift = rng.randint(2, 9), rng.randint(1, 11), rng.randint(1, 30)
    if rng.random() < 0.5 and factor * x - shift >= 1:
        right = factor * x - shift
        first, product = step(right, "+", shift)
        return f"{factor} x - {shift} = {right}", [first, step(product, "/", factor)[0]], x
    right = factor * x + shift
    first, product = step(right, "-", shift)
    return f"{factor} x + {shift} = {right}", [first, step(product, "/", factor)[0]], x


def _both_sides(rng: Random) -> tuple[str, list[str], int]:
    small = rng.randint(2, 6)
    factor, x, shift = small + rng.randint(2, 5), rng.randint(1, 9), rng.randint(1, 20)
    right = (factor - small) * x + shift
    steps = [step(factor, "-", small)[0], step(right, "-", shift)[0], step(right - shift, "/", factor - small)[0]]
    return f"{factor} x + {shift} = {small} x + {right}", steps, x


def _bracket(rng: Random) -> tuple[str, list[str], int]:
    factor, x, inner = rng.randint(2, 6), rng.randint(1, 9), rng.randint(1, 6)
    shift, extra = rng.randint(1, 15), rng.randint(1, 15)
    product = factor * (x + inner)
    right = product + shift + extra
    steps = [
        step(right, "-", extra)[0],
        step(product + shift, "-", shift)[0],
        step(product, "/", factor)[0],
        step(x + inner, "-", inner)[0],
    ]
    return f"{factor} (x + {inner}) + {shift} + {extra} = {right}", steps, x


def generate(rng: Random, level: int) -> Item:
    """Make an equation that takes `level + 1` steps and has a whole-number solution."""
    equation, steps, x = (_one_side, _both_sides, _bracket)[level - 1](rng)
    return arithmetic_item(question=rng.choice(PHRASES).format(e=equation), steps=steps, target=x, key=equation)


FAMILY = Family(
    name="linear_equations",
    description="equations in one unknown with a whole-number solution",
    generate=generate,
    distinct={1: 8 * 11 * 30, 2: 5 * 4 * 9 * 20, 3: 5 * 9 * 6 * 15 * 15},
)
