"""Floor 2: text in, verdict out. Nothing here loads torch, evaluates model text, or knows about training."""

from razona.verify.answers import check
from razona.verify.extraction import Found, extract, find_solution
from razona.verify.form import FormReport, read_form
from razona.verify.settings import Settings
from razona.verify.steps import StepReport, read_steps
from razona.verify.tags import Tags

__all__ = [
    "FormReport",
    "Found",
    "Settings",
    "StepReport",
    "Tags",
    "check",
    "extract",
    "find_solution",
    "read_form",
    "read_steps",
]
