"""Run folders made by hand: a model, an adapter with random numbers, and the recipe that they would come from."""

from pathlib import Path

import torch
from peft import PeftModel, get_peft_model
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from razona.core.files import write_text
from razona.core.rundir import RunDir
from razona.models.load import embedded_folder, load_policy, lora_config
from razona.recipe import dump, load

SMALL = ("rollout.max_completion_tokens=16", "evaluate.num_problems=12", "lora.rank=4", "lora.alpha=8")
KINDS = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}


def make_run(folder: Path, *changes: str, up: float = 0.05, down: float = 0.2) -> RunDir:
    """Make the folder of a run whose adapter is random.

    Args:
        up: standard deviation of the numbers of lora_B, which training starts at 0.
        down: of those of lora_A.
    """
    recipe = load("demo", [*SMALL, *changes])
    policy = load_policy(recipe.model)
    assert recipe.lora is not None and isinstance(policy.model, PreTrainedModel)
    model = get_peft_model(policy.model, lora_config(recipe.lora))
    assert isinstance(model, PeftModel)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.normal_(0, up if ".lora_B." in name else down) if up or down else parameter.zero_()
    run = RunDir(folder)
    model.save_pretrained(str(run.adapter))
    policy.tokenizer.save_pretrained(str(run.adapter))
    write_text(run.recipe, dump(recipe))
    return run


def make_whole_run(folder: Path, base: Path) -> RunDir:
    """Make the folder of a run that trained every weight: the base's own with noise added."""
    recipe = load("demo", [*SMALL, f"model.name={base}", "lora=null"])
    policy = load_policy(recipe.model)
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    run = RunDir(folder)
    assert isinstance(policy.model, PreTrainedModel)
    policy.model.save_pretrained(str(run.adapter))
    policy.tokenizer.save_pretrained(str(run.adapter))
    write_text(run.recipe, dump(recipe))
    return run


def save_random_model(folder: Path, kind: str, *, dtype: torch.dtype = torch.float32, **settings: object) -> Path:
    """Save a small model of a family with random weights and the embedded tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(embedded_folder())
    config_class, model_class = KINDS[kind]
    config = config_class(
        **{
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
            "tie_word_embeddings": False,
            "initializer_range": 0.2,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": None,
            **settings,
        }
    )
    torch.manual_seed(3)
    model = model_class(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.5)
    model.to(dtype).save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder


def logits_of(folder: Path, text: str) -> torch.Tensor:
    """Give the logits at every position of a text, [T, V] in float32, of what a run trained."""
    recipe = load(RunDir(folder).recipe)
    policy = load_policy(recipe.model)
    assert isinstance(policy.model, PreTrainedModel)
    model = PeftModel.from_pretrained(policy.model, str(RunDir(folder).adapter))
    ids = policy.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return model(ids).logits[0].float()
