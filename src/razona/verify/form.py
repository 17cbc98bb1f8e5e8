"""Whether a completion has the form the prompt asks for."""

from dataclasses import dataclass

from razona.verify.tags import Tags


@dataclass(frozen=True, slots=True, kw_only=True)
class FormReport:
    """The form of one completion, whose prompt has already opened the working."""

    is_exact: bool
    """Some working, which ends once; one non-empty solution block; nothing between the two or after."""
    working: str
    """The text before the end of the working; the whole text where it never ends."""


def read_form(text: str, tags: Tags) -> FormReport:
    """Read the form of a completion. Linear in the text's length.

    Exact means `working </working> <solution>answer</solution>`: every mark once, in this order, nothing but
    white space between the two blocks and after the last, and something in both.
    """
    working, closed, rest = text.partition(tags.working_close)
    if not closed:
        return FormReport(is_exact=False, working=text)
    rest = rest.strip()
    answer = rest.removeprefix(tags.solution_open).removesuffix(tags.solution_close)
    marks = (tags.working_open, tags.working_close, tags.solution_open, tags.solution_close)
    is_exact = (
        len(answer) == len(rest) - len(tags.solution_open) - len(tags.solution_close)
        and bool(answer.strip())
        and bool(working.strip())
        and not any(mark in answer or mark in working for mark in marks)
    )
    return FormReport(is_exact=is_exact, working=working)
