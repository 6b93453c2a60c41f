"""Embedding files in every layout that is read, as their programs write them, and broken ones; all small and real."""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save_file
from torch import Tensor

WIDTH = 32
"""Width of the tiny base's text encoder."""


def vectors(count: int = 3, width: int = WIDTH, seed: int = 0) -> Tensor:
    """(count, width) like trained ones: tokens of CLIP have a standard deviation of about 0.015."""
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) * 0.05


def write_safetensors(path: Path, count: int = 3, width: int = WIDTH, seed: int = 0) -> Path:
    """As kohya's trainer and A1111's converters write it."""
    save_file({"emb_params": vectors(count, width, seed)}, path)
    return path


def a1111_table(tensor: Tensor, name: str = "inner name") -> dict[str, Any]:
    """What A1111 hands to torch.save."""
    return {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": tensor},
        "name": name,
        "step": 1500,
        "sd_checkpoint": "81761151",
        "sd_checkpoint_name": "v1-5-pruned",
    }


def write_pt(path: Path, count: int = 3, width: int = WIDTH, seed: int = 0, **how: Any) -> Path:
    """A1111's .pt; `_use_new_zipfile_serialization=False` writes it as torch did before 1.6."""
    torch.save(a1111_table(vectors(count, width, seed)), path, **how)
    return path


def picture(size: tuple[int, int] = (60, 48)) -> Image.Image:
    """A picture without a black pixel, so that its border is where the drawing of strips says."""
    pixels = np.random.default_rng(0).integers(40, 250, (size[1], size[0], 3)).astype(np.uint8)
    return Image.fromarray(pixels)


def carried(tensor: Tensor) -> bytes:
    """The JSON that A1111 puts into a picture."""
    table = a1111_table(tensor)
    table["string_to_param"] = {"*": {"TORCHTENSOR": tensor.tolist()}}
    return json.dumps(table).encode()


def write_text_picture(path: Path, tensor: Tensor) -> Path:
    """A PNG with A1111's text chunk."""
    info = PngInfo()
    info.add_text("sd-ti-embedding", base64.b64encode(carried(tensor)).decode())
    picture().save(path, "PNG", pnginfo=info)
    return path


def veil(count: int) -> np.ndarray:
    """A1111's generator, one number after the other."""
    found, state = [], 0
    for _ in range(count):
        state = (1664525 * state + 1013904223) % 2**32
        found.append(state % 255)
    return np.array(found, dtype=np.uint8)


def write_pixel_picture(path: Path, tensor: Tensor, size: tuple[int, int] = (60, 48)) -> Path:
    """A PNG that carries the embedding in two strips of pixels beside the picture, without a text.

    The upper halves of the strips' bytes are decoration; where A1111 draws discs, any pattern that is not black does.
    """
    packed = np.frombuffer(zlib.compress(carried(tensor), 9), np.uint8)
    height = size[1]
    row = 3 * height
    padded = np.resize(packed, len(packed) + (-len(packed)) % row or len(packed))
    strips = []
    for half in (padded & 0x0F, padded >> 4):
        block = half.reshape(height, -1, 3)
        strips.append((block ^ (veil(block.size) & 0x0F).reshape(block.shape)) | 0x50)
    width = strips[0].shape[1]
    whole = np.zeros((height, 2 * width + size[0] + 2, 3), np.uint8)
    whole[:, :width] = strips[0]
    whole[:, width + 1 : width + 1 + size[0]] = np.asarray(picture(size))
    whole[:, width + 2 + size[0] :] = strips[1]
    Image.fromarray(whole).save(path, "PNG")
    return path


# ---------------------------------------------------------------- files that must be refused
class Runs:
    """Unpickling it would make the folder `target`."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.target),))


def write_code(path: Path, target: Path) -> Path:
    """A .pt whose pickle calls a function beside its vectors."""
    torch.save(a1111_table(vectors()) | {"evil": Runs(target)}, path)
    return path


def write_plain_code(path: Path, target: Path) -> Path:
    """The same without a zip around it."""
    path.write_bytes(pickle.dumps({"evil": Runs(target)}, protocol=2))
    return path


def write_zip_bomb(path: Path, megabytes: int) -> Path:
    """A .pt of some kilobytes whose storage unpacks to so many megabytes."""
    small = io.BytesIO()
    torch.save(a1111_table(torch.zeros(1, WIDTH)), small)
    with zipfile.ZipFile(small) as given, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for entry in given.infolist():
            data = given.read(entry)
            out.writestr(entry.filename, bytes(megabytes * 2**20) if "/data/" in entry.filename else data)
    return path


def write_pickle_bomb(path: Path, size: int) -> Path:
    """A pickle of some bytes that asks for a bytearray of `size` bytes, which `weights_only` allows."""
    program = b"cbuiltins\nbytearray\n" + b"(J" + size.to_bytes(4, "little") + b"tR."
    small = io.BytesIO()
    torch.save({}, small)
    with zipfile.ZipFile(small) as given, zipfile.ZipFile(path, "w") as out:
        for entry in given.infolist():
            out.writestr(
                entry.filename, b"\x80\x02" + program if entry.filename.endswith("data.pkl") else given.read(entry)
            )
    return path


def write_repeated(path: Path, count: int) -> Path:
    """A .pt with one number that claims to be `count` vectors, by a stride of 0."""
    torch.save(a1111_table(torch.zeros(1, 1).expand(count, WIDTH)), path)
    return path
