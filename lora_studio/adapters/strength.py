"""How much an adapter changes: |ΔW|/|W| over all its layers and for each block, from factors where there are any.

It does not know files. Frobenius norms; blocks are combined by their squares.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from typing import Protocol

from torch import Tensor

from lora_studio.adapters.binding import delta
from lora_studio.adapters.canonical import CanonicalAdapter, Dense, Gain, LayerChange, LowRank

_BLOCK = re.compile(r"(?:down_blocks|up_blocks|mid_block|transformer_blocks|single_transformer_blocks)(?:\.\d+)?")


class BaseWeights(Protocol):
    """The weights of a base by layer key."""

    def weight(self, key: str) -> Tensor:
        """W of a layer."""

    def norm(self, key: str) -> float:
        """|W| of a layer."""


def block_of(layer: str) -> str:
    """The block that a layer key belongs to: `unet.down_blocks.0`, `unet.mid_block`, `unet`, `text_encoder` ..."""
    component, _, path = layer.partition(".")
    found = _BLOCK.match(path)
    number = found[0] if found else ""
    if number.startswith("mid_block"):
        number = "mid_block"
    return f"{component}.{number}" if number else component


def norm_of(change: LayerChange, weight: Tensor) -> float:
    """|ΔW| of one layer; dense only where the change depends on W as a whole."""
    if isinstance(change, LowRank | Dense):
        return change.norm()
    if isinstance(change, Gain):
        axis = 0 if change.axis == "out" else 1
        lengths = weight.detach().double().transpose(0, axis).flatten(1).norm(dim=1)
        return float((lengths * change.gain.to(lengths)).norm())
    return float(delta(change, weight).double().norm())


def strengths(adapter: CanonicalAdapter, weights: BaseWeights) -> Generator[None, None, tuple[float, dict[str, float]]]:
    """|ΔW|/|W| of all changed layers together, and of each block; yields between two layers."""
    changed: dict[str, float] = {}
    whole: dict[str, float] = {}
    for key, change in adapter.layers.items():
        block = block_of(key)
        changed[block] = changed.get(block, 0.0) + norm_of(change, weights.weight(key)) ** 2
        whole[block] = whole.get(block, 0.0) + weights.norm(key) ** 2
        yield
    blocks = {block: _ratio(changed[block], whole[block]) for block in sorted(changed)}
    return _ratio(sum(changed.values()), sum(whole.values())), blocks


def _ratio(changed: float, whole: float) -> float:
    return float((changed / whole) ** 0.5) if whole > 0 else 0.0


def from_tensors(tensors: Mapping[str, Tensor]) -> BaseWeights:
    """The weights of a table of tensors, for whoever has no loaded base."""
    return _Table(tensors)


class _Table:
    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors

    def weight(self, key: str) -> Tensor:
        return self._tensors[key]

    def norm(self, key: str) -> float:
        return float(self._tensors[key].detach().double().norm())
