"""The answer without a model, from five questions: less sure than one that is measured, and it says so."""

from collections.abc import Callable
from dataclasses import dataclass

from razona.advise.decision import Decision, decide
from razona.advise.evidence import Evidence, expected_signal
from razona.core.errors import RecipeError
from razona.core.terminal import say
from razona.evaluate.statistics import Estimate

GROUP_SIZE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, and what may be answered."""

    key: str
    text: str
    choices: tuple[str, ...]
    """Empty: a whole number."""
    hint: str = ""


QUESTIONS = (
    Question(key="check", text="Can a program tell right answers from wrong ones?", choices=("yes", "no")),
    Question(key="problems", text="How many problems have you?", choices=(), hint="a whole number"),
    Question(
        key="worked",
        text="For how many of them have you a worked solution, written by a person or a stronger model?",
        choices=(),
        hint="a whole number; 0 for none",
    ),
    Question(
        key="success",
        text="How often does the base model answer right in the form you ask for?",
        choices=("never", "not in the form", "rarely", "sometimes", "nearly always"),
        hint="'not in the form': it knows the answers but does not write them where you look; 'rarely': under 1 in 20",
    ),
    Question(
        key="thinking",
        text="Does working the problem out help it, or will rules and inputs differ later?",
        choices=("yes", "no"),
    ),
)

PAID = {"never": 0.0, "not in the form": 0.0, "rarely": 0.02, "sometimes": 0.3, "nearly always": 0.97}
REACH = {"never": 0.0, "not in the form": 1.0, "rarely": 0.5, "sometimes": 1.0, "nearly always": 1.0}
"""Of each answer to `success`: the share that would be paid, and of the problems solved in many tries (our reading)."""


def ask_all(ask: Callable[[Question], str]) -> dict[str, str]:
    """Ask every question, and the same one again where the answer is none of the choices."""
    answers = {}
    for question in QUESTIONS:
        while question.key not in answers:
            try:
                answers[question.key] = read_answer(question, ask(question))
            except RecipeError as error:
                say(error)
    return answers


def read_answer(question: Question, text: str) -> str:
    """Read an answer; the beginning of a choice is enough where it is no other's.

    Raises:
        RecipeError: it is none.
    """
    given = text.strip().lower()
    if not question.choices:
        if given.replace(",", "").isdigit():
            return given.replace(",", "")
        raise RecipeError(f"{question.text} {text!r} is no answer; expected a whole number, such as 500")
    found = [choice for choice in question.choices if choice == given] or [
        choice for choice in question.choices if given and choice.startswith(given)
    ]
    if len(found) == 1:
        return found[0]
    raise RecipeError(f"{question.text} {text!r} is no answer; expected one of {', '.join(question.choices)}")


def evidence_of(answers: dict[str, str]) -> Evidence:
    """Turn answers into the evidence that they stand for."""
    paid, reach = PAID[answers["success"]], REACH[answers["success"]]
    helps = answers["thinking"] == "yes"

    def exactly(value: float) -> Estimate:
        return Estimate(value=value, low=value, high=value)

    gain = 0.1 if helps else 0.0
    return Evidence(
        model="(not measured)",
        problems=int(answers["problems"]),
        is_endless=False,
        verifiable=1.0 if answers["check"] == "yes" else 0.0,
        worked_solutions=int(answers["worked"]),
        group_size=GROUP_SIZE,
        num_sampled=0,
        samples=GROUP_SIZE,
        paid=exactly(paid),
        right=exactly(max(paid, 0.3 * (answers["success"] == "not in the form"))),
        right_in_k=exactly(reach),
        signal=exactly(expected_signal(paid, GROUP_SIZE)),
        form=exactly(0.0 if answers["success"] == "not in the form" else 1.0),
        truncated=0.0,
        unverified=0.0,
        above_zero=reach,
        perfect=float(paid > 0.95),
        in_band=float(answers["success"] == "sometimes"),
        mean_tokens=0.0,
        tokens_p90=0,
        working_gain=exactly(gain),
        best_prompt="training",
        best_prompt_right=paid,
        many=64,
        right_in_many=exactly(reach),
        beyond_chance=exactly(reach),
        inputs_shift=helps,
    )


def answer(answers: dict[str, str]) -> Decision:
    """Give the decision that the answers lead to."""
    return decide(evidence_of(answers))
