"""Number sequences: the next term, a later term, growing differences."""

from random import Random

from razona.tasks.item import Family, Item, arithmetic_item, step

NEXT = ("{s}. What comes next?", "Which number follows: {s}?", "Continue the sequence {s}.")
PLACE = ("{s}. Which number is at place {p}?", "The sequence {s} goes on. Find term {p}.")


def _constant(rng: Random, shown: int, ahead: int) -> tuple[list[int], list[str], int]:
    difference = rng.randint(2, 12)
    down = rng.random() < 0.4
    length = shown + ahead
    start = rng.randint(1 + difference * (length - 1), 99) if down else rng.randint(1, 99 - difference * (length - 1))
    terms = [start + (-difference if down else difference) * i for i in range(shown)]
    if down:
        steps, sign = [step(terms[0], "-", terms[1])[0]], "-"
    else:
        steps, sign = [step(terms[1], "-", terms[0])[0]], "+"
    last = terms[-1]
    for _ in range(ahead):
        text, last = step(last, sign, difference)
        steps.append(text)
    return terms, steps, last


def _growing(rng: Random) -> tuple[list[int], list[str], int]:
    """Differences that grow by `growth`: last difference, the growth, the next difference, the next term."""
    start, difference, growth = rng.randint(1, 40), rng.randint(1, 8), rng.randint(1, 5)
    terms = [start]
    for i in range(3):
        terms.append(terms[-1] + difference + growth * i)
    before = step(terms[2], "-", terms[1])
    latest = step(terms[3], "-", terms[2])
    increase = step(latest[1], "-", before[1])
    following = step(latest[1], "+", increase[1])
    text, target = step(terms[3], "+", following[1])
    return terms, [before[0], latest[0], increase[0], following[0], text], target


def generate(rng: Random, level: int) -> Item:
    """Make a sequence: level 1 the next term, 2 two terms on, 3 a growing difference or three terms on."""
    if level == 3 and rng.random() < 0.5:
        terms, steps, target = _growing(rng)
        phrase, place = rng.choice(NEXT), 5
    else:
        shown = 4 if level == 1 else 3
        terms, steps, target = _constant(rng, shown, level)
        phrase, place = rng.choice(NEXT if level == 1 else PLACE), shown + level
    shown_text = ", ".join(map(str, terms))
    question = phrase.format(s=shown_text, p=place)
    return arithmetic_item(question=question, steps=steps, target=target, key=f"{shown_text} @ {place}")


def _count_constant(length: int) -> int:
    return 2 * sum(99 - difference * (length - 1) for difference in range(2, 13))


FAMILY = Family(
    name="sequences",
    description="the next or a later term of a number sequence",
    generate=generate,
    distinct={1: _count_constant(5), 2: _count_constant(5), 3: _count_constant(6) + 40 * 8 * 5},
)
