"""Knights and knaves, and truth values: how many are true?"""

from random import Random

from razona.tasks.item import NAMES, Family, Item

LETTERS = "PQRS"


def _knights(rng: Random, people: int) -> Item:
    """A chain: each person's kind follows from what the one before said."""
    names = rng.sample(NAMES, people)
    kinds = [rng.random() < 0.5 for _ in names]
    sentences = [f"{names[0]} is a {_kind(kinds[0])}."]
    said = []
    for i in range(people - 1):
        claim = kinds[i + 1] == kinds[i]  # a knight tells the truth about the next one, a knave does not
        said.append(claim)
        sentences.append(f"{names[i]} says {names[i + 1]} is a {_kind(claim)}.")
    found = [f"{names[0]} is a {_kind(kinds[0])}"]
    for i in range(people - 1):
        found.append(f"{names[i + 1]} is {'a' if kinds[i] else 'no'} {_kind(said[i])}: a {_kind(kinds[i + 1])}")
    question = f"Knights tell the truth, knaves lie. {' '.join(sentences)} How many are knights?"
    count = sum(kinds)
    assert count == _count_by_force(kinds[0], said)
    key = f"{' '.join(names)} {int(kinds[0])} {''.join(str(int(claim)) for claim in said)}"
    return Item(question=question, target=str(count), steps=_counted(found, kinds), key=key)


def _kind(is_knight: bool) -> str:
    return "knight" if is_knight else "knave"


def _count_by_force(first_is_knight: bool, said: list[bool]) -> int:
    """Try every assignment; the one in which every knight's claim is true and every knave's false."""
    people = len(said) + 1
    for code in range(2**people):
        kinds = [bool(code >> i & 1) for i in range(people)]
        if kinds[0] == first_is_knight and all(kinds[i] == (kinds[i + 1] == said[i]) for i in range(people - 1)):
            return sum(kinds)
    raise AssertionError("the puzzle has no solution")


def _formulas(rng: Random, count: int) -> Item:
    """Statements over truth values that are given."""
    letters = LETTERS[: rng.randint(2, 4)]
    values = {letter: rng.random() < 0.5 for letter in letters}
    formulas, found, truths = [], [], []
    while len(formulas) < count:
        left, right = rng.sample(letters, 2)
        kind = rng.choice(("and", "or", "not"))
        formula = f"not {left}" if kind == "not" else f"{left} {kind} {right}"
        if formula in formulas:
            continue
        truth = {"and": values[left] and values[right], "or": values[left] or values[right], "not": not values[left]}[
            kind
        ]
        formulas.append(formula)
        truths.append(truth)
        filled_in = " ".join(_word(values[part]) if part in values else part for part in formula.split())
        found.append(f"{formula}: {filled_in} is {_word(truth)}")
    given = " ".join(f"{letter} is {_word(value)}." for letter, value in values.items())
    question = f"{given} How many of these are true: {', '.join(formulas)}?"
    return Item(question=question, target=str(sum(truths)), steps=_counted(found, truths), key=f"{given} {formulas}")


def _word(truth: bool) -> str:
    return "true" if truth else "false"


def _counted(found: list[str], counts: list[bool]) -> tuple[str, ...]:
    """Write after each finding how many have counted so far, so that the last step ends in the target."""
    return tuple(f"{text}, count {sum(counts[: i + 1])}" for i, text in enumerate(found))


def generate(rng: Random, level: int) -> Item:
    """Make a chain of `level + 2` people, or `level + 2` statements about truth values."""
    return _knights(rng, level + 2) if rng.random() < 0.5 else _formulas(rng, level + 2)


def _count_knights(people: int) -> int:
    count = 2**people
    for i in range(people):
        count *= len(NAMES) - i
    return count


FAMILY = Family(
    name="logic",
    description="knights and knaves, truth values of statements",
    generate=generate,
    distinct={level: _count_knights(level + 2) for level in (1, 2, 3)},
)
