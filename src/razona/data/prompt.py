"""From a problem to the text that is fed in."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from razona.core.nouns import Problem
from razona.recipe import DataSection, PromptSection
from razona.verify import Tags

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def tags_of(section: PromptSection) -> Tags:
    """Give the recipe's four marks."""
    return Tags(
        working_open=section.working_open,
        working_close=section.working_close,
        solution_open=section.solution_open,
        solution_close=section.solution_close,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptWriter:
    """Writes prompts in the recipe's form with a tokenizer's chat template."""

    section: PromptSection
    tokenizer: "PreTrainedTokenizerBase"

    def write(self, problem: Problem) -> str:
        """Render system text and question, and open the working: the completion starts inside it."""
        messages = [{"role": "user", "content": problem.question}]
        system = self.section.system_text()
        if system:
            messages.insert(0, {"role": "system", "content": system})
        rendered = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, chat_template=self.section.chat_template
        )
        assert isinstance(rendered, str)
        return (
            rendered if rendered.rstrip().endswith(self.section.working_open) else rendered + self.section.working_open
        )

    def count_tokens(self, prompts: list[str]) -> list[int]:
        """Give the number of tokens of each prompt."""
        return [len(ids) for ids in self.tokenizer(prompts, add_special_tokens=False)["input_ids"]]


def longest_allowed(lengths: Sequence[int], section: DataSection) -> int | None:
    """Give the most tokens that a prompt may have, so that the longest share of `data.drop_longest` is left out.

    Prompts as long as the longest that stays, stay: of equal lengths none is dropped by chance.
    """
    if not section.drop_longest or not lengths:
        return section.max_prompt_tokens
    kept = max(1, math.ceil((1 - section.drop_longest) * len(lengths)))
    quantile = sorted(lengths)[kept - 1]
    return quantile if section.max_prompt_tokens is None else min(quantile, section.max_prompt_tokens)
