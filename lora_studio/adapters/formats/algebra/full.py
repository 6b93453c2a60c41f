"""Full differences of weights and biases, and of norms: nothing to reckon, ΔW stands in the file.

Source: KohakuBlueleaf/LyCORIS lycoris/modules/full.py and norms.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from lora_studio.adapters.canonical import Dense, LayerChange, LowRank
from lora_studio.adapters.formats.algebra.common import SHARED, MisfitError, PartsError, completed, dense, scale_of

PARTS = ("diff", "w_norm", "b_norm", *SHARED)


def claims(parts: Collection[str]) -> bool:
    """True when there is a difference."""
    return any(part in parts for part in ("diff", "diff_b", "w_norm", "b_norm"))


def kind(parts: Collection[str]) -> str:
    """norm where the file says so, else full."""
    return "norm" if "w_norm" in parts or "b_norm" in parts else "full"


def read(tensors: Mapping[str, Tensor], shape: tuple[int, ...]) -> LayerChange:
    """The difference; of a bias alone factors of rank 0."""
    scale = scale_of({name: tensor for name, tensor in tensors.items() if name == "scalar"}, 1)
    if len(shape) == 1:
        weight = tensors.get("w_norm", tensors.get("diff"))
        bias = tensors.get("b_norm", tensors.get("diff_b"))
        for part in (weight, bias):
            if part is not None and part.numel() != shape[0]:
                raise MisfitError(f"has {part.numel()} numbers where the base's norm has {shape[0]}")
        change = torch.zeros(shape) if weight is None else weight.float().flatten() * scale
        return Dense(change, None if bias is None else bias.float().flatten() * scale)
    if "w_norm" in tensors or "b_norm" in tensors:
        raise PartsError("parts_norm")
    if "diff" not in tensors:
        ones = (1, 1) if len(shape) == 4 else ()
        nothing = LowRank(torch.zeros(0, *shape[1:]), torch.zeros(shape[0], 0, *ones))
        return completed(nothing, tensors, shape)
    # As it lies in the file, half as large as in float32: whoever uses it makes it what he needs.
    delta = tensors["diff"] if scale == 1.0 else tensors["diff"].float() * scale
    return completed(dense(delta, shape), tensors, shape)


def shape_of(tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Of the difference; of a bias alone nothing is known."""
    for part in ("diff", "w_norm", "b_norm"):
        if part in tensors:
            return tuple(tensors[part].shape)
    return ()
