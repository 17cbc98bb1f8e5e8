"""What the inhabitants of an island say, as boolean formulas over their numbers, "0" being the first person.

Three forms are read: the trees of Logic-RL and reasoning-gym (`('or', ('telling-truth', 1), ('lying', 2))`), one
English statement each, and the English of a whole puzzle. A variable is true where that person is truthful.

English covers `A is a knight`, `A is not a knave`, two of these joined by `and`, `or`, `if and only if`, and
`if ... then ...`. It does not cover statements about oneself in the first person, counts ("exactly one of us"),
"neither", "the same kind", or more than two atoms; a puzzle that holds such words is refused, never half-read.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from razona.verify.logic.formula import Formula
from razona.verify.logic.rows import UnreadableText, is_integer, shortened

MAX_DEPTH = 40
_TREE_OPERATORS = {"and": "and", "or": "or", "not": "not", "->": "implies", "<=>": "iff", "xor": "xor"}
_CONNECTIVES = {"and": "and", "or": "or", "if and only if": "iff", "then": "implies"}
_ROSTER = re.compile(r"inhabitants?: ([^.:?]*)\.")
_QUESTION = re.compile(r"(?:\bso,?\s+)?\bwho\s+(?:is|are)\b", re.IGNORECASE)
_MEANINGFUL = frozenset({
    "not", "no", "nor", "neither", "either", "both", "all", "none", "some", "same", "different", "least", "most",
    "only", "exactly", "if", "then", "and", "or", "iff", "unless", "but", "knight", "knights", "knave", "knaves",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Something one person says."""

    speaker: int
    formula: Formula


def as_formula(steps: Sequence[str]) -> Formula:
    """Give the formula of some postfix steps over people's numbers."""
    return Formula(steps=tuple(steps), variables=tuple(dict.fromkeys(step for step in steps if step.isdigit())))


def from_tree(tree: object, people: int) -> Formula:
    """Read one statement of the nested form.

    Raises:
        UnreadableText: an operator, a person's number or the nesting is not of that form.
    """
    steps: list[str] = []
    _read_tree(tree, people, steps, MAX_DEPTH)
    return as_formula(steps)


def _read_tree(tree: object, people: int, steps: list[str], depth: int) -> None:
    if not isinstance(tree, list | tuple) or len(tree) < 2 or depth == 0:
        raise UnreadableText(f"{shortened(repr(tree))} is no statement such as ('telling-truth', 0)")
    name, *parts = tree
    if name in ("telling-truth", "lying"):
        person = parts[0]
        if len(parts) != 1 or not (isinstance(person, int) and is_integer(person) and 0 <= person < people):
            raise UnreadableText(f"{shortened(repr(tree))} names none of the people 0 to {people - 1}")
        steps.extend([str(person)] if name == "telling-truth" else [str(person), "not"])
        return
    operator = _TREE_OPERATORS.get(name) if isinstance(name, str) else None
    fits = operator in ("and", "or") or len(parts) == (1 if operator == "not" else 2)
    if operator is None or not fits:
        raise UnreadableText(
            f"{shortened(repr(tree))} begins with none of {', '.join(_TREE_OPERATORS)}, or is too long"
        )
    for place, part in enumerate(parts):
        _read_tree(part, people, steps, depth - 1)
        if place or operator == "not":
            steps.append(operator)


class English:
    """Statements in English about the people of one puzzle."""

    def __init__(self, names: Sequence[str], roles: tuple[str, str]) -> None:
        self._numbers = {name.lower(): number for number, name in enumerate(names)}
        self._truthful = roles[0]
        anyone = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
        kinds = "|".join(map(re.escape, roles))
        atom = rf"\b({anyone}) is (not )?an? ({kinds})\b"
        self._statement = re.compile(rf"(\bif )?{atom}(?:,? (and|or|if and only if|then) {atom})?", re.IGNORECASE)
        self._name = re.compile(rf"\b(?:{anyone})\b")

    def read(self, text: str) -> Formula:
        """Read one statement, the whole text.

        Raises:
            UnreadableText: it is none of the forms at this file's head.
        """
        match = self._statement.fullmatch(text.strip().rstrip(".").strip())
        if match is None:
            raise UnreadableText(f"{shortened(text)!r} is no statement that is read here")
        return self._formula(match)

    def _formula(self, match: re.Match[str]) -> Formula:
        is_conditional, first, first_not, first_kind, connective, second, second_not, second_kind = match.groups()
        operator = _CONNECTIVES[connective.lower()] if connective else None
        if bool(is_conditional) != (operator == "implies"):
            raise UnreadableText(f"{match[0]!r} is no whole statement")
        steps = self._atom(first, first_not, first_kind)
        if operator is not None:
            steps += [*self._atom(second, second_not, second_kind), operator]
        return as_formula(steps)

    def _atom(self, name: str, negation: str | None, kind: str) -> list[str]:
        is_plain = (kind.lower() == self._truthful) != bool(negation)
        person = str(self._numbers[name.lower()])
        return [person] if is_plain else [person, "not"]

    def read_puzzle(self, question: str) -> list[Statement]:
        """Read all that is said in the text of a puzzle.

        Between two statements stands the name of whoever makes one of them ("Zoey noted, ..." before it, "..., Zoey
        said" after it), once each; so the n-th name outside the statements is the speaker of the n-th statement.

        Raises:
            UnreadableText: names and statements do not pair up, or words outside them would change their meaning.
        """
        roster = _ROSTER.search(question)
        said = question[roster.end() :] if roster else question
        end = _QUESTION.search(said)
        said = said[: end.start()] if end else said
        matches = list(self._statement.finditer(said))
        bounds = [0, *(edge for match in matches for edge in match.span()), len(said)]
        between = " ".join(said[bounds[i] : bounds[i + 1]] for i in range(0, len(bounds), 2))
        meaningful = _MEANINGFUL.intersection(re.findall(r"[a-z]+", self._name.sub(" ", between).lower()))
        if meaningful:
            raise UnreadableText(
                f"the words {', '.join(sorted(meaningful))} stand outside every statement that is read"
            )
        speakers = [self._numbers[name.lower()] for name in self._name.findall(between)]
        if len(speakers) != len(matches) or not matches:
            raise UnreadableText(f"{len(matches)} statements and {len(speakers)} speakers; expected one each")
        pairs = zip(speakers, matches, strict=True)
        return [Statement(speaker=speaker, formula=self._formula(match)) for speaker, match in pairs]


def roster_names(row: Mapping[str, object]) -> list[str]:
    """Give the names after "inhabitants:" in a row's question, none where it has no such list."""
    question = row.get("question")
    match = _ROSTER.search(question) if isinstance(question, str) else None
    if match is None:
        return []
    return [name.removeprefix("and ").strip() for name in re.split(r",\s*|\s+and\s+", match[1]) if name.strip()]
