"""The recipe's sections `model` and `lora`: the policy that is trained, and the adapter upon it."""

from typing import Annotated, Literal

from pydantic import Field

from razona.recipe.section import Section, Text


class ModelSection(Section):
    """The policy that is trained."""

    name: Text = "embedded"
    """`embedded` is the small model that ships with Razona (our demo); else a hub name or a folder."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the weights in memory. `auto` is bfloat16 on a GPU that has it, float32 elsewhere and for `lora: null`."""
    revision: Text | None = None
    """Branch, tag or commit on the hub. null is the main branch, which may change under you."""
    trust_remote_code: bool = False
    """Runs Python code that comes with the model. Off: nothing from the hub is executed."""
    load_in_4bit: bool = False
    """Holds the frozen weights in 4 bits (NF4, double quantisation, products in bfloat16: QLoRA, arXiv:2305.14314): a
    quarter of their memory, for slower steps and a rounded base. Needs an NVIDIA GPU, bitsandbytes and an adapter."""
    allow_pickle: bool = False
    """Reads pytorch_model.bin where a model has no safetensors. Pickle files can run code when they are read; torch's
    restricted reader is used, and the run says so. Off: such a model is refused."""
    backend: Literal["auto", "peft", "unsloth"] = "auto"
    """What loads the policy for training and puts the adapter on it. `peft`: transformers and PEFT, on any machine.
    `unsloth`: its rewritten layers and trainer, on one NVIDIA GPU, with `razona[unsloth]`. `auto`: Unsloth where both
    are there, else PEFT, and the run says why. The embedded model is PEFT's; so is every evaluation of a run's end."""


class LoraSection(Section):
    """The adapter that is trained in place of the model's own weights. `lora: null` trains all of them."""

    rank: int = Field(default=32, ge=1)
    """Columns of each adapter matrix. Up to 32 suffices for reinforcement at any data size ("LoRA Without Regret")."""
    alpha: float = Field(default=64.0, gt=0)
    """The adapter's output is scaled by alpha / rank; twice the rank is our demo's choice."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the adapter's inputs set to zero while training. 0 switches it off: sampling and training then agree."""
    target_modules: Annotated[list[Text], Field(min_length=1)] | Literal["all-linear"] = [
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    ]
    """The projections that get an adapter, attention and MLP alike ("LoRA Without Regret"). `all-linear`: every one."""
