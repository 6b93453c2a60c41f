"""The canonical adapter: what every LoRA file becomes before it may touch a base.

A layer's change is one of two plain forms, which say ΔW by themselves:

    LowRank     rank factors, with `alpha/rank` folded into B: ΔW = B·A
    Dense       a difference that factors would not give exactly, or not cheaper; of a norm its weight and bias
    Kronecker   a Dense of two halves, ΔW = first ⊗ second

or one of four that depend on the base's own weight W and are kept as what they are until they meet it (`binding`):

    Decomposed  DoRA: a direction ΔV and magnitudes m; D = (W + ΔV) · m/|W + ΔV|, of rows or of columns
    Gain        IA3: ΔW = g · W, along the outputs or the inputs
    Relative    GLoRA: ΔW = W·A + B
    Rotation    OFT, BOFT: ΔW = M·W with M = R - I in blocks along the outputs, or W·M along the inputs

At weight s every one of them goes from W to its result linearly: W + s·ΔW. The module does not know pipelines, file
formats or peft.

Sources: Hu et al. 2021, LoRA, arXiv 2106.09685, equation 3; Liu et al. 2024, DoRA, arXiv 2402.09353, equation 5; Liu et
al. 2022, (IA)3, arXiv 2205.05638; Chavan et al. 2023, GLoRA, arXiv 2306.07967; Qiu et al. 2023, OFT, arXiv 2306.07280.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

Axis = Literal["out", "in"]
"""Along which side of a weight (out, in, ...) a vector or a rotation acts."""


@dataclass(frozen=True)
class LayerShape:
    """The weight of one layer of a base that an adapter may change.

    Attributes:
        shape: of the weight: (out, in) of a linear layer, (out, in/groups, kh, kw) of a convolution, (n,) of a norm.
    """

    shape: tuple[int, ...]

    @property
    def is_conv(self) -> bool:
        """True for a two-dimensional convolution."""
        return len(self.shape) == 4

    @property
    def is_norm(self) -> bool:
        """True for a group or layer norm, whose weight and bias have one number for each channel."""
        return len(self.shape) == 1


class _Change:
    """What all forms can say."""

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return sum(t.numel() * t.element_size() for t in tensors_of(self))


@dataclass(frozen=True)
class LowRank(_Change):
    """Rank factors of one layer.

    Attributes:
        down: A. (rank, in) of a linear layer; (rank, in, kh, kw) of a convolution, which takes its base's stride
            and padding.
        up: B with `alpha/rank` folded in. (out, rank); of a convolution (out, rank, 1, 1).
        delta_bias: (out,), or None. A difference of the bias alone has factors of rank 0.
    """

    down: Tensor
    up: Tensor
    delta_bias: Tensor | None = None

    @property
    def rank(self) -> int:
        """Number of directions."""
        return int(self.down.shape[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the layer's weight."""
        return (self.up.shape[0], *self.down.shape[1:])

    def delta(self) -> Tensor:
        """ΔW = B·A in the shape of the layer's weight, float32."""
        flat = self.up.detach().float().flatten(1) @ self.down.detach().float().flatten(1)
        return flat.reshape(self.up.shape[0], *self.down.shape[1:])

    def norm(self) -> float:
        """Frobenius norm of ΔW, from the factors: |BA|² = tr(BᵀB · AAᵀ)."""
        a, b = self.down.detach().double().flatten(1), self.up.detach().double().flatten(1)
        return float(((b.T @ b) * (a @ a.T)).sum().clamp_min(0).sqrt())


@dataclass(frozen=True)
class Dense(_Change):
    """A difference that rank factors would not give exactly.

    Attributes:
        delta_weight: in the shape of the layer's weight.
        delta_bias: (out,), or None.
    """

    delta_weight: Tensor
    delta_bias: Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the layer's weight."""
        return tuple(self.delta_weight.shape)

    def delta(self) -> Tensor:
        """ΔW in the shape of the layer's weight, float32."""
        return self.delta_weight.detach().float()

    def norm(self) -> float:
        """Frobenius norm of ΔW."""
        return float(self.delta_weight.detach().double().norm())


class Kronecker(Dense):
    """LoKr: a difference that is kept as the two halves of its product, ΔW = first ⊗ second.

    The halves are some hundred times smaller than the difference and act without it (`effects`). It is a `Dense` whose
    `delta_weight` is reckoned anew whenever somebody asks for it.

    Attributes:
        first: (a, b).
        second: (c, d), of a convolution (c, d, kh, kw), the scale folded in; out is a·c, in b·d.
    """

    first: Tensor
    second: Tensor

    def __init__(self, first: Tensor, second: Tensor, delta_bias: Tensor | None = None) -> None:
        for name, value in (("first", first), ("second", second), ("delta_bias", delta_bias)):
            object.__setattr__(self, name, value)

    @property
    def delta_weight(self) -> Tensor:
        """ΔW in the shape of the layer's weight."""
        return kron(self.first, self.second)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the layer's weight, without reckoning it."""
        first, second = self.first.shape, self.second.shape
        return (first[0] * second[0], first[1] * second[1], *second[2:])

    def norm(self) -> float:
        """Frobenius norm of ΔW, the product of the halves'."""
        return float(self.first.detach().double().norm() * self.second.detach().double().norm())


def kron(a: Tensor, b: Tensor) -> Tensor:
    """a ⊗ b of (m, n) and (p, q, ...): (m·p, n·q, ...). torch's own fails on some strides of sides of length 1."""
    spare = [1] * (b.dim() - 2)
    product = a.reshape(a.shape[0], 1, a.shape[1], 1, *spare) * b[None, :, None]
    return product.reshape(a.shape[0] * b.shape[0], a.shape[1] * b.shape[1], *b.shape[2:])


@dataclass(frozen=True)
class Decomposed(_Change):
    """DoRA: D = (W + ΔV) · m/|W + ΔV|.

    Attributes:
        direction: ΔV with its alpha folded in.
        magnitude: m. (out,) for norms of rows (peft, newer LyCORIS), (in,) for norms of columns (older LyCORIS, kohya).
    """

    direction: LowRank | Dense
    magnitude: Tensor
    axis: Axis
    delta_bias: Tensor | None = None

    @property
    def rank(self) -> int:
        """Number of directions of ΔV, 0 where it is dense."""
        return self.direction.rank if isinstance(self.direction, LowRank) else 0


@dataclass(frozen=True)
class Gain(_Change):
    """ΔW = g · W along an axis.

    Attributes:
        gain: g, (out,) or (in,).
    """

    gain: Tensor
    axis: Axis
    delta_bias: Tensor | None = None


@dataclass(frozen=True)
class Relative(_Change):
    """ΔW = W·A + B.

    Attributes:
        right: A as factors of (in, in).
        plus: B.
    """

    right: LowRank
    plus: LowRank
    delta_bias: Tensor | None = None

    @property
    def rank(self) -> int:
        """Number of directions of ΔW."""
        return self.right.rank + self.plus.rank


@dataclass(frozen=True)
class Rotation(_Change):
    """ΔW = M·W along the outputs, or W·M along the inputs, M block-diagonal.

    Attributes:
        blocks: (count, size, size), M's blocks: a rotation less the identity; count x size is the axis' length.
    """

    blocks: Tensor
    axis: Axis
    delta_bias: Tensor | None = None


Plain = LowRank | Dense
LayerChange = LowRank | Dense | Decomposed | Gain | Relative | Rotation


def tensors_of(change: object) -> Iterator[Tensor]:
    """Every tensor of a change."""
    for value in vars(change).values():
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, _Change):
            yield from tensors_of(value)


@dataclass(frozen=True, eq=False)
class CanonicalAdapter:
    """One adapter in the form that the base's slots take.

    Attributes:
        key: its identity, the sha256 of the file it came from; `live:<job>` of one that is being trained.
        layers: layer key (`unet.<module path>`, `text_encoder.<module path>`, `text_encoder_2...`) to its change.
        live: True while a training writes into these very tensors; nothing may copy or cache them.
    """

    key: str
    layers: Mapping[str, LayerChange]
    live: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """What it is told from others by: its key, else that it is this very object."""
        return self.key or f"object {id(self)}"

    @property
    def ranks(self) -> tuple[int, ...]:
        """The distinct ranks of its layers, ascending."""
        return tuple(sorted({rank for c in self.layers.values() if (rank := getattr(c, "rank", 0))}))

    @property
    def nbytes(self) -> int:
        """Bytes of all its tensors."""
        return sum(change.nbytes for change in self.layers.values())

    def touches(self, component: str) -> bool:
        """True when a layer of `component` (unet, text_encoder) is changed."""
        return any(key.startswith(component + ".") for key in self.layers)

    def norm(self) -> float:
        """Frobenius norm of all ΔW together, 0 when the adapter does nothing.

        Of changes that depend on the base's weight it counts what they hold themselves (a DoRA's direction and
        magnitudes, a gain, a rotation's difference), so that the sum is 0 only where nothing is changed.
        """
        total = 0.0
        for change in self.layers.values():
            total += _size(change) ** 2
            if change.delta_bias is not None:
                total += float(change.delta_bias.detach().double().norm()) ** 2
        return float(total**0.5)


def _size(change: LayerChange) -> float:
    """The norm that `CanonicalAdapter.norm` sums."""
    if isinstance(change, LowRank | Dense):
        return change.norm()
    if isinstance(change, Relative):
        return float(torch.tensor([change.right.norm(), change.plus.norm()]).norm())
    return float(sum(float(tensor.detach().double().norm()) ** 2 for tensor in tensors_of(change)) ** 0.5)
