"""Layers with fewer passes: outputs and gradients are those of transformers' own, and what they do not cover stays."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from razona.models.arithmetic import short_product
from razona.train.layers import ChunkedMlp, NormAndRotate, RmsNorm, ShortProduct, joint_weight, project, speed_up

SIZES = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
MODELS = {
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=8)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),  # has biases
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "llama with another activation": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, hidden_act="gelu")),
}
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
IDS = torch.arange(40).view(2, 20) % 61


def made(name: str, rank: int | None, **options) -> torch.nn.Module:
    torch.manual_seed(0)
    model = MODELS[name]()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2 if parameter.dim() > 1 else 1.0)
    if rank is None:
        return model
    config = LoraConfig(r=rank, target_modules=TARGETS, init_lora_weights=False, **options)
    return get_peft_model(model, config)


def run(model: torch.nn.Module) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    logits = model(IDS).logits
    (logits * torch.linspace(-1, 1, logits.numel()).view_as(logits)).sum().backward()
    return logits.detach(), {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


def base_of(model):
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def close(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    return bool((found - wanted).norm() <= 1e-5 * wanted.norm() + 1e-7)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rank", [None, 1, 8], ids=["no adapter", "adapter apart", "adapter added"])
def test_outputs_and_gradients_are_those_of_transformers(name, rank):
    model = made(name, rank)
    logits, gradients = run(model)
    speed_up(base_of(model))
    found, found_gradients = run(model)
    assert close(found, logits)
    assert set(found_gradients) == set(gradients)
    assert [key for key in gradients if not close(found_gradients[key], gradients[key])] == []


def test_the_adapter_is_added_only_where_that_is_cheaper():
    thin, thick = made("qwen3", 1), made("qwen3", 8)
    assert joint_weight([base_of(thin).model.layers[0].mlp.gate_proj], may_merge=True) is None
    both = [base_of(thick).model.layers[0].mlp.gate_proj, base_of(thick).model.layers[0].mlp.up_proj]
    weight, bias = joint_weight(both, may_merge=True)
    assert weight.shape == (96, 32) and bias is None
    assert joint_weight(both, may_merge=False) is None


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rank", [1, 8], ids=["adapter apart", "adapter added"])
def test_short_products_give_nearly_what_transformers_gives(name, rank):
    model = made(name, rank)
    logits, gradients = run(model)
    speed_up(base_of(model), has_short_products=True)
    found, found_gradients = run(model)
    assert (found - logits).norm() < 0.03 * logits.norm()
    assert set(found_gradients) == set(gradients)
    apart = {key: (found_gradients[key] - one).norm() / one.norm() for key, one in gradients.items()}
    assert max(apart.values()) < 0.1, apart


@pytest.mark.parametrize("name", ["qwen3", "qwen2"])
def test_an_adapter_apart_is_in_fp32_beside_a_short_product(name):
    projection = base_of(made(name, 1)).model.layers[0].self_attn.q_proj
    down, up = projection.lora_A["default"].weight, projection.lora_B["default"].weight
    value = torch.randn(2, 20, 32)
    wanted = short_product(value.flatten(0, 1), projection.weight).view(2, 20, 32)
    wanted = wanted + projection.scaling["default"] * value @ down.T @ up.T
    if projection.base_layer.bias is not None:
        wanted = wanted + projection.base_layer.bias
    assert close(project([projection], value, True), wanted)
    assert torch.equal(project([projection], value, False), projection(value))
    projection.enable_adapters(False)
    assert not close(project([projection], value, True), wanted)


def test_without_the_adapter_the_base_model_speaks():
    model = made("qwen3", 8)
    with model.disable_adapter():
        wanted, _ = run_without_gradient(model)
    speed_up(base_of(model))
    with model.disable_adapter():
        found, _ = run_without_gradient(model)
    assert close(found, wanted)
    assert not close(run_without_gradient(model)[0], wanted)


def run_without_gradient(model):
    with torch.no_grad():
        return model(IDS).logits, None


@pytest.mark.filterwarnings("ignore:.lora_bias=True")
@pytest.mark.parametrize("options", [{"lora_dropout": 0.5}, {"use_dora": True}, {"lora_bias": True}])
@pytest.mark.parametrize("is_short", [False, True])
def test_adapters_of_other_kinds_are_left_to_peft(options, is_short):
    model = made("qwen3", 8, **options)
    model.train()
    assert joint_weight([base_of(model).model.layers[0].mlp.gate_proj], may_merge=True) is None
    torch.manual_seed(3)
    logits, gradients = run(model)
    speed_up(base_of(model), has_short_products=is_short)
    torch.manual_seed(3)
    found, found_gradients = run(model)
    assert close(found, logits)
    assert [key for key in gradients if not close(found_gradients[key], gradients[key])] == []


def test_under_autocast_nothing_changes():
    model = made("qwen3", 8)
    plain = copy.deepcopy(model)
    speed_up(base_of(model))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(run(model)[0], run(plain)[0])


@pytest.mark.parametrize("shape", [(5, 12), (2, 7, 12)])
def test_the_written_gradient_of_a_norm_is_its_derivative(shape):
    value = torch.randn(*shape, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(12, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v, w: RmsNorm.apply(v, w, 1e-5), (value, weight))


@pytest.mark.parametrize("rows", [5, 2])
def test_the_written_gradient_of_the_mlp_is_its_derivative(rows, monkeypatch):
    monkeypatch.setattr("razona.train.layers.BLOCK_ROWS", rows)
    shapes = [(5, 4), (12, 4), (4, 6)]
    parts = [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(lambda *given: ChunkedMlp.apply(*given, False), parts)
    value, gate_up, down = parts
    gate, up = (value @ gate_up.T).chunk(2, dim=-1)
    wanted = (torch.nn.functional.silu(gate) * up) @ down.T
    assert torch.allclose(ChunkedMlp.apply(*parts, False), wanted)


def test_a_short_product_is_near_the_product_and_so_are_its_gradients():
    torch.manual_seed(0)
    value, weight = torch.randn(3, 40, 64, requires_grad=True), torch.randn(48, 64, requires_grad=True)
    wanted = torch.autograd.grad(torch.nn.functional.linear(value, weight).square().sum(), [value, weight])
    found = torch.autograd.grad(ShortProduct.apply(value, weight).square().sum(), [value, weight])
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape and (one - other).norm() < 0.02 * other.norm()
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("has_norm", [True, False])
def test_the_written_gradient_of_norm_and_rotation_is_its_derivative(has_norm):
    heads = torch.randn(5, 4, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 6, dtype=torch.float64, requires_grad=True) if has_norm else None
    angle = torch.randn(5, 3, dtype=torch.float64).repeat(1, 2)
    assert torch.autograd.gradcheck(
        lambda h, w: NormAndRotate.apply(h, w, angle.cos(), angle.sin(), 1e-5, 3), (heads, weight)
    )
