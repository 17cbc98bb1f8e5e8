"""Log-probs of labels in one pass: values and gradients are those of TRL's head."""

import pytest
import torch
from trl.kernels import ChunkedLogProbFunction

from razona.train.head import LabelLogprobs

VOCABULARY, WIDTH = 61, 12


def given(count: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(count, WIDTH, generator=generator, dtype=dtype).requires_grad_()
    weight = torch.randn(VOCABULARY, WIDTH, generator=generator, dtype=dtype)
    return value, weight, torch.randint(0, VOCABULARY, (count,), generator=generator)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("rows", [512, 7])
def test_values_and_gradient_are_those_of_trl(temperature: float, rows: int, monkeypatch):
    monkeypatch.setattr("razona.train.head.BLOCK_ROWS", rows)
    value, weight, labels = given(40)
    slope = torch.linspace(-1, 2, 40)
    wanted, entropies, *_ = ChunkedLogProbFunction.apply(value, weight, None, labels, temperature, 32768)
    (wanted * slope).sum().backward()
    gradient, value.grad = value.grad, None
    found, found_entropies = LabelLogprobs.apply(value, weight, labels, temperature, False)
    assert found_entropies.requires_grad is False
    (found * slope).sum().backward()
    assert torch.allclose(found, wanted, atol=1e-5) and torch.allclose(found_entropies, entropies, atol=1e-5)
    assert torch.allclose(value.grad, gradient, atol=1e-5)


def test_the_written_gradient_is_the_derivative():
    value, weight, labels = given(5, torch.float64)
    assert torch.autograd.gradcheck(lambda one: LabelLogprobs.apply(one, weight, labels, 0.7, False)[0], value)


def test_a_sure_label_keeps_a_small_gradient_in_bf16():
    _, weight, labels = given(40)
    weight = torch.nn.functional.normalize(weight, dim=1)
    sure = (30 * weight[labels]).requires_grad_()
    gradients = []
    for is_short in (False, True):
        found, _ = LabelLogprobs.apply(sure, weight, labels, 1.0, is_short)
        gradients.append(torch.autograd.grad(found.sum(), sure)[0])
    sizes = gradients[0].norm(dim=1)
    assert sizes.max() < 0.1, "the labels were to be likely"
    assert ((gradients[0] - gradients[1]).norm(dim=1) < 0.05 * sizes).all()


def test_bf16_weights_give_what_fp32_gives_to_bf16s_precision(monkeypatch):
    monkeypatch.setattr("razona.train.head.BLOCK_ROWS", 7)
    wide, weight, labels = given(40)
    value, weight = wide.detach().bfloat16().requires_grad_(), weight.bfloat16()
    same = value.detach().float().requires_grad_()
    found, entropies = LabelLogprobs.apply(value, weight, labels, 0.6, False)
    wanted, wanted_entropies = LabelLogprobs.apply(same, weight.float(), labels, 0.6, False)
    assert found.dtype == entropies.dtype == torch.float32
    gradient, wanted_gradient = (
        torch.autograd.grad(out.sum(), one)[0] for out, one in ((found, value), (wanted, same))
    )
    assert gradient.dtype == torch.bfloat16
    assert (found - wanted).abs().max() < 0.1, "logits of about 5 are rounded to 1/64, then divided by 0.6"
    assert (entropies - wanted_entropies).abs().max() < 0.1
    assert (gradient.float() - wanted_gradient).norm() < 0.01 * wanted_gradient.norm()


@pytest.mark.parametrize("has_gradient", [True, False])
def test_the_gradient_is_made_where_it_is_wanted(has_gradient: bool, monkeypatch):
    products = []
    monkeypatch.setattr("razona.train.head._product", lambda rows, weight, _: (products.append(1), rows @ weight)[1])
    value, weight, labels = given(40)
    LabelLogprobs.apply(value if has_gradient else value.detach(), weight, labels, 1.0, False)
    assert len(products) == 1 + has_gradient
