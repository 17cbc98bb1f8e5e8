"""Why a model is not loaded, and what to do: gated, unknown or out of reach on the hub, or weights in pickle files."""

from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError

from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from razona.core.errors import ModelError
from razona.core.launch import is_main_process
from razona.core.terminal import say
from razona.models.remote_code import needs_code, refused
from razona.recipe import ModelSection

PICKLES = ("pytorch_model*.bin",)
"""Weights that torch.load reads."""
ADAPTER, PICKLED_ADAPTER = "adapter_model.safetensors", "adapter_model.bin"
"""The two files in which PEFT looks for an adapter, in this order."""
EXPECTED = (
    "Expected `embedded`, a folder written by save_pretrained(), or a hub name that this machine can reach (a gated "
    "one needs `hf auth login`)."
)


def cannot_load(what: str, section: ModelSection, source: str, error: Exception) -> ModelError:
    """Give the error for a model or tokenizer that transformers could not load: what happened, and the way out.

    Args:
        source: what transformers was given for `model.name`.
    """
    name = section.name
    told = _told(section, source, list(_causes(error)))
    return ModelError(f"the {what} of model.name = {name} cannot be loaded: {told}")


def _told(section: ModelSection, source: str, causes: list[BaseException]) -> str:
    name, kinds = section.name, tuple(map(type, causes))
    folder = f"`hf download {name} --local-dir DIR`"
    if any(issubclass(kind, GatedRepoError) for kind in kinds):
        return (
            f"it is gated, and this machine is not let in. Accept its conditions at https://huggingface.co/{name}, log "
            f"in with `hf auth login`; or fetch it where you are logged in, {folder}, and set model.name: DIR."
        )
    if any(issubclass(kind, RepositoryNotFoundError) for kind in kinds):
        return (
            "the hub has no model of that name, or shows it to its owners alone. Check the spelling (owner/name); for "
            "a private one log in with `hf auth login`. A local folder begins with / or ./"
        )
    if any(issubclass(kind, RevisionNotFoundError) for kind in kinds):
        return (
            f"model.revision = {section.revision} is no branch, tag or commit of it. Name one, or null for the newest."
        )
    if any(issubclass(kind, LocalEntryNotFoundError | OfflineModeIsEnabled | ConnectionError) for kind in kinds):
        return (
            "the hub cannot be reached from here (no network, or HF_HUB_OFFLINE is set), and it is not in this "
            f"machine's cache. Fetch it where there is network, {folder} (a gated one needs `hf auth login` there), "
            "and set model.name: DIR."
        )
    if any(map(needs_code, causes)):
        return refused(section, source)
    if UnpicklingError in kinds:
        return (
            "its pickle file is broken, or holds more than weights, which torch's restricted reader does not load. Ask "
            "its maker for safetensors."
        )
    words = str(causes[0]).strip()
    first_line = words.splitlines()[0] if words else type(causes[0]).__name__
    if ".safetensors" in first_line and not section.allow_pickle and not Path(name).is_dir():
        first_line += " If it has pickled weights alone (pytorch_model.bin): set model.allow_pickle: true to read them."
    return f"{first_line} {EXPECTED}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Give an error and what it came from, in turn."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def wants_safetensors(source: str, section: ModelSection) -> bool | None:
    """Say which weights transformers may read: True safetensors alone, False pickle files, None either.

    Raises:
        ModelError: a folder holds pickle files alone, and `model.allow_pickle` is false.
    """
    folder = Path(source)
    if not folder.is_dir():
        if section.allow_pickle:
            _say(f"pickle files of {source} are read with torch's restricted reader where it has no safetensors")
        return None if section.allow_pickle else True
    if any(folder.glob("*.safetensors")):
        return True
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    if not pickles:
        return True
    _allow("model.name =", source, pickles, section)
    return False


def check_adapter(folder: Path, section: ModelSection) -> None:
    """Refuse an adapter in a pickle file, unless `model.allow_pickle` is on, whatever else lies beside it.

    Raises:
        ModelError: it is refused, or the folder holds no adapter's weights, which PEFT would look for on the hub.
    """
    if (folder / ADAPTER).is_file():
        return
    if not (folder / PICKLED_ADAPTER).is_file():
        raise ModelError(
            f"{folder} holds an adapter_config.json and no {ADAPTER}. Expected both, as save_pretrained() writes them."
        )
    _allow("the adapter", str(folder), [PICKLED_ADAPTER], section)


def _allow(what: str, source: str, pickles: list[str], section: ModelSection) -> None:
    shown = ", ".join(pickles[:3])
    if not section.allow_pickle:
        raise ModelError(
            f"{what} {source}: its weights are in pickle files alone ({shown}), which can run code when they are "
            "read. Expected safetensors: load it where you trust it and save_pretrained() it again; or set "
            "model.allow_pickle: true, if you trust who made it."
        )
    _say(f"reading {shown} of {source} with torch's restricted reader")


def _say(told: str) -> None:
    if is_main_process():
        say(f"razona: model.allow_pickle: {told}.", to_stderr=True)
