"""Sums, differences and one product, in a row; products bind first."""

from random import Random

from razona.tasks.item import Family, Item, arithmetic_item, step

PHRASES = ("Compute {e}.", "What is {e}?", "Work out {e}.", "Find the value of {e}.")
LARGEST = 100


def _walk(rng: Random, start: int, length: int) -> list[tuple[str, int]]:
    """Choose `length` further terms so that every running total stays between 1 and LARGEST."""
    total, terms = start, []
    for _ in range(length):
        can_add, can_take = total <= LARGEST - 2, total >= 3
        sign = rng.choice("+-") if can_add and can_take else "+" if can_add else "-"
        number = rng.randint(2, min(45, LARGEST - total if sign == "+" else total - 1))
        terms.append((sign, number))
        total += number if sign == "+" else -number
    return terms


def generate(rng: Random, level: int) -> Item:
    """Make an expression that takes `level + 1` operations; in half of them the first is a product."""
    steps: list[str] = []
    if rng.random() < 0.5:
        left, right = rng.randint(2, 9), rng.randint(2, 9)
        text, total = step(left, "*", right)
        steps.append(text)
        expression, terms = f"{left} * {right}", _walk(rng, total, level)
    else:
        total = rng.randint(5, 60)
        expression, terms = str(total), _walk(rng, total, level + 1)
    for sign, number in terms:
        text, total = step(total, sign, number)
        steps.append(text)
        expression += f" {sign} {number}"
    question = rng.choice(PHRASES).format(e=expression)
    return arithmetic_item(question=question, steps=steps, target=total, key=expression)


FAMILY = Family(
    name="chain_arithmetic",
    description="sums, differences and a product in a row",
    generate=generate,
    # 56 starting numbers; a further term has at least 44 possibilities (one of the two ranges is >= 44 wide).
    distinct={level: 56 * 44 ** (level + 1) for level in (1, 2, 3)},
)
