"""How a recipe runs on a device, as far as memory depends on it: types of numbers, whose layers, how many tokens."""

from dataclasses import dataclass
from typing import Literal

from razona.advise.devices import Device
from razona.advise.shape import ModelShape, Projection
from razona.recipe import LoraSection, Recipe

ASSUMED_PROMPT_TOKENS = 256
"""Where neither the recipe nor the caller knows how long prompts are (our choice: a question of a hundred words and
the form asked for)."""
MERGE_FACTOR = 6
"""`razona.train.layers.MERGE_FACTOR`, which would load torch. A test compares."""
NUMBER_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What of a recipe and a device decides how much a number takes, and which layers run."""

    is_gpu: bool
    lora: LoraSection | None
    weight_bytes: int
    """Of a weight, 2 or 4; with `is_4bit` of those that stay as they are."""
    is_4bit: bool
    value_bytes: int
    """Of what passes between layers in the training pass."""
    is_autocast: bool
    is_ours: bool
    """The layers of `razona.train.layers` run: fp32 weights on a CPU, products in bf16."""
    is_packed: bool
    """Batches are packed by `razona.train.packed`; else TRL pads them."""
    is_checkpointed: bool
    """Activations of a layer are computed again in the backward pass: on a GPU."""
    is_compiled: bool = False
    """torch compiles the layers of the training pass."""

    @staticmethod
    def of(recipe: Recipe, shape: ModelShape, device: Device) -> "Setting":
        """Choose as `models.load`, `models.arithmetic` and `train.trl_config` do."""
        is_gpu, precision = device.kind == "gpu", recipe.train.precision
        is_4bit = bool(getattr(recipe.model, "load_in_4bit", False))
        auto = 2 if is_gpu and recipe.lora is not None else 4
        weight_bytes = NUMBER_BYTES.get(recipe.model.dtype, auto)
        is_packed = shape.is_packed and recipe.train.method != "sft"
        is_short = not is_gpu and (precision == "bfloat16" or (precision == "auto" and device.has_short_products))
        is_autocast = precision == "bfloat16" and not is_packed if not is_gpu else precision != "float32"
        return Setting(
            is_gpu=is_gpu,
            lora=recipe.lora,
            weight_bytes=weight_bytes,
            is_4bit=is_4bit,
            value_bytes=2 if is_autocast else weight_bytes,
            is_autocast=is_autocast,
            is_ours=is_packed and is_short and weight_bytes == 4,
            is_packed=is_packed,
            is_checkpointed=is_gpu,
            is_compiled=recipe.train.compile,
        )

    @property
    def adapter_bytes(self) -> int:
        """Of a number of the adapter: fp32 (PEFT's default), bf16 upon 4-bit weights (TRL's)."""
        return 2 if self.is_4bit else 4

    @property
    def trained_bytes(self) -> int:
        """Of a trained number, of its gradient and of each of AdamW's two moments."""
        return self.weight_bytes if self.lora is None else self.adapter_bytes

    @property
    def copy_bytes(self) -> int:
        """Of a value that an adapter reads: autocast's type, else the adapter's own."""
        return 2 if self.is_autocast else self.adapter_bytes

    def is_merged(self, shape: ModelShape, projections: tuple[Projection, ...]) -> bool:
        """Say whether `razona.train.layers` makes one weight of these projections, their adapters added."""
        if not self.is_ours:
            return False
        if self.lora is None:
            return True
        adapted, rank = shape.adapted(self.lora), self.lora.rank
        return all(
            one not in adapted or MERGE_FACTOR * rank * (one.inputs + one.outputs) >= one.inputs * one.outputs
            for one in projections
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The tokens of one backward pass, every completion at its longest."""

    rows: int
    prompts: int
    """Distinct ones."""
    prompt: int
    """Tokens of one."""
    length: int
    """Tokens of a completion."""
    is_packed: bool

    @staticmethod
    def of(recipe: Recipe, setting: Setting, prompt: int) -> "Batch":
        """Take the recipe's microbatch; a shuffled batch of groups may begin amid one."""
        rows, group = recipe.train.microbatch_size, recipe.rollout.group_size
        if recipe.train.method == "sft":
            rows = min(rows, recipe.sft.batch_size)
            group = 1
        whole, rest = divmod(rows, group)
        return Batch(
            rows=rows,
            prompts=whole if not rest else whole + (1 if group % rows == 0 else 2),
            prompt=prompt,
            length=recipe.rollout.max_completion_tokens,
            is_packed=setting.is_packed,
        )

    @property
    def tokens(self) -> int:
        """Of the pass: packed, each prompt once without its last token; else every row whole."""
        if self.is_packed:
            return self.prompts * (self.prompt - 1) + self.rows * self.length
        return self.rows * (self.prompt + self.length)

    @property
    def labelled(self) -> int:
        """Positions whose next token is a completion's."""
        return self.rows * self.length

    @property
    def seen(self) -> int:
        """Positions that a completion's last token attends to."""
        return self.prompt - 1 + self.length if self.is_packed else self.prompt + self.length


def prompt_tokens_of(recipe: Recipe, known: int | None) -> int:
    """Give the length of the longest prompt: as the caller knows it, as the recipe bounds it, else an assumption."""
    return known or recipe.data.max_prompt_tokens or ASSUMED_PROMPT_TOKENS


Phase = Literal["always", "loading", "sampling", "training"]
