"""How many different problems the families hold: counted by trying every choice that a generator can make."""

import itertools
from collections.abc import Sequence
from random import Random

import pytest

from razona.tasks import FAMILIES


class EveryPath(Random):
    """A `Random` that walks through every choice a generator can make, one path a run; wording counts as one."""

    def __init__(self, prefix: Sequence[int]) -> None:
        super().__init__(0)
        self.fixed = prefix
        """The first choices, as places; they are not varied."""
        self.path: list[int] = []
        self.sizes: list[int] = []
        self.place = 0

    def again(self) -> bool:
        """Go to the next path; False after the last."""
        while self.path and self.path[-1] == self.sizes[-1] - 1:
            self.path.pop()
            self.sizes.pop()
        if len(self.path) <= len(self.fixed):
            return False
        self.path[-1] += 1
        self.place = 0
        return True

    def _choose(self, size: int) -> int:
        if self.place == len(self.path):
            self.path.append(self.fixed[self.place] if self.place < len(self.fixed) else 0)
            self.sizes.append(size)
        self.place += 1
        return self.path[self.place - 1]

    def random(self) -> float:
        return (0.0, 0.999)[self._choose(2)]

    def randint(self, a: int, b: int) -> int:
        return a + self._choose(b - a + 1)

    def choice(self, seq):
        options = sorted(set(seq))
        is_wording = all(isinstance(option, str) and len(option) > 1 for option in options) and "gain" not in options
        return options[0 if is_wording else self._choose(len(options))]

    def sample(self, population, k, *, counts=None):
        if k == 2 and "pens" in population:
            return list(population[:2])
        orders = list(itertools.permutations(population, k))
        return list(orders[self._choose(len(orders))])


def count_keys(family: str, level: int, fixed: Sequence[int]) -> int:
    """Count the different structures by trying every choice, the first ones as given."""
    rng = EveryPath(fixed)
    keys = set()
    while True:
        keys.add(FAMILIES[family].generate(rng, level).key)
        if not rng.again():
            return len(keys)


ORDERING_START = (0, 40)  # the first three people, and 50 things
COUNTED = [
    # family, level, fixed first choices, how many of the stated structures these choices leave
    ("linear_equations", 1, (), 8 * 11 * 30),
    ("linear_equations", 2, (), 5 * 4 * 9 * 20),
    ("linear_equations", 3, (0,), 9 * 6 * 15 * 15),  # one of 5 factors
    ("remainders", 1, (), 10 * 108),
    ("remainders", 3, (0,), 8 * 8 * 36),  # one of 10 divisors
    ("sequences", 1, (), None),
    ("sequences", 2, (), None),
    ("sequences", 3, (), None),
    ("conversion", 1, (), None),
    ("conversion", 2, (), None),
    ("conversion", 3, (), None),
    ("logic", 1, (0,), 12 * 11 * 10 * 2 * 2 * 2),  # knights alone: people, first kind, claims
    ("word_problems", 1, (0,), 20**2),  # one first amount: 5
    ("word_problems", 1, (45,), 20**2),  # 50
    ("chain_arithmetic", 1, (1, 0), 44**2),  # no product, starting with 5
    ("chain_arithmetic", 1, (1, 50), 44**2),  # 55
    ("ordering", 1, ORDERING_START, 29**2),  # three people, one thing, one first amount: 50
]


@pytest.mark.parametrize(("family", "level", "fixed", "expected"), COUNTED)
def test_there_are_at_least_as_many_structures_as_stated(family, level, fixed, expected):
    stated = FAMILIES[family].distinct[level]
    counted = count_keys(family, level, fixed)
    if expected is None:
        expected = stated
    else:
        assert stated % expected == 0, "the stated number is not made of these ranges"
    assert counted >= expected
