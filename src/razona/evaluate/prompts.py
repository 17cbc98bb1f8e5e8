"""Other ways to ask the same question: a base model must be measured under the prompt that suits it best."""

from collections.abc import Callable, Mapping, Sequence

from razona.core.nouns import Problem

PromptVariant = Callable[[str, Sequence[Problem]], str]
"""(question, solved examples) -> prompt."""


def _bare(question: str, examples: Sequence[Problem]) -> str:
    return f"{question}\n"


def _question_answer(question: str, examples: Sequence[Problem]) -> str:
    return f"Q: {question}\nA:"


def _working(question: str, examples: Sequence[Problem]) -> str:
    return f"Problem: {question}\nWorking:"


def _few_shot(question: str, examples: Sequence[Problem]) -> str:
    solved = "\n".join(
        f"Problem: {example.question}\nWorking: {'. '.join(example.steps)}.\nAnswer: {example.target}\n"
        for example in examples
    )
    return f"{solved}\nProblem: {question}\nWorking:"


PROMPT_VARIANTS: Mapping[str, PromptVariant] = {
    "bare": _bare,
    "question-answer": _question_answer,
    "working": _working,
    "few-shot": _few_shot,
}
"""Name -> how it asks. `few-shot` shows worked examples from the training split; the others show none."""
