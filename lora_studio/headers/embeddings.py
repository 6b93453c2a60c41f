"""Textual-inversion embeddings by the names and shapes in their file. It reads no numbers.

Sources: AUTOMATIC1111/stable-diffusion-webui modules/textual_inversion/textual_inversion.py; huggingface/diffusers
loaders/textual_inversion.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lora_studio.headers.parts import changes, split_names

ENCODERS: Mapping[str, str] = {
    "clip_l": "clip_l",
    "clip_g": "clip_g",
    "text_encoders_0": "clip_l",
    "text_encoders_1": "clip_g",
}
"""Names of SDXL's two tables of vectors, A1111's and those of diffusers' trainer, and the text encoder of each."""
MAX_VECTORS = 1000
"""Vectors of one embedding."""


def is_lora(names: Mapping[str, Any]) -> bool:
    """True when a tensor is a part of a LoRA, of whatever make."""
    return any(changes(parts) for parts in split_names(names)[0].values())


def is_embedding(names: Mapping[str, Any]) -> bool:
    """True when a safetensors header (without `__metadata__`) is an embedding's rather than a LoRA's."""
    if any(name in names for name in ENCODERS) or set(names) == {"emb_params"}:
        return True
    shapes = [entry["shape"] for entry in names.values()]
    return len(shapes) == 1 and len(shapes[0]) in (1, 2) and not is_lora(names)
