"""What lies in a LoRA file beside its factors: textual-inversion embeddings, and a picture of what it does.

    bundle_emb.<name>.string_to_param.*       A1111 1.10; OneTrainer: bundle_emb.<name>.clip_l, .clip_g
    modelspec.thumbnail                       a data URL (Stability AI's ModelSpec)
    ssmd_cover_images                         a list of pictures in base64 (sd-webui-additional-networks)

By the header alone; the vectors' bytes are copied by whoever has the file open. It does not know torch.

Sources: AUTOMATIC1111/stable-diffusion-webui 1.10 extensions-builtin/Lora/networks.py (`bundle_embeddings`); Nerogar/
OneTrainer; https://github.com/Stability-AI/ModelSpec; kohya-ss/sd-webui-additional-networks scripts/metadata_editor.py.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lora_studio.headers.embeddings import MAX_VECTORS

NAMES = re.compile(r"^bundle_emb\.(?P<name>.+)\.(?P<part>string_to_param\.\*|clip_l|clip_g|emb_params)$")
"""A textual-inversion embedding that lies in a LoRA file: `bundle_emb.<name>.<part>`."""

MOST = 64
"""Embeddings of one file."""
_MAX_WIDTH = 8192
_FLOATS = ("F16", "BF16", "F32", "F64")


@dataclass(frozen=True)
class Vectors:
    """One embedding in a LoRA's file.

    Attributes:
        name: what prompts call it.
        count: its vectors.
        widths: {"clip_l": width}, with "clip_g" for Stable Diffusion XL.
        entries: part to its entry of the header.
    """

    name: str
    count: int
    widths: Mapping[str, int]
    entries: Mapping[str, Mapping[str, Any]]


def vectors_of(header: Mapping[str, Any]) -> tuple[Vectors, ...]:
    """The embeddings of a file, by name; those whose parts are no vectors of one number are left out.

    Args:
        header: as `lora_studio.headers.header.read` gives it.
    """
    parts: dict[str, dict[str, Mapping[str, Any]]] = {}
    for name, entry in header.items():
        match = NAMES.match(name)
        if match is not None:
            part = match["part"] if match["part"].startswith("clip_") else "clip_l"
            parts.setdefault(match["name"], {})[part] = entry
    found = []
    for name, entries in sorted(parts.items())[:MOST]:
        shapes = {part: _rows(entry) for part, entry in entries.items()}
        counts = {shape[0] for shape in shapes.values()}
        if "clip_l" in shapes and len(counts) == 1 and 0 not in counts:
            found.append(Vectors(name, counts.pop(), {part: shape[1] for part, shape in shapes.items()}, entries))
    return tuple(found)


def picture_of(metadata: Mapping[str, str]) -> bytes | None:
    """The bytes of the picture that a file's metadata hold, whatever they are; None where there is none."""
    text = metadata.get("modelspec.thumbnail", "")
    if text.startswith("data:image/") and ";base64," in text[:100]:
        return _decoded(text.partition(",")[2])
    try:
        covers = json.loads(metadata.get("ssmd_cover_images", "[]"))
    except (ValueError, RecursionError):
        return None
    first = covers[0] if isinstance(covers, list) and covers else None
    return _decoded(first) if isinstance(first, str) else None


def _rows(entry: Mapping[str, Any]) -> tuple[int, int]:
    """Number and width of vectors, (0, 0) for what is none."""
    shape = [1, *entry["shape"]] if len(entry["shape"]) == 1 else entry["shape"]
    fits = len(shape) == 2 and 1 <= shape[0] <= MAX_VECTORS and 1 <= shape[1] <= _MAX_WIDTH
    return (shape[0], shape[1]) if fits and entry["dtype"] in _FLOATS else (0, 0)


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text.strip(), validate=True) or None
    except (binascii.Error, ValueError):
        return None
