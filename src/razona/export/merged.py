"""Merged weights: the adapter added into its base, in a folder that plain transformers loads."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from razona.core.errors import ExportError
from razona.export.proof import Reference, prove
from razona.export.source import Source
from razona.export.template import check_template, prompt_template
from razona.recipe import ModelSection

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

AUTO = "auto"


def stored_dtype(source: Source, wanted: str) -> str:
    """Give the number format of the exported weights: `auto` is the one that the run's model came in."""
    if wanted != AUTO:
        return wanted
    import torch
    from transformers import AutoConfig

    from razona.models.load import resolve

    model = source.recipe.model
    if source.has_adapter:
        config = AutoConfig.from_pretrained(
            resolve(model.name), revision=model.revision, trust_remote_code=model.trust_remote_code
        )
    else:
        config = AutoConfig.from_pretrained(source.run.adapter, trust_remote_code=model.trust_remote_code)
    found = config.dtype if isinstance(config.dtype, torch.dtype) else torch.float32
    return str(found).removeprefix("torch.")


def merge(source: Source, dtype: str) -> "PreTrainedModel":
    """Give the trained model without an adapter, on the CPU: added up in float32 and rounded once.

    Raises:
        ExportError: a sum is not finite in that number format.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from razona.models.load import resolve
    from razona.models.refusals import wants_safetensors

    section = source.recipe.model
    weights = resolve(section.name) if source.has_adapter else str(source.run.adapter)
    model = AutoModelForCausalLM.from_pretrained(
        weights,
        revision=section.revision if source.has_adapter else None,
        dtype=torch.float32,
        trust_remote_code=section.trust_remote_code,
        use_safetensors=wants_safetensors(weights, section),
    )
    if source.has_adapter:
        model = PeftModel.from_pretrained(model, str(source.run.adapter)).merge_and_unload()
    model = model.to(getattr(torch, dtype)).eval()
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise ExportError(
                f"{name} is not finite in {dtype} after merging. Export with --dtype float32 or bfloat16, whose range "
                "is wider than that of float16; if that fails too, the training has diverged."
            )
    return model


def load_tokenizer_of(source: Source) -> "PreTrainedTokenizerBase":
    """Give the run's tokenizer with the template that writes the training's prompt of a question."""
    from razona.models.load import load_tokenizer

    section = source.recipe.model
    if not source.has_adapter:
        section = section.model_copy(update={"name": str(source.run.adapter), "revision": None})
    tokenizer = load_tokenizer(section)
    tokenizer.chat_template = prompt_template(source.recipe.prompt, tokenizer)
    return tokenizer


def write_merged(
    folder: Path, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", reference: Reference
) -> None:
    """Write model, tokenizer and generation settings, which end a completion where the training ended it."""
    settings = model.generation_config
    assert settings is not None
    settings.eos_token_id = reference.ends[0] if len(reference.ends) == 1 else list(reference.ends)
    settings.pad_token_id = tokenizer.pad_token_id
    settings._from_model_config = False  # else generate() would make them anew, without a second end
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))


def prove_merged(folder: Path, reference: Reference, dtype: str) -> dict[str, object]:
    """Load the folder afresh, and compare it with the run's policy, prompts by the exported template included.

    Raises:
        ExportError: it is not what was trained.
    """
    from razona.models.load import load_policy

    section = reference.recipe.model
    fresh = ModelSection(name=str(folder.resolve()), trust_remote_code=section.trust_remote_code)
    policy = load_policy(fresh.model_copy(update={"dtype": reference.dtype}))
    check_prompts(policy.tokenizer, reference)
    settings = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    named = settings.get("eos_token_id")
    if sorted(named if isinstance(named, list) else [named]) != sorted(reference.ends):
        raise ExportError(
            f"generation_config.json ends a completion at {named}, and the training did at {list(reference.ends)}"
        )
    return prove(policy, reference, dtype)


def check_prompts(tokenizer: "PreTrainedTokenizerBase", reference: Reference) -> None:
    """Hold that the exported tokenizer writes the training's prompts, and cuts them as the run's does.

    Raises:
        ExportError: it does not.
    """
    asked = reference.asked
    for problem, prompt in zip(asked.problems, asked.prompts, strict=True):
        check_template(tokenizer, problem.question, prompt)
    for text, probe in zip(reference.probe_texts, reference.probes, strict=True):
        if tuple(tokenizer(text, add_special_tokens=False)["input_ids"]) != probe:
            raise ExportError(f"the exported tokenizer cuts {text!r} into other tokens than the run's does")
