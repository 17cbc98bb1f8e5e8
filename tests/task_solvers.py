"""Solvers of our generators' problems, from the text of the question alone; they share no code with the generators."""

import ast
import itertools
import operator
import re
from collections.abc import Callable, Mapping, Sequence

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
    equation = only_match(r"[0-9][0-9x()+* -]* = [0-9](?:[0-9x()+* -]*[0-9x)])?", question)
    left, right = equation.split(" = ")
    return only([x for x in range(-20, 60) if calculate(left, x) == calculate(right, x)])


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
