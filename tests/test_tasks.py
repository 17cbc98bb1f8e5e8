"""Every generator: same in, same out; its own answer right, any other wrong; no problem in two splits.

The targets are derived again from the text of the question alone, by solvers that share no code with the generators.
"""

import ast
import itertools
import operator
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random

import pytest

from razona.core.errors import RecipeError
from razona.core.nouns import Outcome, Problem
from razona.tasks import FAMILIES, LEVELS, SPLITS, distinct_problems, draw, problems, split_of
from razona.verify import Tags, verify

NUMBER_OF_DRAWS = {"corpus": 85_000, "train": 5_000, "evaluation": 5_000, "ood": 5_000}
"""100,000 problems; most of them from the split that costs least to draw from."""
ALL = [(name, level) for name in FAMILIES for level in LEVELS]


# --- Solvers: question text -> answer ------------------------------------------------------------------------------

OPERATIONS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}


def calculate(text: str, x: int = 0) -> int:
    """Give the value of an expression such as `3 (x + 2) - 4 * 5`."""
    with_products = re.sub(r"([0-9]) (?=[x(])", r"\1 * ", text)
    return value_of(ast.parse(with_products.strip(), mode="eval").body, x)


def value_of(node: ast.expr, x: int) -> int:
    if isinstance(node, ast.BinOp):
        return OPERATIONS[type(node.op)](value_of(node.left, x), value_of(node.right, x))
    if isinstance(node, ast.Name):
        return x
    assert isinstance(node, ast.Constant) and isinstance(node.value, int)
    return node.value


def numbers_in(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"[0-9]+", text)]


def only(found: Sequence[int]) -> int:
    (one,) = found
    return one


def solve_chain(question: str) -> int:
    return calculate(only_match(r"[0-9]+(?: [-+*] [0-9]+)+", question))


def only_match(pattern: str, text: str) -> str:
    (found,) = re.findall(pattern, text)
    return found


def solve_equation(question: str) -> int:
    equation = only_match(r"[0-9][0-9x()+* -]* = [0-9][0-9x()+* -]*[0-9x)]", question)
    left, right = equation.split(" = ")
    return only([x for x in range(-100, 200) if calculate(left, x) == calculate(right, x)])


def solve_remainder(question: str) -> int:
    if "greatest common divisor" in question:
        first, second = numbers_in(question)
        return max(d for d in range(1, first + 1) if first % d == 0 and second % d == 0)
    pattern = r"([0-9 +*]+?)(?: is divided by | by | things are packed in boxes of )([0-9]+)"
    ((dividend, divisor),) = re.findall(pattern, question)
    value = calculate(dividend)
    while value >= int(divisor):
        value -= int(divisor)
    return value


def solve_ordering(question: str) -> int:
    amounts: dict[str, int] = {}
    for sentence in question.split(". "):
        if found := re.match(r"(\w+) has ([0-9]+) (more|fewer) than (\w+)$", sentence):
            amounts[found[1]] = amounts[found[4]] + (int(found[2]) if found[3] == "more" else -int(found[2]))
        elif found := re.match(r"(\w+) has ([0-9]+) \w+$", sentence):
            amounts[found[1]] = int(found[2])
        elif "How many more" in sentence:
            return max(amounts.values()) - min(amounts.values())
        else:
            return max(amounts.values()) if "with most?" in sentence else min(amounts.values())
    raise AssertionError(question)


def solve_sequence(question: str) -> int:
    shown = [int(number) for number in only_match(r"[0-9]+(?:, [0-9]+)+", question).split(", ")]
    asked = re.search(r"(?:place|term) ([0-9]+)", question)
    place = int(asked[1]) if asked else len(shown) + 1
    rows = [shown]
    while len(set(rows[-1])) > 1:
        rows.append([later - earlier for earlier, later in itertools.pairwise(rows[-1])])
    assert len(rows[-1]) >= 2, "one difference alone proves no rule"
    while len(shown) < place:
        rows[-1].append(rows[-1][-1])
        for above, below in zip(rows[-2::-1], rows[:0:-1], strict=True):
            above.append(above[-1] + below[-1])
    return shown[place - 1]


SMALLER = {
    ("weeks", "days"): 7,
    ("dozens", "eggs"): 12,
    ("feet", "inches"): 12,
    ("yards", "feet"): 3,
    ("days", "hours"): 24,
}
CENTS = {"quarters": 25, "dimes": 10, "nickels": 5}


def solve_conversion(question: str) -> int:
    if found := re.match(r"How many (\w+) are ([0-9]+) (\w+) and ([0-9]+) (\w+)\?", question):
        assert found[5] == found[1]
        return int(found[2]) * SMALLER[found[3], found[1]] + int(found[4])
    if "How many cents is that?" in question:
        return sum(int(count) * CENTS[coin] for count, coin in re.findall(r"([0-9]+) (\w+)", question))
    assert question.count("has 1 dollar.") == 1
    left = 100 - sum(int(n) * int(price) for n, price in re.findall(r"([0-9]+) \w+ at ([0-9]+) cents each", question))
    return left - sum(int(price) for price in re.findall(r"a drink for ([0-9]+) cents", question))


def island_of(question: str) -> dict[str, bool]:
    """Give who is a knight: the one assignment that agrees with everything told."""
    names = sorted(set(re.findall(r"\b([A-Z][a-z]+) (?:is|says)\b", question)))
    told = re.findall(r"(?:^|\. )(\w+) is a (knight|knave)", question)
    said = re.findall(r"(\w+) says (\w+) is a (knight|knave)", question)
    fitting = []
    for kinds in itertools.product((True, False), repeat=len(names)):
        knights = dict(zip(names, kinds, strict=True))
        if all(knights[who] == (kind == "knight") for who, kind in told) and all(
            knights[speaker] == (knights[who] == (kind == "knight")) for speaker, who, kind in said
        ):
            fitting.append(knights)
    (one,) = fitting
    return one


def truth_of(formula: str, values: Mapping[str, bool]) -> bool:
    match formula.split():
        case ["not", letter]:
            return not values[letter]
        case [left, "and", right]:
            return values[left] and values[right]
        case [left, "or", right]:
            return values[left] or values[right]
    raise AssertionError(formula)


def values_of(question: str) -> dict[str, bool]:
    return {letter: word == "true" for letter, word in re.findall(r"\b([PQRS]) is (true|false)\.", question)}


def solve_logic(question: str) -> int:
    if question.startswith("Knights"):
        return sum(island_of(question).values())
    formulas = question.split("are true: ")[1].removesuffix("?").split(", ")
    assert len(formulas) == len(set(formulas))
    return sum(truth_of(formula, values_of(question)) for formula in formulas)


def solve_story(question: str) -> int:
    first, *events, last = re.split(r"(?<=[.?]) ", question)
    amount = only(numbers_in(first))
    for event in events:
        if "doubles" in event:
            amount *= 2
        elif "half" in event:
            amount, rest = divmod(amount, 2)
            assert rest == 0
        elif re.search(r"buys|finds|gets|picks up", event):
            amount += only(numbers_in(event))
        else:
            assert re.search(r"gives|loses|sells|drops", event), event
            amount -= only(numbers_in(event))
        assert amount > 0
    assert last.endswith("have now?")
    return amount


SOLVERS: Mapping[str, Callable[[str], int]] = {
    "word_problems": solve_story,
    "chain_arithmetic": solve_chain,
    "linear_equations": solve_equation,
    "remainders": solve_remainder,
    "ordering": solve_ordering,
    "sequences": solve_sequence,
    "conversion": solve_conversion,
    "logic": solve_logic,
}

SOLVED_BY_HAND = [
    ("chain_arithmetic", "Compute 7 * 8 - 4 + 9.", 61),
    ("chain_arithmetic", "What is 10 - 2 - 3?", 5),
    ("linear_equations", "Solve 3 (x + 2) + 4 + 5 = 30.", 5),
    ("linear_equations", "9 x + 4 = 6 x + 10. What is x?", 2),
    ("remainders", "Divide 7 * 8 + 5 by 9. What remains?", 7),
    ("remainders", "36 things are packed in boxes of 12. How many are left over?", 0),
    ("remainders", "What is the greatest common divisor of 84 and 36?", 12),
    ("ordering", "Ann has 10 nuts. Bob has 5 more than Ann. Cid has 9 fewer than Bob. "
                 "How many nuts has the one with fewest?", 6),
    ("ordering", "Ann has 10 nuts. Bob has 5 more than Ann. "
                 "How many more nuts has the one with most than the one with fewest?", 5),
    ("sequences", "3, 4, 7, 12. What comes next?", 19),
    ("sequences", "50, 41, 32. Which number is at place 6?", 5),
    ("conversion", "How many hours are 2 days and 5 hours?", 53),
    ("conversion", "Ann has 3 quarters, 1 dimes and 2 nickels. How many cents is that?", 95),
    ("conversion", "Ann has 1 dollar. Ann buys 3 pens at 5 cents each and a drink for 7 cents. "
                   "How many cents are left?", 78),
    ("logic", "Knights tell the truth, knaves lie. Ann is a knave. Ann says Bob is a knave. "
              "Bob says Cid is a knave. How many are knights?", 1),
    ("logic", "P is true. Q is false. How many of these are true: P and Q, P or Q, not Q?", 2),
    ("word_problems", "Ann has 9 eggs. Ann buys 3 more. Ann gives half of them away. Ann doubles them. "
                      "Ann loses 5. How many eggs does Ann have now?", 7),
]  # fmt: skip


@pytest.mark.parametrize(("family", "question", "answer"), SOLVED_BY_HAND)
def test_the_solver_of_this_file_is_right_on_problems_solved_by_hand(family, question, answer):
    assert SOLVERS[family](question) == answer


# --- Each problem ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn() -> list[tuple[str, Problem]]:
    """100,000 problems as (split, problem), every family and level in turn."""
    return [
        (split, draw(*ALL[number % len(ALL)], split, 7, number))
        for split, count in NUMBER_OF_DRAWS.items()
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def some(drawn) -> dict[tuple[str, int], list[Problem]]:
    """(family, level) -> 200 of the problems."""
    chosen = defaultdict(list)
    for _, problem in drawn[::20]:
        chosen[problem.family, problem.level].append(problem)
    return {place: found[:200] for place, found in chosen.items()}


def cases(some) -> Iterator[Problem]:
    assert {place: len(found) for place, found in some.items()} == dict.fromkeys(ALL, 200)
    return itertools.chain.from_iterable(some.values())


def test_every_target_follows_from_the_text_of_the_question(some):
    wrong = [p for p in cases(some) if SOLVERS[p.family](p.question) != int(p.target)]
    assert wrong == []


def test_every_target_is_correct_against_itself(some):
    outcomes = {verify(f"<SOLUTION>{p.target}</SOLUTION>", p.target, Tags()).outcome for p in cases(some)}
    assert outcomes == {Outcome.CORRECT}


PERTURBED = ["{more}", "{less}", "-{t}1", "{t}0", "{t}.5", "{t} or {more}", "{t}/7", "{t}^2", "1{t}", "{t}, {more}"]


@pytest.mark.parametrize("pattern", PERTURBED)
def test_every_perturbed_target_is_incorrect(some, pattern):
    for p in cases(some):
        answer = pattern.format(t=p.target, more=int(p.target) + 1, less=int(p.target) - 1)
        is_same = p.target == "0" and answer in ("00", "0/7")  # nought stays nought
        outcome = verify(f"<SOLUTION>{answer}</SOLUTION>", p.target, Tags()).outcome
        assert outcome is (Outcome.CORRECT if is_same else Outcome.INCORRECT), (answer, p.target)


def step_is_true(text: str, p: Problem) -> bool:
    """Check one worked step by whole-number arithmetic, or against the puzzle it belongs to."""
    match text.split():
        case [a, "+", b, "=", c]:
            return int(a) + int(b) == int(c)
        case [a, "-", b, "=", c]:
            return int(a) - int(b) == int(c)
        case [a, "*", b, "=", c]:
            return int(a) * int(b) == int(c)
        case [a, "/", b, "=", c]:
            return int(b) != 0 and int(a) == int(b) * int(c)
        case [name, "is", "a", kind]:
            return island_of(p.question)[name] == (kind == "knight")
        case [*formula, "is", "true" | "false" as word]:
            return truth_of(" ".join(formula), values_of(p.question)) == (word == "true")
    signs = set(re.findall(r"[<>]", text))
    numbers = numbers_in(text)
    assert re.fullmatch(r"[0-9]+(?: ([<>]) [0-9]+(?: \1 [0-9]+)*)?", text), text
    return (signs <= {"<"} and numbers == sorted(set(numbers))) or numbers == sorted(set(numbers), reverse=True)


FALSE_STEPS = ["2 + 3 = 6", "2 - 3 = 1", "2 * 3 = 5", "7 / 2 = 3", "3 < 2", "2 > 3", "2 < 3 < 3"]


@pytest.mark.parametrize("text", FALSE_STEPS)
def test_a_false_step_is_told_from_a_true_one(text):
    assert not step_is_true(text, Problem(id="1", question="", target="1"))


def test_every_worked_step_is_true(some):
    false = [(text, p) for p in cases(some) for text in p.steps if not step_is_true(text, p)]
    assert false == []


def test_the_last_step_of_every_calculation_gives_the_target(some):
    for p in cases(some):
        if p.family == "logic":
            continue
        last = p.steps[-1]
        assert p.target == (last.split(" = ")[1] if "=" in last else re.split(r" [<>] ", last)[0]), p


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("family", "extra"),
    [("word_problems", 1), ("chain_arithmetic", 1), ("linear_equations", 1), ("ordering", 2), ("logic", 2)],
)
def test_a_level_more_is_a_step_more(some, family, level, extra):
    assert {len(p.steps) for p in some[family, level]} == {level + extra}


def test_no_problem_is_without_steps_or_with_a_negative_target(some):
    assert all(p.steps and int(p.target) >= 0 for p in cases(some))


# --- Drawing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "level"), ALL)
def test_the_same_address_gives_the_same_problem(family, level):
    assert [draw(family, level, "train", 3, i) for i in range(10)] == [
        draw(family, level, "train", 3, i) for i in range(10)
    ]


@pytest.mark.parametrize(("family", "level"), ALL)
def test_neighbouring_addresses_give_different_problems(family, level):
    # A family of a thousand structures repeats itself by chance: 1 of 20 is let pass, and streams that
    # hang together would show in all of them.
    here = [draw(family, level, "corpus", 42, i).question for i in range(20)]
    next_seed = [draw(family, level, "corpus", 43, i).question for i in range(20)]
    assert sum(a == b for a, b in itertools.pairwise(here)) <= 1
    assert sum(a == b for a, b in zip(here, next_seed, strict=True)) <= 1
    assert sum(a == b for a, b in zip(here[1:], next_seed, strict=False)) <= 1  # `seed + index` would give all 19


def first(split: str, count: int, seed: int) -> list[Problem]:
    return list(itertools.islice(problems(split, seed=seed), count))


def test_seeds_42_and_43_share_next_to_nothing():
    of_42, of_43 = ({p.question for p in first("train", 500, seed)} for seed in (42, 43))
    assert len(of_42) > 480
    assert len(of_42 & of_43) <= 10


def test_ids_of_different_problems_differ(drawn):
    by_id = defaultdict(set)
    for _, p in drawn:
        by_id[p.id].add(p.question)
    assert max(len(questions) for questions in by_id.values()) == 1


def test_no_structure_is_in_two_splits(drawn):
    splits = defaultdict(set)
    for split, p in drawn:
        splits[p.family, p.extra["key"]].add(split)
    assert [key for key, found in splits.items() if len(found) > 1] == []


def test_no_question_is_in_two_splits(drawn):
    splits = defaultdict(set)
    for split, p in drawn:
        splits[p.question].add(split)
    assert [question for question, found in splits.items() if len(found) > 1] == []


NAMES = r"\b(?:Ann|Bob|Cid|Dan|Eva|Fay|Gus|Ida|Jon|Kim|Leo|Mia)\b"


def test_another_name_does_not_carry_a_problem_into_another_split(drawn):
    splits = defaultdict(set)
    for split, p in drawn:
        if p.family in ("word_problems", "conversion", "ordering"):
            splits[re.sub(NAMES, "N", p.question)].add(split)
    assert [question for question, found in splits.items() if len(found) > 1] == []


def test_the_splits_cover_every_percentile_once():
    assert sorted(itertools.chain.from_iterable(SPLITS.values())) == list(range(100))


def test_splits_are_as_large_as_their_percentiles_say():
    found = [split_of("any", f"key {i}") for i in range(10_000)]
    for split, percentiles in SPLITS.items():
        assert abs(found.count(split) / 10_000 - len(percentiles) / 100) < 0.015


def test_distinct_problems_share_no_structure():
    found = distinct_problems("evaluation", 400, seed=1)
    assert len({(p.family, p.extra["key"]) for p in found}) == len(found) == 400


def test_distinct_problems_are_spread_over_families_and_levels():
    found = distinct_problems("train", 320, seed=1)
    for place in itertools.product(FAMILIES, (1, 2)):
        assert 16 <= sum((p.family, p.level) == place for p in found) <= 24  # 20 each but for repeated structures


WRONG = [
    (lambda: draw("poetry", 1, "train", 0, 0), "poetry", "word_problems"),
    (lambda: draw("logic", 4, "train", 0, 0), "4", "[1, 2, 3]"),
    (lambda: draw("linear_equations", 0, "train", 0, 0), "0", "[1, 2, 3]"),
    (lambda: draw("logic", 1, "test", 0, 0), "test", "corpus, train, evaluation, ood"),
    (lambda: next(problems("dev", seed=0)), "dev", "corpus, train, evaluation, ood"),
    (lambda: next(problems("train", seed=0, levels=[])), "[]", "[1, 2, 3]"),
    (lambda: distinct_problems("train", 1, seed=0, families=["logik"]), "logik", "logic"),
    (lambda: distinct_problems("train", 1, seed=0, levels=[1, 9]), "9", "[1, 2, 3]"),
]


@pytest.mark.parametrize(("act", "given", "known"), WRONG)
def test_what_does_not_exist_is_refused_with_what_does(act, given, known):
    with pytest.raises(RecipeError) as caught:
        act()
    assert given in str(caught.value) and known in str(caught.value)


def test_more_problems_than_there_are_is_refused_with_how_many_there_are():
    with pytest.raises(RecipeError, match=r"asked for 600 .* found ([0-9]+)") as caught:
        distinct_problems("corpus", 600, seed=0, families=["conversion"], levels=[1])
    assert f"at most {KEYS_OF_CONVERSION_1_IN_CORPUS}" in str(caught.value)


KEYS_OF_CONVERSION_1 = [
    f"{number} {large} {rest}"
    for large, most in (("weeks", 9), ("dozens", 9), ("feet", 9), ("yards", 9), ("days", 4))
    for number in range(2, most + 1)
    for rest in range(1, 31)
]
KEYS_OF_CONVERSION_1_IN_CORPUS = sum(split_of("conversion", key) == "corpus" for key in KEYS_OF_CONVERSION_1)


# --- How many there are ----------------------------------------------------------------------------------------------


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
    ("ordering", 1, (0, 0, 0), None),
]


@pytest.mark.parametrize(("family", "level", "fixed", "expected"), [row for row in COUNTED if row[0] != "ordering"])
def test_there_are_at_least_as_many_structures_as_stated(family, level, fixed, expected):
    stated = FAMILIES[family].distinct[level]
    counted = count_keys(family, level, fixed)
    if expected is None:
        expected = stated
    else:
        assert stated % expected == 0, "the stated number is not made of these ranges"
    assert counted >= expected
