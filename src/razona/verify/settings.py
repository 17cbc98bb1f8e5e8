"""What a verdict may be lenient about. The defaults are strict; each switch has its cases in docs/verify.md."""

from dataclasses import dataclass, field
from typing import Literal

from razona.verify.tags import Tags

MAX_COMPLETION_CHARACTERS = 2_000_000
"""A longer completion is not searched: INCORRECT."""
MAX_ANSWER_CHARACTERS = 2_000
"""A longer 'answer' is not read: INCORRECT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How answers are looked for and compared."""

    tags: Tags = field(default_factory=Tags)
    """The marks around working and solution."""
    is_unmarked_allowed: bool = False
    """Read an answer that nothing marks: a short text as a whole, else its last formula, else its last number.
    Evaluation and bare `prediction` rows do; rewards do not."""
    percent: Literal["strict", "lenient"] = "strict"
    """`strict`: 10 % is 0.1 and nothing else. `lenient`: it is 10 as well."""
    order: Literal["set", "ordered"] = "set"
    """`set`: `1, 2` without brackets may come in any order. `ordered`: it may not. `(1, 2)` never may."""
    relation_as_set: bool = True
    r"""`-2 \le x \le 7` is the interval `[-2, 7]`. False: a target that is written as a set is
    not answered by a relation."""
    units: Literal["lenient", "required"] = "lenient"
    """`lenient`: an answer may leave the target's unit out or add one, but not write another.
    `required`: it must write it."""
    tolerance: float | None = None
    """Numbers this close, relative to the target, are equal. None: only equal numbers are."""
    is_remembered: bool = True
    """The same completion, target and settings are judged once while they are among the last 4,096.
    Off in benchmarks."""
    deadline_s: float = 0.8
    """Wall-clock limit of the symbolic worker for one comparison."""
