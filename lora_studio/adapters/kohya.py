"""Writes the key layout of kohya's sd-scripts, which A1111, ComfyUI, InvokeAI and diffusers all read.

`lora_unet_<module path with underscores>.lora_down.weight`, `.lora_up.weight`, `.alpha`; text encoders as
`lora_te_text_model_...`, of SDXL `lora_te1_`, `lora_te2_`. Reading is `formats`' business.

Source: kohya-ss/sd-scripts networks/lora.py (LoRANetwork.create_modules).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lora_studio.adapters.canonical import CanonicalAdapter, LowRank
from lora_studio.adapters.formats.dialects import TEXT_2, kohya_name

__all__ = ["kohya_name", "to_kohya"]


def to_kohya(
    adapter: CanonicalAdapter,
    alpha: float | None = None,
    dtype: torch.dtype = torch.float16,
    names: Callable[[str], str] | None = None,
) -> dict[str, Tensor]:
    """The tensors of a file in this layout.

    Args:
        alpha: the alpha to declare for every layer; B is divided by alpha/rank so that the effect stays the same.
            None declares alpha = rank, which every reader takes alike.
        dtype: of the factors in the file; alpha is always float32.
        names: what the file calls a layer, given its key; `Family.kohya_name` of a base. None: diffusers' path of the
            UNet's layers, and `lora_te1_` for the first text encoder where the adapter changes a second.

    Raises:
        TypeError: a layer is a dense difference or depends on the base's weight, which this layout cannot hold.
    """
    two = adapter.touches(TEXT_2)
    tensors: dict[str, Tensor] = {}
    for layer, change in sorted(adapter.layers.items()):
        if not isinstance(change, LowRank) or change.delta_bias is not None:
            raise TypeError(f"{layer} is {type(change).__name__}; kohya's LoRA layout holds rank factors only")
        name = kohya_name(layer, two) if names is None else names(layer)
        declared = float(change.rank if alpha is None else alpha)
        up = change.up.detach() * (change.rank / declared)
        tensors[f"{name}.lora_down.weight"] = change.down.detach().to("cpu", dtype).contiguous().clone()
        tensors[f"{name}.lora_up.weight"] = up.to("cpu", dtype).contiguous().clone()
        tensors[f"{name}.alpha"] = torch.tensor(declared)
    return tensors
