"""The formulas of emphasis on numbers that can be worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from lora_studio.pipeline.emphasis import blended, from_empty, multiplied, share_of_hidden

Z = torch.tensor([[1.0, 3.0], [2.0, -1.0]])
WEIGHTS = torch.tensor([1.0, 2.0])


def test_original_restores_the_mean() -> None:
    """Weighted: 1, 3, 4, -2, mean 1.5; the mean before was 1.25, so all of it times 1.25 / 1.5."""
    found = multiplied(Z, WEIGHTS, restore_mean=True)
    assert torch.allclose(found, torch.tensor([[1.0, 3.0], [4.0, -2.0]]) * (1.25 / 1.5))
    assert math.isclose(found.mean().item(), Z.mean().item(), rel_tol=1e-6)


def test_no_norm_multiplies_alone() -> None:
    assert torch.equal(multiplied(Z, WEIGHTS, restore_mean=False), torch.tensor([[1.0, 3.0], [4.0, -2.0]]))


def test_a_mean_of_zero_is_not_restored() -> None:
    """A1111 divides by it and gives NaN."""
    z = torch.tensor([[1.0, 1.0], [-1.0, 3.0]])
    found = multiplied(z, torch.tensor([1.0, -1.0]), restore_mean=True)
    assert torch.equal(found, torch.tensor([[1.0, 1.0], [1.0, -3.0]]))


def test_comfy_goes_from_empty_through_the_word() -> None:
    empty = torch.tensor([[9.0, 9.0], [1.0, 1.0]])
    found = from_empty(Z, WEIGHTS, empty)
    assert torch.equal(found, torch.tensor([[1.0, 3.0], [3.0, -3.0]]))
    assert torch.equal(from_empty(Z, torch.tensor([1.0, 0.0]), empty)[1], empty[1])


@pytest.mark.parametrize(("weight", "share"), [(1.0, 0.0), (0.5, 1.0), (0.0, math.tan((1 - 1e-5) * math.pi / 2))])
def test_compel_hides_a_word_by_its_weight(weight: float, share: float) -> None:
    assert math.isclose(share_of_hidden(weight), share, abs_tol=1e-12)
    assert share_of_hidden(-3.0) == share_of_hidden(0.0)


def test_compel_half_weight_is_half_way() -> None:
    """One word of weight 0.5 alone in the text: half with it, half without."""
    without = torch.tensor([[3.0, 1.0], [0.0, 1.0]])
    assert torch.allclose(blended(Z, [(1.0, without)], total=1.0), (Z + without) / 2)


def test_compel_counts_words_of_other_chunks() -> None:
    """t = 1 here and t = 2 in another chunk: (z + z' + 2 z) / 4."""
    without = torch.tensor([[3.0, 1.0], [0.0, 1.0]])
    assert torch.allclose(blended(Z, [(1.0, without)], total=3.0), (3 * Z + without) / 4)
