"""The recipe's sections `data` and `prompt`: the problems, and the form in which they are asked."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from razona.recipe.checks import check_data_folder, check_tags, check_template, fill_placeholders
from razona.recipe.section import Section, Text, raise_all

SYSTEM = (
    "Think about the problem. Put your working out between {working_open} and {working_close}, "
    "then the solution between {solution_open} and {solution_close}."
)


class DataSection(Section):
    """Where the problems come from."""

    source: Text = "tasks"
    """`tasks` are our generators (our demo); else a .jsonl, .csv or .parquet file, a hub data set, or a generator of
    your own, `package.module:function` or `path/to/file.py:function`, which yields problems (docs/data.md)."""
    config: Text | None = None
    """Configuration of a hub data set, for example `main`. null where it has only one."""
    split: Text = "train"
    """Split of a hub data set. Files have none, and generators keep training and evaluation apart themselves."""
    question_column: Text | Annotated[list[Text], Field(min_length=1)] = ["question", "problem", "prompt"]
    """Column of the question; of several names the first that the data has."""
    target_column: Text | Annotated[list[Text], Field(min_length=1)] = ["answer", "solution", "target"]
    """Column of the target; of several names the first that the data has. `answer` leads: where both are there,
    as in GSM8K, `solution` is the working."""
    families: list[Text] = []
    """Generators to draw from, `razona tasks` lists them. Empty: all. Only with source `tasks`."""
    levels: list[Annotated[int, Field(ge=1)]] = Field(default=[1, 2], min_length=1)
    """Difficulties to draw from, 1 is easiest; 3 is kept for evaluation (our demo). Only read with source `tasks`."""
    max_problems: int | None = Field(default=None, ge=1)
    """Problems to train on. null: all of them, or, from generators, as many as the run needs."""
    max_prompt_tokens: int | None = Field(default=None, ge=1)
    """Problems with a longer prompt are left out, and counted. null: none is."""
    drop_longest: float = Field(default=0.0, ge=0, lt=1)
    """Share of the problems, those with the longest prompts, that is left out, too, and counted. 0: none. 0.1 is what
    the well-known GRPO notebooks do on DAPO-Math-17k."""
    unverifiable: Literal["drop", "keep"] = "drop"
    """Problems that pay no completion: the target, given as the answer, is not judged right (kind math), or tests or
    puzzle cannot be read (code, logic). `drop` leaves them out, and lists them. Not looked at with source `tasks`."""
    duplicates: Literal["drop", "keep"] = "drop"
    """Problems that ask what an earlier one asks, but for case and white space. `drop` leaves them out, and all of them
    where their targets contradict each other: no one knows which is right. Not looked at with source `tasks`."""
    not_in: list[Text] = []
    """Evaluation sets that nothing may be learned from: a benchmark's short name (`math500`), a file, a hub name.
    Problems that hold half of a question of theirs, in runs of 8 words, are left out. Empty: none is compared."""
    folder: Text | None = None
    """With local copies of the benchmarks in `not_in`. null: they come from the hub."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_data_folder(self.folder, self.not_in)
        return self


class PromptSection(Section):
    """The form of prompt and completion. The completion starts right after `working_open`."""

    system: str | None = SYSTEM
    """System message, with `{working_open}` and its like for the tags below (the form of the well-known GRPO
    notebooks, shortened). `{{x}}` stands for a literal `{x}`. null: no system message."""
    chat_template: Text | None = None
    """Jinja text that writes the messages, for a base model whose tokenizer has none or the wrong one. null: the
    tokenizer's own; where it has none, a plain one of ours, and the run says so."""
    working_open: Text = "<start_working_out>"
    """Before the working; the last thing in every prompt."""
    working_close: Text = "<end_working_out>"
    """After the working."""
    solution_open: Text = "<SOLUTION>"
    """Before the solution."""
    solution_close: Text = "</SOLUTION>"
    """After the solution."""

    def system_text(self) -> str:
        """Give the system message with the tags filled in; empty where there is none."""
        return fill_placeholders(self.system or "", self._tags())

    def _tags(self) -> dict[str, str]:
        return {key: value for key, value in self if key not in ("system", "chat_template")}

    @model_validator(mode="after")
    def _check(self) -> Self:
        raise_all([lambda: check_tags(self._tags()), self.system_text, lambda: check_template(self.chat_template)])
        return self
