"""Adapter slots: any number of adapters in one model call, each row of a batch with its own mix.

Per layer all active adapters are joined along the rank axis:

    y[b] = W x[b] + B_cat (s[b] · (A_cat x[b]))

with `alpha/rank` folded into B and `s` the weights, repeated over each adapter's ranks and indexed by (layer, row,
rank). One extra pair of products, whatever the number of adapters; changing weights writes one small tensor.
The hooks are installed once, when the base is loaded, and stay: names, hooks and flags of the serving tree never
change. Adapters of weight 0 in every row are left out, so that weight 0 is the base bit for bit.

Source: the batched form of Hu et al. 2021 (arXiv 2106.09685); compare S-LoRA (arXiv 2311.03285) and Punica (arXiv
2310.18547), which serve language models so.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lora_studio.adapters.canonical import CanonicalAdapter, Dense, LayerShape, LowRank
from lora_studio.pipeline.calls import Mix

_REMEMBERED = 4


@dataclass(frozen=True, eq=False)
class _Joined:
    """The joined factors of one layer for one set of adapters, without their weights."""

    down: Tensor | None
    up: Tensor | None
    columns: Tensor
    """(ranks joined,) index into the set's adapters, for each rank."""
    dense: tuple[tuple[int, Dense], ...]


class _Slot:
    """What one layer's hook looks up: the joined factors of this call and the scale of each rank in each row."""

    __slots__ = ("joined", "scale", "weights")

    def __init__(self) -> None:
        self.joined: _Joined | None = None
        self.scale: Tensor | None = None
        self.weights: Tensor | None = None


class AdapterSlots:
    """The slots of one base's layers."""

    def __init__(self, components: Mapping[str, nn.Module]) -> None:
        """Install the hooks on every linear layer and convolution of `components` (name to module)."""
        self._slots: dict[str, _Slot] = {}
        self.shapes: dict[str, LayerShape] = {}
        self._modules: dict[str, nn.Module] = {}
        self._cache: OrderedDict[tuple[str, ...], dict[str, _Joined]] = OrderedDict()
        for component, tree in components.items():
            for path, module in tree.named_modules():
                if isinstance(module, (nn.Linear, nn.Conv2d)):
                    key = f"{component}.{path}"
                    slot = self._slots[key] = _Slot()
                    self._modules[key] = module
                    self.shapes[key] = LayerShape(tuple(module.weight.shape))
                    module.register_forward_hook(_Hook(slot))

    @contextmanager
    def active(self, mixes: Sequence[Mix]) -> Iterator[None]:
        """Let `mixes` (one per row of the batch) act within the context."""
        adapters: dict[str, CanonicalAdapter] = {}
        for mix in mixes:
            adapters |= {adapter.key: adapter for adapter, weight in mix if weight != 0.0}
        if not adapters:
            yield
            return
        order = list(adapters)
        table = torch.zeros(len(mixes), len(order))
        for row, mix in enumerate(mixes):
            for adapter, weight in mix:
                if weight != 0.0:
                    table[row, order.index(adapter.key)] += weight
        joined = self._join(tuple(adapters.values()))
        try:
            for key, layer in joined.items():
                slot = self._slots[key]
                weights = table.to(layer.columns.device)
                slot.joined, slot.weights = layer, weights
                slot.scale = weights[:, layer.columns]
            yield
        finally:
            for key in joined:
                slot = self._slots[key]
                slot.joined = slot.scale = slot.weights = None

    def forget(self, key: str | None = None) -> None:
        """Free joined factors that hold the adapter `key` (all of them when None)."""
        for names in [n for n in self._cache if key is None or key in n]:
            del self._cache[names]

    def _join(self, adapters: tuple[CanonicalAdapter, ...]) -> dict[str, _Joined]:
        """The joined factors of a set, remembered unless one of them is being trained."""
        names = tuple(adapter.key for adapter in adapters)
        if names in self._cache:
            self._cache.move_to_end(names)
            return self._cache[names]
        touched = {key for adapter in adapters for key in adapter.layers}
        joined = {key: self._join_layer(key, adapters) for key in sorted(touched)}
        if not any(adapter.live for adapter in adapters):
            self._cache[names] = joined
            while len(self._cache) > _REMEMBERED:
                self._cache.popitem(last=False)
        return joined

    def _join_layer(self, key: str, adapters: tuple[CanonicalAdapter, ...]) -> _Joined:
        device = next(self._modules[key].parameters()).device
        downs, ups, columns, dense = [], [], [], []
        for column, adapter in enumerate(adapters):
            change = adapter.layers.get(key)
            if isinstance(change, LowRank):
                downs.append(change.down.detach().to(device))
                ups.append(change.up.detach().to(device))
                columns += [column] * change.rank
            elif isinstance(change, Dense):
                dense.append((column, change))
        # One adapter alone is used where it lies: no second copy of its factors, and a live one stays live.
        down = None if not downs else downs[0] if len(downs) == 1 else torch.cat(downs)
        up = None if not ups else ups[0] if len(ups) == 1 else torch.cat(ups, dim=1)
        return _Joined(down, up, torch.tensor(columns, dtype=torch.long, device=device), tuple(dense))


class _Hook:
    """Adds the slot's adapters to a layer's output; without any, the output is left as it is, bit for bit."""

    def __init__(self, slot: _Slot) -> None:
        self._slot = slot

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        slot = self._slot
        if slot.joined is None:
            return None
        x: Tensor = args[0]
        convolution = module if isinstance(module, nn.Conv2d) else None
        joined = slot.joined
        if joined.down is not None and joined.up is not None and slot.scale is not None:
            down, up = joined.down.to(x.dtype), joined.up.to(x.dtype)
            if convolution is not None:
                hidden = F.conv2d(x, down, None, convolution.stride, convolution.padding, convolution.dilation)
                output = output + F.conv2d(_scaled(hidden, slot.scale, channels_last=False), up)
            else:
                hidden = F.linear(x, down)
                output = output + F.linear(_scaled(hidden, slot.scale, channels_last=True), up)
        for column, dense in joined.dense:
            assert slot.weights is not None
            output = output + _dense(x, dense, convolution, slot.weights[:, column : column + 1])
        return output


def _scaled(hidden: Tensor, scale: Tensor, channels_last: bool) -> Tensor:
    """`hidden` times (rows, ranks) `scale`, whose ranks are its last or second axis."""
    spare = hidden.ndim - 2
    rows, ranks = scale.shape
    shape = (rows, *[1] * spare, ranks) if channels_last else (rows, ranks, *[1] * spare)
    return hidden * scale.to(hidden.dtype).reshape(shape)


def _dense(x: Tensor, change: Dense, convolution: nn.Conv2d | None, weight: Tensor) -> Tensor:
    """The effect of a dense difference, each row times its (rows, 1) weight."""
    delta = change.delta_weight.to(x.device, x.dtype)
    bias = None if change.delta_bias is None else change.delta_bias.to(x.device, x.dtype)
    if convolution is not None:
        stride, padding, dilation = convolution.stride, convolution.padding, convolution.dilation
        effect = F.conv2d(x, delta, bias, stride, padding, dilation, convolution.groups)
    else:
        effect = F.linear(x, delta, bias)
    return effect * weight.to(effect.dtype).reshape(-1, *[1] * (effect.ndim - 1))
