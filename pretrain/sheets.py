"""Pictures side by side in one PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pretrain.files import replacing


def contact_sheet(images: NDArray[np.uint8], columns: int = 8) -> NDArray[np.uint8]:
    """uint8 (n, h, w, 3) to one picture (rows * h, columns * w, 3), row by row; what is left over is white."""
    n, h, w, _ = images.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    sheet = np.full((rows * columns, h, w, 3), 255, np.uint8)
    sheet[:n] = images
    return sheet.reshape(rows, columns, h, w, 3).transpose(0, 2, 1, 3, 4).reshape(rows * h, columns * w, 3)


def save_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Writes one picture (h, w, 3)."""
    with replacing(path) as file:
        Image.fromarray(picture).save(file, "PNG")


def to_pixels(x: Tensor) -> NDArray[np.uint8]:
    """(n, 3, h, w) in -1 to 1 to uint8 (n, h, w, 3)."""
    pixels = ((x.detach().float().clamp(-1, 1) + 1) * 127.5).round().byte()
    return np.asarray(pixels.permute(0, 2, 3, 1).cpu().contiguous().numpy(), np.uint8)


def from_pixels(images: NDArray[Any]) -> Tensor:
    """uint8 (n, h, w, 3) to float32 (n, 3, h, w) in -1 to 1."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
