"""The key layout of kohya's sd-scripts, which A1111, ComfyUI, InvokeAI and diffusers all read.

`lora_unet_<module path with underscores>.lora_down.weight`, `.lora_up.weight`, `.alpha`; text encoders as
`lora_te_text_model_...`. transformers >= 5.6 dropped `text_model.` from CLIP's module names; files must go on
saying it. The path cannot be recovered from the underscores alone, so names are looked up among the layers that
the base has.

Source: kohya-ss/sd-scripts networks/lora.py (LoRANetwork.create_modules).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from lora_studio.adapters import sgm
from lora_studio.adapters.canonical import CanonicalAdapter, LowRank

_PREFIX = {"unet": "lora_unet_", "text_encoder": "lora_te_", "text_encoder_2": "lora_te2_"}
_PARTS = ("lora_down.weight", "lora_up.weight", "alpha")


def kohya_name(layer: str) -> str:
    """kohya's module name of a layer key, e.g. `lora_unet_mid_block_attentions_0_proj_in`."""
    component, path = layer.split(".", 1)
    if component == "text_encoder" and not path.startswith("text_model."):
        path = "text_model." + path
    return _PREFIX[component] + path.replace(".", "_")


def xl_name(layer: str, per_block: int = 2) -> str:
    """kohya's module name of a layer of Stable Diffusion XL, with the UNet's blocks named as Stability AI's code does.

    Args:
        per_block: `layers_per_block` of the UNet.
    """
    component, path = layer.split(".", 1)
    if component == "unet":
        return _PREFIX[component] + sgm.ldm_path(path, per_block).replace(".", "_")
    return kohya_name(layer).replace("lora_te_", "lora_te1_")


def layer_names(layers: Iterable[str]) -> dict[str, str]:
    """kohya's module names of a base's layers, mapped back to the layer keys; of SDXL in both ways of naming blocks."""
    known = tuple(layers)
    names = {kohya_name(layer): layer for layer in known}
    if any(layer.startswith("text_encoder_2.") for layer in known):
        per_block = sgm.layers_per_block(known)
        names |= {xl_name(layer, per_block): layer for layer in known}
    return names


def modules_in(names: Iterable[str]) -> dict[str, set[str]]:
    """The modules that tensor names speak of, with the parts each has; a name of no known part stands alone."""
    found: dict[str, set[str]] = {}
    for name in names:
        module, _, part = name.partition(".")
        found.setdefault(module, set()).add(part)
    return found


def is_kohya(names: Iterable[str]) -> bool:
    """True when at least one tensor is named in this layout."""
    return any(n.startswith(("lora_unet_", "lora_te")) and n.endswith("lora_down.weight") for n in names)


def read_layer(tensors: Mapping[str, Tensor], module: str) -> LowRank:
    """The factors of one module, `alpha/rank` folded into B, in float32. A missing alpha means alpha = rank."""
    down = tensors[f"{module}.lora_down.weight"].float()
    up = tensors[f"{module}.lora_up.weight"].float()
    alpha = tensors.get(f"{module}.alpha")
    scale = 1.0 if alpha is None else float(alpha) / down.shape[0]
    return LowRank(down=down, up=up if scale == 1.0 else up * scale)


def to_kohya(
    adapter: CanonicalAdapter,
    alpha: float | None = None,
    dtype: torch.dtype = torch.float16,
    names: Callable[[str], str] = kohya_name,
) -> dict[str, Tensor]:
    """The tensors of a file in this layout.

    Args:
        alpha: the alpha to declare for every layer; B is divided by alpha/rank so that the effect stays the same.
            None declares alpha = rank, which every reader takes alike.
        dtype: of the factors in the file; alpha is always float32.
        names: what the file calls a layer, given its key; `Family.kohya_name` of the base.

    Raises:
        TypeError: a layer is a dense difference, which this layout cannot hold.
    """
    tensors: dict[str, Tensor] = {}
    for layer, change in sorted(adapter.layers.items()):
        if not isinstance(change, LowRank):
            raise TypeError(f"{layer} is a dense difference; kohya's LoRA layout holds rank factors only")
        name = names(layer)
        declared = float(change.rank if alpha is None else alpha)
        up = change.up.detach() * (change.rank / declared)
        tensors[f"{name}.lora_down.weight"] = change.down.detach().to("cpu", dtype).contiguous().clone()
        tensors[f"{name}.lora_up.weight"] = up.to("cpu", dtype).contiguous().clone()
        tensors[f"{name}.alpha"] = torch.tensor(declared)
    return tensors
