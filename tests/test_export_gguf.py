"""GGUF: names, order of rows, number formats, tokenizer; read with gguf's reader and with transformers' own."""

import json
import sys
from pathlib import Path

import pytest
import torch
from export_runs import make_run, save_random_model
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from razona.core.errors import ExportError, MachineError, ModelError
from razona.export import Wanted, export
from razona.export.gguf_file import check_gguf, interleave, read_back, rope_factors, write_gguf
from razona.export.vocabulary import GPT2, PRE_TOKENIZERS, read_vocabulary
from razona.models.load import load_policy, load_tokenizer
from razona.recipe import ModelSection

gguf = pytest.importorskip("gguf", reason="the package gguf is not installed: pip install 'razona[gguf]'")

TEXTS = ("What is 12 + 345?", "<start_working_out> 12 + 345 = 357. <end_working_out><SOLUTION>357</SOLUTION>")
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10_000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip


def permuted_by_hand(rows: list[list[float]], num_heads: int) -> list[list[float]]:
    """Put the rows into llama.cpp's order, one by one: first half and second half of each head in turn."""
    width = len(rows) // num_heads
    ordered = []
    for head in range(num_heads):
        for pair in range(width // 2):
            ordered += [rows[head * width + pair], rows[head * width + width // 2 + pair]]
    return ordered


@pytest.mark.parametrize(("num_heads", "width"), [(1, 4), (3, 8), (2, 2)])
def test_the_rows_of_a_llamas_heads_are_interleaved(num_heads: int, width: int):
    weights = torch.arange(num_heads * width * 5).float().reshape(num_heads * width, 5)
    assert interleave(weights, num_heads).tolist() == permuted_by_hand(weights.tolist(), num_heads)
    assert interleave(torch.arange(4.0), 1).tolist() == [0.0, 2.0, 1.0, 3.0]  # a bias


def test_interleaved_heads_turned_by_neighbours_are_heads_turned_by_halves():
    """llama.cpp turns (2 i, 2 i + 1), transformers (i, i + width / 2): attention must see the same products."""
    torch.manual_seed(0)
    weights, hidden, angles = torch.randn(8, 5), torch.randn(5), torch.randn(4)
    halves, neighbours = weights @ hidden, interleave(weights, 1) @ hidden
    for pair in range(4):
        turn = torch.tensor([[angles[pair].cos(), -angles[pair].sin()], [angles[pair].sin(), angles[pair].cos()]])
        ours, theirs = turn @ halves[[pair, pair + 4]], turn @ neighbours[[2 * pair, 2 * pair + 1]]
        torch.testing.assert_close(ours, theirs)


def tensors_of(path: Path) -> dict[str, torch.Tensor]:
    """Read every tensor of a file, in float32."""
    return {
        one.name: torch.from_numpy(gguf.dequantize(one.data, one.tensor_type).copy())
        for one in gguf.GGUFReader(str(path)).tensors
    }


@pytest.mark.parametrize(
    ("kind", "dtype", "settings"),
    [
        ("llama", "float32", {"attention_bias": True, "rope_parameters": LLAMA3}),
        ("qwen2", "float16", {"tie_word_embeddings": True}),
        ("qwen3", "bfloat16", {"head_dim": 32}),
    ],
)
def test_each_family_is_exported_and_read_back(kind: str, dtype: str, settings: dict, tmp_path: Path):
    base = save_random_model(tmp_path / "base", kind, **settings)
    run = make_run(tmp_path / "run", f"model.name={base}")
    figures = export(run.root, Wanted(formats=("gguf",), dtype=dtype, num_problems=4), tmp_path / "out")["gguf"]
    assert figures["logits"]["relative_error"] <= figures["logits"]["tolerance"]
    assert figures["logits"]["effect_kept"] > 0.9
    path = tmp_path / "out" / "gguf" / f"demo-{dtype}.gguf"
    reader = gguf.GGUFReader(str(path))
    assert reader.get_field("general.architecture").contents() == kind
    assert reader.get_field(f"{kind}.attention.head_count_kv").contents() == 2
    assert reader.get_field(f"{kind}.rope.freq_base").contents() == 10_000
    kinds = {one.name: one.tensor_type.name for one in reader.tensors}
    assert kinds["token_embd.weight"] == {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}[dtype]
    assert kinds["output_norm.weight"] == "F32"
    assert ("output.weight" in kinds) == (kind != "qwen2")  # tied there
    assert ("blk.0.attn_q.bias" in kinds) == (kind != "qwen3")
    assert ("blk.0.attn_q_norm.weight" in kinds) == (kind == "qwen3")
    assert ("rope_freqs.weight" in kinds) == (kind == "llama")


def test_a_llamas_tensors_are_those_of_its_base_with_the_adapter_added(tmp_path: Path):
    base = save_random_model(tmp_path / "base", "llama")
    run = make_run(tmp_path / "run", f"model.name={base}")
    export(run.root, Wanted(formats=("gguf",), num_problems=4), tmp_path / "out")
    found = tensors_of(tmp_path / "out" / "gguf" / "demo-float32.gguf")
    weights = load_policy(ModelSection(name=str(base))).model.state_dict()
    from safetensors.torch import load_file

    adapter = load_file(run.adapter / "adapter_model.safetensors")
    for ours, theirs, heads in (("q_proj", "attn_q", 4), ("k_proj", "attn_k", 2), ("v_proj", "attn_v", 0)):
        name = f"model.layers.1.self_attn.{ours}"
        down, up = (adapter[f"base_model.model.{name}.lora_{one}.weight"] for one in "AB")
        merged = weights[f"{name}.weight"] + 8 / 4 * up @ down  # alpha / rank
        expected = torch.tensor(permuted_by_hand(merged.tolist(), heads)) if heads else merged
        torch.testing.assert_close(found[f"blk.1.{theirs}.weight"], expected, rtol=0, atol=1e-6)
    assert torch.equal(found["blk.0.attn_norm.weight"], weights["model.layers.0.input_layernorm.weight"])


def test_the_frequencies_of_llama_3_are_those_of_llama_cpps_converter():
    """The formula of conversion/llama.py in llama.cpp, written out: by wavelength, kept, divided, or between."""
    config = LlamaConfig(hidden_size=64, num_attention_heads=2, rope_parameters=LLAMA3)
    expected = []
    for place in range(16):
        wavelength = 2 * torch.pi * 10_000 ** (2 * place / 32)
        smooth = (64 / wavelength - 1) / (4 - 1)
        between = 1 / ((1 - smooth) / 8 + smooth)
        expected.append(1.0 if wavelength < 16 else 8.0 if wavelength > 64 else between)
    assert rope_factors(config).tolist() == pytest.approx(expected, rel=1e-5)
    assert 1.0 in expected and 8.0 in expected and any(1 < one < 8 for one in expected)


def embedded_file(folder: Path) -> tuple[Path, object, object, PreTrainedTokenizerBase]:
    """Write the embedded base model, and give the file, the model, the vocabulary and the tokenizer."""
    policy = load_policy(ModelSection())
    vocabulary = read_vocabulary(policy.tokenizer, policy.model.config.vocab_size, TEXTS)
    path = folder / "model.gguf"
    write_gguf(path, policy.model, policy.tokenizer, vocabulary, name="m", ends=(0, 5), dtype="float32")
    return path, policy.model, vocabulary, policy.tokenizer


def test_a_file_that_was_altered_is_refused(tmp_path: Path):
    path, model, vocabulary, tokenizer = embedded_file(tmp_path)
    template = tokenizer.get_chat_template()
    assert read_back(path, model, vocabulary, template, "float32")["tensors"] == 46
    with pytest.raises(ExportError, match=r"the field tokenizer\.chat_template is not what was written"):
        read_back(path, model, vocabulary, "{{ other }}", "float32")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ExportError, match=r"tensor blk\.\S+ is not what was written|tensor output_norm"):
        read_back(path, model, vocabulary, template, "float32")


def test_the_tokenizers_special_tokens_are_in_the_file(tmp_path: Path):
    path, _, vocabulary, tokenizer = embedded_file(tmp_path)
    reader = gguf.GGUFReader(str(path))
    values = {key.removeprefix("tokenizer.ggml."): field.contents() for key, field in reader.fields.items()}
    assert (values["model"], values["pre"]) == ("gpt2", "gpt-2")
    assert (values["eos_token_id"], values["eot_token_id"], values["padding_token_id"]) == (0, 5, 1)
    assert values["add_bos_token"] is False and "bos_token_id" not in values
    control, user_defined = int(gguf.TokenType.CONTROL), int(gguf.TokenType.USER_DEFINED)
    assert values["token_type"][:2] == [control, control]
    place = values["tokens"].index(" <SOLUTION>")  # as it stands in a text, not in byte-level spelling
    assert values["token_type"][place] == user_defined
    assert place == tokenizer.convert_tokens_to_ids("\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}<SOLUTION>")
    assert values["token_type"].count(user_defined) == len(vocabulary.torn) == 8
    assert all(len(merge.split(" ")) == 2 for merge in values["merges"])


def tokenizer_cut_by(*patterns: str, ignores_merges: bool = False) -> PreTrainedTokenizerFast:
    """Learn a byte-level tokenizer that cuts text by regular expressions, from a text with numbers and tags."""
    backend = Tokenizer(models.BPE(ignore_merges=ignores_merges))
    cuts = [pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in patterns]
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [*cuts, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    backend.decoder = decoders.ByteLevel()
    numbers = " ".join(f"{one}" for one in range(1000))
    text = f"I've got 12,345 = {numbers}! He'LL see\n\n  (that) it's <b> over... " * 3
    trainer = trainers.BpeTrainer(
        vocab_size=1500, special_tokens=["<eos>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    backend.train_from_iterator([text], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>")


@pytest.mark.parametrize("pre", PRE_TOKENIZERS, ids=lambda pre: pre.name)
def test_a_tokenizer_that_cuts_as_llama_cpp_does_is_known_by_name(pre):
    tokenizer = tokenizer_cut_by(*pre.patterns, ignores_merges=pre.ignores_merges)
    found = read_vocabulary(tokenizer, len(tokenizer), TEXTS)
    assert (found.pre, found.torn, found.hard_texts_cut_otherwise) == (pre.name, (), 0)


def test_rows_without_a_token_are_unused_and_a_token_without_row_is_told():
    tokenizer = tokenizer_cut_by(GPT2)
    found = read_vocabulary(tokenizer, len(tokenizer) + 2, TEXTS)
    assert found.tokens[-2:] == (f"[PAD{len(tokenizer)}]", f"[PAD{len(tokenizer) + 1}]")
    assert found.types[-1] == int(gguf.TokenType.UNUSED)
    with pytest.raises(ModelError, match=f"a token with id {len(tokenizer) - 1}, and the model has 10 rows"):
        read_vocabulary(tokenizer, 10, TEXTS)


def test_a_way_to_cut_that_llama_cpp_has_not_is_told_with_a_text():
    tokenizer = tokenizer_cut_by(r"[^=]+|=")  # words are merged with their neighbours
    with pytest.raises(
        ModelError, match=r"knows none of its ways to cut text.* of 2 texts of the run give other tokens"
    ):
        read_vocabulary(tokenizer, len(tokenizer), ("it's over... I've got", "see\n\n  (that) it's"))


def test_a_tokenizer_that_is_no_byte_level_bpe_is_told():
    words = Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<unk>")
    with pytest.raises(ModelError, match=r"it is WordLevel with Whitespace .* expected byte-level BPE"):
        read_vocabulary(tokenizer, 2, TEXTS)


def test_the_embedded_tokenizer_is_cut_alike_on_hard_texts_too():
    found = read_vocabulary(load_tokenizer(ModelSection()), 798, TEXTS)
    assert (found.pre, found.hard_texts_cut_otherwise) == ("gpt-2", 0)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model_type": "gemma3_text"}, "the model is a gemma3_text; expected one of llama, qwen2, qwen3"),
        ({"rope_parameters": {**LLAMA3, "rope_type": "dynamic"}}, "positions are encoded by dynamic with factor"),
        ({"rope_parameters": {**LLAMA3, "mscale": 2.0}}, "positions are encoded by llama3 with .*mscale"),
        ({"use_sliding_window": True}, "attends in a sliding window"),
    ],
)
def test_a_model_that_cannot_be_written_is_told_before_anything_is_done(changes: dict, told: str):
    config = LlamaConfig()
    check_gguf(config)
    for key, value in changes.items():
        setattr(config, key, value)
    with pytest.raises(ModelError, match=f"--to gguf: .*{told}.*convert_hf_to_gguf"):
        check_gguf(config)


def test_without_the_package_gguf_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MachineError, match=r"pip install 'razona\[gguf\]'"):
        check_gguf(LlamaConfig())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "dtype", "settings"),
    [
        ("llama", "float32", {}),
        ("llama", "float16", {"rope_parameters": LLAMA3}),
        ("qwen2", "float32", {"rope_parameters": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}}),
        ("qwen3", "float32", {"head_dim": 32, "tie_word_embeddings": True}),
        ("embedded", "float32", {}),
    ],
)
def test_llama_cpp_gives_the_tokens_and_logits_of_transformers(kind: str, dtype: str, settings: dict, tmp_path: Path):
    llama_cpp = pytest.importorskip("llama_cpp", reason="not installed: pip install llama-cpp-python")
    base = kind if kind == "embedded" else save_random_model(tmp_path / "base", kind, **settings)
    run = make_run(tmp_path / "run", f"model.name={base}")
    wanted = Wanted(formats=("merged", "gguf"), dtype=dtype, num_problems=4)
    export(run.root, wanted, tmp_path / "out")
    path = tmp_path / "out" / "gguf" / f"demo-{dtype}.gguf"
    model = llama_cpp.Llama(str(path), n_ctx=0, logits_all=True, verbose=False, n_threads=1)
    policy = load_policy(ModelSection(name=str(tmp_path / "out" / "merged"), dtype="float32"))
    question = [{"role": "user", "content": "Leo has 35 eggs. He buys 24 more. How many?"}]
    prompt = policy.tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True)
    text = f"{prompt} 35 + 24 = 59. <end_working_out><SOLUTION>59</SOLUTION>"
    ids = policy.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert model.tokenize(text.encode(), add_bos=False, special=False) == ids
    assert model.tokenize(text.encode(), add_bos=True, special=True) == ids
    model.eval(ids)
    found = torch.from_numpy(model.scores[: len(ids)].copy())
    with torch.no_grad():
        expected = policy.model(torch.tensor([ids])).logits[0]
    error = (found - expected).norm() / (expected - expected.mean(dim=1, keepdim=True)).norm()
    print(json.dumps({"kind": kind, "dtype": dtype, **settings, "relative_error": float(error)}))
    assert error < 5e-3  # llama.cpp keeps keys and values in float16
    model.reset()
    answer = model.create_chat_completion(question, temperature=0, max_tokens=12)["choices"][0]["message"]["content"]
    inputs = policy.tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
    output = policy.model.generate(**inputs, max_new_tokens=12, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    expected_text = policy.tokenizer.decode(output, skip_special_tokens=True)
    assert answer == expected_text.replace("\N{REPLACEMENT CHARACTER}", "")  # llama-cpp-python drops stray bytes
