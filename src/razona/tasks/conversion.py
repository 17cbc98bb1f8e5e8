"""Units and money: into the smaller unit, coins into cents, change from a note."""

from random import Random

from razona.tasks.item import NAMES, Family, Item, arithmetic_item, step

UNITS = (
    ("weeks", "days", 7),
    ("dozens", "eggs", 12),
    ("feet", "inches", 12),
    ("yards", "feet", 3),
    ("days", "hours", 24),
)
COINS = (("quarters", 25), ("dimes", 10), ("nickels", 5))
GOODS = ("pens", "cards", "buns", "plums", "stickers")


def _into_smaller(rng: Random) -> Item:
    large, small, factor = rng.choice(UNITS)
    number, rest = rng.randint(2, 9 if factor < 24 else 4), rng.randint(1, 30)
    product_text, product = step(number, "*", factor)
    text, total = step(product, "+", rest)
    return arithmetic_item(
        question=f"How many {small} are {number} {large} and {rest} {small}?",
        steps=[product_text, text],
        target=total,
        key=f"{number} {large} {rest}",
    )


def _change(rng: Random) -> Item:
    """Two purchases, or one purchase and a coin found, and what is left of a note."""
    name, goods = rng.choice(NAMES), rng.choice(GOODS)
    count, price = rng.randint(2, 6), rng.randint(3, 14)
    note, more = 100, rng.randint(2, 15)
    cost_text, cost = step(count, "*", price)
    left_text, left = step(note, "-", cost)
    last_text, target = step(left, "-", more)
    return arithmetic_item(
        question=(
            f"{name} has 1 dollar. {name} buys {count} {goods} at {price} cents each and a drink for {more} cents. "
            "How many cents are left?"
        ),
        steps=[cost_text, left_text, last_text],
        target=target,
        key=f"change {count} {price} {more}",
    )


def _two_purchases(rng: Random) -> Item:
    """Two kinds of goods, and what is left of a dollar."""
    name = rng.choice(NAMES)
    goods = rng.sample(GOODS, 2)
    counts, prices = [rng.randint(2, 5) for _ in goods], [rng.randint(3, 9) for _ in goods]
    first_text, first = step(counts[0], "*", prices[0])
    second_text, second = step(counts[1], "*", prices[1])
    left_text, left = step(100, "-", first)
    last_text, target = step(left, "-", second)
    listed = [f"{count} {good} at {price} cents each" for count, good, price in zip(counts, goods, prices, strict=True)]
    return arithmetic_item(
        question=f"{name} has 1 dollar. {name} buys {listed[0]} and {listed[1]}. How many cents are left?",
        steps=[first_text, second_text, left_text, last_text],
        target=target,
        key=f"two {counts} {prices}",
    )


def _coins(rng: Random, kinds: int) -> Item:
    """The worth of two or three kinds of coins."""
    chosen = sorted(rng.sample(COINS, kinds), key=lambda coin: -coin[1])
    counts = [rng.randint(1 + (worth < 25), 3 if worth == 25 else 9) for _, worth in chosen]
    steps, values = [], []
    for (_, worth), count in zip(chosen, counts, strict=True):
        text, value = step(count, "*", worth)
        steps.append(text)
        values.append(value)
    total = values[0]
    for value in values[1:]:
        text, total = step(total, "+", value)
        steps.append(text)
    listed = [f"{count} {coin}" for (coin, _), count in zip(chosen, counts, strict=True)]
    name = rng.choice(NAMES)
    return arithmetic_item(
        question=f"{name} has {', '.join(listed[:-1])} and {listed[-1]}. How many cents is that?",
        steps=steps,
        target=total,
        key=" ".join(listed),
    )


def generate(rng: Random, level: int) -> Item:
    """Make a conversion: level 1 two steps, level 2 three, level 3 two purchases or three kinds of coins."""
    if level == 1:
        return _into_smaller(rng)
    if level == 2:
        return _change(rng) if rng.random() < 0.7 else _coins(rng, 2)
    return _two_purchases(rng) if rng.random() < 0.7 else _coins(rng, 3)


FAMILY = Family(
    name="conversion",
    description="units, coins and change",
    generate=generate,
    distinct={1: 30 * (4 * 8 + 3), 2: 5 * 12 * 14 + 3 * 8 * 2 + 8 * 8, 3: 4 * 7 * 4 * 7 + 3 * 8 * 8},
)
