"""The reward components a recipe can name."""

from collections.abc import Callable, Mapping

from razona.rewards import notebook, sound
from razona.verify import Tags

Component = Callable[[str, str, Tags], float | None]
"""(completion, target, tags) -> value; None where our side cannot judge."""

COMPONENTS: Mapping[str, Component] = {
    "correct": sound.correct,
    "format": sound.form,
    "random": sound.random_number,
    "format_exact": notebook.format_exact,
    "format_approximate": notebook.format_approximate,
    "check_answer": notebook.check_answer,
    "check_numbers": notebook.check_numbers,
}
