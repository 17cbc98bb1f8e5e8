"""Python code that comes with a model: which files it is, the refusal to run it, and the word when it runs."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from razona.core.errors import ModelError
from razona.core.launch import is_main_process
from razona.core.terminal import say
from razona.recipe import ModelSection

SETTINGS = ("config.json", "tokenizer_config.json", "processor_config.json")
"""Where transformers finds the names of a model's own classes, under `auto_map`."""
_told: set[str] = set()


def settle_remote_code(source: str, section: ModelSection) -> None:
    """Say once a process which code runs where `model.trust_remote_code` is on; call it before anything is loaded.

    Args:
        source: a folder or a hub name.
    """
    if not section.trust_remote_code or not is_main_process():
        return
    files = code_of(source, section.revision)
    if files:
        told = f"runs Python code that comes with {section.name}: {', '.join(files)}{_pinned(source, section)}"
    else:
        told = f"is on, and {section.name} names no code of its own: it can be off"
    if told not in _told:
        _told.add(told)
        say(f"razona: model.trust_remote_code: {told}.", to_stderr=True)


def refused(section: ModelSection, source: str) -> str:
    """Give why a model with code of its own is not loaded, and what to do."""
    files = ", ".join(code_of(source, section.revision)) or "its auto_map names it"
    is_folder = Path(source).is_dir()
    where = source if is_folder else f"https://huggingface.co/{section.name}/tree/{section.revision or 'main'}"
    pin = (
        "" if is_folder or section.revision else ", and model.revision: COMMIT, so that it stays the code that you read"
    )
    return (
        f"it comes with Python code of its own ({files}), which would run here with all that you may do. Read it "
        f"({where}); if you trust it, set model.trust_remote_code: true{pin}. Else take a model of a family that "
        "transformers knows."
    )


def needs_code(error: BaseException) -> bool:
    """Say whether an error is transformers' refusal to run a model's own code."""
    return "trust_remote_code=True" in str(error)


def code_of(source: str, revision: str | None) -> list[str]:
    """Give the files whose classes a model's settings name; another repository's stand behind its name.

    Empty too where the settings cannot be had: what cannot be loaded runs nothing.
    """
    found: dict[str, None] = {}
    for name in SETTINGS:
        for reference in _references(_settings(source, revision, name).get("auto_map")):
            repository, _, place = reference.rpartition("--")
            file = f"{place.rpartition('.')[0]}.py"
            found[f"{repository}/{file}" if repository else file] = None
    return list(found)


def _pinned(source: str, section: ModelSection) -> str:
    if Path(source).is_dir():
        return ""
    if section.revision:
        return f" (model.revision = {section.revision})"
    return " (of its main branch, which may change: pin model.revision)"


def _references(auto_map: object) -> Iterator[str]:
    """Give the texts in an `auto_map`, `module.Class` or `owner/repository--module.Class`."""
    if isinstance(auto_map, str):
        yield auto_map
    elif isinstance(auto_map, Mapping):
        for one in auto_map.values():
            yield from _references(one)
    elif isinstance(auto_map, list):
        for one in auto_map:
            yield from _references(one)


def _settings(source: str, revision: str | None, name: str) -> Mapping[str, object]:
    path = Path(source) / name
    if not Path(source).is_dir():
        try:
            path = Path(hf_hub_download(source, name, revision=revision))
        except (HfHubHTTPError, HFValidationError, OSError, ValueError):
            return {}  # it has none, or transformers will say why it cannot be had
    if not path.is_file():
        return {}
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}. Expected what save_pretrained() wrote.") from error
    return read if isinstance(read, Mapping) else {}
