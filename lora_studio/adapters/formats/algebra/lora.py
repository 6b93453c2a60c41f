"""LoRA and LoCon, with a middle convolution (Tucker, CP) and DoRA: ΔW = alpha/rank · up · mid · down.

Sources: Hu et al. 2021, arXiv 2106.09685; Yeh et al. 2023, LyCORIS, arXiv 2309.14859, section 3.2 (Tucker).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from lora_studio.adapters.canonical import LayerChange, LowRank
from lora_studio.adapters.formats.algebra.common import (
    SHARED,
    PartsError,
    apart,
    cheaper,
    completed,
    dense,
    matrix,
    scale_of,
    shaped,
    wanted,
)

PARTS = ("lora_down", "lora_up", "lora_mid", "bias_up", *SHARED)


def claims(parts: Collection[str]) -> bool:
    """True when there is a factor of a LoRA."""
    return "lora_down" in parts or "lora_up" in parts


def kind(parts: Collection[str]) -> str:
    """Its name."""
    return "lora"


def read(tensors: Mapping[str, Tensor], shape: tuple[int, ...]) -> LayerChange:
    """Rank factors with alpha/rank folded into B; with a middle part whichever of factors and difference is smaller."""
    down, up = wanted(tensors, "lora_down", "lora_up")
    _check(down, up)
    rank = down.shape[0]
    scale = scale_of(tensors, rank)
    bias = tensors.get("bias_up")
    if bias is not None and bias.numel() != up.shape[0]:
        raise apart(bias=bias, lora_up=up)
    delta_bias = None if bias is None else bias.float().flatten() * scale
    if "lora_mid" not in tensors:
        low = shaped(LowRank(down, up if scale == 1.0 else up * scale, delta_bias), shape)
        return completed(low, tensors, shape)
    (mid,) = wanted(tensors, "lora_mid")
    if mid.dim() != 4 or tuple(mid.shape[:2]) != (matrix(up).shape[1], rank):
        raise apart(lora_down=down, lora_mid=mid, lora_up=up)
    # mid · down is a convolution of its own: (r, in, kh, kw).
    core = torch.einsum("mnxy,nj->mjxy", mid, matrix(down))
    if cheaper(rank, shape):
        return completed(shaped(LowRank(core, matrix(up) * scale, delta_bias), shape), tensors, shape)
    plain = dense(torch.einsum("im,mjxy->ijxy", matrix(up), core) * scale, shape)
    return completed(plain, tensors, shape)


def shape_of(tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """(out, in, ...) by the factors."""
    down, up = wanted(tensors, "lora_down", "lora_up")
    kernel = tensors["lora_mid"].shape[2:] if "lora_mid" in tensors else down.shape[2:]
    return (up.shape[0], *down.shape[1:2], *kernel)


def _check(down: Tensor, up: Tensor) -> None:
    if down.dim() not in (2, 4) or up.dim() not in (2, 4) or not down.numel() or not up.numel():
        raise apart(lora_down=down, lora_up=up)
    if matrix(up).shape[1] != down.shape[0]:
        raise PartsError("parts_ranks", first=down.shape[0], second=matrix(up).shape[1])
