"""Talking to a model: one question, one answer, written as it is sampled.

Each question stands alone: the models are trained on single problems, so nothing of what was said before is in the
prompt. The answer is not judged: there is no target to judge it by.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from razona.core.errors import DataError, RecipeError
from razona.core.nouns import Problem
from razona.core.rundir import RunDir
from razona.core.seeds import derive_seed
from razona.data import PromptWriter, tags_of
from razona.evaluate.named import EMBEDDED, OTHER_TOKENS, load_model
from razona.evaluate.parts import Part, PartReader, Piece
from razona.recipe import ModelSection, Recipe, load
from razona.verify import Tags, read_form

if TYPE_CHECKING:
    from razona.models.load import Policy

BASE = "base"
"""What `--versus` calls the model that MODEL was trained from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How answers are sampled."""

    temperature: float
    """0 is greedy."""
    max_tokens: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One model's answer to one question."""

    model: str
    text: str
    """All of it, with its marks."""
    working: str
    solution: str | None
    """None where no solution block was opened."""
    num_tokens: int
    max_tokens: int
    """The limit it had: the one asked for, or what the question left of all that the model reads."""
    is_truncated: bool
    """That limit ended it."""
    is_stopped: bool
    """The person ended it."""
    has_form: bool
    """It has the form that the prompt asks for, exactly. Nothing is said of its being right."""
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """A model that answers."""

    name: str
    policy: "Policy"
    recipe: Recipe
    is_adapter_on: bool = True
    """False: the weights under the adapter answer."""

    @property
    def tags(self) -> Tags:
        """The marks of the recipe's form."""
        return tags_of(self.recipe.prompt)


@dataclass(slots=True)
class Talk:
    """One answer while it is written: iterate over its pieces, then ask for `answer`."""

    speaker: Speaker
    question: str
    settings: Settings
    turn: int = 0
    """Number of the question: asked again, it gets another answer."""
    should_stop: Callable[[], bool] = lambda: False
    """Asked after each token."""
    answer: Answer | None = None
    """None until all pieces were read."""
    _pieces: list[Piece] = field(default_factory=list)

    def __iter__(self) -> Iterator[Piece]:
        """Sample the answer, piece by piece.

        Raises:
            DataError: the question leaves no room for an answer.
        """
        from razona.rollout import Sampling
        from razona.rollout.engine import end_ids
        from razona.rollout.stream import Spelling, stream

        model, tokenizer = self.speaker.policy.model, self.speaker.policy.tokenizer
        prompt = prompt_ids(self.speaker, self.question)
        ends = end_ids(model, tokenizer)
        spelling, reader = Spelling(tokenizer), PartReader(self.speaker.tags)
        tokens: list[int] = []
        text, is_stopped, started = "", False, time.monotonic()
        max_tokens = limit_of_answer(self.speaker, len(prompt), self.settings.max_tokens)
        for token in stream(
            model,
            prompt,
            ends=ends,
            sampling=Sampling(max_tokens=max_tokens, temperature=self.settings.temperature),
            seed=derive_seed("chat", self.settings.seed, self.turn),
            is_adapter_on=self.speaker.is_adapter_on,
        ):
            tokens.append(token)
            new = spelling.add(token)
            text += new
            yield from self._kept(reader.add(new))
            if self.should_stop():
                is_stopped = token not in ends
                break
        new = spelling.end()
        text += new
        yield from self._kept(reader.add(new) + reader.end())
        self.answer = Answer(
            model=self.speaker.name,
            text=text,
            working=self._text_of(Part.WORKING) or "",
            solution=self._text_of(Part.SOLUTION),
            num_tokens=len(tokens),
            max_tokens=max_tokens,
            is_truncated=not is_stopped and tokens[-1] not in ends,
            is_stopped=is_stopped,
            has_form=read_form(text, self.speaker.tags).is_exact,
            seconds=round(time.monotonic() - started, 3),
        )

    def _kept(self, pieces: list[Piece]) -> list[Piece]:
        self._pieces += pieces
        return pieces

    def _text_of(self, part: Part) -> str | None:
        texts = [one.text for one in self._pieces if one.part is part]
        return "".join(texts).strip() if texts else None


def prompt_of(speaker: Speaker, question: str) -> str:
    """Write a question in the recipe's form."""
    writer = PromptWriter(section=speaker.recipe.prompt, tokenizer=speaker.policy.tokenizer)
    return writer.write(Problem(id="question", question=question, target=""))


def prompt_ids(speaker: Speaker, question: str) -> list[int]:
    """Give the token ids of a question in the recipe's form."""
    return speaker.policy.tokenizer(prompt_of(speaker, question), add_special_tokens=False)["input_ids"]


def limit_of_answer(speaker: Speaker, num_prompt_tokens: int, wanted: int) -> int:
    """Give how many tokens an answer may have: those wanted, or fewer where the model reads no more.

    Raises:
        DataError: the prompt leaves no room.
    """
    limit = getattr(speaker.policy.model.config, "max_position_embeddings", None)
    if not isinstance(limit, int):
        return wanted
    if num_prompt_tokens >= limit:
        raise DataError(
            f"the question is {num_prompt_tokens:,} tokens long in the recipe's form, and {speaker.name} reads "
            f"{limit:,}, answer included. Ask a shorter one."
        )
    return min(wanted, limit - num_prompt_tokens)


def default_tokens(model: str, recipe: Recipe, *, is_recipe_named: bool) -> int:
    """Give the limit of an answer: the one of training where the recipe is the model's own or was named, else 1,024."""
    is_own = RunDir(Path(model)).recipe.exists() or model == EMBEDDED
    return recipe.rollout.max_completion_tokens if is_own or is_recipe_named else OTHER_TOKENS


def load_speakers(model: str, recipe: Recipe, versus: str | None) -> list[Speaker]:
    """Load the model, and the one it is to be compared with, which is the first then.

    An adapter's own base needs no weights of its own: it is the same model with the adapter switched off.

    Args:
        versus: any model, or `base`: what `model` was trained from.

    Raises:
        RecipeError: `base` is asked for, and nothing says what that is.
        ModelError: one of them cannot be loaded.
    """
    from peft import PeftModel

    from razona.models.load import load_policy

    base = _base_of(model, recipe)
    if versus == BASE and base is None:
        raise RecipeError(
            f"--versus {BASE}: {model} is neither a run's folder nor an adapter's, so nothing says what it was trained "
            "from. Name that model: --versus NAME"
        )
    policy = load_model(model, recipe)
    tuned = Speaker(name=model, policy=policy, recipe=recipe)
    if versus is None:
        return [tuned]
    if base is None or versus not in (BASE, base.name):
        return [Speaker(name=versus, policy=load_model(versus, recipe), recipe=recipe), tuned]
    if isinstance(policy.model, PeftModel):
        return [Speaker(name=base.name, policy=policy, recipe=recipe, is_adapter_on=False), tuned]
    return [Speaker(name=base.name, policy=load_policy(base), recipe=recipe), tuned]


def _base_of(model: str, recipe: Recipe) -> ModelSection | None:
    """Give what a run, or an adapter, was trained from; None where the name tells of neither."""
    from razona.models.load import adapter_base

    run = RunDir(Path(model))
    if run.recipe.exists():
        return load(run.recipe).model
    name = adapter_base(Path(model))
    return None if name is None else recipe.model.model_copy(update={"name": name})
