"""GGUF, the file format of llama.cpp: hyperparameters, tokenizer and tensors in one file."""

# llama.cpp turns pairs of neighbouring numbers of a head in its Llama code, transformers turns the first half of a head
# against the second. So rows of q and k are put in another order for Llama; for Qwen2 and Qwen3, llama.cpp does as
# transformers.

from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from razona.core.errors import ExportError, MachineError, ModelError
from razona.export.proof import Reference, prove
from razona.export.vocabulary import Vocabulary

if TYPE_CHECKING:
    import numpy as np
    import torch
    from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

FAMILIES = ("llama", "qwen2", "qwen3")
"""transformers' `model_type` of what can be written; llama.cpp calls them by the same names."""
FILE_TYPES = {"float32": "ALL_F32", "float16": "MOSTLY_F16", "bfloat16": "MOSTLY_BF16"}
"""Number format -> `gguf.LlamaFileType`. Vectors, like norms and biases, stay float32, as llama.cpp needs."""
TENSOR_TYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
ROPE_TYPES = {
    "default": {"rope_theta"},
    "linear": {"rope_theta", "factor"},
    "yarn": {"rope_theta", "factor", "original_max_position_embeddings"},
    "llama3": {"rope_theta", "factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"},
}
"""Position encodings that can be written -> their settings; with any further one, llama.cpp's would differ."""


def check_gguf(config: "PreTrainedConfig") -> None:
    """Refuse what cannot be written, before anything is done.

    Raises:
        MachineError: the package gguf is not there.
        ModelError: the architecture, or its position encoding, is another.
    """
    try:
        import gguf  # noqa: F401
    except ImportError as error:
        raise MachineError(
            f"--to gguf needs the package gguf, which is not installed ({error}). Install it: "
            "pip install 'razona[gguf]'"
        ) from error
    instead = "Export with --to merged, and convert that folder with llama.cpp's convert_hf_to_gguf.py."
    if config.model_type not in FAMILIES:
        raise ModelError(
            f"--to gguf: the model is a {config.model_type}; expected one of {', '.join(FAMILIES)}. {instead}"
        )
    rope = {key: value for key, value in _rope(config).items() if value is not None}
    kind = rope.pop("rope_type")
    if kind not in ROPE_TYPES or set(rope) != ROPE_TYPES[kind]:
        known = "; ".join(f"{one} with {', '.join(sorted(keys))}" for one, keys in ROPE_TYPES.items())
        raise ModelError(
            f"--to gguf: positions are encoded by {kind} with {', '.join(sorted(rope))}; expected one of: {known}. "
            f"{instead}"
        )
    if getattr(config, "use_sliding_window", False):
        raise ModelError(f"--to gguf: the model attends in a sliding window; expected full attention. {instead}")


def write_gguf(
    path: Path,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    vocabulary: Vocabulary,
    *,
    name: str,
    ends: tuple[int, ...],
    dtype: str,
) -> None:
    """Write the file.

    Args:
        tokenizer: with the chat template that the file shall hold.
        name: of the model, for the person who reads the file's header.
        ends: ids that end a completion.
        dtype: of the matrices.
    """
    from gguf import GGML_QUANT_VERSION, GGUFWriter, LlamaFileType

    config = model.config
    writer = GGUFWriter(str(path), config.model_type)
    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(LlamaFileType[FILE_TYPES[dtype]])
    writer.add_quantization_version(GGML_QUANT_VERSION)
    _add_hyperparameters(writer, config)
    _add_vocabulary(writer, tokenizer, vocabulary, ends)
    for tensor_name, array, kind in stored_tensors(model, dtype):
        writer.add_tensor(tensor_name, array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_hyperparameters(writer: "GGUFWriter", config: "PreTrainedConfig") -> None:
    from gguf import RopeScalingType

    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    width = head_width(config)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_dimension_count(width)
    rope = _rope(config)
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    elif rope["rope_type"] == "yarn":
        writer.add_rope_scaling_type(RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])


def _add_vocabulary(
    writer: "GGUFWriter", tokenizer: "PreTrainedTokenizerBase", vocabulary: Vocabulary, ends: tuple[int, ...]
) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(list(vocabulary.tokens))
    writer.add_token_types(list(vocabulary.types))
    writer.add_token_merges(list(vocabulary.merges))
    writer.add_add_bos_token(vocabulary.adds_bos)
    writer.add_add_eos_token(vocabulary.adds_eos)
    writer.add_add_space_prefix(False)
    assert isinstance(tokenizer.eos_token_id, int)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    others = [number for number in ends if number != tokenizer.eos_token_id]
    if others:  # llama.cpp ends a completion at this one, too; further ones it knows by their text
        writer.add_eot_token_id(others[0])
    for number, add in (
        (tokenizer.bos_token_id, writer.add_bos_token_id),
        (tokenizer.pad_token_id, writer.add_pad_token_id),
    ):
        if isinstance(number, int):
            add(number)
    writer.add_chat_template(tokenizer.get_chat_template())


def stored_tensors(model: "PreTrainedModel", dtype: str) -> Iterator[tuple[str, "np.ndarray", "GGMLQuantizationType"]]:
    """Yield each tensor's GGUF name, its numbers as they are stored, and its `gguf.GGMLQuantizationType`.

    Raises:
        ModelError: llama.cpp has no name for a tensor.
    """
    from gguf import MODEL_ARCH, GGMLQuantizationType, get_tensor_name_map

    config = model.config
    names = get_tensor_name_map(MODEL_ARCH[config.model_type.upper()], config.num_hidden_layers)
    for name, tensor in own_tensors(model).items():
        stored_as = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if stored_as is None:
            raise ModelError(f"--to gguf: llama.cpp has no name for the tensor {name}. Export with --to merged.")
        if config.model_type == "llama" and name.split(".")[-2] in ("q_proj", "k_proj"):
            is_query = name.split(".")[-2] == "q_proj"
            tensor = interleave(tensor, config.num_attention_heads if is_query else config.num_key_value_heads)
        kind = TENSOR_TYPES[dtype] if tensor.ndim > 1 else "F32"
        yield stored_as, _as_array(tensor, kind), GGMLQuantizationType[kind]
    if _rope(config)["rope_type"] == "llama3":
        yield "rope_freqs.weight", rope_factors(config), GGMLQuantizationType.F32


def own_tensors(model: "PreTrainedModel") -> Mapping[str, "torch.Tensor"]:
    """Give the model's tensors by name, without an output matrix that is the embedding's: llama.cpp ties them, too."""
    tensors = dict(model.state_dict())
    if model.config.tie_word_embeddings:
        tensors.pop("lm_head.weight", None)
    return tensors


def _as_array(tensor: "torch.Tensor", kind: str) -> "np.ndarray":
    """Give the bytes of bfloat16, which numpy does not know, and plain numbers of the others."""
    import torch

    tensor = tensor.detach().cpu().contiguous()
    if kind == "BF16":
        return tensor.to(torch.bfloat16).view(torch.uint8).numpy()
    return tensor.to(torch.float32 if kind == "F32" else torch.float16).numpy()


def interleave(tensor: "torch.Tensor", num_heads: int) -> "torch.Tensor":
    """Put the rows of a Llama's q or k into llama.cpp's order: of each head, first and second half by turns.

    Row 2 i of a head is its row i, and row 2 i + 1 its row i + width / 2.

    Source: `LlamaModel.permute` in llama.cpp's conversion/llama.py.
    """
    return tensor.reshape(num_heads, 2, -1, *tensor.shape[1:]).swapaxes(1, 2).reshape(tensor.shape)


def rope_factors(config: "PreTrainedConfig") -> "np.ndarray":
    """Give what llama.cpp divides each frequency by, for the position encoding of Llama 3.1 and later: [width / 2].

    transformers' own frequencies are the ones without it over these, so the factors are taken from there.
    """
    import numpy as np
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    width = head_width(config)
    plain = _rope(config)["rope_theta"] ** (-np.arange(0, width, 2, dtype=np.float64) / width)
    return (plain / scaled.double().numpy()).astype(np.float32)


def head_width(config: "PreTrainedConfig") -> int:
    """Give the numbers of one head."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def _rope(config: "PreTrainedConfig") -> dict:
    return {"rope_type": "default", "rope_theta": 10_000.0, **(config.rope_parameters or {})}


def read_back(
    path: Path, model: "PreTrainedModel", vocabulary: Vocabulary, template: str, dtype: str
) -> dict[str, object]:
    """Read the file with gguf's reader, hold every tensor, token and merge to what was to be written, and count them.

    Raises:
        ExportError: something is missing, too many, or differs.
    """
    from gguf import GGUFReader

    reader = GGUFReader(str(path))
    _check_tensors(reader, model, dtype)
    wanted = {
        "tokenizer.ggml.tokens": list(vocabulary.tokens),
        "tokenizer.ggml.token_type": list(vocabulary.types),
        "tokenizer.ggml.merges": list(vocabulary.merges),
        "tokenizer.ggml.pre": vocabulary.pre,
        "tokenizer.chat_template": template,
        f"{model.config.model_type}.block_count": model.config.num_hidden_layers,
        f"{model.config.model_type}.vocab_size": model.config.vocab_size,
    }
    for key, value in wanted.items():
        field = reader.get_field(key)
        found = None if field is None else field.contents()
        if found != value:
            raise ExportError(f"{path.name}: the field {key} is not what was written to it. Is the disk sound?")
    return {"tensors": len(reader.tensors), "parameters": sum(int(one.n_elements) for one in reader.tensors)}


def _check_tensors(reader: "GGUFReader", model: "PreTrainedModel", dtype: str) -> None:
    import numpy as np

    found = {tensor.name: tensor for tensor in reader.tensors}
    expected = set()
    for name, array, kind in stored_tensors(model, dtype):
        expected.add(name)
        if name not in found:
            raise ExportError(f"the GGUF file holds no tensor {name}; expected one. Is the disk full?")
        one = found[name]
        if one.tensor_type != kind or not np.array_equal(one.data, array):
            raise ExportError(f"the GGUF file's tensor {name} is not what was written to it. Is the disk sound?")
    if set(found) != expected:
        raise ExportError(f"the GGUF file holds tensors that nobody wrote: {', '.join(sorted(set(found) - expected))}")


def prove_gguf(path: Path, model: "PreTrainedModel", reference: Reference, dtype: str) -> dict[str, object]:
    """Load the file with transformers, whose reader knows nothing of our writer, and compare it with what was written
    and with the run's policy.

    The reader does not rebuild every tokenizer, so the run's own is used, and the file's is held to it elsewhere.

    Raises:
        ExportError: a tensor differs, or it is not what was trained.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from razona.models.load import Policy, load_tokenizer

    with redirect_stderr(StringIO()):  # a progress bar that cannot be switched off; what it reads is compared below
        loaded = AutoModelForCausalLM.from_pretrained(
            str(path.parent), gguf_file=path.name, config=model.config, dtype=torch.float32
        )
    found = own_tensors(loaded)
    for name, tensor in own_tensors(model).items():
        if name not in found or not torch.equal(found[name], tensor.float()):
            raise ExportError(f"{path.name}: transformers reads the tensor {name} otherwise than it was written")
    loaded.generation_config = model.generation_config
    loaded = loaded.to(getattr(torch, reference.dtype))
    if torch.cuda.is_available():
        torch.nn.Module.to(loaded, "cuda")
    tokenizer = load_tokenizer(reference.recipe.model)
    return prove(Policy(model=loaded, tokenizer=tokenizer, name=str(path)), reference, dtype)
