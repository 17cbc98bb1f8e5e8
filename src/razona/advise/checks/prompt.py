"""Rules on the prompt: the tags are named and opened once, the end of a text can come, and everything fits."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from razona.advise.checks.data import check_size
from razona.advise.checks.finding import Finding, error, warning
from razona.core.nouns import Problem
from razona.data import PromptWriter
from razona.data.prompt import longest_allowed
from razona.recipe import PromptSection, Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from razona.advise.checks.light_tokenizer import LightTokenizer

OTHER_OPENINGS = ("<think>", "<thinking>", "<reasoning>", "<start_working_out>")
"""Tags that open a working in templates of others."""
FORM_TAGS = ("working_close", "solution_open", "solution_close")
READS: Mapping[str, Sequence[str]] = {
    "format": FORM_TAGS,
    "format_partial": FORM_TAGS,
    "format_exact": FORM_TAGS,
    "format_approximate": FORM_TAGS,
    "check_answer": FORM_TAGS,
    "check_numbers": ("solution_open",),
}
"""Reward -> tags without which it pays less. `correct` reads a box as well; see `_tags_read`."""
PLACEHOLDER = "RAZONA ASKS"
ANSWERED = "RAZONA ANSWERS"
_TAIL_TOKEN = re.compile(r"\s*(<[^<>\s]+>|\[/?[A-Z_]+\])")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What the settings of a model and its tokenizer say of where a text ends."""

    eos_token: str | None
    eos_id: int | None
    """The tokenizer's."""
    vocabulary: int | None
    """Ids that the model can give; None where nobody says."""
    positions: int | None
    """Tokens that it can read; None where nobody says."""
    generation: Mapping[str, object]
    """generation_config.json."""
    config_ends: object
    """`eos_token_id` of config.json."""
    other_ends: frozenset[str] = frozenset()
    """Tokens, beside the tokenizer's, that end a completion by the model's generation settings."""

    @classmethod
    def of(
        cls,
        tokenizer: "PreTrainedTokenizerBase | LightTokenizer",
        config: Mapping[str, object],
        generation: Mapping[str, object],
    ) -> "ModelFacts":
        """Read them off a tokenizer, config.json and generation_config.json."""
        inner = config.get("text_config")
        text = inner if isinstance(inner, Mapping) else config
        vocabulary, positions = text.get("vocab_size"), text.get("max_position_embeddings")
        eos_id = tokenizer.eos_token_id
        made = cls(
            eos_token=cast(str | None, tokenizer.eos_token),
            eos_id=eos_id if isinstance(eos_id, int) else None,
            vocabulary=vocabulary if isinstance(vocabulary, int) else None,
            positions=positions if isinstance(positions, int) else None,
            generation=generation,
            config_ends=text.get("eos_token_id"),
        )
        tokens = [tokenizer.convert_ids_to_tokens(one) for one in made.model_ends]
        return replace(made, other_ends=frozenset(token for token in tokens if isinstance(token, str)))

    @property
    def model_ends(self) -> list[int]:
        """The ids that end a text by the model's own settings."""
        named = self.generation.get("eos_token_id")
        named = self.config_ends if named is None else named
        return [one for one in (named if isinstance(named, list) else [named]) if isinstance(one, int)]


def check_prompts(
    recipe: Recipe, problems: Sequence[Problem], tokenizer: "PreTrainedTokenizerBase | LightTokenizer"
) -> Iterator[Finding]:
    """Render a prompt and look at its tags."""
    from jinja2 import TemplateError

    writer = PromptWriter(section=recipe.prompt, tokenizer=cast("PreTrainedTokenizerBase", tokenizer))
    problem = problems[0] if problems else Problem(id="", question=PLACEHOLDER, target="")
    try:
        rendered = writer.write(problem)
    except TemplateError as refused:
        yield error(
            "missing-tag",
            f"the chat template refuses the messages of the recipe: {refused}",
            "set prompt.chat_template, or prompt.system: null where the template takes no system message",
        )
        return
    yield from check_rendered(recipe, rendered, problem.question)


def check_rendered(recipe: Recipe, rendered: str, question: str) -> Iterator[Finding]:
    """Look at the tags of one rendered prompt."""
    start = rendered.rfind(question)
    if start < 0:
        yield error(
            "missing-tag",
            f"the question is not in the prompt that the chat template writes: {_end_of(rendered)}",
            "set prompt.chat_template to one that writes message['content'] of every message",
        )
        return
    told, tail = rendered[:start] + rendered[start + len(question) :], rendered[start + len(question) :]
    missing = missing_tags(recipe, told)
    if missing:
        yield error(
            "missing-tag",
            f"the prompt does not name {', '.join(tag for _, tag in missing)}, which the rewards "
            f"{', '.join(sorted({name for name, _ in missing}))} read; the model is told {_shown(told)}",
            "name every tag in prompt.system, as the default does: Put your working out between {working_open} and "
            "{working_close}, then the solution between {solution_open} and {solution_close}."
            + (
                " The chat template leaves the system message out: set prompt.chat_template"
                if recipe.prompt.system_text() and recipe.prompt.system_text() not in rendered
                else ""
            ),
        )
    yield from _opened_once(recipe.prompt, tail)


def missing_tags(recipe: Recipe, told: str) -> list[tuple[str, str]]:
    """Give (reward, tag) for each tag that a reward reads and the prompt does not name."""
    prompt = recipe.prompt
    found = []
    for component in recipe.rewards.components:
        names = READS.get(component.name, ())
        if component.name == "correct" and recipe.rewards.kind != "code" and "\\boxed" not in told:
            names = ("solution_open", "solution_close")
        found += [(component.name, tag) for name in names if (tag := getattr(prompt, name)) not in told]
    return list({tag: (name, tag) for name, tag in reversed(found)}.values())[::-1]


def _opened_once(prompt: PromptSection, tail: str) -> Iterator[Finding]:
    """Look at what follows the question: the template's own words, and the opening tag that we write."""
    opening = prompt.working_open
    others = [tag for tag in OTHER_OPENINGS if tag != opening and tag in tail]
    if tail.count(opening) > 1:
        yield error(
            "double-tag",
            f"{opening} stands {tail.count(opening)} times where the completion begins: {_end_of(tail)}",
            f"take {opening} out of the chat template (prompt.chat_template, else the tokenizer's own): it is written "
            "after the template",
        )
    elif others:
        yield error(
            "double-tag",
            f"the chat template opens the working with {others[0]}, and the recipe with {opening}: {_end_of(tail)}",
            f"--set prompt.working_open='{others[0]}' with its closing tag, or a prompt.chat_template without it",
        )
    if not tail.rstrip().endswith(opening):
        yield error(
            "missing-tag",
            f"the prompt ends with {_end_of(tail)}, and not with {opening}, inside which the completion begins",
            f"let the chat template end the prompt, or end it with {opening}",
        )


def check_ends(
    facts: ModelFacts, tokenizer: "PreTrainedTokenizerBase | LightTokenizer", template: str | None
) -> Iterator[Finding]:
    """Look at whether the end of a text can be sampled, and whether it is where the template ends a turn.

    A padding token that is the end of a text is no fault here: masks are made from lengths.
    """
    if facts.eos_id is None:
        yield error(
            "eos-masked",
            f"the tokenizer's end of text is {facts.eos_token!r}, and its vocabulary does not have it",
            "name an existing token as eos_token in tokenizer_config.json",
        )
        return
    end = f"{facts.eos_token} ({facts.eos_id})"
    if facts.vocabulary is not None and facts.vocabulary <= facts.eos_id:
        yield error(
            "eos-masked",
            f"the tokenizer's end of text is {end}, and the model gives ids up to {facts.vocabulary - 1} only",
            "use the tokenizer that belongs to the model, or resize the model's embeddings",
        )
    for key in ("suppress_tokens", "begin_suppress_tokens", "bad_words_ids"):
        if facts.eos_id in _ids_of(facts.generation.get(key)):
            yield error(
                "eos-masked",
                f"generation_config.json forbids {end} ({key})",
                f"remove {facts.eos_id} from {key} in the model's generation_config.json",
            )
    if facts.model_ends and facts.eos_id not in facts.model_ends:
        yield warning(
            "eos-masked",
            f"the tokenizer's end of text is {end}, the model's {facts.model_ends}: rollouts stop at either, other "
            "programs only at the model's",
            f"add {facts.eos_id} to eos_token_id in the model's generation_config.json",
        )
    turn = _end_of_turn(tokenizer, template)
    if turn and turn != facts.eos_token and turn not in facts.other_ends:
        yield warning(
            "eos-masked",
            f"the chat template ends an answer with {turn}, at which sampling does not stop (it stops at {end})",
            f"set prompt.chat_template to one that ends an answer with eos_token, or add {turn} to eos_token_id in "
            "the model's generation_config.json",
        )


def _ids_of(value: object) -> set[int]:
    """Give the ids of a list, or of the lists of one id in it: a longer one forbids a phrase, not a token."""
    if not isinstance(value, list):
        return set()
    alone = [one[0] if isinstance(one, list) and len(one) == 1 else one for one in value]
    return {one for one in alone if isinstance(one, int)}


def _end_of_turn(tokenizer: "PreTrainedTokenizerBase | LightTokenizer", template: str | None) -> str:
    """Give the token that the template writes after an answer; "" where it writes none, or refuses."""
    from jinja2 import TemplateError

    messages = [{"role": "user", "content": PLACEHOLDER}, {"role": "assistant", "content": ANSWERED}]
    try:
        rendered = tokenizer.apply_chat_template(messages, tokenize=False, chat_template=template)
    except TemplateError:
        return ""
    assert isinstance(rendered, str)
    after = _TAIL_TOKEN.match(rendered.rpartition(ANSWERED)[2])
    return after[1] if after else ""


def check_lengths(
    recipe: Recipe,
    problems: Sequence[Problem],
    tokenizer: "PreTrainedTokenizerBase | LightTokenizer",
    positions: int | None,
) -> Iterator[Finding]:
    """Count the tokens of the prompts: what the filters leave, and whether a completion fits behind."""
    from jinja2 import TemplateError

    writer = PromptWriter(section=recipe.prompt, tokenizer=cast("PreTrainedTokenizerBase", tokenizer))
    try:
        lengths = writer.count_tokens([writer.write(problem) for problem in problems])
    except TemplateError:  # `missing-tag` has told it
        return
    limit = longest_allowed(lengths, recipe.data)
    left = [problem for problem, length in zip(problems, lengths, strict=True) if limit is None or length <= limit]
    if len(left) < len(problems):
        section = recipe.data
        keys = f"data.max_prompt_tokens = {section.max_prompt_tokens}, data.drop_longest = {section.drop_longest:g}"
        dropped = f" ({len(problems) - len(left)} of {len(problems)} have prompts of more than {limit} tokens: {keys})"
        yield from check_size(recipe, left, dropped)
    longest = max((length for length in lengths if limit is None or length <= limit), default=0)
    room = recipe.rollout.max_completion_tokens
    if positions is not None and longest + room > positions:
        over = sum(length + room > positions for length in lengths if limit is None or length <= limit)
        yield error(
            "beyond-positions",
            f"{over} of {len(left)} prompts with {room} tokens of completion go beyond the model's {positions} "
            f"positions (the longest prompt has {longest} tokens)",
            f"--set data.max_prompt_tokens={max(1, positions - room)}, or rollout.max_completion_tokens="
            f"{max(1, positions - longest)}",
        )


def _end_of(text: str) -> str:
    return repr(text if len(text) <= 100 else f"...{text[-100:]}")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 160 else f"{text[:160]}...")
