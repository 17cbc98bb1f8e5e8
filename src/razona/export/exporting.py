"""`razona export`: what a run has trained, in formats that others load, each proven before it is there."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from razona.core.environment import describe_environment
from razona.core.errors import RecipeError, RunFolderError
from razona.core.files import write_json, write_text
from razona.export.adapter import prove_adapter, write_adapter
from razona.export.card import Card, write_card
from razona.export.gguf_file import check_gguf, prove_gguf, read_back, write_gguf
from razona.export.merged import AUTO, load_tokenizer_of, merge, prove_merged, stored_dtype, write_merged
from razona.export.proof import Reference, measure_reference
from razona.export.source import Source, open_source
from razona.export.vocabulary import read_vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FORMATS = ("adapter", "merged", "gguf")
DTYPES = (AUTO, "float32", "bfloat16", "float16")
NUM_PROBLEMS = 50
"""Problems that are solved again with each export."""
FIGURES, CARD = "export.json", "README.md"
BLOCK = 2**20
"""Bytes of a file that are hashed at a time."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to export, and how."""

    formats: Sequence[str] = ("merged",)
    dtype: str = AUTO
    """Of merged weights and of GGUF; `auto` is the one that the base model came in."""
    num_problems: int = NUM_PROBLEMS
    overrides: Sequence[str] = ()
    """Changes of the run's recipe, for example of `data.source` where the data have moved."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.formats if name not in FORMATS]
        if unknown or not self.formats:
            raise RecipeError(f"--to {' '.join(unknown)}: there is no such format. Give one of {', '.join(FORMATS)}.")
        if self.dtype not in DTYPES:
            raise RecipeError(f"--dtype {self.dtype}: expected one of {', '.join(DTYPES)}.")


def export(folder: Path, wanted: Wanted, out: Path | None = None, tell: Tell = lambda line: None) -> dict[str, object]:
    """Write a run's result in each format, into a folder of its own below `out`, and prove each.

    A format that is not what was trained leaves nothing behind; those before it stay.

    Args:
        out: None: the folder `export` in the run's own.
        tell: called with a line for the person at each stage.

    Returns:
        Format -> what its `export.json` holds.

    Raises:
        RecipeError: the run trained no adapter, and one is asked for.
        RunFolderError: the folder is no run's, or a format's own folder holds something already.
        ModelError: the run has not finished training, its base cannot be loaded, or GGUF cannot hold its kind.
        DataError: the problems to prove it on are not there.
        MachineError: a package is missing.
        ExportError: the adapter has no effect, or an export is not what was trained.
    """
    source = open_source(folder, wanted.overrides)
    root = out or source.run.root / "export"
    formats = list(dict.fromkeys(wanted.formats))
    _check_formats(source, formats, root)
    with source.run.lock():
        if source.is_of_4_bits:
            tell(
                "The adapter was trained upon a base in 4 bits. It is exported, and measured here, upon the base as "
                "it is."
            )
        tell(f"The run's own policy solves {wanted.num_problems} problems greedily, to compare with.")
        reference = measure_reference(source, wanted.num_problems)
        found: dict[str, object] = {}
        for name in formats:
            tell(f"Writing {root / name}, loading it afresh and solving the problems again.")
            with _whole_or_absent(root / name) as place:
                found[name] = _write(name, place, source, reference, wanted.dtype)
    return found


def _check_formats(source: Source, formats: Sequence[str], root: Path) -> None:
    """Refuse what cannot be, before a model is loaded.

    Raises:
        RecipeError: an adapter is asked for where there is none.
        RunFolderError: a folder is taken.
        ModelError: GGUF cannot hold the model's kind.
        MachineError: the package gguf is not there.
    """
    if "adapter" in formats and not source.has_adapter:
        raise RecipeError(
            f"--to adapter: {source.run.root} trained every weight (lora: null), so it has no adapter. "
            "Give --to merged."
        )
    for name in formats:
        place = root / name
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise RunFolderError(f"--out: {place} is there already and not empty. Remove it, or give another --out.")
    if "gguf" in formats:
        from transformers import AutoConfig

        from razona.models.load import resolve

        model = source.recipe.model
        check_gguf(
            AutoConfig.from_pretrained(
                resolve(model.name), revision=model.revision, trust_remote_code=model.trust_remote_code
            )
        )


@contextmanager
def _whole_or_absent(place: Path) -> Iterator[Path]:
    """Give a folder beside `place` that takes its name when all in it is written and proven; else it is removed."""
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f".{place.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        yield part
        for path in (one for one in part.rglob("*") if one.is_file()):
            with path.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(part, place)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write(name: str, place: Path, source: Source, reference: Reference, wanted_dtype: str) -> dict[str, object]:
    """Write and prove one format, then its card and its figures."""
    tokenizer = load_tokenizer_of(source)
    if name == "adapter":
        dtype = write_adapter(place, source, tokenizer)
        proof = prove_adapter(place, source, reference, dtype)
    else:
        dtype = stored_dtype(source, wanted_dtype)
        model = merge(source, dtype)
        if name == "merged":
            write_merged(place, model, tokenizer, reference)
            del model
            proof = prove_merged(place, reference, dtype)
        else:
            proof = _write_gguf(place, source, reference, model, dtype)
    card = Card(source=source, format=name, dtype=dtype, proof=proof, prompt=reference.asked.prompts[0])
    write_text(place / CARD, write_card(card))
    environment = describe_environment({})
    figures = {
        "format": name,
        "run": source.run.root.resolve().name,
        "recipe": source.recipe.name,
        "base_model": source.recipe.model.name,
        "trained": "adapter" if source.has_adapter else "all weights",
        "dtype": dtype,
        "was_trained_in_4_bits": source.is_of_4_bits,
        **proof,
        "packages": environment["packages"],
        "git_commit": environment["git_commit"],
        "files": {path.name: _describe(path) for path in sorted(place.iterdir())},
    }
    write_json(place / FIGURES, figures)
    return figures


def _write_gguf(
    place: Path, source: Source, reference: Reference, model: "PreTrainedModel", dtype: str
) -> dict[str, object]:
    tokenizer = load_tokenizer_of(source)
    vocabulary = read_vocabulary(tokenizer, model.config.vocab_size, reference.texts)
    path = place / f"{source.recipe.name}-{dtype}.gguf"
    write_gguf(path, model, tokenizer, vocabulary, name=source.recipe.name, ends=reference.ends, dtype=dtype)
    counts = read_back(path, model, vocabulary, tokenizer.get_chat_template(), dtype)
    return {
        **prove_gguf(path, model, reference, dtype),
        "file": {
            **counts,
            "pre_tokenizer": vocabulary.pre,
            "user_defined_tokens": list(vocabulary.torn),
            "texts_cut_alike": vocabulary.texts,
            "hard_texts_cut_otherwise": vocabulary.hard_texts_cut_otherwise,
        },
    }


def _describe(path: Path) -> dict[str, object]:
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}
