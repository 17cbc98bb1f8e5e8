"""The adapter alone, in PEFT's form: a small folder that needs its base."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from razona.core.files import write_json
from razona.export.merged import check_prompts
from razona.export.proof import Reference, prove
from razona.export.source import ADAPTER_CONFIG, ADAPTER_WEIGHTS, Source, adapter_settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def write_adapter(folder: Path, source: Source, tokenizer: "PreTrainedTokenizerBase") -> str:
    """Write the adapter and its tokenizer, and give the number format of its weights.

    The base is named as the recipe names it: PEFT wrote the folder that this machine loaded it from.
    """
    from safetensors import safe_open

    shutil.copyfile(source.run.adapter / ADAPTER_WEIGHTS, folder / ADAPTER_WEIGHTS)
    settings = {**adapter_settings(source.run.adapter), "base_model_name_or_path": source.recipe.model.name}
    write_json(folder / ADAPTER_CONFIG, settings)
    tokenizer.save_pretrained(str(folder))
    with safe_open(str(folder / ADAPTER_WEIGHTS), framework="pt") as file:
        return str(file.get_tensor(next(iter(file.keys()))).dtype).removeprefix("torch.")


def prove_adapter(folder: Path, source: Source, reference: Reference, dtype: str) -> dict[str, object]:
    """Load the adapter upon a fresh base, with the tokenizer beside it, and compare it with the run's policy.

    Raises:
        ExportError: it is not what was trained.
    """
    from transformers import AutoTokenizer

    from razona.models.load import Policy, load_tuned

    section = source.recipe.model
    loaded = load_tuned(section, folder)
    tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=section.trust_remote_code)
    check_prompts(tokenizer, reference)
    return prove(Policy(model=loaded.model, tokenizer=tokenizer, name=str(folder)), reference, dtype)
