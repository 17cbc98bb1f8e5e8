"""The chat template that an exported tokenizer carries: a question alone becomes the prompt of the training."""

import json
from typing import TYPE_CHECKING

from razona.core.errors import ExportError
from razona.recipe import PromptSection

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def prompt_template(section: PromptSection, tokenizer: "PreTrainedTokenizerBase") -> str:
    """Give the training's template, with the recipe's system text where the messages bring none, and with the tag that
    opens the working after the generation prompt.

    Without these two a policy is asked in a form that it was never trained on, and answers like its base.
    """
    template = tokenizer.get_chat_template(section.chat_template)
    system = section.system_text()
    if system:
        message = f"{{'role': 'system', 'content': {_literal(system)}}}"
        # The line's end after a block is dropped when a template is rendered, so the old one begins as it did.
        template = (
            "{% if messages and messages[0]['role'] != 'system' %}"
            f"{{% set messages = [{message}] + messages %}}{{% endif %}}\n{template}"
        )
    if not _render(tokenizer, template, "1 + 1?").rstrip().endswith(section.working_open):
        # The last line's end of a template is dropped; in the middle it would not be.
        tag = f"{{% if add_generation_prompt %}}{{{{ {_literal(section.working_open)} }}}}{{% endif %}}"
        template = template.removesuffix("\n") + tag
    if tokenizer.bos_token is None and "bos_token" in template:
        # llama.cpp hands a template some token for the beginning of a text even where the file names none.
        template = f"{{% set bos_token = '' %}}\n{template}"
    return template


def check_template(tokenizer: "PreTrainedTokenizerBase", question: str, prompt: str) -> None:
    """Hold that the exported tokenizer writes, of a question alone, the prompt of the training.

    Raises:
        ExportError: it writes another one.
    """
    written = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
    )
    if written != prompt:
        raise ExportError(
            f"the exported chat template writes {written!r} of a question that the training asked as {prompt!r}. Set "
            "prompt.chat_template to one that writes the messages one after the other."
        )


def _literal(text: str) -> str:
    """Write a text as a Jinja string: JSON's escapes are among Jinja's."""
    return json.dumps(text, ensure_ascii=False)


def _render(tokenizer: "PreTrainedTokenizerBase", template: str, question: str) -> str:
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True, chat_template=template
    )
    assert isinstance(rendered, str)
    return rendered
