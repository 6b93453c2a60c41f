"""LoRA files without torch: a header and zeros (or random bytes), in kohya's layout, and what lies beside them."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

from PIL import Image

SHAPES = {
    "sd1": {"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k": (768, 320)},
    "sd2": {"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k": (1024, 320)},
    "sdxl": {"lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k": (2048, 640)},
    "none": {"lora_unet_mid_block_attentions_0_proj_in": (320, 320)},
}
"""Modules of a family's smallest file: width of input and output."""


def kohya(family: str = "sd1", rank: int = 4) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a small file."""
    shapes: dict[str, tuple[int, ...]] = {}
    for module, (width, out) in SHAPES[family].items():
        shapes |= {
            f"{module}.lora_down.weight": (rank, width),
            f"{module}.lora_up.weight": (out, rank),
            f"{module}.alpha": (),
        }
    return shapes


def file_bytes(shapes: dict[str, tuple[int, ...]], metadata: dict[str, str] | None = None, seed: int = 0) -> bytes:
    """A whole safetensors file in F16 with random bytes; another seed is another file."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, shape in shapes.items():
        size = 2
        for side in shape:
            size *= side
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + random.Random(seed).randbytes(end)


def write(path: Path, family: str = "sd1", metadata: dict[str, str] | None = None, seed: int = 0) -> Path:
    """A LoRA file at `path`, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file_bytes(kohya(family), metadata, seed))
    return path


def write_json(path: Path, value: Any) -> Path:
    """A text beside it."""
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


def write_picture(path: Path, colour: str = "red", size: tuple[int, int] = (700, 500)) -> Path:
    """A picture beside it, in the format of its ending."""
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, {"jpg": "JPEG", "webp": "WEBP"}.get(path.suffix[1:], "PNG"))
    path.write_bytes(out.getvalue())
    return path
