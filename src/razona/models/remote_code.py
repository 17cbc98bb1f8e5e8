"""Python code that comes with a model: which files it is, the refusal to run it, and the word when it runs."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from razona.core.errors import ModelError
from razona.core.launch import is_main_process
from razona.core.terminal import say
from razona.recipe import ModelSection

SETTINGS = ("config.json", "tokenizer_config.json", "processor_config.json")
"""Where transformers finds the names of a model's own classes, under `auto_map`."""
_told: set[str] = set()


def settle_remote_code(source: str, section: ModelSection) -> None:
    """Say which code runs where `model.trust_remote_code` is on; call it before anything is loaded.

    Args:
        source: a folder or a hub name.
    """
    if not section.trust_remote_code:
        return
    files = code_of(source, section.revision)
    if files:
        _say(f"runs Python code that comes with {section.name}: {', '.join(files)}{_pinned(source, section)}")
    else:
        _say(f"is on, and {section.name} names no code of its own: it can be off")


def note_unused_code(source: str, section: ModelSection) -> None:
    """Say that a model that was loaded without its own code has some: transformers knows its family by itself."""
    files = [] if section.trust_remote_code else code_of(source, section.revision, is_loaded=True)
    if files:
        _say(
            f"is off, so the code of {section.name} ({', '.join(files)}) is not run; transformers' own classes are used"
        )


def _say(told: str) -> None:
    """Print a line, once a process."""
    if is_main_process() and told not in _told:
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


def code_of(source: str, revision: str | None, *, is_loaded: bool = False) -> list[str]:
    """Give the files whose classes a model's settings name; another repository's stand behind its name.

    Empty too where the settings cannot be had: what cannot be loaded runs nothing.

    Args:
        is_loaded: the settings are on this machine, and the hub is not asked.
    """
    found: dict[str, None] = {}
    for name in SETTINGS:
        for reference in _references(_settings(source, revision, name, is_loaded).get("auto_map")):
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


def _settings(source: str, revision: str | None, name: str, is_loaded: bool) -> Mapping[str, object]:
    path = Path(source) / name if Path(source).is_dir() else _fetch(source, revision, name, is_loaded)
    if path is None or not path.is_file():
        return {}
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}. Expected what save_pretrained() wrote.") from error
    return read if isinstance(read, Mapping) else {}


def _fetch(source: str, revision: str | None, name: str, is_loaded: bool) -> Path | None:
    if is_loaded:
        found = try_to_load_from_cache(source, name, revision=revision)
        return Path(found) if isinstance(found, str) else None
    try:
        return Path(hf_hub_download(source, name, revision=revision))
    except (HfHubHTTPError, HFValidationError, OSError, ValueError):
        return None  # it has none, or transformers will say why it cannot be had
