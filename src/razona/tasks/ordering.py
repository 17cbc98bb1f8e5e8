"""Who has most, who has fewest, and by how much, when each amount is told relative to another."""

from itertools import pairwise
from random import Random

from razona.tasks.item import NAMES, Family, Item, step

THINGS = ("balls", "bricks", "cents", "dolls", "nuts", "points", "roses", "shells", "sweets", "toys")
LARGEST = 100


def generate(rng: Random, level: int) -> Item:
    """Make a chain of `level + 2` people; level 3 asks for the difference of the extremes."""
    people = rng.sample(NAMES, level + 2)
    thing = rng.choice(THINGS)
    amounts = [rng.randint(10, 60)]
    sentences, steps = [f"{people[0]} has {amounts[0]} {thing}."], []
    for before, person in pairwise(people):
        last = amounts[-1]
        sign = rng.choice("+-") if 8 <= last <= LARGEST - 8 else "+" if last < 8 else "-"
        number = rng.randint(2, min(30, LARGEST - last if sign == "+" else last - 1))
        sentences.append(f"{person} has {number} {'more' if sign == '+' else 'fewer'} than {before}.")
        text, amount = step(last, sign, number)
        steps.append(text)
        amounts.append(amount)
    key = " ".join(map(str, amounts))
    most, fewest = max(amounts), min(amounts)
    if level == 3:
        question = f"How many more {thing} has the one with most than the one with fewest?"
        text, target = step(most, "-", fewest)
        steps.append(text)
        key += " difference"
    else:
        wants_most = rng.random() < 0.5
        target = most if wants_most else fewest
        question = f"How many {thing} has the one with {'most' if wants_most else 'fewest'}?"
        relation, ordered = (">", sorted(set(amounts), reverse=True)) if wants_most else ("<", sorted(set(amounts)))
        steps.append(f" {relation} ".join(map(str, ordered)))
        key += " most" if wants_most else " fewest"
    sentences.append(question)
    assert target in (max(amounts), min(amounts), max(amounts) - min(amounts))
    return Item(question=" ".join(sentences), target=str(target), steps=tuple(steps), key=key)


FAMILY = Family(
    name="ordering",
    description="amounts told relative to each other; the most, the fewest, the difference",
    generate=generate,
    # 51 first amounts, then at least 29 possibilities a person (one of the two ranges is >= 29 wide).
    distinct={level: 51 * 29 ** (level + 1) for level in (1, 2, 3)},
)
