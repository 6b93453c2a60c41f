"""Changes that depend on the base's weight, bound to it: exact plain forms in float32.

`bind` gives the primitives that the slots apply, without a dense matrix where there are factors; `delta` gives the
dense ΔW for whoever needs it (measuring, resizing, tests). At weight s all of them are linear, W + s·ΔW:

    DoRA, rows       y += s((d - 1) · Wx + d · BAx),      d = m/|W + BA| of each row
    DoRA, columns    y += s(W((d - 1) · x) + BA(d · x)),  d of each column
    GLoRA            W·A is of low rank: (W·A_up)·A_down

It does not know adapters as a whole, files or modules.
Sources: see `canonical`; FACTS: at a weight other than 1 ours goes from W to the DoRA result D.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lora_studio.adapters.canonical import (
    Axis,
    Decomposed,
    Dense,
    Gain,
    LayerChange,
    LowRank,
    Relative,
    Rotation,
)

Primitive = LowRank | Dense | Gain | Rotation
"""What a layer can apply by itself."""


def needs_weight(change: LayerChange) -> bool:
    """True when ΔW cannot be said without the base's weight."""
    return not isinstance(change, LowRank | Dense)


def bind(change: LayerChange, weight: Tensor) -> tuple[Primitive, ...]:
    """The primitives of a change for a layer with this `weight`, in its own shape; their effects add up.

    Args:
        weight: W of the layer, (out, in) or (out, in, kh, kw), any floating-point dtype.
    """
    if isinstance(change, Decomposed):
        return _decomposed(change, weight)
    if isinstance(change, Relative):
        return (_relative(change, weight),)
    return (change,)


def delta(change: LayerChange, weight: Tensor | None = None) -> Tensor:
    """ΔW in the shape of the layer's weight, float32.

    Args:
        weight: W; may be left out where `needs_weight` is False.

    Raises:
        ValueError: the change needs W and it was not given.
    """
    if isinstance(change, LowRank | Dense):
        return change.delta()
    if weight is None:
        raise ValueError(f"{type(change).__name__} depends on the base's weight")
    w = weight.detach().float()
    if isinstance(change, Decomposed):
        moved = w + change.direction.delta().to(w.device).reshape(w.shape)
        return moved * _along(_ratio(change, moved), change.axis, w.dim()) - w
    if isinstance(change, Gain):
        return w * _along(change.gain.to(w.device).float(), change.axis, w.dim())
    if isinstance(change, Relative):
        return _relative(change, w).delta().reshape(w.shape)
    return rotated(w, change)


def rotated(w: Tensor, change: Rotation) -> Tensor:
    """M·W or W·M of a rotation's difference M; `w` (out, in, ...)."""
    blocks = change.blocks.to(w.device, w.dtype)
    count, size, _ = blocks.shape
    if change.axis == "out":
        return torch.einsum("kmn,kn...->km...", blocks, w.reshape(count, size, *w.shape[1:])).reshape(w.shape)
    parted = w.transpose(0, 1).reshape(count, size, w.shape[0], *w.shape[2:])
    return (
        torch.einsum("knm,kn...->km...", blocks, parted).reshape(w.shape[1], w.shape[0], *w.shape[2:]).transpose(0, 1)
    )


def _along(vector: Tensor, axis: Axis, dims: int) -> Tensor:
    """A vector shaped so that it multiplies a weight along an axis."""
    return vector.reshape(-1, *[1] * (dims - 1)) if axis == "out" else vector.reshape(1, -1, *[1] * (dims - 2))


def _ratio(change: Decomposed, moved: Tensor) -> Tensor:
    """d = m/|W + ΔV|, (out,) or (in,). A row of zeros stays one: its norm is taken as the smallest step of float32."""
    rows = moved.flatten(1) if change.axis == "out" else moved.transpose(0, 1).flatten(1)
    lengths = torch.linalg.vector_norm(rows, dim=1).clamp_min(torch.finfo(torch.float32).eps)
    ratio: Tensor = change.magnitude.to(moved.device).float() / lengths
    return ratio


def _decomposed(change: Decomposed, weight: Tensor) -> tuple[Primitive, ...]:
    w = weight.detach().float()
    direction = change.direction
    moved = w + direction.delta().to(w.device).reshape(w.shape)
    ratio = _ratio(change, moved)
    if isinstance(direction, Dense):
        return (Dense(moved * _along(ratio, change.axis, w.dim()) - w, change.delta_bias),)
    down, up = direction.down.to(w.device).float(), direction.up.to(w.device).float()
    if change.axis == "out":
        up = up * _along(ratio, "out", up.dim())
    else:
        down = down * _along(ratio, "in", down.dim())
    return LowRank(down, up, change.delta_bias), Gain(ratio - 1, change.axis)


def _relative(change: Relative, weight: Tensor) -> LowRank:
    """W·A + B as factors. Of a convolution A mixes the inputs alone: (W·A_up) keeps W's kernel, A_down is 1 x 1."""
    w = weight.detach().float()
    a_down, a_up = (t.to(w.device).float().flatten(1) for t in (change.right.down, change.right.up))
    b_down, b_up = change.plus.down.to(w.device).float(), change.plus.up.to(w.device).float()
    if w.dim() == 2:
        return LowRank(torch.cat([a_down, b_down]), torch.cat([w @ a_up, b_up], dim=1), change.delta_bias)
    # (out, r, kh, kw) · (r, in): per place of the kernel the factors have rank r, together r·kh·kw.
    left = torch.einsum("oixy,ir->oxyr", w, a_up).flatten(1)
    kernel = w.shape[2] * w.shape[3]
    places = torch.eye(kernel, device=w.device).reshape(kernel, 1, 1, *w.shape[2:])
    right = (places * a_down[None, :, :, None, None]).flatten(0, 1)
    return LowRank(torch.cat([right, b_down]), torch.cat([left[:, :, None, None], b_up], dim=1), change.delta_bias)
