"""The sizes of a model from its `config.json` alone: weights, and adapter weights, counted exactly."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from razona.core.errors import ModelError, RecipeError
from razona.core.hub import settle_hub
from razona.recipe import LoraSection, ModelSection

PACKED = ("llama", "qwen2", "qwen3", "mistral")
"""Families that our own loops sample and pack, `razona.models.families`, which would load torch. A test compares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """What the `config.json` of a family does not say."""

    is_tied: bool = False
    """Whether head and embedding are one matrix where the file is silent."""
    qkv_bias: bool | None = None
    """None: as `attention_bias` says."""
    output_bias: bool | None = None
    """Of the attention's output. None: as `attention_bias` says."""
    has_head_norm: bool = False
    norms: int = 2
    """A layer."""
    head_dim: int | None = None
    """Where the file is silent. None: hidden size over heads."""
    window: int | None = None
    """`sliding_window` where the file is silent."""
    needs_key_heads: bool = True
    """The file must name `num_key_value_heads`; else it is the number of heads."""


FAMILIES: dict[str, _Family] = {
    "llama": _Family(needs_key_heads=False),
    "qwen2": _Family(qkv_bias=True, output_bias=False),
    "qwen3": _Family(has_head_norm=True, head_dim=128),
    "mistral": _Family(qkv_bias=False, output_bias=False, window=4096),
    "gemma": _Family(is_tied=True, head_dim=256),
    "gemma2": _Family(is_tied=True, head_dim=256, norms=4),
    "gemma3_text": _Family(is_tied=True, head_dim=256, norms=4, has_head_norm=True),
}
"""`model_type` -> what transformers' code of it adds (modeling_*.py and configuration_*.py of 5.23)."""
GPT2 = "gpt2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """One linear layer of every decoder layer."""

    name: str
    """Its path in the layer, `self_attn.q_proj`."""
    inputs: int
    outputs: int
    has_bias: bool

    @property
    def weights(self) -> int:
        """Its numbers, the bias among them."""
        return self.inputs * self.outputs + (self.outputs if self.has_bias else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """The sizes of a decoder."""

    model_type: str
    vocabulary: int
    hidden: int
    intermediate: int
    """Width of the MLP."""
    layers: int
    heads: int
    key_heads: int
    head_dim: int
    is_tied: bool
    """Head and embedding are one matrix."""
    projections: tuple[Projection, ...]
    """Of one layer."""
    num_norms: int
    """Of one layer, those of heads not among them."""
    norm_weights: int
    """Of one layer's norms, biases and those of heads among them."""
    other_weights: int
    """Of the last norm and of learned positions."""
    has_head_norm: bool
    is_gated: bool
    """The MLP has a gate (SwiGLU and its like)."""
    activation: str
    is_windowed: bool
    """Attention reaches a window back, not to the beginning."""

    @staticmethod
    def of_config(config: Mapping) -> "ModelShape":
        """Read the sizes off a `config.json`.

        Raises:
            ModelError: a family that is not known here, or keys that are missing.

        >>> config = {"model_type": "llama", "vocab_size": 10, "hidden_size": 4, "intermediate_size": 8}
        >>> config |= {"num_hidden_layers": 1, "num_attention_heads": 2, "tie_word_embeddings": True}
        >>> ModelShape.of_config(config).num_parameters
        212
        """
        model_type = str(config.get("model_type"))
        if model_type == GPT2:
            return _gpt2(config)
        family = FAMILIES.get(model_type)
        if family is None:
            raise ModelError(
                f"config.json: model_type = {config.get('model_type')!r}, whose sizes are not known here; expected one "
                f"of {', '.join([*FAMILIES, GPT2])}. Training may still work: only its memory and time cannot be "
                "estimated."
            )
        return _decoder(model_type, family, config)

    @property
    def layer_weights(self) -> int:
        """Numbers of one decoder layer."""
        return sum(projection.weights for projection in self.projections) + self.norm_weights

    @property
    def head_weights(self) -> int:
        """Numbers of the head, V E, whether or not it is the embedding."""
        return self.vocabulary * self.hidden

    @property
    def num_parameters(self) -> int:
        """Every number of the model: V E once or twice, the layers, the last norm."""
        matrices = 1 if self.is_tied else 2
        return matrices * self.head_weights + self.layers * self.layer_weights + self.other_weights

    @property
    def is_packed(self) -> bool:
        """Whether our own loops sample from it and pack its batches; else transformers and TRL do."""
        return self.model_type in PACKED and self.activation == "silu" and not self.is_windowed

    def adapted(self, section: LoraSection) -> tuple[Projection, ...]:
        """Give the projections of a layer that get an adapter, by PEFT's rule: the path ends with the name.

        Raises:
            RecipeError: a name that no projection has.
        """
        names = section.target_modules
        if isinstance(names, str):
            return self.projections
        unknown = [name for name in names if not any(_is_named(one, name) for one in self.projections)]
        if unknown:
            known = ", ".join(sorted({one.name.split(".")[-1] for one in self.projections}))
            raise RecipeError(
                f"lora.target_modules: {', '.join(unknown)} is none of this model's projections, which are {known}. "
                "Name some of these, or set lora.target_modules: all-linear."
            )
        return tuple(one for one in self.projections if any(_is_named(one, name) for name in names))

    def lora_parameters(self, section: LoraSection) -> int:
        """Give the adapter's numbers: rank (inputs + outputs) of each adapted projection, in every layer."""
        return self.layers * sum(section.rank * (one.inputs + one.outputs) for one in self.adapted(section))


def _is_named(projection: Projection, name: str) -> bool:
    return projection.name == name or projection.name.endswith(f".{name}")


def _read(config: Mapping, names: Sequence[str]) -> dict[str, int]:
    missing = [name for name in names if not isinstance(config.get(name), int)]
    if missing:
        raise ModelError(
            f"config.json of model_type {config.get('model_type')!r}: {', '.join(missing)} missing or no whole number; "
            f"expected {', '.join(names)}. Give a model folder whose config.json was written by save_pretrained()."
        )
    return {name: config[name] for name in names}


def _decoder(model_type: str, family: _Family, config: Mapping) -> ModelShape:
    names = ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"]
    # A null in the file is the number of heads in every family; a missing key is a default of the family's own.
    if family.needs_key_heads and "num_key_value_heads" not in config:
        names.append("num_key_value_heads")
    sizes = _read(config, names)
    hidden, heads, middle = sizes["hidden_size"], sizes["num_attention_heads"], sizes["intermediate_size"]
    key_heads = config.get("num_key_value_heads") or heads
    head_dim = config.get("head_dim") or family.head_dim or hidden // heads
    attention_bias, mlp_bias = bool(config.get("attention_bias")), bool(config.get("mlp_bias"))
    qkv_bias = attention_bias if family.qkv_bias is None else family.qkv_bias
    output_bias = attention_bias if family.output_bias is None else family.output_bias
    sides = [
        ("self_attn.q_proj", hidden, heads * head_dim, qkv_bias),
        ("self_attn.k_proj", hidden, key_heads * head_dim, qkv_bias),
        ("self_attn.v_proj", hidden, key_heads * head_dim, qkv_bias),
        ("self_attn.o_proj", heads * head_dim, hidden, output_bias),
        ("mlp.gate_proj", hidden, middle, mlp_bias),
        ("mlp.up_proj", hidden, middle, mlp_bias),
        ("mlp.down_proj", middle, hidden, mlp_bias),
    ]
    return ModelShape(
        model_type=model_type,
        vocabulary=sizes["vocab_size"],
        hidden=hidden,
        intermediate=middle,
        layers=sizes["num_hidden_layers"],
        heads=heads,
        key_heads=key_heads,
        head_dim=head_dim,
        is_tied=bool(config.get("tie_word_embeddings", family.is_tied)),
        projections=tuple(
            Projection(name=name, inputs=inputs, outputs=outputs, has_bias=bias)
            for name, inputs, outputs, bias in sides
        ),
        num_norms=family.norms,
        norm_weights=family.norms * hidden + (2 * head_dim if family.has_head_norm else 0),
        other_weights=hidden,
        has_head_norm=family.has_head_norm,
        is_gated=True,
        is_windowed=config.get("sliding_window", family.window) is not None
        and bool(config.get("use_sliding_window", not model_type.startswith("qwen"))),
        activation=str(config.get("hidden_act") or config.get("hidden_activation") or "silu"),
    )


def _gpt2(config: Mapping) -> ModelShape:
    sizes = _read(config, ["vocab_size", "n_embd", "n_layer", "n_head", "n_positions"])
    hidden, heads = sizes["n_embd"], sizes["n_head"]
    middle = config.get("n_inner") or 4 * hidden
    sides = [
        ("attn.c_attn", hidden, 3 * hidden),
        ("attn.c_proj", hidden, hidden),
        ("mlp.c_fc", hidden, middle),
        ("mlp.c_proj", middle, hidden),
    ]
    return ModelShape(
        model_type=GPT2,
        vocabulary=sizes["vocab_size"],
        hidden=hidden,
        intermediate=middle,
        layers=sizes["n_layer"],
        heads=heads,
        key_heads=heads,
        head_dim=hidden // heads,
        is_tied=bool(config.get("tie_word_embeddings", True)),
        projections=tuple(
            Projection(name=name, inputs=inputs, outputs=outputs, has_bias=True) for name, inputs, outputs in sides
        ),
        num_norms=2,
        norm_weights=4 * hidden,
        other_weights=2 * hidden + sizes["n_positions"] * hidden,
        has_head_norm=False,
        is_gated=False,
        is_windowed=False,
        activation=str(config.get("activation_function") or "gelu_new"),
    )


def config_of(section: ModelSection) -> dict:
    """Give the `config.json` of a recipe's model; from the hub, that file alone is fetched.

    Raises:
        ModelError: there is none, it cannot be reached, or is no JSON.
    """
    path = _config_path(section)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"model.name = {section.name}: {path} cannot be read as JSON: {error}") from error
    if not isinstance(config, dict):
        raise ModelError(f"model.name = {section.name}: {path} holds no JSON object, which a model's config is.")
    return config


def _config_path(section: ModelSection) -> Path:
    from importlib.resources import files

    name = section.name
    folder = Path(str(files("razona.models"))) / "embedded" if name == "embedded" else Path(name)
    if folder.is_dir():
        if (folder / "config.json").is_file():
            return folder / "config.json"
        raise ModelError(f"model.name = {name}: the folder holds no config.json. Give the one save_pretrained() wrote.")
    if name.startswith(("/", "./", "../", "~")) or folder.exists():
        raise ModelError(
            f"model.name = {name}: there is no such folder. Give `embedded`, a model folder or a hub name."
        )
    return _fetch_config(section)


def _fetch_config(section: ModelSection) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    settle_hub()
    try:
        return Path(hf_hub_download(section.name, "config.json", revision=section.revision))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"model.name = {section.name}: its config.json cannot be fetched from the hub: {first} Expected "
            "`embedded`, a model folder, or a hub name that this machine can reach (a gated one needs `hf auth login`)."
        ) from error
