"""Products from factors in bf16: near the product, for any number of rows, in blocks of few sizes."""

import pytest
import torch

from razona.models.arithmetic import BLOCK_ROWS, ROW_STEP, filled_up, short_outer_product, short_product

ROWS = [1, ROW_STEP - 1, ROW_STEP, BLOCK_ROWS, BLOCK_ROWS + 1, 2 * BLOCK_ROWS + 77]


def is_near(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    return found.shape == wanted.shape and bool((found - wanted).norm() < 0.02 * wanted.norm())


@pytest.mark.parametrize("rows", ROWS)
def test_short_products_are_near_the_products(rows: int):
    torch.manual_seed(0)
    left, right, weight = torch.randn(rows, 24), torch.randn(rows, 40), torch.randn(40, 24)
    assert is_near(short_product(left, weight), left @ weight.T)
    assert is_near(short_outer_product(left, right), left.T @ right)
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("rows", ROWS)
def test_a_block_is_filled_up_with_zeros(rows: int):
    block = torch.ones(rows, 3)
    filled = filled_up(block)
    assert len(filled) % ROW_STEP == 0 and len(filled) - rows < ROW_STEP
    assert torch.equal(filled[:rows], block) and not filled[rows:].any()


def test_products_of_any_number_of_rows_have_few_sizes(monkeypatch):
    seen: set[int] = set()
    for name in ("mm", "__matmul__"):
        owner = torch if name == "mm" else torch.Tensor
        plain = getattr(owner, name)

        def noted(left, *rest, plain=plain, **options):
            seen.add(len(left))
            return plain(left, *rest, **options)

        monkeypatch.setattr(owner, name, noted)
    weight = torch.randn(8, 8)
    for rows in range(1, 3 * BLOCK_ROWS, 7):
        short_product(torch.randn(rows, 8), weight)
    assert len(seen) <= BLOCK_ROWS // ROW_STEP and all(rows % ROW_STEP == 0 for rows in seen)
