"""The answer, from the evidence: a tree of yes-or-no questions, and the way through it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from razona.advise.evidence import Evidence
from razona.advise.published import ENOUGH_LABELS, FEW_LABELS, percent
from razona.evaluate.statistics import Estimate

FEW_PROBLEMS = 50
"""Below it no source advises to train (azure-skills; Lucy)."""
SOLVED = 0.95
"""Share paid above which there is nothing left to learn (AWS Nova)."""
WEAK_SIGNAL = 1 / 3
"""Share of groups with signal below which reinforcement mostly waits: a pass rate of 5 % gives 34 % at group size 8.
Measured on the embedded model: docs/advise.md."""
MANY_LABELS = 500
"""Worked solutions from which on fine-tuning alone did no worse than with reinforcement after it, on the embedded model
(docs/advise.md); azure-skills says that 300 to 500 good ones suffice."""
WITHIN_REACH = 0.1
"""Share of problems solved in 64 tries, less what guessing gives, from which on the ability is there (Lucy: more than
10 % above zero); its interval must exclude 0, too."""


class Answer(StrEnum):
    """What to do."""

    RFT = "RFT"
    SFT = "SFT"
    SFT_THEN_RFT = "SFT first, then RFT"
    DISTIL = "distil from a stronger model"
    SOLVED = "neither: already solved"
    UNVERIFIABLE = "neither: not verifiable"
    TOO_LITTLE_DATA = "neither: too little data"


MEANING = {
    Answer.RFT: "The base model succeeds often enough for its own attempts to teach it: train with GRPO.",
    Answer.SFT: "Worked solutions teach this faster than attempts: fine-tune on them (train.method: sft).",
    Answer.SFT_THEN_RFT: "Attempts are paid too rarely now: fine-tune shortly, then go on with GRPO "
    "(train.method: sft_then_grpo).",
    Answer.DISTIL: "The model does not solve these problems in many tries, and reinforcement only makes likelier what "
    "it does by itself now and then. Fine-tune on a stronger model's solutions, or take a larger base or easier "
    "problems.",
    Answer.SOLVED: "Nearly every answer is right already: what is left to gain does not pay for a run. Take harder "
    "problems.",
    Answer.UNVERIFIABLE: "No program can tell right answers from wrong ones here, and there are too few worked "
    "solutions to fine-tune on. Give the data targets that can be checked, or label.",
    Answer.TOO_LITTLE_DATA: "Too few problems to learn anything but them. Collect more; generated ones count.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A question of the tree."""

    question: str
    ask: Callable[[Evidence], bool]
    saw: Callable[[Evidence], str]
    yes: "Node | Answer"
    no: "Node | Answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question on the way, and its answer."""

    question: str
    saw: str
    is_yes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Where the way ended, and the way."""

    answer: Answer
    path: tuple[Asked, ...]


def _worked(found: Evidence) -> str:
    return f"{found.worked_solutions:,} worked solutions"


def _in_many(found: Evidence) -> str:
    if found.right_in_many is None:
        return "not measured"
    told = f"{percent(found.right_in_many.value)} of problems solved in {found.many} tries"
    if found.right_by_chance and found.beyond_chance is not None:
        ends = f"{100 * found.beyond_chance.low:+.0f} to {100 * found.beyond_chance.high:+.0f} points"
        return f"{told}, {percent(found.right_by_chance)} by chance (between them {ends})"
    return told


def _is_within_reach(beyond_chance: Estimate | None) -> bool:
    return beyond_chance is not None and beyond_chance.value >= WITHIN_REACH and beyond_chance.low > 0


def _reasons(found: Evidence) -> str:
    shift = {None: "not said", True: "yes", False: "no"}[found.inputs_shift]
    return f"{_worked(found)}; inputs shift: {shift}"


_BEYOND = Node(
    question=f"at least {ENOUGH_LABELS} worked solutions?",
    ask=lambda found: found.worked_solutions >= ENOUGH_LABELS,
    saw=_worked,
    yes=Answer.SFT,
    no=Answer.DISTIL,
)
_WEAK = Node(
    question="solved in many tries, beyond chance?",
    ask=lambda found: _is_within_reach(found.beyond_chance),
    saw=_in_many,
    yes=Answer.SFT_THEN_RFT,
    no=_BEYOND,
)
_LABELLED = Node(
    question=f"fewer than {MANY_LABELS}, or will inputs shift?",
    ask=lambda found: found.worked_solutions < MANY_LABELS or bool(found.inputs_shift),
    saw=_reasons,
    yes=Answer.SFT_THEN_RFT,
    no=Answer.SFT,
)
_STRONG = Node(
    question=f"fewer than {FEW_LABELS} worked solutions?",
    ask=lambda found: found.worked_solutions < FEW_LABELS,
    saw=_worked,
    yes=Answer.RFT,
    no=_LABELLED,
)
_SIGNAL = Node(
    question="signal in a third of the groups?",
    ask=lambda found: found.signal.value >= WEAK_SIGNAL,
    saw=lambda found: f"{percent(found.signal.value)} of groups",
    yes=_STRONG,
    no=_WEAK,
)
_OPEN = Node(
    question="solved already?",
    ask=lambda found: found.paid.value > SOLVED,
    saw=lambda found: f"{percent(found.paid.value)} paid as correct",
    yes=Answer.SOLVED,
    no=_SIGNAL,
)
_DATA = Node(
    question=f"at least {FEW_PROBLEMS} problems?",
    ask=lambda found: found.is_endless or found.problems >= FEW_PROBLEMS,
    saw=lambda found: "made as needed" if found.is_endless else f"{found.problems:,} problems",
    yes=_OPEN,
    no=Answer.TOO_LITTLE_DATA,
)
_DEMONSTRATED = Node(
    question=f"at least {ENOUGH_LABELS} worked solutions?",
    ask=lambda found: found.worked_solutions >= ENOUGH_LABELS,
    saw=_worked,
    yes=Answer.SFT,
    no=Answer.UNVERIFIABLE,
)
TREE = Node(
    question="can a program check the answers?",
    ask=lambda found: found.verifiable >= 0.5,
    saw=lambda found: f"{percent(found.verifiable)} of targets verify",
    yes=_DATA,
    no=_DEMONSTRATED,
)


def decide(found: Evidence) -> Decision:
    """Go through the tree."""
    path, place = [], TREE
    while isinstance(place, Node):
        is_yes = place.ask(found)
        path.append(Asked(question=place.question, saw=place.saw(found), is_yes=is_yes))
        place = place.yes if is_yes else place.no
    return Decision(answer=place, path=tuple(path))


def needs_many_tries(found: Evidence) -> bool:
    """Say whether the way leads to the question of many tries, which takes a measurement of its own."""
    return any(one.question == _WEAK.question for one in decide(found).path)


def leaves(place: Node | Answer = TREE) -> Iterator[Answer]:
    """Give the answers at the ends of the tree."""
    if isinstance(place, Node):
        yield from leaves(place.yes)
        yield from leaves(place.no)
    else:
        yield place


def first_mend(found: Evidence) -> list[str]:
    """Give what to put right before any training, whatever the answer."""
    mend = []
    if found.unverified > 0.02:
        mend.append(
            f"{percent(found.unverified)} of completions could not be verified (more than 2 %): mend the targets or "
            "the verifier, or leave these problems out; each such completion is left out of its group."
        )
    if 0.5 <= found.verifiable < 0.98:
        mend.append(
            f"{percent(1 - found.verifiable)} of targets do not verify against themselves: leave them out "
            "(data.unverifiable: drop)."
        )
    if found.truncated > 0.3:
        mend.append(
            f"{percent(found.truncated)} of completions reach the limit (more than 30 %): raise "
            f"rollout.max_completion_tokens; nine in ten end by {found.tokens_p90:,} tokens as it is."
        )
    return mend
