"""A model's tokenizer and settings from its files alone, without torch: for checks that load no model.

Does not cover: tokenizers without a tokenizer.json, and chat templates that call what only transformers gives them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from razona.core.hub import settle_hub
from razona.models.chat_template import PLAIN_CHAT_TEMPLATE
from razona.recipe import ModelSection

if TYPE_CHECKING:
    from tokenizers import Tokenizer

EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True, kw_only=True)
class LightTokenizer:
    """What prompts need of a tokenizer, under the names that transformers has for it."""

    encoder: "Tokenizer"
    chat_template: str
    special: Mapping[str, str | None]
    """`bos_token`, `eos_token` and `pad_token`."""

    @property
    def eos_token(self) -> str | None:
        """The token that ends a text."""
        return self.special["eos_token"]

    @property
    def eos_token_id(self) -> int | None:
        """Its id; None where the vocabulary does not have it."""
        token = self.eos_token
        return None if token is None else self.encoder.token_to_id(token)

    def __call__(self, texts: list[str], *, add_special_tokens: bool) -> dict[str, list[list[int]]]:
        """Give the ids of each text."""
        encoded = self.encoder.encode_batch(texts, add_special_tokens=add_special_tokens)
        return {"input_ids": [one.ids for one in encoded]}

    def convert_ids_to_tokens(self, ids: int) -> str | None:
        """Give the token of an id."""
        return self.encoder.id_to_token(ids)

    def apply_chat_template(
        self,
        conversation: Sequence[Mapping[str, str]],
        *,
        tokenize: bool = False,
        add_generation_prompt: bool = False,
        chat_template: str | None = None,
    ) -> str:
        """Write the messages with the template."""
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        return environment.from_string(chat_template or self.chat_template).render(
            messages=list(conversation),
            add_generation_prompt=add_generation_prompt,
            tools=None,
            documents=None,
            **self.special,
        )


def _refuse(message: str) -> None:
    from jinja2 import TemplateError

    raise TemplateError(message)


def read_tokenizer(section: ModelSection) -> LightTokenizer | None:
    """Read a model's tokenizer; None where its files cannot be had, or it has no tokenizer.json."""
    from tokenizers import Tokenizer

    path = find_file(section, "tokenizer.json")
    if path is None:
        return None
    settings = read_settings(section, "tokenizer_config.json")
    special = {name: _text_of(settings.get(name)) for name in ("bos_token", "eos_token", "pad_token")}
    if special["pad_token"] is None:
        special["pad_token"] = special["eos_token"]
    template = find_file(section, "chat_template.jinja")
    return LightTokenizer(
        encoder=Tokenizer.from_file(str(path)),
        chat_template=template.read_text(encoding="utf-8") if template else _template_of(settings),
        special=special,
    )


def read_settings(section: ModelSection, name: str) -> Mapping[str, object]:
    """Give one of a model's JSON files; empty where it cannot be had."""
    path = find_file(section, name)
    if path is None:
        return {}
    read = json.loads(path.read_text(encoding="utf-8"))
    return read if isinstance(read, dict) else {}


def find_file(section: ModelSection, name: str) -> Path | None:
    """Give the place of one of a model's files: in its folder, in the hub's cache, or fetched; None where it is not."""
    folder = Path(str(files("razona.models") / "embedded")) if section.name == EMBEDDED else Path(section.name)
    if folder.is_dir():
        path = folder / name
        return path if path.is_file() else None
    if section.name.count("/") > 1 or section.name.startswith((".", "/", "~")):
        return None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    settle_hub()
    try:
        return Path(hf_hub_download(section.name, name, revision=section.revision))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError):
        return None  # absent, gated, or no network: the rules that need it say that they did not look


def _text_of(token: object) -> str | None:
    """Give a special token, which some files write as an object."""
    if isinstance(token, Mapping):
        token = token.get("content")
    return token if isinstance(token, str) else None


def _template_of(settings: Mapping[str, object]) -> str:
    template = settings.get("chat_template")
    if isinstance(template, list):
        named = {one["name"]: one["template"] for one in template if isinstance(one, Mapping)}
        template = named.get("default")
    return template if isinstance(template, str) else PLAIN_CHAT_TEMPLATE
