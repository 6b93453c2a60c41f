"""GLoRA: ΔW = alpha/rank · (W·a1·a2 + b1·b2), as LyCORIS writes it.

Older LyCORIS files hold the same parts with the roles of 1 and 2 exchanged (a1 the (rank, in) factor); their shapes
tell: the first factor of each pair is the one whose outer side is the layer's.

Source: Chavan et al. 2023, arXiv 2306.07967; KohakuBlueleaf/LyCORIS lycoris/modules/glora.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from lora_studio.adapters.canonical import LayerChange, LowRank, Relative
from lora_studio.adapters.formats.algebra.common import MisfitError, matrix, scale_of, shaped, wanted
from lora_studio.headers.parts import glora_sides

PARTS = ("a1", "a2", "b1", "b2", "bm", "alpha", "scalar", "diff_b")


def claims(parts: Collection[str]) -> bool:
    """True when there is a factor of a GLoRA."""
    return "a1" in parts or "b1" in parts


def kind(parts: Collection[str]) -> str:
    """Its name."""
    return "glora"


def read(tensors: Mapping[str, Tensor], shape: tuple[int, ...]) -> LayerChange:
    """Both pairs of factors, alpha/rank folded into their ups."""
    a1, a2, b1, b2 = wanted(tensors, "a1", "a2", "b1", "b2")
    inputs, outputs = shape[1], shape[0]
    if a1.shape[0] != inputs or b1.shape[0] != outputs or a2.shape[0] != matrix(a1).shape[1]:
        a1, a2, b1, b2 = a2, a1, b2, b1
    rank = a2.shape[0]
    if tuple(matrix(a1).shape) != (inputs, rank) or tuple(matrix(a2).shape) != (rank, inputs):
        raise MisfitError(
            f"has factors of shapes {tuple(a1.shape)} and {tuple(a2.shape)} where the base has {inputs} inputs"
        )
    if matrix(b1).shape != (outputs, b2.shape[0]):
        raise MisfitError(
            f"has factors of shapes {tuple(b1.shape)} and {tuple(b2.shape)} where the base has {outputs} outputs"
        )
    scale = scale_of(tensors, rank)
    if "bm" in tensors:
        b2 = torch.einsum("mnxy,nj->mjxy", tensors["bm"].float(), matrix(b2))
    bias = tensors.get("diff_b")
    return Relative(
        LowRank(matrix(a2), matrix(a1) * scale),
        shaped(LowRank(b2, matrix(b1) * scale), shape),
        None if bias is None else bias.float().flatten(),
    )


def shape_of(tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """(out, in) by the factors."""
    return glora_sides({part: tuple(tensor.shape) for part, tensor in tensors.items()})
