"""Other ways to ask the same question: a base model must be measured under the prompt that suits it best."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from razona.core.errors import RecipeError
from razona.core.nouns import Problem
from razona.data import PromptWriter
from razona.recipe import PromptSection

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TRAINING_PROMPT = "training"
"""The recipe's own prompt, with system text and tags."""
NUM_EXAMPLES = 3
WritePrompt = Callable[[Problem], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What a way to ask may use."""

    tokenizer: "PreTrainedTokenizerBase"
    examples: Sequence[Problem]
    """Solved problems; more than `NUM_EXAMPLES`, so that none is shown with its own question."""

    def examples_for(self, problem: Problem) -> list[Problem]:
        """Give the examples that may be shown before this problem."""
        return [one for one in self.examples if one.id != problem.id][:NUM_EXAMPLES]


PromptVariant = Callable[[Problem, Asking], str]


def _bare(problem: Problem, asking: Asking) -> str:
    return f"{problem.question}\n"


def _question_answer(problem: Problem, asking: Asking) -> str:
    return f"Q: {problem.question}\nA:"


def _working(problem: Problem, asking: Asking) -> str:
    return f"Problem: {problem.question}\nWorking:"


def _few_shot(problem: Problem, asking: Asking) -> str:
    solved = "\n".join(_example(one) for one in asking.examples_for(problem))
    is_worked = any(map(working_of, asking.examples))
    return f"{solved}\nProblem: {problem.question}\n{'Working' if is_worked else 'Answer'}:"


def _example(problem: Problem) -> str:
    working = working_of(problem)
    told = f"Working: {working}\n" if working else ""
    return f"Problem: {problem.question}\n{told}Answer: {problem.target}\n"


def working_of(problem: Problem) -> str:
    """Give a problem's worked solution: the generator's steps, or the column `solution` of the data set."""
    if problem.steps:
        return f"{'. '.join(problem.steps)}."
    solution = problem.extra.get("solution")
    return solution.strip() if isinstance(solution, str) and solution.strip() != problem.target else ""


def _chat(problem: Problem, asking: Asking) -> str:
    rendered = asking.tokenizer.apply_chat_template(
        [{"role": "user", "content": problem.question}], tokenize=False, add_generation_prompt=True
    )
    assert isinstance(rendered, str)
    return rendered


PROMPT_VARIANTS: Mapping[str, PromptVariant] = {
    "bare": _bare,
    "question-answer": _question_answer,
    "working": _working,
    "few-shot": _few_shot,
    "chat": _chat,
}
"""Name -> how it asks. `few-shot` shows worked examples; `chat` is the tokenizer's own template without our system
text; the others show the question alone."""


def check_prompt(name: str) -> None:
    """Refuse a name that is no way to ask.

    Raises:
        RecipeError: there is no such way.
    """
    if name != TRAINING_PROMPT and name not in PROMPT_VARIANTS:
        raise RecipeError(f"--prompt {name}: expected one of {', '.join([TRAINING_PROMPT, *PROMPT_VARIANTS])}")


def other_prompts(asking: Asking, problem: Problem) -> list[str]:
    """Give the names of `PROMPT_VARIANTS` that write this problem's prompt in ways of their own.

    A tokenizer whose chat template adds nothing writes the bare question: that is measured once.
    """
    first_with: dict[str, str] = {}
    for name, write in PROMPT_VARIANTS.items():
        first_with.setdefault(write(problem, asking), name)
    return list(first_with.values())


def prompt_writer(name: str, section: PromptSection, asking: Asking) -> WritePrompt:
    """Give the function that writes a problem's prompt in the way of that name.

    Raises:
        RecipeError: there is no such way.
    """
    check_prompt(name)
    if name == TRAINING_PROMPT:
        return PromptWriter(section=section, tokenizer=asking.tokenizer).write
    return lambda problem: PROMPT_VARIANTS[name](problem, asking)
