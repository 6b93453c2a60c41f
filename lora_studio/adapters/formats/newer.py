"""Files of the Flux family and newer transformers: diffusers' own converters, where they reach.

No base here can use these families yet; their files are recognised, named, inspected and converted. diffusers knows
dozens of dialects (kohya, XLabs, BFL, ai-toolkit, fal, musubi ...) and turns each into its own names,
`transformer.<module path>.lora_A.weight`. A converter takes what it knows out of a dictionary and fails on what it does
not; then the file is shown as it lies, named and not converted.

Source: huggingface/diffusers 0.42.1 loaders/lora_pipeline.py (`lora_state_dict` of each mixin) and
lora_conversion_utils.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor

_MIXINS: Mapping[str, str] = {
    "flux": "FluxLoraLoaderMixin",
    "chroma": "FluxLoraLoaderMixin",
    "flux2": "Flux2LoraLoaderMixin",
    "sd3": "SD3LoraLoaderMixin",
    "wan": "WanLoraLoaderMixin",
    "hunyuan-video": "HunyuanVideoLoraLoaderMixin",
    "hidream": "HiDreamImageLoraLoaderMixin",
    "qwen-image": "QwenImageLoraLoaderMixin",
    "z-image": "ZImageLoraLoaderMixin",
    "lumina2": "Lumina2LoraLoaderMixin",
    "ltx-video": "LTXVideoLoraLoaderMixin",
    "auraflow": "AuraFlowLoraLoaderMixin",
    "cogvideox": "CogVideoXLoraLoaderMixin",
    "cogview4": "CogView4LoraLoaderMixin",
    "mochi": "Mochi1LoraLoaderMixin",
    "sana": "SanaLoraLoaderMixin",
}

_LARGE_NUMBER = re.compile(r"\d{4}")
_UNREADABLE = (
    ValueError,
    LookupError,
    RuntimeError,
    AssertionError,
    AttributeError,
    TypeError,
    ArithmeticError,
    NameError,  # a converter uses what only another block would have told it
)
"""What the converters raise at files that they do not know."""


def to_diffusers(family: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The tensors under diffusers' names, None where no converter of this family takes them whole.

    DoRA's magnitudes, differences of weights and biases are dropped by diffusers; files that have them, and other
    algebras than LoRA, are not given to it. Nor are files that its converters would never come to an end with, or fail
    at: alphas that are no numbers of 0 or more, blocks of numbers beyond 999 (they count up to the highest one),
    factors without directions (they divide by the rank).
    """
    mixin = _MIXINS.get(family)
    plain = all(("lora" in name or name.endswith(".alpha")) and ".diff" not in name[-8:] for name in tensors)
    plain = plain and all(_is_usable(name, tensor) for name, tensor in tensors.items())
    if mixin is None or not plain or any("dora_scale" in name or "magnitude" in name for name in tensors):
        return None
    from diffusers.loaders import lora_pipeline

    reader = getattr(lora_pipeline, mixin)
    try:
        # The converters know floats of one kind; bfloat16 alphas among them come to the same numbers.
        state = reader.lora_state_dict({name: tensor.clone() for name, tensor in tensors.items()})
    except _UNREADABLE:
        return None
    if isinstance(state, tuple):
        state = state[0]
    good = {name: tensor for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}
    return good or None


def _is_usable(name: str, tensor: Tensor) -> bool:
    """True for a tensor that a converter comes to an end with: see `to_diffusers`."""
    if _LARGE_NUMBER.search(name):
        return False
    if not name.endswith(".alpha"):
        return 0 not in tensor.shape
    return tensor.numel() == 1 and math.isfinite(float(tensor)) and float(tensor) >= 0
