r"""Boolean formulas: read by a parser of our own, compared by truth tables.

Operators, the strongest first: not (`!` `~` `¬`), and (`&` `&&` `∧` `/\`), xor (`^` `⊕`), or (`|` `||` `\/`),
implies (`->` `=>` `→`), iff (`<->` `<=>` `↔` `≡`, "if and only if"); LaTeX names such as `\land` and `\rightarrow`
too. Implications group to the right, the others to the left. `^` is always xor. Constants: true, false, 1, 0.
The signs of print are read too.
A variable is a letter followed by letters, digits and underscores; `A` and `a` are two variables.

Fields of a row with `puzzle: "formula"`:

- `formula`: the formula, at most 16 variables;
- `ask`: `satisfy` (default), `equivalent` or `value`;
- `values`: for `value`, the truth value of every variable, such as `{"A": true, "B": false}`;
- `operators`: for `equivalent`, the operators an answer may use (`["and", "or", "not"]`); all where it is missing;
- `max_operators`: for `equivalent`, how many of them at most. Without these two the formula itself is an answer.

An answer to `satisfy` gives every variable exactly once (`A = true, B = F`; `A: 1; B: 0`), and any satisfying
assignment counts; `unsatisfiable` counts where nothing satisfies the formula. An answer to `equivalent` is a formula
with the same truth table. An answer to `value` is true or false.

Does not cover: quantifiers, `if ... then ...` in words, implicit conjunction (`AB`), overlines, primes.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from razona.core.nouns import Outcome, Verdict
from razona.verify.logic.rows import (
    MAX_VARIABLES,
    UnreadableText,
    choice_field,
    is_integer,
    list_field,
    row_error,
    shortened,
    text_field,
)

KIND = "formula"
OPERATORS = ("not", "and", "xor", "or", "implies", "iff")
_STRENGTH = {name: len(OPERATORS) - place for place, name in enumerate(OPERATORS)}
_SPELLINGS = {
    "not": r"not ! ~ ¬ \neg \lnot",
    "and": r"and & && ∧ /\ \land \wedge",
    "xor": r"xor ^ ⊕ ⊻ \oplus \veebar",
    "or": "or | || \N{LOGICAL OR} \\/ \\lor \\vee",
    "implies": r"implies -> --> => ==> → ⇒ ⟹ ⊃ \to \rightarrow \Rightarrow \implies \supset",
    "iff": r"iff <-> <--> <=> <==> ↔ ⇔ ⟺ ≡ \leftrightarrow \Leftrightarrow \iff \equiv",
    "true": "true 1 \N{DOWN TACK} \\top",
    "false": r"false 0 ⊥ \bot",
    "(": "( [",
    ")": ") ]",
}
_MEANINGS = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings.split()}
_SYMBOLS = sorted((one for one in _MEANINGS if not one[-1].isalnum()), key=len, reverse=True)
_TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<iff>if\s+and\s+only\s+if\b)|(?P<known>\\[A-Za-z]+|[01](?![0-9A-Za-z_])|"
    + "|".join(map(re.escape, _SYMBOLS))
    + r")|(?P<word>[A-Za-z][A-Za-z0-9_]*)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """A formula in postfix order, so that neither reading nor evaluating it can exhaust the stack."""

    steps: tuple[str, ...]
    """Variables, `true`, `false` and names of OPERATORS; an operator follows what it works on."""
    variables: tuple[str, ...]
    """Each variable once, in the order of its first appearance."""


def _tokens(text: str) -> Iterable[str]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise UnreadableText(f"{shortened(text[position:], 20)!r} begins with no part of a formula")
        position = match.end()
        if match["iff"]:
            yield "iff"
        elif match["known"]:
            name = _MEANINGS.get(match["known"])
            if name is None:
                raise UnreadableText(f"{shortened(match['known'], 20)!r} is no operator of a formula")
            yield name
        elif match["word"]:
            yield _MEANINGS.get(match["word"].lower(), match["word"])


def parse_formula(text: str) -> Formula:
    r"""Read a formula in time and memory linear in the text's length, by precedence and without recursion.

    Raises:
        UnreadableText: it is none; the message says why.

    >>> parse_formula(r"A -> B \land ~A").steps
    ('A', 'B', 'A', 'not', 'and', 'implies')
    """
    steps: list[str] = []
    waiting: list[str] = []  # operators and open brackets
    expects_operand = True
    for token in _tokens(text):
        if expects_operand != (token in ("not", "(") or token not in (*OPERATORS, ")")):
            raise UnreadableText(f"{shortened(token, 20)!r} stands where {_wanted(expects_operand)} was expected")
        if token in ("not", "("):
            waiting.append(token)
        elif token == ")":
            while waiting and waiting[-1] != "(":
                steps.append(waiting.pop())
            if not waiting:
                raise UnreadableText("a bracket closes that was never opened")
            waiting.pop()
        elif token in OPERATORS:
            while waiting and waiting[-1] != "(" and _binds_first(waiting[-1], token):
                steps.append(waiting.pop())
            waiting.append(token)
            expects_operand = True
        else:
            steps.append(token)
            expects_operand = False
    if expects_operand:
        raise UnreadableText("the formula ends where an operand was expected" if text.strip() else "no formula")
    if "(" in waiting:
        raise UnreadableText("a bracket is never closed")
    steps.extend(reversed(waiting))
    variables = dict.fromkeys(step for step in steps if step not in (*OPERATORS, "true", "false"))
    return Formula(steps=tuple(steps), variables=tuple(variables))


def _wanted(expects_operand: bool) -> str:
    return "a variable or a bracket" if expects_operand else "an operator or the end"


def _binds_first(left: str, right: str) -> bool:
    """Say whether the operator on the left is applied before the one on the right."""
    return _STRENGTH[left] > _STRENGTH[right] or (left == right and left not in ("implies", "not"))


def evaluate(formula: Formula, values: Mapping[str, int], ones: int = 1) -> int:
    """Give the truth of a formula, for every row of a table at once.

    Args:
        values: of each variable, one bit a row; with `ones` 1 there is a single row, and values are 0 or 1.
        ones: the integer whose bits are all rows of the table.
    """
    known = {**values, "true": ones, "false": 0}
    stack: list[int] = []
    for step in formula.steps:
        if step == "not":
            stack.append(ones ^ stack.pop())
        elif step in _STRENGTH:
            right, left = stack.pop(), stack.pop()
            stack.append(_apply(step, left, right, ones))
        else:
            stack.append(known[step])
    (truth,) = stack
    return truth


def _apply(operator: str, left: int, right: int, ones: int) -> int:
    match operator:
        case "and":
            return left & right
        case "or":
            return left | right
        case "xor":
            return left ^ right
        case "implies":
            return (ones ^ left) | right
        case _:
            return ones ^ left ^ right


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Every assignment of some variables: bit r of a column is that variable's value in row r."""

    columns: Mapping[str, int]
    ones: int

    def truth(self, formula: Formula) -> int:
        """Give the rows in which the formula is true, as bits."""
        return evaluate(formula, self.columns, self.ones)


def truth_table(variables: Iterable[str]) -> Table:
    """Give the table of these variables, 2 to their number rows long.

    Raises:
        UnreadableText: there are more than MAX_VARIABLES.
    """
    names = list(dict.fromkeys(variables))
    if len(names) > MAX_VARIABLES:
        raise UnreadableText(f"{len(names)} variables; at most {MAX_VARIABLES} are read")
    ones = (1 << (1 << len(names))) - 1
    # 2^i zeros, then 2^i ones, repeated: ones // (2^(2^i) + 1) has a one in every low half of such a period.
    columns = {name: (ones // ((1 << (1 << i)) + 1)) << (1 << i) for i, name in enumerate(names)}
    return Table(columns=columns, ones=ones)


@dataclass(frozen=True, slots=True, kw_only=True)
class FormulaPuzzle:
    """A formula and what is asked about it."""

    formula: Formula
    ask: str
    values: Mapping[str, int]
    operators: frozenset[str]
    max_operators: int | None


def read_formula_field(row: Mapping[str, object], kind: str, name: str, value: object) -> Formula:
    """Read a formula out of a row.

    Raises:
        DataError: it is none, or has too many variables.
    """
    try:
        if not isinstance(value, str):
            raise UnreadableText("not text")
        formula = parse_formula(value)
        truth_table(formula.variables)
    except UnreadableText as error:
        raise row_error(row, kind, name, f"a boolean formula ({error})") from error
    return formula


def read_formula(row: Mapping[str, object]) -> FormulaPuzzle:
    """Read a row of the kind `formula`; its fields stand at this file's head.

    Raises:
        DataError: a field is missing or not of its form.
    """
    text = text_field(row, KIND, "formula", "a boolean formula as text")
    formula = read_formula_field(row, KIND, "formula", text)
    ask = choice_field(row, KIND, "ask", ("satisfy", "equivalent", "value"))
    values: dict[str, int] = {}
    if ask == "value":
        given = row.get("values")
        if not isinstance(given, Mapping) or any(not isinstance(given.get(name), bool) for name in formula.variables):
            raise row_error(row, KIND, "values", f"true or false for each of {', '.join(formula.variables)}")
        values = {name: int(given[name]) for name in formula.variables}
    operators = frozenset(OPERATORS)
    if "operators" in row:
        expected = f"some of {', '.join(OPERATORS)}"
        operators = frozenset(map(str, list_field(row, KIND, "operators", expected)))
        if not operators <= set(OPERATORS):
            raise row_error(row, KIND, "operators", expected)
    limit = row.get("max_operators")
    if limit is not None and not (isinstance(limit, int) and is_integer(limit) and limit >= 0):
        raise row_error(row, KIND, "max_operators", "a number of operators")
    return FormulaPuzzle(formula=formula, ask=ask, values=values, operators=operators, max_operators=limit)


_UNSATISFIABLE = {"unsatisfiable", "unsat", "not satisfiable", "no solution", "no satisfying assignment"}
_PAIR = re.compile(
    r"\s*([A-Za-z][A-Za-z0-9_]*)\s*(?:=|:=?|->|→|\\mapsto|\bis\b)\s*(true|false|t|f|1|0)\s*", re.IGNORECASE
)
_SEPARATOR = re.compile(r"[,;\n]|\band\b|∧|\\land|\\wedge", re.IGNORECASE)


def _read_assignment(text: str) -> list[tuple[str, int]]:
    pairs: list[tuple[str, int]] = []
    for piece in _SEPARATOR.split(re.sub(r"[\"'()\[\]]", " ", text.rstrip("."))):
        match = _PAIR.fullmatch(piece)
        if match is not None:
            pairs.append((match[1], int(match[2].lower() in ("true", "t", "1"))))
        elif piece.strip():
            raise UnreadableText(f"{shortened(piece.strip(), 40)!r} gives no variable a truth value")
    return pairs


def _check_satisfy(answer: str, formula: Formula) -> Verdict:
    if " ".join(answer.lower().rstrip(".").split()) in _UNSATISFIABLE:
        if truth_table(formula.variables).truth(formula):
            return Verdict(outcome=Outcome.INCORRECT, reason="the formula can be satisfied")
        return Verdict(outcome=Outcome.CORRECT)
    pairs = _read_assignment(answer)
    names = [name for name, _ in pairs]
    if sorted(names) != sorted(formula.variables):
        expected = ", ".join(formula.variables)
        return Verdict(
            outcome=Outcome.INCORRECT,
            reason=f"the answer gives {shortened(', '.join(names))}; expected each of {expected} once",
        )
    if evaluate(formula, dict(pairs)):
        return Verdict(outcome=Outcome.CORRECT)
    return Verdict(outcome=Outcome.INCORRECT, reason="the formula is false under this assignment")


def _check_equivalent(answer: str, puzzle: FormulaPuzzle) -> Verdict:
    found = parse_formula(answer)
    used = [step for step in found.steps if step in OPERATORS]
    if not puzzle.operators.issuperset(used):
        extra = ", ".join(sorted(set(used) - puzzle.operators))
        return Verdict(outcome=Outcome.INCORRECT, reason=f"the answer uses {extra}, which the puzzle does not allow")
    if puzzle.max_operators is not None and len(used) > puzzle.max_operators:
        return Verdict(outcome=Outcome.INCORRECT, reason=f"{len(used)} operators; at most {puzzle.max_operators}")
    table = truth_table((*puzzle.formula.variables, *found.variables))
    if table.truth(found) == table.truth(puzzle.formula):
        return Verdict(outcome=Outcome.CORRECT)
    return Verdict(outcome=Outcome.INCORRECT, reason="the two formulas differ for some assignment")


def check_formula(answer: str, puzzle: FormulaPuzzle) -> Verdict:
    """Say whether an answer does what is asked about the formula.

    Raises:
        UnreadableText: the answer has not the form that was asked for.
    """
    if puzzle.ask == "satisfy":
        return _check_satisfy(answer, puzzle.formula)
    if puzzle.ask == "equivalent":
        return _check_equivalent(answer, puzzle)
    truth = {"true": 1, "t": 1, "1": 1, "false": 0, "f": 0, "0": 0}.get(answer.strip().rstrip(".").lower())
    if truth is None:
        raise UnreadableText(f"{shortened(answer, 40)!r} is neither true nor false")
    if truth == evaluate(puzzle.formula, puzzle.values):
        return Verdict(outcome=Outcome.CORRECT)
    return Verdict(outcome=Outcome.INCORRECT, reason="the formula has the other value")
