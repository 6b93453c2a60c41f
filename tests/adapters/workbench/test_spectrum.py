"""Singular values, ranks, heat strip and overlap against numpy's dense decomposition of ΔW."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from lora_studio.adapters.canonical import CanonicalAdapter, Dense, LowRank
from lora_studio.adapters.strength import block_of
from lora_studio.adapters.workbench.blocks import in_order
from lora_studio.adapters.workbench.overlap import overlap
from lora_studio.adapters.workbench.ranks import Target, needed, rank_for_energy, retained
from lora_studio.adapters.workbench.spectrum import spectrum
from lora_studio.adapters.workbench.svd import decompose, singular_values
from lora_studio.pipeline import SharedBase
from tests.support.workbench import dense, finish, low_rank, near

CHANGES = {
    "linear": low_rank(1, 20, (12,), 4),
    "rank above both sides": low_rank(2, 6, (5,), 9),
    "convolution": low_rank(3, 10, (4, 3, 3), 5),
    "1x1 convolution": low_rank(4, 10, (6, 1, 1), 2),
    "dense": dense(5, 14, 9),
    "dense convolution": dense(6, 8, 3, 3, 3),
    "norm": dense(7, 16),
    "nothing": LowRank(torch.randn(3, 12), torch.zeros(20, 3)),
    "half": LowRank(torch.randn(4, 12).half(), torch.randn(20, 4).half()),
}


def truth(change: LowRank | Dense) -> np.ndarray:
    """ΔW as a matrix, by numpy."""
    if isinstance(change, LowRank):
        up, down = change.up.double().flatten(1).numpy(), change.down.double().flatten(1).numpy()
        return up @ down
    delta = change.delta_weight.double().numpy()
    return delta.reshape(delta.shape[0], -1)


@pytest.mark.parametrize("name", CHANGES)
def test_singular_values_are_those_of_the_dense_matrix(name: str) -> None:
    change = CHANGES[name]
    expected = np.linalg.svd(truth(change), compute_uv=False)
    found = singular_values(change).numpy()
    count = min(len(found), len(expected))
    assert np.allclose(found[:count], expected[:count], atol=1e-5 * max(1.0, expected[0]))
    assert np.allclose(expected[count:], 0, atol=1e-8)


@pytest.mark.parametrize("name", [n for n in CHANGES if n not in ("norm",)])
def test_a_cut_is_the_best_approximation_of_its_rank(name: str) -> None:
    change = CHANGES[name]
    matrix = truth(change)
    u, s, vh = np.linalg.svd(matrix, full_matrices=False)
    for rank in (1, 2, len(decompose(change).s)):
        cut = decompose(change).cut(rank)
        best = (u[:, :rank] * s[:rank]) @ vh[:rank]
        assert np.allclose(cut.delta().flatten(1).numpy(), best, atol=1e-5 * max(1.0, s[0]))
        assert cut.down.shape[1:] == change.down.shape[1:] if isinstance(change, LowRank) else True
        assert cut.rank == rank


def brute(values: list[float], share: float, power: int) -> int:
    """The fewest leading values whose powers reach `share` of all, by counting."""
    whole = sum(v**power for v in values)
    return next(n for n in range(1, len(values) + 1) if sum(v**power for v in values[:n]) >= share * whole - 1e-9)


def test_rules_of_ranks() -> None:
    values = [8.0, 4.0, 2.0, 1.0, 0.5]
    s = torch.tensor(values, dtype=torch.float64)
    for share in (0.5, 0.8, 0.9, 0.97, 0.999, 1.0):
        assert rank_for_energy(s, share) == brute(values, share, 2)
        assert needed(s, "sv_cumulative", share) == brute(values, share, 1)
        assert needed(s, "sv_fro", share) == brute(values, share**2, 2)
    assert needed(s, "sv_ratio", 4.0) == 3
    assert needed(s, "sv_ratio", 1.0) == 1
    assert Target(rank=3).keep(s) == 3
    assert Target(rank=9).keep(s) == 5
    assert Target(rank=4, conv_rank=2).keep(s, spatial=True) == 2
    assert Target(rank=4, conv_rank=2).keep(s) == 4
    assert Target("sv_ratio", 16.0, rank=2).keep(s) == 2
    assert retained(s, 2) == pytest.approx((64 + 16) / (64 + 16 + 4 + 1 + 0.25))
    assert retained(torch.zeros(3), 1) == 1.0
    assert rank_for_energy(torch.zeros(3), 0.9) == 0


def test_spectrum_of_a_whole_adapter(base: SharedBase, adapter: CanonicalAdapter) -> None:
    weights = {key: module.weight for key, module in base.slots._modules.items()}
    found = finish(spectrum(adapter, weights.get))
    assert {one.layer for one in found.layers} == set(adapter.layers)
    for one in found.layers:
        delta = adapter.layers[one.layer].delta().double()
        assert one.norm == pytest.approx(float(delta.norm()), rel=1e-5)
        assert one.strength == pytest.approx(float(delta.norm() / weights[one.layer].norm()), rel=1e-5)
        assert one.rank == 3
        assert 1 <= one.rank_90 <= one.rank_99 <= 3
        energy = np.linalg.svd(delta.flatten(1).numpy(), compute_uv=False)[:3] ** 2
        assert one.rank_90 == next(n for n in (1, 2, 3) if energy[:n].sum() >= 0.9 * energy.sum() - 1e-9)
    assert sum(heat.share for heat in found.blocks) == pytest.approx(1)
    assert [heat.block for heat in found.blocks] == [
        "text_encoder", "unet.down_blocks.0", "unet.down_blocks.1", "unet.mid_block", "unet.up_blocks.0",
        "unet.up_blocks.1",
    ]  # fmt: skip
    middle = next(heat for heat in found.blocks if heat.block == "unet.mid_block")
    own = [key for key in adapter.layers if key.startswith("unet.mid_block")]
    squares = sum(float(adapter.layers[key].delta().norm()) ** 2 for key in own)
    base_squares = sum(float(weights[key].norm()) ** 2 for key in own)
    assert middle.strength == pytest.approx((squares / base_squares) ** 0.5, rel=1e-5)
    assert found.curve[0] == pytest.approx(1)
    assert list(found.curve) == sorted(found.curve, reverse=True)


def test_blocks_are_named_and_ordered() -> None:
    keys = ["unet.up_blocks.1.a", "unet.conv_out", "text_encoder_2.x", "unet.down_blocks.0.b", "unet.mid_block.c"]
    keys += ["unet.time_embedding.linear_1", "transformer.transformer_blocks.12.attn", "unet.down_blocks.10.b"]
    assert in_order(map(block_of, keys)) == [
        "text_encoder_2", "unet.down_blocks.0", "unet.down_blocks.10", "unet.mid_block", "unet.up_blocks.1",
        "transformer.transformer_blocks.12", "unet",
    ]  # fmt: skip


def principal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosines of the principal angles between two column spaces, by numpy alone."""
    qa, qb = (np.linalg.svd(m, full_matrices=False)[0][:, : np.linalg.matrix_rank(m)] for m in (a, b))
    return np.linalg.svd(qa.T @ qb, compute_uv=False)


def projected(a: np.ndarray, b: np.ndarray) -> float:
    """Share of ‖a‖² that lies in the column space of b."""
    q = np.linalg.svd(b, full_matrices=False)[0][:, : np.linalg.matrix_rank(b)]
    return float(np.linalg.norm(q.T @ a) ** 2 / np.linalg.norm(a) ** 2)


@pytest.mark.parametrize("pair", [("linear", 8), ("convolution", 9)])
def test_overlap_of_a_layer(pair: tuple[str, int]) -> None:
    first = CHANGES[pair[0]]
    assert isinstance(first, LowRank)
    fresh = low_rank(pair[1], first.up.shape[0], tuple(first.down.shape[1:]), 3)
    half_shared = LowRank(torch.cat([first.down[:1], fresh.down]), torch.cat([first.up[:, :1], fresh.up], dim=1))
    found = finish(overlap(adapter_of(first), adapter_of(half_shared)))
    (one,) = found.layers
    a, b = truth(first), truth(half_shared)
    assert one.cosine == pytest.approx(float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)), abs=1e-6)
    assert np.allclose(one.outputs.angles, principal(a, b), atol=1e-6)
    assert np.allclose(one.inputs.angles, principal(a.T, b.T), atol=1e-6)
    assert one.outputs.first == pytest.approx(projected(a, b), abs=1e-6)
    assert one.outputs.second == pytest.approx(projected(b, a), abs=1e-6)
    assert one.inputs.first == pytest.approx(projected(a.T, b.T), abs=1e-6)
    assert one.inputs.second == pytest.approx(projected(b.T, a.T), abs=1e-6)
    both = np.linalg.norm(a + b) ** 2
    apart = np.linalg.norm(a) ** 2 + np.linalg.norm(b) ** 2
    assert found.cross_energy == pytest.approx((both - apart) / apart, abs=1e-6)


def adapter_of(*changes: LowRank | Dense) -> CanonicalAdapter:
    """An adapter with these changes in layers a, b ..."""
    return CanonicalAdapter("x", {f"unet.{chr(97 + n)}": change for n, change in enumerate(changes)})


def test_overlap_with_itself_its_opposite_and_a_stranger() -> None:
    change = low_rank(11, 64, (64,), 2)
    same = finish(overlap(adapter_of(change), adapter_of(change)))
    assert same.cosine == pytest.approx(1)
    assert same.cross_energy == pytest.approx(1)
    assert same.share("inputs", 0) == pytest.approx(1)
    opposite = LowRank(change.down, -2 * change.up)
    undone = finish(overlap(adapter_of(change), adapter_of(opposite)))
    assert undone.cosine == pytest.approx(-1)
    assert undone.share("outputs", 1) == pytest.approx(1)
    up, down = torch.linalg.qr(torch.randn(64, 4)).Q, torch.linalg.qr(torch.randn(64, 4)).Q.T
    apart = finish(overlap(adapter_of(LowRank(down[:2], up[:, :2])), adapter_of(LowRank(down[2:], up[:, 2:]))))
    assert abs(apart.cosine) < 1e-6
    assert apart.share("inputs", 0) < 1e-6
    alone = finish(overlap(adapter_of(change, change), adapter_of(change)))
    assert alone.alone == (1, 0)
    assert alone.share("inputs", 0) == pytest.approx(0.5)


def test_a_whole_adapter_against_the_dense_sum(adapter: CanonicalAdapter, other: CanonicalAdapter) -> None:
    found = finish(overlap(adapter, other))

    def whole(one: CanonicalAdapter) -> Tensor:
        return torch.cat([one.layers[key].delta().double().flatten() for key in sorted(one.layers)])

    a, b = whole(adapter), whole(other)
    assert found.cosine == pytest.approx(float(a @ b / a.norm() / b.norm()), abs=1e-7)
    assert found.energies == pytest.approx((float(a.norm()) ** 2, float(b.norm()) ** 2), rel=1e-5)


def test_a_decomposition_is_one(adapter: CanonicalAdapter) -> None:
    for change in list(adapter.layers.values())[:6]:
        assert isinstance(change, LowRank)
        svd = decompose(change)
        assert near((svd.u * svd.s) @ svd.v.T, change.delta().flatten(1), 1e-6)
        assert near(svd.u.T @ svd.u, torch.eye(3, dtype=torch.float64), 1e-10)
        assert near(svd.v.T @ svd.v, torch.eye(3, dtype=torch.float64), 1e-10)
