"""The policy, its tokenizer and its adapter, from the recipe."""

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from pickle import UnpicklingError

import torch
from peft import LoraConfig, PeftModel
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from razona.core.errors import ModelError
from razona.core.hub import settle_hub
from razona.core.launch import is_main_process, sharding
from razona.core.terminal import say
from razona.models.chat_template import PLAIN_CHAT_TEMPLATE
from razona.models.quantised import quantisation
from razona.models.refusals import cannot_load, check_adapter, wants_safetensors
from razona.models.remote_code import note_unused_code, settle_remote_code
from razona.recipe import LoraSection, ModelSection

EMBEDDED = "embedded"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A model to be trained or evaluated, and the tokenizer that belongs to it."""

    model: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerBase
    name: str


def embedded_folder() -> Path:
    """Give the folder of the base model that ships with Razona."""
    return Path(str(files("razona.models") / "embedded"))


def resolve(name: str) -> str:
    """Give what transformers loads: the embedded model's folder for `embedded`, else the name itself.

    Raises:
        ModelError: a folder that is not there, or holds no model or no tokenizer.
    """
    path = embedded_folder() if name == EMBEDDED else Path(name)
    if not path.is_dir():
        if name.startswith(("/", "./", "../", "~")) or path.exists():
            raise ModelError(
                f"model.name = {name}: there is no such folder. Give `embedded`, a model folder or a hub name."
            )
        settle_hub()
        return name
    present = sorted(entry.name for entry in path.iterdir())
    listing = ", ".join(present[:12]) or "nothing"
    if "config.json" not in present:
        raise ModelError(
            f"model.name = {name}: the folder holds no config.json (it holds {listing}). "
            "Give the folder that save_pretrained() wrote."
        )
    if not any(file in present for file in TOKENIZER_FILES):
        raise ModelError(
            f"model.name = {name}: the folder holds a model but no tokenizer (it holds {listing}; expected one of "
            f"{', '.join(TOKENIZER_FILES)}). Save it there with tokenizer.save_pretrained({str(path)!r})."
        )
    return str(path)


def _dtype(section: ModelSection, trains_all_weights: bool) -> torch.dtype:
    if section.dtype != "auto":
        return getattr(torch, section.dtype)
    if trains_all_weights:
        return torch.float32  # updates of a millionth would round away in bfloat16
    return torch.bfloat16 if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else torch.float32


def load_tokenizer(section: ModelSection) -> PreTrainedTokenizerBase:
    """Load the tokenizer, give it a padding token and, where it has none, the plain chat template.

    Raises:
        ModelError: it cannot be found or has no end-of-text token.
    """
    source = resolve(section.name)
    settle_remote_code(source, section)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source, revision=section.revision, trust_remote_code=section.trust_remote_code
        )
    except (OSError, ValueError, KeyError) as error:
        raise cannot_load("tokenizer", section, source, error) from error
    note_unused_code(source, section)
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"model.name = {section.name}: its tokenizer has no end-of-text token, so completions never end"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN_CHAT_TEMPLATE
        if is_main_process():
            say(
                f"razona: the tokenizer of {section.name} has no chat template, so prompts are the texts on lines of "
                "their own, unless prompt.chat_template is set.",
                to_stderr=True,
            )
    tokenizer.padding_side = "left"
    return tokenizer


def load_policy(section: ModelSection, *, trains_all_weights: bool = False) -> Policy:
    """Load model and tokenizer by hub name, folder, or `embedded`; weights from safetensors, unless pickle is allowed.

    Raises:
        ModelError: it cannot be found, read or reached, or not in 4 bits on this machine.
    """
    source, in_4_bits = resolve(section.name), quantisation(section)
    use_safetensors = wants_safetensors(source, section)
    tokenizer = load_tokenizer(section)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            source,
            revision=section.revision,
            dtype=_dtype(section, trains_all_weights),
            trust_remote_code=section.trust_remote_code,
            use_safetensors=use_safetensors,
            **in_4_bits,
        )
    except (OSError, ValueError, KeyError, SafetensorError, UnpicklingError) as error:
        raise cannot_load("model", section, source, error) from error
    is_placed = section.load_in_4bit or sharding()  # where it was packed; or what shards it takes each part to its GPU
    if torch.cuda.is_available() and not is_placed:
        torch.nn.Module.to(model, "cuda")
    return Policy(model=model, tokenizer=tokenizer, name=section.name)


def load_tuned(section: ModelSection, adapter: Path) -> Policy:
    """Load what a run trained: an adapter upon its base, or a whole model.

    Raises:
        ModelError: `adapter` holds neither, or no weights, or an adapter in a pickle file that is not allowed.
    """
    if (adapter / "adapter_config.json").exists():
        check_adapter(adapter, section)
        base = load_policy(section)
        return Policy(
            model=PeftModel.from_pretrained(base.model, str(adapter)), tokenizer=base.tokenizer, name=str(adapter)
        )
    return load_policy(section.model_copy(update={"name": str(adapter)}))


def adapter_base(folder: Path) -> str | None:
    """Give the name of the model that an adapter's folder was trained upon; None where it is no adapter's folder.

    Raises:
        ModelError: the adapter does not say.
    """
    path = folder / "adapter_config.json"
    if not path.exists():
        return None
    name = json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path")
    if not name:
        raise ModelError(f"{path} names no base model; expected base_model_name_or_path in it. Add it there.")
    return EMBEDDED if Path(name).name == EMBEDDED and not Path(name).exists() else str(name)


def lora_config(section: LoraSection) -> LoraConfig:
    """Give PEFT's configuration for the recipe's adapter."""
    targets = section.target_modules
    return LoraConfig(
        r=section.rank,
        lora_alpha=section.alpha,  # pyright: ignore[reportArgumentType]  PEFT divides by it; any number will do
        lora_dropout=section.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type="CAUSAL_LM",
    )
