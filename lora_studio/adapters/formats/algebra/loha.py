"""LoHa: ΔW = alpha/rank · (w1_a·w1_b) ∘ (w2_a·w2_b), of convolutions also with Tucker cores t1, t2.

The product entry by entry of two matrices of rank r has rank r² at most, and its factors are exact: rows of the
Khatri-Rao product. They are used where they take no more numbers than the difference itself.

Source: Hyeon-Woo et al. 2022, FedPara, arXiv 2108.06098; KohakuBlueleaf/LyCORIS lycoris/functional/loha.py (the
scale is applied once, as its forward pass does).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from lora_studio.adapters.canonical import LayerChange, LowRank
from lora_studio.adapters.formats.algebra.common import (
    SHARED,
    apart,
    cheaper,
    completed,
    dense,
    scale_of,
    shaped,
    wanted,
)

PARTS = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2", *SHARED)


def claims(parts: Collection[str]) -> bool:
    """True when there is a factor of a LoHa."""
    return any(part.startswith("hada_") for part in parts)


def kind(parts: Collection[str]) -> str:
    """Its name."""
    return "loha"


def read(tensors: Mapping[str, Tensor], shape: tuple[int, ...]) -> LayerChange:
    """Khatri-Rao factors where they are no dearer than the difference, which it is otherwise."""
    w1_a, w1_b, w2_a, w2_b = wanted(tensors, *PARTS[:4])
    rank = w1_b.shape[0]
    scale = scale_of(tensors, rank)
    if "hada_t1" in tensors or "hada_t2" in tensors:
        t1, t2 = wanted(tensors, "hada_t1", "hada_t2")
        delta = _tucker(t1, w1_a, w1_b) * _tucker(t2, w2_a, w2_b)
        return completed(dense(delta * scale, shape), tensors, shape)
    for a, b in ((w1_a, w1_b), (w2_a, w2_b)):
        if a.dim() != 2 or b.dim() < 2 or a.shape[1] != b.shape[0] or a.shape[0] != w1_a.shape[0]:
            raise apart(first=a, second=b)
    w1_b, w2_b = w1_b.flatten(1), w2_b.flatten(1)
    if w1_b.shape[1] != w2_b.shape[1]:
        raise apart(hada_w1_b=w1_b, hada_w2_b=w2_b)
    if cheaper(rank * w2_b.shape[0], shape):
        up = (w1_a[:, :, None] * w2_a[:, None, :]).flatten(1)
        down = (w1_b[:, None, :] * w2_b[None, :, :]).flatten(0, 1)
        return completed(shaped(LowRank(down, up * scale), shape), tensors, shape)
    return completed(dense((w1_a @ w1_b) * (w2_a @ w2_b) * scale, shape), tensors, shape)


def shape_of(tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """(out, in) by the factors; of a convolution without Tucker cores in and kernel are one number."""
    w1_a, w1_b = wanted(tensors, "hada_w1_a", "hada_w1_b")
    if "hada_t1" in tensors:
        return (w1_a.shape[1], w1_b.shape[1], *tensors["hada_t1"].shape[2:])
    return (w1_a.shape[0], *w1_b.shape[1:])


def _tucker(core: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """(out, in, kh, kw) of a core (r, r, kh, kw) with factors (r, out) and (r, in)."""
    if core.dim() != 4 or a.dim() != 2 or b.dim() != 2 or tuple(core.shape[:2]) != (a.shape[0], b.shape[0]):
        raise apart(core=core, first=a, second=b)
    return torch.einsum("ijxy,ip,jr->prxy", core, a, b)
