"""LoKr: ΔW = alpha/rank · w1 ⊗ w2, either of them whole or in factors, w2 of a convolution also with a Tucker core.

(A·B) ⊗ (C·D) = (A ⊗ C)(B ⊗ D): the Kronecker product of matrices of ranks p and q has rank p·q, with exact factors.
They are used where they take no more numbers than the difference itself; else the two halves are kept as they are. A
whole matrix counts as factors with an identity on its shorter side.

Two whole matrices have no rank to divide by: their scale is 1, and LyCORIS writes any alpha (also 1e10) beside them.

Source: Yeh et al. 2023, LyCORIS, arXiv 2309.14859, section 3.3; KohakuBlueleaf/LyCORIS lycoris/functional/lokr.py (the
scale is applied once, as its forward pass does).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from lora_studio.adapters.canonical import Kronecker, LayerChange, LowRank, kron
from lora_studio.adapters.formats.algebra.common import (
    SHARED,
    MisfitError,
    apart,
    cheaper,
    completed,
    scale_of,
    shaped,
    wanted,
)

PARTS = ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2", *SHARED)


def claims(parts: Collection[str]) -> bool:
    """True when there is a factor of a LoKr."""
    return any(part.startswith("lokr_") for part in parts)


def kind(parts: Collection[str]) -> str:
    """Its name."""
    return "lokr"


def read(tensors: Mapping[str, Tensor], shape: tuple[int, ...]) -> LayerChange:
    """Rank factors where they are no dearer than the difference, the two halves of the product otherwise."""
    scale = _scale(tensors)
    a1, b1 = _first(tensors)
    if "lokr_w2" not in tensors and "lokr_t2" in tensors:
        core, a2, b2 = wanted(tensors, "lokr_t2", "lokr_w2_a", "lokr_w2_b")
        if core.dim() != 4 or tuple(core.shape[:2]) != (a2.shape[0], b2.shape[0]):
            raise apart(lokr_t2=core, lokr_w2_a=a2, lokr_w2_b=b2)
        inner = torch.einsum("ijxy,jr->irxy", core, b2)
        a2 = a2.T
    elif "lokr_w2" not in tensors:
        a2, inner = wanted(tensors, "lokr_w2_a", "lokr_w2_b")
    else:
        (inner,) = wanted(tensors, "lokr_w2")
        a2 = torch.eye(inner.shape[0])
    inner = _with_kernel(inner, b1.shape[1], shape)
    if a2.dim() != 2 or a2.shape[1] != inner.shape[0]:
        raise apart(first=a2, second=inner)
    if (a1.shape[0] * a2.shape[0], b1.shape[1] * inner.shape[1]) != tuple(shape[:2]):
        raise MisfitError(
            f"has {a1.shape[0]} x {a2.shape[0]} outputs and {b1.shape[1]} x {inner.shape[1]} inputs where the base has "
            f"{shape[0]} and {shape[1]}"
        )
    rank = a1.shape[1] * a2.shape[1]
    if cheaper(rank, shape):
        up, down = kron(a1, a2), kron(b1, inner)
        return completed(shaped(LowRank(down, up * scale), shape), tensors, shape)
    whole = torch.tensordot(a2, inner, dims=1)
    return completed(Kronecker(a1 @ b1, whole * scale), tensors, shape)


def shape_of(tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """(out, in, ...) by the factors; of a convolution in flat factors in and kernel are one number."""
    a1, b1 = _first(tensors)
    if "lokr_w2" in tensors:
        second = tensors["lokr_w2"].shape
    elif "lokr_t2" in tensors:
        a2, b2, core = wanted(tensors, "lokr_w2_a", "lokr_w2_b", "lokr_t2")
        second = torch.Size((a2.shape[1], b2.shape[1], *core.shape[2:]))
    else:
        a2, b2 = wanted(tensors, "lokr_w2_a", "lokr_w2_b")
        second = torch.Size((a2.shape[0], *b2.shape[1:]))
    return (a1.shape[0] * second[0], b1.shape[1] * second[1], *second[2:])


def _scale(tensors: Mapping[str, Tensor]) -> float:
    """alpha/rank; of two whole matrices 1."""
    if "lokr_w1_b" in tensors:
        return scale_of(tensors, tensors["lokr_w1_b"].shape[0])
    if "lokr_w2_b" in tensors:
        return scale_of(tensors, tensors["lokr_w2_b"].shape[0])
    return scale_of({name: tensor for name, tensor in tensors.items() if name == "scalar"}, 1)


def _first(tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """w1 as factors (a, r) and (r, b)."""
    if "lokr_w1" not in tensors:
        a, b = wanted(tensors, "lokr_w1_a", "lokr_w1_b")
        if a.dim() != 2 or b.dim() != 2 or a.shape[1] != b.shape[0]:
            raise apart(lokr_w1_a=a, lokr_w1_b=b)
        return a, b
    (w1,) = wanted(tensors, "lokr_w1")
    if w1.dim() < 2:
        raise apart(lokr_w1=w1)
    w1 = w1.flatten(1)
    if w1.shape[0] < w1.shape[1]:
        return torch.eye(w1.shape[0]), w1
    return w1, torch.eye(w1.shape[1])


def _with_kernel(inner: Tensor, across: int, shape: tuple[int, ...]) -> Tensor:
    """The inner factor (r, in, kh, kw) of a convolution, from flat ones too; (r, in) of a linear layer."""
    if len(shape) == 2:
        return inner.flatten(1)
    kernel = tuple(shape[2:])
    if inner.dim() == 4:
        return inner
    if inner.dim() != 2 or shape[1] % max(across, 1) or inner.shape[1] != shape[1] // across * kernel[0] * kernel[1]:
        raise MisfitError(f"has a factor of shape {tuple(inner.shape)} where the base has {tuple(shape)}")
    return inner.reshape(inner.shape[0], -1, *kernel)
