"""The marks of a recipe's prompt form."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags:
    """The four marks of the recipe's prompt form."""

    working_open: str = "<start_working_out>"
    working_close: str = "<end_working_out>"
    solution_open: str = "<SOLUTION>"
    solution_close: str = "</SOLUTION>"
