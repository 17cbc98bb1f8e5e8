"""Frozen weights in 4 bits (QLoRA, arXiv:2305.14314), by bitsandbytes.

Never run on a GPU so far. The trainer does what PEFT's `prepare_model_for_kbit_training` is for, so it is not called:
PEFT freezes the base when it adds the adapter, TRL asks for gradients at the input of checkpointed layers. Left out is
its copy of embeddings, head and norms in fp32: 1.6 GB at Qwen3-4B's vocabulary, for products that autocast rounds to
bfloat16 again.
"""

from importlib.util import find_spec

import torch
from transformers import BitsAndBytesConfig, PreTrainedModel

from razona.core.errors import ModelError
from razona.recipe import ModelSection

INSTALL = "pip install 'bitsandbytes>=0.46.1'"
"""The oldest version that transformers 5 takes."""


def quantisation(section: ModelSection) -> dict[str, object]:
    """Give what `from_pretrained` needs to hold the weights in 4 bits; nothing where the recipe does not ask for it.

    Raises:
        ModelError: there is no NVIDIA GPU, or no bitsandbytes.
    """
    if not section.load_in_4bit:
        return {}
    problems = [] if torch.cuda.is_available() else ["this machine has no NVIDIA GPU that torch can use"]
    if find_spec("bitsandbytes") is None:
        problems.append(f"bitsandbytes is not installed ({INSTALL})")
    if problems:
        raise ModelError(
            f"model.load_in_4bit = true for model.name = {section.name}: {' and '.join(problems)}; it needs both. Set "
            f"model.load_in_4bit: false, or run it on a machine with an NVIDIA GPU after {INSTALL}."
        )
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": config, "device_map": {"": torch.cuda.current_device()}}


def is_quantised(model: torch.nn.Module) -> bool:
    """Say whether a model's weights are packed, so that only its own forward can multiply with them."""
    return bool(getattr(model, "is_loaded_in_4bit", False) or getattr(model, "is_quantized", False))


def widen_adapter(model: PreTrainedModel) -> None:
    """Hold the adapter in fp32 again, which TRL rounds to bfloat16 for a base of 4 bits.

    A step of 5e-6 on a weight of 0.01 is a 2,000th of it. bfloat16 tells numbers apart by a 256th: most of A's steps
    would round away. The products are in bfloat16 all the same, under autocast.
    """
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype == torch.bfloat16:
            parameter.data = parameter.data.float()
