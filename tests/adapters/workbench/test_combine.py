"""Combining, resizing and baking: against dense sums, numpy's decomposition, and peft's own merges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.utils import merge_utils
from torch import Tensor, nn

from lora_studio.adapters.canonical import CanonicalAdapter, Decomposed, Dense, Kronecker, LowRank
from lora_studio.adapters.workbench.combine import How, Part, combine
from lora_studio.adapters.workbench.ranks import Target
from lora_studio.adapters.workbench.resize import bake, resize
from lora_studio.adapters.workbench.sparse import SPARSE, merge
from lora_studio.errors import InvalidInput
from tests.support.workbench import dense, finish, low_rank, near


def summed(parts: list[Part], layer: str) -> Tensor:
    """Σ wᵢ·ΔWᵢ of a layer, dense."""
    deltas = [p.adapter.layers[layer].delta() * p.weight_of(layer) for p in parts if layer in p.adapter.layers]
    return torch.stack(deltas).sum(0)


def test_cat_is_the_exact_sum(adapter: CanonicalAdapter, other: CanonicalAdapter) -> None:
    parts = [Part(adapter, 0.8, 0.3), Part(other, -0.5)]
    made = finish(combine(parts, How("cat")))
    for layer, change in made.layers.items():
        assert near(change.delta(), summed(parts, layer), 1e-6)
        assert change.rank == 8
    assert parts[0].weight_of("text_encoder.x") == 0.3
    assert set(made.retained.values()) == {1.0}


def test_svd_is_the_best_of_its_rank_and_says_what_it_holds(adapter: CanonicalAdapter, other: CanonicalAdapter) -> None:
    parts = [Part(adapter, 0.8), Part(other, 0.5)]
    made = finish(combine(parts, How("svd", rank=4)))
    for layer, change in made.layers.items():
        matrix = summed(parts, layer).flatten(1).double().numpy()
        u, s, vh = np.linalg.svd(matrix, full_matrices=False)
        assert np.allclose(change.delta().flatten(1).numpy(), (u[:, :4] * s[:4]) @ vh[:4], atol=1e-6)
        assert made.retained[layer] == pytest.approx((s[:4] ** 2).sum() / (s**2).sum(), abs=1e-6)
    assert {c.rank for c in finish(combine(parts, How("svd"))).layers.values()} == {5}


def test_layers_of_only_one_part_dense_parts_norms_and_biases() -> None:
    bias = torch.randn(6)
    first = CanonicalAdapter(
        "1", {"unet.a": LowRank(torch.randn(2, 4), torch.randn(6, 2), bias), "unet.n": dense(1, 6)}
    )
    second = CanonicalAdapter("2", {"unet.a": dense(2, 6, 4), "unet.n": dense(3, 6), "unet.b": low_rank(4, 6, (4,), 2)})
    parts = [Part(first, 2.0), Part(second, -1.0)]
    for method in ("cat", "svd", "ties_svd"):
        made = finish(combine(parts, How(method, density=1.0)))
        assert near(made.layers["unet.n"].delta(), summed(parts, "unet.n"))
        assert near(made.layers["unet.a"].delta_bias, 2 * bias)
        assert near(made.layers["unet.b"].delta(), -second.layers["unet.b"].delta())
    exact = finish(combine(parts, How("cat")))
    assert near(exact.layers["unet.a"].delta(), summed(parts, "unet.a"))


@pytest.mark.parametrize("method", SPARSE)
@pytest.mark.parametrize("election", ["total", "frequency"])
def test_merges_are_peft_s(method: str, election: str) -> None:
    tensors = [torch.randn(9, 7, generator=torch.Generator().manual_seed(n)) for n in range(3)]
    tensors[0][0] = 0.0
    weights, density = [0.7, -0.4, 1.2], 0.6
    options: dict[str, Any] = {} if method == "linear" else {"density": density}
    if "ties" in method:
        options["majority_sign_method"] = election
    theirs = getattr(merge_utils, "task_arithmetic" if method == "linear" else method)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        expected = theirs(tensors, torch.tensor(weights), **options)
    found = merge(method, tensors, weights, density, election, torch.Generator().manual_seed(5))  # type: ignore[arg-type]
    assert torch.equal(found, expected)


class Two(nn.Module):
    """A linear layer and a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 6)
        self.conv = nn.Conv2d(4, 5, 3)


def in_peft(adapters: dict[str, CanonicalAdapter], ranks: dict[str, int]) -> Any:
    """A peft model that holds these adapters."""
    model: Any = None
    for name, adapter in adapters.items():
        config = LoraConfig(r=ranks[name], lora_alpha=ranks[name], target_modules=["linear", "conv"])
        if model is None:
            model = get_peft_model(Two(), config, adapter_name=name)
        else:
            model.add_adapter(name, config)
        for path in ("linear", "conv"):
            module = getattr(model.base_model.model, path)
            change = adapter.layers[f"unet.{path}"]
            assert isinstance(change, LowRank)
            module.lora_A[name].weight.data.copy_(change.down)
            module.lora_B[name].weight.data.copy_(change.up)
    return model


@pytest.mark.parametrize(
    ("method", "ranks"),
    [
        ("cat", (2, 3)),
        ("linear", (3, 3)),
        ("ties", (3, 3)),
        ("magnitude_prune", (3, 3)),
        ("svd", (2, 3)),
        ("ties_svd", (2, 3)),
        ("magnitude_prune_svd", (2, 3)),
    ],
)
@pytest.mark.parametrize("weights", [(0.7, 0.5), (0.8, -0.6)])
def test_whole_adapters_as_peft_s_add_weighted_adapter(
    method: str, ranks: tuple[int, int], weights: tuple[float, float]
) -> None:
    adapters = {
        name: CanonicalAdapter(
            name, {"unet.linear": low_rank(seed, 6, (8,), rank), "unet.conv": low_rank(seed + 1, 5, (4, 3, 3), rank)}
        )
        for name, seed, rank in (("one", 1, ranks[0]), ("two", 7, ranks[1]))
    }
    model = in_peft(adapters, dict(zip(adapters, ranks, strict=True)))
    density = {} if method in ("cat", "linear", "svd") else {"density": 0.5}
    model.add_weighted_adapter(list(adapters), list(weights), "sum", combination_type=method, **density)
    parts = [Part(adapter, weight) for adapter, weight in zip(adapters.values(), weights, strict=True)]
    made = finish(combine(parts, How(method, density=0.5)))
    for path in ("linear", "conv"):
        theirs = getattr(model.base_model.model, path).get_delta_weight("sum").detach()
        assert near(made.layers[f"unet.{path}"].delta(), theirs, 1e-5), path


def test_dare_keeps_the_mean_and_depends_on_the_seed_alone() -> None:
    ones = CanonicalAdapter("1", {"unet.a": Dense(torch.ones(200, 200)), "unet.b": Dense(torch.ones(9, 9))})
    how = How("dare_linear_svd", rank=200, density=0.25, seed=3)
    made = finish(combine([Part(ones, 1.0), Part(ones, 1.0)], how))
    delta = made.layers["unet.a"].delta()
    assert float(delta.mean()) == pytest.approx(2.0, rel=0.05)
    assert {round(float(v), 3) for v in delta.unique().round(decimals=3)} == {0.0, 4.0, 8.0}
    alone = CanonicalAdapter("1", {"unet.a": ones.layers["unet.a"]})
    again = finish(combine([Part(alone, 1.0), Part(alone, 1.0)], how))
    assert torch.equal(again.layers["unet.a"].delta(), delta)
    different = finish(combine([Part(ones, 1.0), Part(ones, 1.0)], How("dare_linear_svd", 200, 0.25, seed=4)))
    assert not torch.equal(different.layers["unet.a"].delta(), delta)


def test_unequal_ranks_are_refused_where_factors_are_merged(adapter: CanonicalAdapter, other: CanonicalAdapter) -> None:
    with pytest.raises(InvalidInput, match=r"ties merges factors of one rank.*ranks 3, 5; use ties_svd or cat"):
        finish(combine([Part(adapter, 1.0), Part(other, 1.0)], How("ties")))


@pytest.mark.parametrize(
    "target", [Target(rank=2), Target("sv_ratio", 1.5), Target("sv_fro", 0.9), Target("sv_cumulative", 0.7, 2)]
)
def test_resize(adapter: CanonicalAdapter, target: Target) -> None:
    made = finish(resize(adapter, target))
    for layer, change in made.layers.items():
        matrix = adapter.layers[layer].delta().flatten(1).double().numpy()
        u, s, vh = np.linalg.svd(matrix, full_matrices=False)
        s = s[:3]
        want = {
            "rank": 2,
            "sv_ratio": int((s >= s[0] / 1.5).sum()),
            "sv_fro": int(np.searchsorted(np.cumsum(s**2) / (s**2).sum(), 0.81) + 1),
            "sv_cumulative": min(2, int(np.searchsorted(np.cumsum(s) / s.sum(), 0.7) + 1)),
        }[target.rule]
        assert change.rank == want
        assert np.allclose(change.delta().flatten(1).numpy(), (u[:, :want] * s[:want]) @ vh[:want], atol=1e-6)
        assert made.retained[layer] == pytest.approx((s[:want] ** 2).sum() / (s**2).sum(), abs=1e-6)


def test_resize_with_a_rank_of_convolutions_apart(other: CanonicalAdapter) -> None:
    made = finish(resize(other, Target(rank=4, conv_rank=1)))
    for layer, change in made.layers.items():
        spatial = change.down.ndim == 4 and tuple(change.down.shape[2:]) != (1, 1)
        assert change.rank == (1 if spatial else 4), layer
    assert {change.rank for change in made.layers.values()} == {1, 4}


def test_resizing_to_its_own_rank_changes_nothing(adapter: CanonicalAdapter) -> None:
    made = finish(resize(adapter, Target(rank=16)))
    for layer, change in made.layers.items():
        assert near(change.delta(), adapter.layers[layer].delta(), 1e-6)
        assert change.rank == 3
        assert made.retained[layer] == 1.0


def test_bake(adapter: CanonicalAdapter) -> None:
    made = finish(bake(adapter, 0.6, 0.2))
    for layer, change in made.layers.items():
        scale = 0.2 if layer.startswith("text") else 0.6
        assert near(change.delta(), adapter.layers[layer].delta() * scale, 1e-6)
        assert change.rank == 3


def test_dora_needs_the_base_and_is_exact_with_it() -> None:
    """D - W of a DoRA, computed by hand: (W + ΔV)·m/|W + ΔV| - W."""
    weight, direction, magnitude = torch.randn(6, 4), low_rank(1, 6, (4,), 2), torch.rand(6) + 0.5
    adapter = CanonicalAdapter("d", {"unet.a": Decomposed(direction, magnitude, "out")})
    with pytest.raises(InvalidInput, match=r"unet\.a holds DoRA, which depends on the base's weights"):
        finish(resize(adapter, Target(rank=2)))
    moved = weight + direction.delta()
    truth = moved * (magnitude / moved.norm(dim=1))[:, None] - weight
    whole = finish(resize(adapter, Target(rank=4), lambda layer: weight))
    assert near(whole.layers["unet.a"].delta(), truth, 1e-5)
    baked = finish(bake(adapter, 0.5, weight_of=lambda layer: weight))
    assert near(baked.layers["unet.a"].delta(), truth / 2, 1e-5)
    both = finish(combine([Part(adapter, 0.5), Part(adapter, 1.0)], How("cat"), lambda layer: weight))
    assert near(both.layers["unet.a"].delta(), truth * 1.5, 1e-5)
    assert finish(bake(adapter, 1.0)).layers["unet.a"] is adapter.layers["unet.a"]


def test_baking_yields_between_two_layers(adapter: CanonicalAdapter) -> None:
    """Bug: of a DoRA every layer of the model was reckoned in one turn, while everybody else stood still."""
    assert [done.step for done in bake(adapter, 0.5)] == list(range(1, len(adapter.layers) + 1))


def test_svd_keeps_the_rank_of_doras() -> None:
    """Bug: without a rank, svd kept every singular value of a DoRA's difference: gigabytes of an SDXL LoRA."""
    weight = torch.randn(6, 5)
    doras = [
        CanonicalAdapter(str(n), {"unet.a": Decomposed(low_rank(n, 6, (5,), 2), torch.rand(6) + 0.5, "out")})
        for n in (1, 2)
    ]
    for method in ("svd", "ties_svd"):
        made = finish(combine([Part(dora, 0.5) for dora in doras], How(method), lambda layer: weight))
        assert made.layers["unet.a"].rank == 2
        assert made.retained["unet.a"] < 1


def test_svd_asks_for_a_rank_where_nothing_has_one(adapter: CanonicalAdapter) -> None:
    """And asks before the first layer is reckoned with."""
    layers = {**adapter.layers, "unet.zzz": dense(1, 6, 4), "unet.norm": dense(2, 6)}
    part = Part(CanonicalAdapter("1", layers), 1.0)
    with pytest.raises(InvalidInput, match=r"svd cuts to a rank, and the layer unet\.zzz holds a dense diff") as no:
        next(combine([part], How("svd")))
    assert no.value.code == "workbench_rank_needed"
    assert finish(combine([part], How("svd", rank=2))).layers["unet.zzz"].rank == 2


def test_a_lokr_is_scaled_by_its_halves() -> None:
    halves = Kronecker(torch.randn(2, 3), torch.randn(4, 5), torch.randn(8))
    (baked,) = finish(bake(CanonicalAdapter("k", {"unet.a": halves}), 0.5)).layers.values()
    assert isinstance(baked, Kronecker)
    assert baked.shape == tuple(halves.delta().shape)
    assert near(baked.delta(), halves.delta() / 2)
    assert near(baked.delta_bias, halves.delta_bias / 2)
