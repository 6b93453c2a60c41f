"""Several adapters with weights as one: exactly, cut to a rank, or merged by TIES, DARE and pruning.

    cat          the factors side by side: exactly Σ wᵢ·ΔWᵢ, of the sum of all ranks
    svd          the same, cut to a rank by its singular values: the best of that rank
    linear, ties, dare_linear, dare_ties, magnitude_prune
                 on A and B apart, as peft merges them; all ranks of a layer must be equal. A and B are not ΔW: even
                 linear gives (Σ√wᵢAᵢ)(Σ√wᵢBᵢ), which has cross terms that Σ wᵢ·ΔWᵢ has not
    ..._svd      on ΔW itself, then cut to a rank: the papers' arithmetic

The names are those of peft's `add_weighted_adapter`, and so are the results, with alpha folded into B. There is a turn
between two layers. It does not know files.

Source: see `sparse`; Hu et al. 2021 (arXiv 2106.09685) for the sum.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from lora_studio.adapters.canonical import CanonicalAdapter, Dense, Kronecker, LayerChange, LowRank, Plain
from lora_studio.adapters.workbench.plain import WeightOf, kind_code, kind_of, no_weights, plain
from lora_studio.adapters.workbench.progress import Done
from lora_studio.adapters.workbench.ranks import retained
from lora_studio.adapters.workbench.sparse import SPARSE, Election, Sparse, merge
from lora_studio.adapters.workbench.svd import decompose
from lora_studio.errors import InvalidInput

METHODS: tuple[str, ...] = ("cat", "svd", *SPARSE, *(f"{name}_svd" for name in SPARSE if name != "linear"))


@dataclass(frozen=True, eq=False)
class Part:
    """One adapter of a combination and what it counts; `text_encoder_weight` None is `weight`."""

    adapter: CanonicalAdapter
    weight: float
    text_encoder_weight: float | None = None

    def weight_of(self, layer: str) -> float:
        """What it counts in a layer."""
        return (
            self.weight
            if self.text_encoder_weight is None or not layer.startswith("text")
            else (self.text_encoder_weight)
        )


@dataclass(frozen=True)
class How:
    """How to combine.

    Attributes:
        method: one of `METHODS`.
        rank: of the result of svd and ..._svd, 1 or more; None takes the largest rank of a layer's parts as their files
            have them (a DoRA's is that of its direction).
        density: share of values that ties, dare and pruning keep, above 0 up to 1.
        election: of the signs, see `sparse.merge`.
        seed: of what dare drops; a layer's draws depend on it and on the layer's name alone.
    """

    method: str = "cat"
    rank: int | None = None
    density: float = 0.5
    election: Election = "total"
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Made:
    """What a tool made: layer key to change, and to the share of ‖ΔW‖² that it still holds (1 where exact)."""

    layers: Mapping[str, LayerChange]
    retained: Mapping[str, float]


def combine(parts: Sequence[Part], how: How, weight_of: WeightOf = no_weights) -> Generator[Done, None, Made]:
    """One set of changes of several adapters. Differences of biases and norms are added up, whatever the method.

    Raises:
        InvalidInput: the ranks of a layer differ where the method works on factors, no part of a layer has a rank and
            none was given, or a layer's change depends on the base's weights and there is no base.
    """
    layers: dict[str, LayerChange] = {}
    kept: dict[str, float] = {}
    names = sorted({layer for part in parts for layer in part.adapter.layers})
    ranks = {layer: how.rank or _own_rank(layer, parts, how, weight_of) for layer in names}
    for number, layer in enumerate(names, 1):
        own = [part for part in parts if layer in part.adapter.layers]
        changes = [plain(layer, part.adapter.layers[layer], weight_of) for part in own]
        weights = [part.weight_of(layer) for part in own]
        layers[layer], kept[layer] = _layer(layer, changes, weights, how, ranks[layer])
        yield Done(number, len(names))
    return Made(layers, kept)


def scaled(change: Plain, scale: float) -> Plain:
    """The change times `scale`, which goes into B or the difference, and into that of the bias."""
    bias = None if change.delta_bias is None else change.delta_bias * scale
    if isinstance(change, LowRank):
        return LowRank(change.down, change.up * scale, bias)
    if isinstance(change, Kronecker):
        return Kronecker(change.first, change.second * scale, bias)
    return Dense(change.delta_weight * scale, bias)


def joined(changes: Sequence[Plain], weights: Sequence[float]) -> Plain:
    """Exactly Σ wᵢ·ΔWᵢ of one layer: factors side by side; dense as soon as one is."""
    parts = [scaled(change, weight) for change, weight in zip(changes, weights, strict=True)]
    biases = [part.delta_bias.float() for part in parts if part.delta_bias is not None]
    bias = torch.stack(biases).sum(0) if biases else None
    factors = [part for part in parts if isinstance(part, LowRank)]
    if len(factors) < len(parts):
        return Dense(torch.stack([part.delta() for part in parts]).sum(0), bias)
    down = torch.cat([part.down.float() for part in factors])
    return LowRank(down, torch.cat([part.up.float() for part in factors], dim=1), bias)


def _own_rank(layer: str, parts: Sequence[Part], how: How, weight_of: WeightOf) -> int:
    """The largest rank of a layer's parts; 0 where nothing is to be cut. Raises `InvalidInput`.

    It is asked of all layers before the first one is reckoned with, which may take an hour.
    """
    changes = [part.adapter.layers[layer] for part in parts if layer in part.adapter.layers]
    rank = max(int(getattr(change, "rank", 0)) for change in changes)
    matrix = next((change for change in changes if _is_matrix(layer, change, weight_of)), None)
    if rank or matrix is None or not how.method.endswith("svd"):
        return rank
    raise InvalidInput(
        f"The method {how.method} cuts to a rank, and the layer {layer} holds {kind_of(matrix)}, which has none of its "
        "own; give a rank.",
        code="workbench_rank_needed",
        method=how.method,
        layer=layer,
        what=kind_of(matrix),
        kind=kind_code(matrix),
    )


def _is_matrix(layer: str, change: LayerChange, weight_of: WeightOf) -> bool:
    """True where a change without rank factors comes to a matrix, and not to a norm's vector."""
    if isinstance(change, LowRank):
        return False
    if isinstance(change, Dense):
        return len(change.shape) > 1
    weight = weight_of(layer)
    return weight is not None and weight.ndim > 1


def _layer(
    layer: str, changes: Sequence[Plain], weights: Sequence[float], how: How, rank: int
) -> tuple[LayerChange, float]:
    """One layer of the result, cut to `rank` where the method cuts, and the share of energy that it holds."""
    exact = joined(changes, weights)
    vector = isinstance(exact, Dense) and len(exact.shape) == 1
    if how.method == "cat" or vector or (isinstance(exact, LowRank) and exact.rank == 0):
        return exact, 1.0
    if how.method == "svd":
        return _cut(exact, rank, exact.delta_bias)
    method = cast(Sparse, how.method.removesuffix("_svd"))
    generator = torch.Generator().manual_seed(_seed(how.seed, layer))
    if how.method.endswith("_svd"):
        merged = merge(method, [c.delta() for c in changes], weights, how.density, how.election, generator)
        return _cut(Dense(merged), rank, exact.delta_bias)
    factors = _equal_factors(layer, changes, how.method)
    roots = [math.sqrt(abs(weight)) for weight in weights]
    signed = [math.copysign(root, weight) for root, weight in zip(roots, weights, strict=True)]
    down = merge(method, [f.down.float() for f in factors], signed, how.density, how.election, generator)
    up = merge(method, [f.up.float() for f in factors], roots, how.density, how.election, generator)
    return LowRank(down, up, exact.delta_bias), 1.0


def _cut(change: Plain, rank: int, bias: Tensor | None) -> tuple[LowRank, float]:
    """The change cut to a rank, and the share of energy that is left."""
    svd = decompose(change)
    rank = min(rank, len(svd.s))
    return svd.cut(rank, bias), retained(svd.s, rank)


def _equal_factors(layer: str, changes: Sequence[Plain], method: str) -> list[LowRank]:
    """The changes, all of them factors of one rank. Raises `InvalidInput`."""
    factors = [change for change in changes if isinstance(change, LowRank)]
    ranks = sorted({factor.rank for factor in factors})
    better = "svd" if method == "linear" else f"{method}_svd"
    other = next((change for change in changes if not isinstance(change, LowRank)), None)
    if other is not None:
        raise InvalidInput(
            f"The method {method} merges factors of one rank, and the layer {layer} has {kind_of(other)}; use {better} "
            "or cat, or resize the adapters to one rank first.",
            code="workbench_no_factors",
            method=method,
            layer=layer,
            what=kind_of(other),
            kind=kind_code(other),
            better=better,
        )
    if len(ranks) > 1:
        listed = ", ".join(map(str, ranks))
        raise InvalidInput(
            f"The method {method} merges factors of one rank, and the layer {layer} has ranks {listed}; use {better} "
            "or cat, or resize the adapters to one rank first.",
            code="workbench_ranks_differ",
            method=method,
            layer=layer,
            ranks=listed,
            better=better,
        )
    return factors


def _seed(seed: int, layer: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {layer}".encode()).digest()[:7], "little")
