"""Models of each family that our engine knows, small and with weights far from uniform, and prompts for them."""

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

SIZES = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
END = 3
MODELS = {
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=8, tie_word_embeddings=True)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "llama3-positions": lambda: LlamaForCausalLM(
        LlamaConfig(
            **SIZES,
            rope_parameters={
                "rope_type": "llama3",
                "rope_theta": 10_000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        )
    ),
}
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def made(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    model = MODELS[name]()
    with torch.no_grad():  # far from uniform, biases that do something
        for parameter in model.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    return model.eval()


def adapted(model: PreTrainedModel) -> PeftModel:
    """Give the model an adapter that does something."""
    tuned = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=TARGETS)).eval()
    with torch.no_grad():
        for number, (name, parameter) in enumerate(tuned.named_parameters()):
            if "lora_B" in name:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    return tuned


def prompts(count: int, *, copies: int = 1) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(count):
        length = int(torch.randint(1, 20, (1,), generator=generator))
        found += [torch.randint(4, 61, (length,), generator=generator).tolist()] * copies
    return found


def generated(model: PreTrainedModel, prompt: list[int], max_tokens: int) -> list[int]:
    ids = torch.tensor([prompt])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=max_tokens,
        do_sample=False,
        eos_token_id=END,
        pad_token_id=0,
    )
    return out[0, len(prompt) :].tolist()
