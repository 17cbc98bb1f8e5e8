"""Stories in which an amount changes two to four times."""

from random import Random

from razona.tasks.item import NAMES, Family, Item, arithmetic_item, step

THINGS = ("apples", "books", "cards", "coins", "eggs", "marbles", "pens", "shells", "stamps", "stones")
GAINS = ("buys {n} more", "finds {n} more", "gets {n} from a friend", "picks up {n}")
LOSSES = ("gives {n} away", "loses {n}", "sells {n}", "drops {n}")
LARGEST = 100


def _change(rng: Random, amount: int) -> tuple[str, str, int]:
    """Choose what happens next: (sentence part, sign, number), keeping the amount between 1 and LARGEST."""
    kinds = ["gain"] * 4 * (amount <= LARGEST - 2) + ["loss"] * 4 * (amount >= 3)
    kinds += ["double"] * (amount <= LARGEST // 2) + ["halve"] * (amount % 2 == 0)
    kind = rng.choice(kinds)
    if kind == "double":
        return "doubles them", "*", 2
    if kind == "halve":
        return "gives half of them away", "/", 2
    if kind == "gain":
        number = rng.randint(2, min(40, LARGEST - amount))
        return rng.choice(GAINS).format(n=number), "+", number
    number = rng.randint(2, min(40, amount - 1))
    return rng.choice(LOSSES).format(n=number), "-", number


def generate(rng: Random, level: int) -> Item:
    """Make a story with `level + 1` changes."""
    name, thing = rng.choice(NAMES), rng.choice(THINGS)
    amount = rng.randint(5, 60)
    sentences, steps, key = [f"{name} has {amount} {thing}."], [], str(amount)
    for _ in range(level + 1):
        part, sign, number = _change(rng, amount)
        sentences.append(f"{name} {part}.")
        text, amount = step(amount, sign, number)
        steps.append(text)
        key += f" {sign} {number}"
    sentences.append(f"How many {thing} does {name} have now?")
    return arithmetic_item(question=" ".join(sentences), steps=steps, target=amount, key=key)


FAMILY = Family(
    name="word_problems",
    description="stories in which an amount is added to, taken from, doubled or halved",
    generate=generate,
    # 56 starting amounts; a change has at least 20 possibilities (one of the two ranges is always >= 20 wide).
    distinct={level: 56 * 20 ** (level + 1) for level in (1, 2, 3)},
)
