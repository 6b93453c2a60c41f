"""IA3: ΔW = weight · W along the outputs, or the inputs where `on_input` says so.

LyCORIS' vector starts at 0 (the result is W·(1 + weight)), peft's `ia3_l` at 1 (the result is W·ia3_l).

Source: Liu et al. 2022, arXiv 2205.05638; KohakuBlueleaf/LyCORIS lycoris/modules/ia3.py; huggingface/peft
tuners/ia3/layer.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor

from lora_studio.adapters.canonical import Gain, LayerChange
from lora_studio.adapters.formats.algebra.common import MisfitError

PARTS = ("weight", "on_input", "ia3_l", "alpha", "diff_b")


def claims(parts: Collection[str]) -> bool:
    """True when there is a gain; a `weight` alone is none."""
    return ("weight" in parts and "on_input" in parts) or "ia3_l" in parts


def kind(parts: Collection[str]) -> str:
    """Its name."""
    return "ia3"


def read(tensors: Mapping[str, Tensor], shape: tuple[int, ...]) -> LayerChange:
    """The gain, along the side that the file names."""
    if "ia3_l" in tensors:
        # peft scales the inputs of feed-forward layers, (1, in), and the outputs of the others, (out, 1).
        written = tensors["ia3_l"]
        on_input = written.dim() >= 2 and written.shape[0] == 1 and written.numel() == shape[1]
        gain = written.float().flatten() - 1
    else:
        on_input = bool(tensors["on_input"].flatten()[0]) if tensors["on_input"].numel() else False
        gain = tensors["weight"].float().flatten()
    wanted = shape[1] if on_input else shape[0]
    if gain.numel() != wanted:
        raise MisfitError(f"has {gain.numel()} gains where the base has {wanted}")
    bias = tensors.get("diff_b")
    return Gain(gain, "in" if on_input else "out", None if bias is None else bias.float().flatten())


def shape_of(tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """One side alone is not the shape."""
    return ()
