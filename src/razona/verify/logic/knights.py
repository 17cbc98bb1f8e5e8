r"""Knights and knaves: who is what, checked by what everybody says.

Fields of a row with `puzzle: "knights"`, and of the shipped Logic-RL rows, which need no `puzzle`:

- `names`: the people, at most 16; read from `question` ("You meet 3 inhabitants: ...") where the field is missing;
- `statements`: one entry a person, in their order, each a tree such as `('<=>', ('lying', 0), ('telling-truth', 1))`
  (0 is the first person) or an English statement; a list, or the text of one. Where the field is missing the English
  of `question` is read;
- `roles`: the word for the truthful and the word for the lying, `["knight", "knave"]` where it is missing.

An assignment is right when every person's statement is true exactly if that person is truthful. The stored solution
is never looked at, so every consistent assignment counts. A puzzle without one is refused.

Read as an answer: `(1) Zoey is a knight\n(2) Oliver is a knave`, `Zoey: knight, Oliver: knave`, `Zoey and Mia are
knights; Oliver is a knave`, `Knights: Zoey, Mia. Knaves: Oliver`, a JSON object, a Markdown table. Every person exactly
once. A sentence that names a person or a role must be such an assignment in full; other sentences are skipped unless
they negate. Does not cover: `Zoey is not a knight`, pronouns, true and false for knight and knave.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from razona.core.nouns import Outcome, Verdict
from razona.verify.logic.formula import evaluate, truth_table
from razona.verify.logic.rows import (
    MAX_VARIABLES,
    UnreadableText,
    list_field,
    row_error,
    shortened,
    text_field,
)
from razona.verify.logic.statements import English, Statement, from_tree, roster_names

KIND = "knights"
_TOKEN = re.compile(r"\n|[0-9]+|[^\W\d_]+(?:'[^\W\d_]+)*|[^\s]")
_ENDS = frozenset("\n.;!")
_JOINS = frozenset({",", "and", "&", "while", "whereas"})
_LINKS = frozenset(
    {"is", "are", ":", "=", "-", "\N{EN DASH}", "\N{EM DASH}", "→", ">", "a", "an", "the", "both", "all"}
)
_LAYOUT = frozenset({"(", ")", "[", "]", '"', "'", "“", "”", "*", "_", "|", "#", "•", "{", "}"})
_LEAD = frozenset({
    "so", "therefore", "thus", "hence", "then", "finally", "final", "answer", "solution", "conclusion", "in",
    "that", "we", "have",
})  # fmt: skip
_DOUBTS = frozenset({
    "not", "never", "neither", "nor", "isn't", "aren't", "wrong", "false", "incorrect", "except", "unless", "maybe",
    "perhaps", "possibly",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class KnightsPuzzle:
    """The people of an island and what they say."""

    names: tuple[str, ...]
    roles: tuple[str, str]
    statements: tuple[Statement, ...]


def read_knights(row: Mapping[str, object]) -> KnightsPuzzle:
    """Read a row of the kind `knights`; its fields stand at this file's head.

    Raises:
        DataError: a field is missing or not of its form, or no assignment makes every statement fit.
    """
    roles = _read_roles(row)
    if "names" in row:
        names = list_field(row, KIND, "names", "a list of names")
    else:
        names = list(roster_names(row))
    if not names or len(names) > MAX_VARIABLES or any(not isinstance(one, str) or not _is_name(one) for one in names):
        raise row_error(row, KIND, "names", f"a list of 1 to {MAX_VARIABLES} names, words only")
    words = [str(name) for name in names]
    if len({word.lower() for word in words}) < len(words):
        raise row_error(row, KIND, "names", "a different name for each person")
    statements = _read_statements(row, words, roles)
    puzzle = KnightsPuzzle(names=tuple(words), roles=roles, statements=tuple(statements))
    if not consistent_rows(puzzle):
        field = "statements" if "statements" in row else "question"
        raise row_error(row, KIND, field, "statements that some assignment fits")
    return puzzle


def _is_name(text: str) -> bool:
    """Say whether a text can name a person: words, and none that assignments are made of; `A` is a name, `a` is not."""
    words = _TOKEN.findall(text)
    known = _JOINS | _LINKS | _LEAD | _DOUBTS
    return (
        bool(words)
        and words[0] != "-"
        and all(word == "-" or (word[0].isalpha() and word not in known) for word in words)
    )


def _read_roles(row: Mapping[str, object]) -> tuple[str, str]:
    if "roles" not in row:
        return ("knight", "knave")
    expected = "two different words, for the truthful and for the lying"
    roles = [str(role).lower() for role in list_field(row, KIND, "roles", expected)]
    if len(roles) != 2 or roles[0] == roles[1] or not all(map(_is_name, roles)):
        raise row_error(row, KIND, "roles", expected)
    return (roles[0], roles[1])


def _read_statements(row: Mapping[str, object], names: Sequence[str], roles: tuple[str, str]) -> list[Statement]:
    field = "statements" if "statements" in row else "question"
    try:
        if field == "question":
            text = text_field(row, KIND, field, "the puzzle in English, or a field 'statements'")
            return English(names, roles).read_puzzle(text)
        entries = list_field(row, KIND, field, "a list with one statement a person")
        if len(entries) != len(names):
            raise UnreadableText(f"{len(entries)} statements of {len(names)} people")
        return [
            Statement(
                speaker=speaker,
                formula=English(names, roles).read(one) if isinstance(one, str) else from_tree(one, len(names)),
            )
            for speaker, one in enumerate(entries)
        ]
    except UnreadableText as error:
        raise row_error(row, KIND, field, f"one statement a person ({error})") from error


def consistent_rows(puzzle: KnightsPuzzle) -> int:
    """Give every assignment that fits all statements: bit r of the result, with bit p of r for a truthful person p."""
    table = truth_table(str(number) for number in range(len(puzzle.names)))
    rows = table.ones
    for statement in puzzle.statements:
        rows &= table.ones ^ table.columns[str(statement.speaker)] ^ table.truth(statement.formula)
    return rows


class _Reader:
    """Reads the assignments of one answer, sentence by sentence."""

    def __init__(self, puzzle: KnightsPuzzle) -> None:
        self.found: list[tuple[int, bool]] = []
        # As written, and in lower case too unless that is another word: the person `A` is not the article.
        self._people = {
            tuple(_TOKEN.findall(spelling)): number
            for number, name in enumerate(puzzle.names)
            for spelling in (name.lower(), name)
            if _is_name(spelling)
        }
        self._roles = {
            tuple(_TOKEN.findall(role + ending)): is_truthful
            for role, is_truthful in zip(puzzle.roles, (True, False), strict=True)
            for ending in ("", "s", "es")
        }
        lengths = {len(words) for words in (*self._people, *self._roles)}
        self._lengths = sorted(lengths, reverse=True)
        self._heading: bool | None = None

    def read(self, text: str) -> None:
        words = _TOKEN.findall(text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
        start = 0
        for place, word in enumerate([*words, "\n"]):
            if word in _ENDS:
                self._read_sentence(self._marked(words[start:place]), is_line_end=word == "\n")
                start = place + 1

    def _marked(self, words: list[str]) -> list[str | int | bool]:
        """Replace names by people's numbers and roles by truth values; the longest fitting name counts."""
        marked: list[str | int | bool] = []
        place = 0
        while place < len(words):
            for length in self._lengths:
                group = tuple(words[place : place + length])
                lowered = tuple(word.lower() for word in group)
                found = self._people.get(group, self._people.get(lowered, self._roles.get(lowered)))
                if found is not None:
                    marked.append(found)
                    place += length
                    break
            else:
                if words[place] not in _LAYOUT:
                    marked.append(words[place].lower())
                place += 1
        return marked

    def _read_sentence(self, words: list[str | int | bool], *, is_line_end: bool) -> None:
        if all(isinstance(word, str) for word in words):
            doubts = _DOUBTS.intersection(word for word in words if isinstance(word, str))
            if doubts:
                raise UnreadableText(f"the word {min(doubts)!r} may take back what the answer says")
            return
        pending: list[int] = []
        heading, count = self._heading, len(self.found)
        is_joined = True
        for place, word in enumerate(words):
            following = words[place + 1] if place + 1 < len(words) else None
            if isinstance(word, bool):
                if pending:
                    self.found += [(person, word) for person in pending]
                    pending, heading = [], None
                elif following in (":", "are", "is", "="):
                    heading = word
                else:
                    raise UnreadableText("a role stands there without a person")
            elif isinstance(word, int):
                if not is_joined:
                    raise UnreadableText("two people stand side by side with nothing between them")
                if heading is None:
                    pending.append(word)
                else:
                    self.found.append((word, heading))
            elif not self._is_allowed(word, bool(pending), heading is not None):
                raise UnreadableText(f"{shortened(word, 40)!r} is no person of the puzzle and no part of an assignment")
            is_joined = not isinstance(word, int) or isinstance(word, bool)
        if pending:
            raise UnreadableText("a person stands there without a role")
        has_named = len(self.found) > count
        self._heading = heading if is_line_end and (not has_named or self._heading is not None) else None

    def _is_allowed(self, word: str, has_pending: bool, has_heading: bool) -> bool:
        if word in _JOINS or word in _LINKS:
            return True
        if has_heading:
            return word in ("none", "nobody")
        return not has_pending and (word in _LEAD or (word.isascii() and word.isdigit()))


def check_knights(answer: str, puzzle: KnightsPuzzle) -> Verdict:
    """Say whether an answer gives every person a role so that each one's statement fits it.

    Raises:
        UnreadableText: a sentence about the people is no assignment.
    """
    reader = _Reader(puzzle)
    reader.read(answer)
    if not reader.found:
        raise UnreadableText("nobody is given a role")
    roles = dict(reader.found)
    if len(roles) < len(reader.found):
        counted = [person for person, _ in reader.found]
        twice = next(name for number, name in enumerate(puzzle.names) if counted.count(number) > 1)
        return Verdict(outcome=Outcome.INCORRECT, reason=f"{twice} is given a role more than once")
    missing = [name for number, name in enumerate(puzzle.names) if number not in roles]
    if missing:
        return Verdict(outcome=Outcome.INCORRECT, reason=f"no role for {', '.join(missing)}")
    values = {str(person): int(is_truthful) for person, is_truthful in roles.items()}
    for statement in puzzle.statements:
        if values[str(statement.speaker)] != evaluate(statement.formula, values):
            name, role = puzzle.names[statement.speaker], puzzle.roles[1 - values[str(statement.speaker)]]
            return Verdict(outcome=Outcome.INCORRECT, reason=f"what {name} says does not fit a {role}")
    return Verdict(outcome=Outcome.CORRECT)
