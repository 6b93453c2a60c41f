"""What two adapters have in common, layer by layer: from their factors, by small matrices.

For ΔW₁ = U₁S₁V₁ᵀ and ΔW₂ = U₂S₂V₂ᵀ of one layer:

    cosine        <ΔW₁, ΔW₂> / (‖ΔW₁‖·‖ΔW₂‖): 1 the same change, 0 unrelated, -1 the opposite
    outputs       the cosines of the principal angles between the spaces that the two write to (columns), and the share
                  of each one's energy that lies in the other's space
    inputs        the same of the spaces that they read (rows)
    cross energy  2<ΔW₁, ΔW₂> / (‖ΔW₁‖² + ‖ΔW₂‖²): by how much ‖ΔW₁+ΔW₂‖² is more or less than the sum of both

What this says: where both read the same inputs and write to the same outputs, they act on the same thing, and together
are stronger (cosine above 0: weights of 1 and 1 may be too much) or weaker (below 0: they undo each other) than apart.
What it does not say: whether a picture gets better or worse. Inputs differ in how often they occur, layers act on each
other, and two adapters that share nothing here can still want the same place of a picture.

Source: Björck and Golub 1973, Numerical methods for computing angles between linear subspaces; the cosine of task
vectors as in Ilharco et al. 2022, arXiv 2212.04089, section 5.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from lora_studio.adapters.canonical import CanonicalAdapter
from lora_studio.adapters.workbench.plain import WeightOf, no_weights, plain
from lora_studio.adapters.workbench.progress import Done
from lora_studio.adapters.workbench.svd import Svd, decompose

NOTHING = 1e-12
"""A singular value below the largest times this is rounding, and its direction means nothing."""


@dataclass(frozen=True)
class Shared:
    """What two spaces share.

    Attributes:
        angles: cosines of the principal angles, descending, each 0 to 1; 1 is a direction that both have.
        first: share (0 to 1) of the first one's energy that lies in the second's space.
        second: share (0 to 1) of the second one's energy that lies in the first's space.
    """

    angles: tuple[float, ...]
    first: float
    second: float


@dataclass(frozen=True)
class LayerOverlap:
    """One layer that both change; `dot` is <ΔW₁, ΔW₂>, `energies` are ‖ΔW₁‖² and ‖ΔW₂‖²."""

    layer: str
    dot: float
    energies: tuple[float, float]
    outputs: Shared
    inputs: Shared

    @property
    def cosine(self) -> float:
        """-1 to 1; 0 where one of them changes nothing."""
        both = math.sqrt(self.energies[0] * self.energies[1])
        return 0.0 if both == 0.0 else self.dot / both


@dataclass(frozen=True)
class Overlap:
    """Two adapters compared.

    Attributes:
        layers: those that both change.
        alone: number of layers that only the first, and only the second changes.
        energies: ‖ΔW‖² over all layers of each, shared or not.
    """

    layers: tuple[LayerOverlap, ...]
    alone: tuple[int, int]
    energies: tuple[float, float]

    @property
    def cosine(self) -> float:
        """Of all layers together, -1 to 1."""
        both = math.sqrt(self.energies[0] * self.energies[1])
        return 0.0 if both == 0.0 else sum(one.dot for one in self.layers) / both

    @property
    def cross_energy(self) -> float:
        """-1 to 1: what is won or lost of the energy when both act with weight 1."""
        whole = sum(self.energies)
        return 0.0 if whole == 0.0 else 2 * sum(one.dot for one in self.layers) / whole

    def share(self, side: str, which: int) -> float:
        """The share (0 to 1) of adapter `which`'s (0, 1) energy that lies in the other's `inputs` or `outputs`."""
        whole = self.energies[which]
        part = 0.0
        for one in self.layers:
            shared: Shared = getattr(one, side)
            part += one.energies[which] * (shared.first, shared.second)[which]
        return 0.0 if whole == 0.0 else part / whole


def overlap(
    first: CanonicalAdapter, second: CanonicalAdapter, weight_of: WeightOf = no_weights
) -> Generator[Done, None, Overlap]:
    """Compare two adapters, with a turn between two layers. Differences of biases are left out.

    Raises:
        InvalidInput: a layer's change depends on the base's weights and there is no base.
    """
    found: list[LayerOverlap] = []
    energies = [0.0, 0.0]
    names = sorted({*first.layers, *second.layers})
    for number, layer in enumerate(names, 1):
        sides = [
            decompose(plain(layer, adapter.layers[layer], weight_of)) if layer in adapter.layers else None
            for adapter in (first, second)
        ]
        for which, side in enumerate(sides):
            energies[which] += 0.0 if side is None else side.energy
        if sides[0] is not None and sides[1] is not None:
            found.append(compare(layer, sides[0], sides[1]))
        yield Done(number, len(names))
    alone = (len(set(first.layers) - set(second.layers)), len(set(second.layers) - set(first.layers)))
    return Overlap(tuple(found), alone, (energies[0], energies[1]))


def compare(layer: str, first: Svd, second: Svd) -> LayerOverlap:
    """One layer of two adapters, of one shape."""
    first, second = _acting(first), _acting(second)
    outputs, inputs = first.u.T @ second.u, first.v.T @ second.v
    dot = float((outputs * (first.s[:, None] * inputs * second.s)).sum())
    return LayerOverlap(
        layer,
        dot,
        (first.energy, second.energy),
        _shared(outputs, first.s, second.s),
        _shared(inputs, first.s, second.s),
    )


def _acting(svd: Svd) -> Svd:
    """The directions that are more than rounding."""
    count = int((svd.s > (svd.s[0] if len(svd.s) else 0.0) * NOTHING).sum())
    return Svd(svd.u[:, :count], svd.s[:count], svd.v[:, :count], svd.kernel)


def _shared(between: Tensor, first: Tensor, second: Tensor) -> Shared:
    """From the (k₁, k₂) products of two orthonormal bases and both spectra."""
    if 0 in between.shape:
        return Shared((), 0.0, 0.0)
    squares = between.square()
    energy_first, energy_second = first.square(), second.square()
    return Shared(
        tuple(torch.linalg.svdvals(between).clamp(max=1.0).tolist()),
        min(1.0, float((energy_first * squares.sum(1)).sum() / energy_first.sum())),
        min(1.0, float((energy_second * squares.sum(0)).sum() / energy_second.sum())),
    )
