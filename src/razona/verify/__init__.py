"""Floor 2: text in, verdict out. Nothing here loads torch, evaluates model text, or knows about training."""

from razona.verify.answer import Tags, extract, find_solution, verify
from razona.verify.form import FormReport, read_form
from razona.verify.numbers import parse_number
from razona.verify.steps import StepReport, read_steps

__all__ = [
    "FormReport",
    "StepReport",
    "Tags",
    "extract",
    "find_solution",
    "parse_number",
    "read_form",
    "read_steps",
    "verify",
]
