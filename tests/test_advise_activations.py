"""What a training pass keeps is what the estimate says: counted by autograd's own hooks, tensor by tensor."""

from dataclasses import dataclass

import pytest
import torch
from machines import cpu
from peft import get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM
from trl.trainer.utils import add_fused_lm_head

from razona.advise import activations
from razona.advise.activations import layer_bytes, saved_bytes
from razona.advise.devices import Device
from razona.advise.parts import FUSED_BYTES, PREFILL_TOKENS, ROOM_SPARE
from razona.advise.setting import MERGE_FACTOR, Batch, Setting
from razona.advise.shape import ModelShape
from razona.models.load import lora_config
from razona.recipe import Recipe, load
from razona.train.attention import install
from razona.train.head import speed_up_head
from razona.train.packed import Row, logprobs_of_rows

ROWS, GROUP, PROMPT, LENGTH = 8, 4, 17, 60
SIZES = {
    "vocab_size": 97,
    "hidden_size": 192,
    "intermediate_size": 448,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 32,
}
QWEN3 = {"model_type": "qwen3", **SIZES, "tie_word_embeddings": True}
QWEN2 = {"model_type": "qwen2", **{key: value for key, value in SIZES.items() if key != "head_dim"}}
LLAMA = {"model_type": "llama", **SIZES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    name: str
    changes: tuple[str, ...]
    config: dict
    is_short: bool = True
    """The CPU multiplies in bf16 by itself."""


CASES = [
    Case(name="merged", changes=("lora.rank=64",), config=QWEN3),
    Case(name="merged-llama", changes=("lora.rank=64",), config=LLAMA),
    Case(name="unmerged", changes=("lora.rank=4",), config=QWEN3),
    Case(name="unmerged-qwen2", changes=("lora.rank=4",), config=QWEN2),
    Case(name="half-merged", changes=("lora.rank=20",), config=QWEN3),
    Case(
        name="three-targets", changes=("lora.rank=4", "lora.target_modules=[q_proj, v_proj, down_proj]"), config=QWEN3
    ),
    Case(name="transformers", changes=("lora.rank=4",), config=QWEN3, is_short=False),
    Case(name="transformers-llama", changes=("lora.rank=8",), config=LLAMA, is_short=False),
    Case(name="bf16", changes=("lora.rank=8", "model.dtype=bfloat16"), config=QWEN3),
    Case(name="bf16-qwen2", changes=("lora.rank=8", "model.dtype=bfloat16"), config=QWEN2),
    Case(name="all-weights", changes=("lora=null",), config=QWEN3),
    Case(name="all-weights-transformers", changes=("lora=null",), config=QWEN3, is_short=False),
    Case(name="all-weights-bf16", changes=("lora=null", "model.dtype=bfloat16"), config=QWEN3),
]


def recipe_of(case: Case) -> Recipe:
    settings = (f"train.microbatch_size={ROWS}", f"rollout.group_size={GROUP}", "train.completions_per_step=8")
    return load("demo", [*settings, f"rollout.max_completion_tokens={LENGTH}", *case.changes])


def kept_bytes(case: Case, recipe: Recipe) -> int:
    """Give the bytes of all distinct tensors that autograd keeps, the parameters themselves not counted."""
    torch.manual_seed(0)
    sizes = {key: value for key, value in case.config.items() if key != "model_type"}
    config = AutoConfig.for_model(case.config["model_type"], **sizes, attn_implementation="sdpa")
    dtype = torch.bfloat16 if recipe.model.dtype == "bfloat16" else torch.float32
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    wrapped = get_peft_model(model, lora_config(recipe.lora)) if recipe.lora else model
    install(model, has_short_products=case.is_short)
    speed_up_head(model, 1.0, has_short_products=case.is_short)
    wrapped.train()
    owned = {one.untyped_storage().data_ptr() for one in wrapped.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    prompts = [[(7 * number + place) % 90 for place in range(PROMPT)] for number in range(ROWS // GROUP)]
    rows = [Row(prompt=prompts[number // GROUP], completion=[5 + number] * LENGTH) for number in range(ROWS)]
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        logprobs, _ = logprobs_of_rows(wrapped, rows, LENGTH)
    assert logprobs.requires_grad
    return sum(one.untyped_storage().nbytes() for place, one in kept.items() if place not in owned)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_activations_are_what_autograd_keeps(case):
    recipe = recipe_of(case)
    shape = ModelShape.of_config(case.config)
    setting = Setting.of(recipe, shape, cpu(case.is_short))
    batch = Batch.of(recipe, setting, PROMPT)
    assert saved_bytes(shape, setting, batch) == pytest.approx(kept_bytes(case, recipe), rel=0.03)


def test_with_checkpointing_a_layer_is_kept_whole_and_the_inputs_of_all():
    recipe, shape = recipe_of(CASES[8]), ModelShape.of_config(QWEN3)
    gpu = Device(name="GPU", kind="gpu", memory=2**34, bf16_flop_s=1e14, bandwidth=1e12, source="made up")
    setting = Setting.of(recipe, shape, gpu)
    batch = Batch.of(recipe, setting, PROMPT)
    tokens = 2 * (PROMPT - 1) + ROWS * LENGTH
    ends = tokens * 192 * 4 + ROWS * LENGTH * 192 * 2
    assert saved_bytes(shape, setting, batch) == 3 * tokens * 192 * 2 + layer_bytes(shape, setting, batch) + ends


def test_the_constants_are_those_of_the_code_that_they_describe():
    from trl.kernels import chunked_logprob
    from trl.trainer import utils

    from razona.models.arithmetic import BLOCK_ROWS
    from razona.rollout import fused, native
    from razona.train import layers

    assert activations.HEAD_ROWS == BLOCK_ROWS
    assert activations.TRL_ROWS == chunked_logprob.TOKEN_CHUNK_SIZE
    assert activations.TRL_COLUMNS == utils._CHUNKED_LOGPROB_CHUNK_SIZE
    assert layers.MERGE_FACTOR == MERGE_FACTOR
    assert native.Room.SPARE == ROOM_SPARE
    assert native.PREFILL_TOKENS == PREFILL_TOKENS
    assert fused.MAX_FUSED_BYTES == FUSED_BYTES
