"""Adapter slots: any number of adapters in one model call, each row of a batch with its own mix.

Per layer all active adapters are joined along the rank axis:

    y[b] = W x[b] + B_cat (s[b] · (A_cat x[b]))

with `alpha/rank` folded into B and `s` the weights, repeated over each adapter's ranks and indexed by (layer, row,
rank). One extra pair of products, whatever the number of adapters; changing weights writes one small tensor. Changes
that depend on the base's weight are bound to it when they are joined (`joining`), and how each kind acts on a call
stands in `effects`. An adapter may have a weight of its own in each block of the UNet: s then is another one there.

The hooks are installed once, when the base is loaded, and stay: names, hooks and flags of the serving tree never
change. Adapters of weight 0 in every row are left out, and so is a block in which all are 0: weight 0 is the base bit
for bit.

Source: the batched form of Hu et al. 2021 (arXiv 2106.09685); compare S-LoRA (arXiv 2311.03285) and Punica (arXiv
2310.18547), which serve language models so.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lora_studio.adapters.blocks import block_of_layers
from lora_studio.adapters.canonical import CanonicalAdapter, LayerShape
from lora_studio.adapters.formats.families import layers_of
from lora_studio.pipeline.calls import Mix, Weight
from lora_studio.pipeline.effects import effect_of
from lora_studio.pipeline.joining import Joined, join_layer

REMEMBERED = 512 * 2**20
"""Bytes of joined factors that are kept beyond those of the call at hand."""
_SETS = 8
"""Sets of adapters that are remembered at most."""


class _Slot:
    """What one layer's hook looks up: the joined changes of this call and each adapter's weight in each row."""

    __slots__ = ("joined", "weights")

    def __init__(self) -> None:
        self.joined: Joined | None = None
        self.weights: Tensor | None = None


class AdapterSlots:
    """The slots of one base's layers.

    Attributes:
        shapes: layer key to shape, of the linear layers, convolutions and norms.
        blocks: the UNet's, of which weights by block are.
    """

    def __init__(self, components: Mapping[str, nn.Module]) -> None:
        """Install the hooks on every layer of `components` (name to module) that an adapter may change."""
        self._slots: dict[str, _Slot] = {}
        self.shapes: dict[str, LayerShape] = {}
        self._modules: dict[str, nn.Module] = {}
        self._norms: dict[str, float] = {}
        self._cache: OrderedDict[tuple[str, ...], dict[str, Joined]] = OrderedDict()
        for component, tree in components.items():
            modules = dict(tree.named_modules())
            for key, shape in layers_of(component, tree).items():
                slot = self._slots[key] = _Slot()
                module = self._modules[key] = modules[key.partition(".")[2]]
                self.shapes[key] = shape
                module.register_forward_hook(_Hook(slot))
        self.blocks, self._block = block_of_layers(self.shapes)

    def weight(self, key: str) -> Tensor:
        """W of a layer, the base's very tensor."""
        weight: Tensor = self._modules[key].weight  # type: ignore[assignment]
        return weight

    def norm(self, key: str) -> float:
        """|W| of a layer, reckoned once."""
        if key not in self._norms:
            self._norms[key] = float(self.weight(key).detach().float().norm())
        return self._norms[key]

    @contextmanager
    def active(self, mixes: Sequence[Mix]) -> Iterator[None]:
        """Let `mixes` (one per row of the batch) act within the context.

        Weights by block are as many as the UNet has blocks and one (`Weight`).
        """
        adapters: dict[str, CanonicalAdapter] = {}
        for mix in mixes:
            adapters |= {adapter.identity: adapter for adapter, weight in mix if _acts(weight)}
        if not adapters:
            yield
            return
        joined = self._join(tuple(adapters.values()))
        table = self._table(mixes, list(adapters))
        # Once for each device, not for each of some 700 layers: every copy to a GPU waits for it.
        tables = {device: tuple(table.to(device)) for device in {layer.columns.device for layer in joined.values()}}
        silent = {block for block, weights in enumerate(table) if not weights.any()}
        try:
            for key, layer in joined.items():
                block = self._block.get(key, len(table) - 1) if len(table) > 1 else 0
                if block not in silent:
                    slot = self._slots[key]
                    slot.joined, slot.weights = layer, tables[layer.columns.device][block]
            yield
        finally:
            for key in joined:
                slot = self._slots[key]
                slot.joined = slot.weights = None

    def _table(self, mixes: Sequence[Mix], order: Sequence[str]) -> Tensor:
        """Weights (1, rows, adapters), or (blocks and the rest, rows, adapters) where one of them goes by blocks."""
        by_block = any(isinstance(weight, tuple) for mix in mixes for _, weight in mix)
        table = torch.zeros(len(self.blocks.names) + 1 if by_block else 1, len(mixes), len(order))
        for row, mix in enumerate(mixes):
            for adapter, weight in mix:
                if _acts(weight):
                    table[:, row, order.index(adapter.identity)] += torch.tensor(weight)
        return table

    def forget(self, key: str | None = None) -> None:
        """Free joined factors that hold the adapter `key` (all of them when None)."""
        for names in [n for n in self._cache if key is None or key in n]:
            del self._cache[names]

    @property
    def nbytes(self) -> int:
        """Bytes of the joined factors that are remembered, the adapters' own tensors left out."""
        return sum(layer.nbytes for joined in self._cache.values() for layer in joined.values())

    def _join(self, adapters: tuple[CanonicalAdapter, ...]) -> dict[str, Joined]:
        """The joined changes of a set, remembered unless one of them is being trained or has no identity.

        The set at hand is always kept; older ones go when their bytes together come to more than `REMEMBERED`.
        """
        names = tuple(adapter.identity for adapter in adapters)
        if names in self._cache:
            self._cache.move_to_end(names)
            return self._cache[names]
        touched = {key for adapter in adapters for key in adapter.layers}
        joined = {
            key: join_layer([adapter.layers.get(key) for adapter in adapters], self._modules[key])
            for key in sorted(touched)
        }
        if not any(adapter.live or not adapter.key for adapter in adapters):
            self._cache[names] = joined
            while len(self._cache) > _SETS or (len(self._cache) > 1 and self.nbytes > REMEMBERED):
                self._cache.popitem(last=False)
        return joined


def _acts(weight: Weight) -> bool:
    """Whether a weight is another than 0 anywhere."""
    return any(weight) if isinstance(weight, tuple) else weight != 0.0


class _Hook:
    """Adds the slot's adapters to a layer's output; without any, the output is left as it is, bit for bit."""

    def __init__(self, slot: _Slot) -> None:
        self._slot = slot

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        joined, weights = self._slot.joined, self._slot.weights
        if joined is None or weights is None:
            return None
        return output + effect_of(joined, weights, module, args[0], output)
