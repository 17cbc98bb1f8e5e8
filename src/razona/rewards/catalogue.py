"""The reward components a recipe can name."""

from collections.abc import Callable, Mapping

from razona.rewards import notebook, sound, style
from razona.rewards.sample import Sample, Value
from razona.verify import Tags

Component = Callable[[Sample], Value]
"""A completion with all that is known about it -> value and reason. Ranges and options: `razona.recipe.components`."""


def _of_text(function: Callable[[str, str, Tags], float]) -> Component:
    told = (function.__doc__ or "").splitlines()[0]
    return lambda sample: Value(function(sample.text, sample.target, sample.tags), told)


COMPONENTS: Mapping[str, Component] = {
    "correct": sound.correct,
    "format": sound.form,
    "format_partial": sound.form_partial,
    "number_close": sound.number_close,
    "code_tests": sound.code_tests,
    "logic": sound.logic,
    "length": style.length,
    "language": style.language,
    "random": sound.random_number,
    "format_exact": _of_text(notebook.format_exact),
    "format_approximate": _of_text(notebook.format_approximate),
    "check_answer": _of_text(notebook.check_answer),
    "check_numbers": _of_text(notebook.check_numbers),
}
"""Recipe name -> component."""
