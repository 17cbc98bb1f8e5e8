"""The parts of an estimate by hand, its verdict, and the proposals that make a recipe fit."""

import json
import subprocess
import sys

import pytest
from shapes import QWEN3_4B

from razona.advise.devices import GPUS, Device, cpu, device_named, this_device
from razona.advise.hours import estimate_hours
from razona.advise.memory import MARGIN, estimate_memory, propose
from razona.advise.parts import CPU_OVERHEAD, GPU_OVERHEAD, NF4_BYTES
from razona.advise.shape import ModelShape, config_of
from razona.core.errors import ModelError
from razona.recipe import Recipe, load

GIB = 2**30
# 10 words, hidden 4, MLP 6, 2 layers, 2 heads and 1 key head of 2 values, head and embedding one matrix.
TINY = {
    "model_type": "llama",
    "vocab_size": 10,
    "hidden_size": 4,
    "intermediate_size": 6,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 2,
    "tie_word_embeddings": True,
}
TINY_WEIGHTS = 40 + 2 * (4 * 4 + 2 * 4 * 2 + 4 * 4 + 3 * 4 * 6 + 2 * 4) + 4  # embedding, 2 layers, last norm: 300


def device(kind: str, gib: float = 80) -> Device:
    return Device(
        name="A device",
        kind=kind,  # pyright: ignore[reportArgumentType]
        memory=int(gib * GIB),
        bf16_flop_s=1e14,
        bandwidth=1e12,
        source="made up",
    )


def recipe(*changes: str) -> Recipe:
    step = ["train.completions_per_step=16", "train.microbatch_size=4", "rollout.group_size=4"]
    return load("demo", [*step, "rollout.max_completion_tokens=8", "data.max_prompt_tokens=5", *changes])


def part(name: str, *changes: str, kind: str = "cpu", num_processes: int = 1) -> int:
    estimate = estimate_memory(recipe(*changes), ModelShape.of_config(TINY), device(kind), num_processes)
    return sum(one.bytes for one in estimate.parts if one.name == name)


# The adapter of rank 2 on q (4 -> 4) and down (6 -> 4): 2 layers x 2 x (8 + 10) = 72 numbers.
LORA = ("lora.rank=2", "lora.target_modules=[q_proj, down_proj]")
# A token's keys and values: 2 layers x 2 x 1 key head x 2 values = 8 numbers; 5 + 8 tokens a row.
PARTS = [
    ("weights", (), {}, 4 * TINY_WEIGHTS),
    ("weights", (), {"kind": "gpu"}, 2 * TINY_WEIGHTS),
    ("weights", ("model.dtype=bfloat16",), {}, 2 * TINY_WEIGHTS),
    ("weights", ("lora=null",), {"kind": "gpu"}, 4 * TINY_WEIGHTS),
    ("adapter", LORA, {}, 4 * 72),
    ("adapter", ("lora=null",), {}, 0),
    ("gradients", LORA, {}, 4 * 72),
    ("gradients", LORA, {"num_processes": 2}, 2 * 4 * 72),
    ("gradients", ("lora=null",), {}, 4 * TINY_WEIGHTS),
    ("gradients", ("lora=null", "model.dtype=bfloat16"), {}, 2 * TINY_WEIGHTS),
    ("optimizer", LORA, {"kind": "gpu"}, 2 * 4 * 72),
    ("optimizer", ("lora=null",), {}, 2 * 4 * TINY_WEIGHTS),
    ("reference model", ("train.kl_weight=0.1",), {}, 0),
    ("reference model", ("train.kl_weight=0.1", "lora=null"), {}, 4 * TINY_WEIGHTS),
    ("keys and values", (), {"kind": "gpu"}, 16 * 13 * 8 * 2),
    ("keys and values", (), {}, 16 * 13 * 8 * 4 * 5 // 4),
    ("keys and values", ("rollout.max_slots=6",), {"kind": "gpu"}, 6 * 13 * 8 * 2),
    ("keys and values", (), {"kind": "gpu", "num_processes": 2}, 8 * 13 * 8 * 2),
    ("overhead", (), {}, CPU_OVERHEAD),
    ("overhead", (), {"kind": "gpu"}, GPU_OVERHEAD),
]


@pytest.mark.parametrize(("name", "changes", "options", "expected"), PARTS)
def test_a_part_by_hand(name, changes, options, expected):
    assert part(name, *changes, **options) == expected


def test_activations_by_hand():
    # No adapter on what reads a norm: q alone is adapted of the attention's inputs, fp32, transformers' layers.
    # A packed row: one prompt of 5 without its last token, 4 completions of 8: 36 tokens; a completion sees 4 + 8.
    tokens, seen = 4 + 4 * 8, 12
    norms = 2 * tokens * 4
    query_input, query_rank = tokens * 4, tokens * 2
    rows = 4 * 8 * (4 + 2) * 2  # of all 4 heads, and the result of 2 of them
    keys_values, mask = 4 * 2 * seen * 2, 4 * 8 * seen
    prompt = 4 * (4 + 2) * 2
    sums = 2 * (4 * 8 + 4)
    mlp = 3 * tokens * 6 + tokens * 6 + tokens * 2  # gate, silu and up; what `down` reads, and its adapter's values
    layer = norms + query_input + query_rank + rows + keys_values + mask + prompt + sums + mlp
    ends = tokens * 4 + 4 * 8 * 4  # the last norm's input, and the slope of every label's log-prob
    assert part("activations", *LORA, "train.precision=float32") == 4 * (2 * layer + ends)


def test_in_four_bits_the_projections_alone_shrink(monkeypatch):
    from razona.advise import setting

    class FourBits:
        def __init__(self, section):
            self.section, self.load_in_4bit, self.dtype = section, True, section.dtype

    changed = recipe(*LORA)
    short = changed.model_copy(update={"model": FourBits(changed.model)})
    estimate = estimate_memory(short, ModelShape.of_config(TINY), device("gpu"))
    found = {one.name: one.bytes for one in estimate.parts}
    assert found["weights"] == int(2 * 120 * NF4_BYTES + (TINY_WEIGHTS - 240) * 2)
    assert found["adapter"] == 2 * 72, "TRL trains an adapter upon 4-bit weights in bf16"
    assert setting.Setting.of(short, ModelShape.of_config(TINY), device("gpu")).is_4bit


def test_the_peak_is_what_is_always_held_and_the_largest_phase():
    estimate = estimate_memory(recipe(), ModelShape.of_config(TINY), device("gpu"))
    by_phase = {
        phase: sum(one.bytes for one in estimate.parts if one.phase == phase)
        for phase in ("always", "sampling", "training")
    }
    assert estimate.total == by_phase["always"] + max(by_phase["sampling"], by_phase["training"])
    assert estimate.largest.bytes == max(one.bytes for one in estimate.at_peak)


def test_processes_share_a_cpus_memory_and_have_a_gpu_each():
    shape = ModelShape.of_config(TINY)
    one_process = estimate_memory(recipe("train.completions_per_step=8"), shape, device("cpu"))
    two = estimate_memory(recipe(), shape, device("cpu"), num_processes=2)
    gradients = next(part.bytes for part in one_process.parts if part.name == "gradients")
    assert two.total == 2 * (one_process.total + gradients), "DDP's buckets hold the gradients once more"
    assert estimate_memory(recipe(), shape, device("gpu"), num_processes=2).total < 2 * GIB


def test_it_fits_only_with_the_margin():
    shape = ModelShape.of_config(TINY)
    total = estimate_memory(recipe(), shape, device("gpu")).total
    for share, fits in ((1.0, False), (MARGIN - 0.01, False), (MARGIN + 0.01, True)):
        estimate = estimate_memory(recipe(), shape, device("gpu", share * total / GIB))
        assert estimate.fits is fits
        assert ("does not fit" in estimate.sentence) is not fits


LARGE = (
    "rollout.max_completion_tokens=1024",
    "train.completions_per_step=64",
    "train.microbatch_size=8",
    "rollout.group_size=8",
    "data.max_prompt_tokens=256",
)


@pytest.mark.parametrize(
    ("changes", "gib", "options"),
    [
        ((), 80, None),
        ((), 24, "--set rollout.max_slots=32"),
        ((), 15, "--set rollout.max_slots=16 --set train.microbatch_size=4"),
        (("lora=null",), 24, "--set rollout.max_slots=32 --set lora.rank=32"),
    ],
)
def test_the_mildest_changes_that_suffice_are_proposed(changes, gib, options):
    shape, asked = ModelShape.of_config(QWEN3_4B), recipe(*LARGE, *changes)
    proposals = propose(asked, shape, device("gpu", gib))
    assert (proposals[-1].options if proposals else None) == options
    if proposals:
        changed = recipe(*LARGE, *changes, *proposals[-1].changes)
        estimate = estimate_memory(changed, shape, device("gpu", gib))
        assert estimate.fits and estimate.total == proposals[-1].total


def test_where_nothing_suffices_the_last_proposal_says_so():
    proposals = propose(recipe(*LARGE), ModelShape.of_config(QWEN3_4B), device("gpu", 2))
    assert [one.fits for one in proposals] == [False] * len(proposals)
    totals = [one.total for one in proposals]
    assert totals == sorted(totals, reverse=True)
    assert "rollout.max_completion_tokens=256" in proposals[-1].changes


def test_the_config_of_a_model_is_found_without_loading_torch(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(TINY), encoding="utf-8")
    code = (
        "import sys\nfrom razona.recipe import load\nfrom razona.advise.shape import ModelShape, config_of\n"
        "from razona.advise.memory import estimate_memory\nfrom razona.advise.devices import GPUS\n"
        f"for name in ('embedded', {str(tmp_path)!r}):\n"
        "    recipe = load('demo', [f'model.name={name}'])\n"
        "    shape = ModelShape.of_config(config_of(recipe.model))\n"
        "    estimate_memory(recipe, shape, GPUS['L4'])\n"
        "    print(shape.num_parameters)\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1] == str(TINY_WEIGHTS)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "holds no config.json"), ("{", "cannot be read as JSON"), ("[]", "holds no JSON object")],
)
def test_a_folder_without_a_readable_config_is_refused(content, message, tmp_path):
    if content is not None:
        (tmp_path / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        config_of(load("demo", [f"model.name={tmp_path}"]).model)


def test_a_missing_folder_is_refused():
    with pytest.raises(ModelError, match=r"model\.name = \./nowhere: there is no such folder"):
        config_of(load("demo", ["model.name=./nowhere"]).model)


def test_from_the_hub_config_json_alone_is_fetched(tmp_path, monkeypatch):
    import huggingface_hub

    asked = []

    def fetch(name: str, file: str, revision: str | None) -> str:
        asked.append((name, file, revision))
        (tmp_path / "config.json").write_text(json.dumps(TINY), encoding="utf-8")
        return str(tmp_path / "config.json")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    assert config_of(load("demo", ["model.name=someone/model", "model.revision=v2"]).model) == TINY
    assert asked == [("someone/model", "config.json", "v2")]


def test_a_hub_name_that_cannot_be_reached_says_what_to_do():
    with pytest.raises(ModelError, match=r"nobody/nothing: its config\.json cannot be fetched.*hf auth login"):
        config_of(load("demo", ["model.name=nobody/nothing"]).model)


@pytest.mark.parametrize(
    ("name", "found"),
    [("rtx 4090", "RTX 4090"), ("a100-80gb", "A100 80GB"), ("H200", "H200 141GB"), ("t4", "T4"), ("b999", None)],
)
def test_devices_are_found_by_name(name, found):
    device = device_named(name)
    assert (device.name if device else None) == found


SMI = [
    ("NVIDIA A100-SXM4-40GB, 40960\n", "A100 40GB"),
    ("NVIDIA A100-SXM4-80GB, 81920\n", "A100 80GB"),
    ("NVIDIA GeForce RTX 4090, 24564\n", "RTX 4090"),
    ("NVIDIA H100 80GB HBM3, 81559\n", "H100 80GB"),
    ("Tesla T4, 15360\n", "T4"),
]


@pytest.mark.parametrize(("line", "row"), SMI)
def test_this_machines_gpu_is_the_tables_with_its_own_memory(line, row, monkeypatch):
    done = subprocess.CompletedProcess([], 0, stdout=line, stderr="")
    monkeypatch.setattr("razona.advise.devices.subprocess.run", lambda *arguments, **options: done)
    found = this_device()
    assert found.memory == int(line.split(",")[1]) * 2**20
    assert found.bf16_flop_s == GPUS[row].bf16_flop_s and found.bandwidth == GPUS[row].bandwidth


def test_without_a_gpu_this_device_is_the_cpu(monkeypatch):
    def missing(*arguments, **options):
        raise FileNotFoundError("nvidia-smi")

    monkeypatch.setattr("razona.advise.devices.subprocess.run", missing)
    found = this_device()
    assert found == cpu() and 2**28 < found.memory < 2**46


def test_hours_grow_with_the_work_and_not_with_what_does_not_matter():
    shape = ModelShape.of_config(QWEN3_4B)

    def hours(*changes: str, **options) -> float:
        return estimate_hours(recipe(*LARGE, *changes), shape, GPUS["H100 80GB"], **options).hours

    assert hours("train.steps=80") == pytest.approx(2 * hours("train.steps=40"))
    assert hours("rollout.max_completion_tokens=512") < hours()
    assert hours(completion_tokens=256) < hours()
    assert hours(num_processes=2) < hours()
    assert hours("lora=null", "model.dtype=bfloat16") > hours()
    assert hours("train.microbatch_size=4") == pytest.approx(hours(), rel=0.2)


def test_a_training_pass_by_hand():
    # 300 - 4 weights of layers and head, rank left out; 4 + 2 operations each (forward, gradient, checkpointing).
    asked = recipe("train.steps=1", "train.completions_per_step=4", *LORA)
    fast = Device(name="A GPU", kind="gpu", memory=GIB, bf16_flop_s=1e3, bandwidth=1e15, source="made up")
    found = estimate_hours(asked, ModelShape.of_config(TINY), fast)
    products = 6 * (36 * 2 * 128 + 32 * 40)  # 36 packed tokens through the layers, 32 labels through the head
    attention = 2 * 6 * 2 * 2 * 2 * 32 * (5 + 4)
    assert found.training_s == pytest.approx((products + attention) / (0.3 * 1e3))
