"""Propositional entailment: does the conclusion follow from the premises? Decided by truth table.

Fields of a row with `puzzle: "entailment"`, also recognised by its first two:

- `premises`: a list of formulas, in the notation of `formula.py`; at most 16 variables with the conclusion's;
- `conclusion`: a formula;
- `ask`: `relation` (default) or `follows`.

To `relation` the answers are `entailed` (also true, follows, proved, valid), `contradicted` (false, disproved,
refuted: the premises entail its negation) and `undetermined` (unknown, uncertain, not determined, cannot be
determined, neither). Premises that contradict each other entail everything and its negation, so such a row is refused.
To `follows` they are `yes` (true, entailed, follows, valid) and `no` (false, not entailed, does not follow, invalid),
where `no` covers both other relations.

The answer is one of these phrases and nothing else. Does not cover: an answer with its explanation, predicate logic.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from razona.core.nouns import Outcome, Verdict
from razona.verify.logic.formula import Formula, read_formula_field, truth_table
from razona.verify.logic.rows import UnreadableText, choice_field, list_field, row_error, shortened

KIND = "entailment"
_PHRASES = {
    "relation": {
        "entailed": "entailed|entailment|entails|true|follows|it follows|proved|proven|valid",
        "contradicted": "contradicted|contradiction|contradicts|false|disproved|disproven|refuted",
        "undetermined": "undetermined|not determined|unknown|uncertain|undecided|cannot be determined|neither|neutral",
    },
    "follows": {
        "yes": "yes|true|entailed|follows|it follows|valid",
        "no": "no|false|not entailed|does not follow|it does not follow|invalid|not valid",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EntailmentPuzzle:
    """What is asked about premises and a conclusion, and the one right answer to it."""

    ask: str
    relation: str
    """`entailed`, `contradicted` or `undetermined`; `yes` or `no` where `ask` is `follows`."""


def relation_between(premises: list[Formula], conclusion: Formula) -> str:
    """Give `entailed`, `contradicted`, `undetermined`, or `inconsistent` where no assignment fits the premises.

    Raises:
        UnreadableText: more than 16 variables.
    """
    table = truth_table(name for formula in (*premises, conclusion) for name in formula.variables)
    rows = table.ones
    for premise in premises:
        rows &= table.truth(premise)
    if not rows:
        return "inconsistent"
    held = rows & table.truth(conclusion)
    if held == rows:
        return "entailed"
    return "undetermined" if held else "contradicted"


def read_entailment(row: Mapping[str, object]) -> EntailmentPuzzle:
    """Read a row of the kind `entailment`; its fields stand at this file's head.

    Raises:
        DataError: a field is missing or not of its form, or the premises contradict each other.
    """
    entries = list_field(row, KIND, "premises", "a list of boolean formulas")
    premises = [read_formula_field(row, KIND, "premises", entry) for entry in entries]
    conclusion = read_formula_field(row, KIND, "conclusion", row.get("conclusion"))
    ask = choice_field(row, KIND, "ask", ("relation", "follows"))
    try:
        relation = relation_between(premises, conclusion)
    except UnreadableText as error:
        raise row_error(row, KIND, "premises", f"formulas of few variables ({error})") from error
    if ask == "follows":
        return EntailmentPuzzle(ask=ask, relation="yes" if relation in ("entailed", "inconsistent") else "no")
    if relation == "inconsistent":
        raise row_error(row, KIND, "premises", "premises that do not contradict each other")
    return EntailmentPuzzle(ask=ask, relation=relation)


def check_entailment(answer: str, puzzle: EntailmentPuzzle) -> Verdict:
    """Say whether an answer names the relation between the premises and the conclusion.

    Raises:
        UnreadableText: it is none of the phrases at this file's head.
    """
    said = " ".join(answer.lower().rstrip(".!").split())
    for relation, phrases in _PHRASES[puzzle.ask].items():
        if said in phrases.split("|"):
            if relation == puzzle.relation:
                return Verdict(outcome=Outcome.CORRECT)
            return Verdict(outcome=Outcome.INCORRECT, reason=f"the conclusion is not {relation}: {puzzle.relation}")
    raise UnreadableText(f"{shortened(answer, 40)!r} is none of {', '.join(_PHRASES[puzzle.ask])}")
