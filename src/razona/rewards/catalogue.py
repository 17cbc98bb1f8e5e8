"""The reward components a recipe can name."""

from collections.abc import Callable, Mapping

from razona.rewards import notebook, sound
from razona.rewards.sample import Sample
from razona.verify import Tags

Component = Callable[[Sample], float | None]
"""A completion with all that is known about it -> value; None where our side cannot judge."""


def _of_text(function: Callable[[str, str, Tags], float]) -> Component:
    return lambda sample: function(sample.text, sample.target, sample.tags)


COMPONENTS: Mapping[str, Component] = {
    "correct": sound.correct,
    "format": sound.form,
    "random": sound.random_number,
    "format_exact": _of_text(notebook.format_exact),
    "format_approximate": _of_text(notebook.format_approximate),
    "check_answer": _of_text(notebook.check_answer),
    "check_numbers": _of_text(notebook.check_numbers),
}
"""Recipe name -> component."""
