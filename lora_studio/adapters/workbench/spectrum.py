"""What an adapter is made of: the singular values of each layer's ΔW, the rank that they need, and where it is strong.

An adapter of rank 32 whose energy lies in four directions could be of rank 4. The heat strip says how much of the whole
‖ΔW‖² lies in each block, and how strong that is beside the block's own weights where a base is there to tell. It does
not know files.

Source: Hu et al. 2021, arXiv 2106.09685, section 7.2 (most of ΔW lies in very few directions).
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

from lora_studio.adapters.canonical import CanonicalAdapter
from lora_studio.adapters.strength import block_of
from lora_studio.adapters.workbench.blocks import in_order
from lora_studio.adapters.workbench.plain import WeightOf, no_weights, plain
from lora_studio.adapters.workbench.progress import Done
from lora_studio.adapters.workbench.ranks import rank_for_energy
from lora_studio.adapters.workbench.svd import singular_values

SHOWN = 64
"""Singular values of a layer that are told; the rest is in its norm."""


@dataclass(frozen=True)
class LayerSpectrum:
    """One layer.

    Attributes:
        rank: of its factors; of a dense difference the smaller side of its matrix.
        values: singular values of ΔW, descending, the first `SHOWN`.
        norm: ‖ΔW‖.
        rank_90: the fewest directions that hold 90 % of ‖ΔW‖², `rank_99` those that hold 99 %.
        strength: ‖ΔW‖/‖W‖, None without a base.
    """

    layer: str
    rank: int
    values: tuple[float, ...]
    norm: float
    rank_90: int
    rank_99: int
    strength: float | None


@dataclass(frozen=True)
class Heat:
    """One block of the strip: its share (0 to 1) of the whole ‖ΔW‖², ‖ΔW‖ and ‖ΔW‖/‖W‖ of its changed layers."""

    block: str
    layers: int
    share: float
    norm: float
    strength: float | None


@dataclass(frozen=True)
class Spectrum:
    """An adapter's layers and blocks; `curve` is the mean over layers of s/s₁, the strongest direction being 1."""

    layers: tuple[LayerSpectrum, ...]
    blocks: tuple[Heat, ...]
    curve: tuple[float, ...]
    norm: float

    def needed(self, share: int) -> dict[str, int]:
        """The ranks that hold 90 or 99 (`share`) % of the energy: least, median, most and over layers."""
        ranks = sorted(one.rank_90 if share == 90 else one.rank_99 for one in self.layers) or [0]
        return {"min": ranks[0], "median": ranks[len(ranks) // 2], "max": ranks[-1]}


def spectrum(adapter: CanonicalAdapter, weight_of: WeightOf = no_weights) -> Generator[Done, None, Spectrum]:
    """Take an adapter apart, with a turn between two layers. Differences of biases are left out.

    Raises:
        InvalidInput: a layer's change depends on the base's weights and there is no base.
    """
    layers: list[LayerSpectrum] = []
    weights: dict[str, float] = {}
    curves: list[list[float]] = []
    for number, (layer, change) in enumerate(sorted(adapter.layers.items()), 1):
        values = singular_values(plain(layer, change, weight_of))
        norm, base = float(values.norm()), weight_of(layer)
        weight = 0.0 if base is None else float(base.detach().float().norm())
        if weight:
            weights[layer] = weight
        layers.append(
            LayerSpectrum(
                layer=layer,
                rank=getattr(change, "rank", len(values)),
                values=tuple(values[:SHOWN].tolist()),
                norm=norm,
                rank_90=rank_for_energy(values, 0.90),
                rank_99=rank_for_energy(values, 0.99),
                strength=norm / weight if weight else None,
            )
        )
        if norm > 0.0:
            curves.append((values[:SHOWN] / values[0]).tolist())
        yield Done(number, len(adapter.layers))
    whole = math.fsum(one.norm**2 for one in layers)
    return Spectrum(tuple(layers), tuple(_heat(layers, weights, whole)), _mean(curves), math.sqrt(whole))


def _heat(layers: list[LayerSpectrum], weights: dict[str, float], whole: float) -> Generator[Heat, None, None]:
    for block in in_order(block_of(one.layer) for one in layers):
        own = [one for one in layers if block_of(one.layer) == block]
        energy = math.fsum(one.norm**2 for one in own)
        base = math.fsum(weights[one.layer] ** 2 for one in own if one.layer in weights)
        known = all(one.layer in weights for one in own) and base > 0
        yield Heat(
            block=block,
            layers=len(own),
            share=energy / whole if whole else 0.0,
            norm=math.sqrt(energy),
            strength=math.sqrt(energy / base) if known else None,
        )


def _mean(curves: list[list[float]]) -> tuple[float, ...]:
    """The mean of curves of unequal length; where one has ended it counts as 0."""
    longest = max(map(len, curves), default=0)
    return tuple(sum(curve[at] for curve in curves if at < len(curve)) / len(curves) for at in range(longest))
