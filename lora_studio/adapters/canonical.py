"""The canonical adapter: what every LoRA file becomes before it may touch a base.

Per layer either rank factors, with `alpha/rank` folded into B, or a dense difference where factors would not be
exact. It does not know pipelines, file formats or peft.

Source: Hu et al. 2021, LoRA, arXiv 2106.09685, equation 3: W' = W + (alpha/rank)·B·A.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class LayerShape:
    """The weight of one layer of a base that an adapter may change.

    Attributes:
        shape: of the weight: (out, in) of a linear layer, (out, in/groups, kh, kw) of a convolution.
    """

    shape: tuple[int, ...]

    @property
    def is_conv(self) -> bool:
        """True for a two-dimensional convolution."""
        return len(self.shape) == 4


@dataclass(frozen=True)
class LowRank:
    """Rank factors of one layer.

    Attributes:
        down: A. (rank, in) of a linear layer; (rank, in, kh, kw) of a convolution, which takes its base's stride
            and padding.
        up: B with `alpha/rank` folded in. (out, rank); of a convolution (out, rank, 1, 1).
    """

    down: Tensor
    up: Tensor

    @property
    def rank(self) -> int:
        """Number of directions."""
        return int(self.down.shape[0])

    def delta(self) -> Tensor:
        """ΔW = B·A in the shape of the layer's weight, float32."""
        flat = self.up.detach().float().flatten(1) @ self.down.detach().float().flatten(1)
        return flat.reshape(self.up.shape[0], *self.down.shape[1:])


@dataclass(frozen=True)
class Dense:
    """A difference that rank factors would not give exactly.

    Attributes:
        delta_weight: in the shape of the layer's weight.
        delta_bias: (out,), or None.
    """

    delta_weight: Tensor
    delta_bias: Tensor | None = None

    def delta(self) -> Tensor:
        """ΔW in the shape of the layer's weight, float32."""
        return self.delta_weight.detach().float()


LayerChange = LowRank | Dense


@dataclass(frozen=True, eq=False)
class CanonicalAdapter:
    """One adapter in the form that the base's slots take.

    Attributes:
        key: its identity, the sha256 of the file it came from; `live:<job>` of one that is being trained.
        layers: layer key (`unet.<module path>` or `text_encoder.<module path>`) to its change.
        live: True while a training writes into these very tensors; nothing may copy or cache them.
    """

    key: str
    layers: Mapping[str, LayerChange]
    live: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def ranks(self) -> tuple[int, ...]:
        """The distinct ranks of its layers, ascending."""
        return tuple(sorted({c.rank for c in self.layers.values() if isinstance(c, LowRank)}))

    def touches(self, component: str) -> bool:
        """True when a layer of `component` (unet, text_encoder) is changed."""
        return any(key.startswith(component + ".") for key in self.layers)

    def norm(self) -> float:
        """Frobenius norm of all ΔW together; 0 means that the adapter does nothing."""
        return float(torch.stack([change.delta().norm() for change in self.layers.values()]).norm())
