"""The canvas, and the work on finished pixels: greys, blocks, paper grain, intended faults."""

from __future__ import annotations

import io
import random
from functools import lru_cache
from typing import Any

import numpy as np
import skia
from numpy.typing import NDArray
from PIL import Image, ImageFilter


class Sheet:
    """A square canvas of 128 units that ends as an array of pixels."""

    def __init__(self, size: int) -> None:
        self.pixels = np.zeros((size, size, 4), np.uint8)
        self.surface = skia.Surface(self.pixels, colorType=skia.kRGBA_8888_ColorType)
        self.canvas = self.surface.getCanvas()
        self.canvas.scale(size / 128, size / 128)

    def array(self) -> NDArray[np.uint8]:
        """The picture as uint8 (size, size, 3)."""
        self.surface.flushAndSubmit()
        return np.ascontiguousarray(self.pixels[..., :3])


@lru_cache(maxsize=4)
def _paper_grain(size: int) -> NDArray[np.uint8]:
    """Sixteen sheets of uneven paper for the watercolor style."""
    random_numbers = np.random.default_rng(7)
    sheets = []
    for _ in range(16):
        grain = random_numbers.normal(0, 0.014, (size, size))
        for cells, strength in ((size // 4, 0.026), (size // 8, 0.026), (size // 16, 0.026)):
            knots = random_numbers.normal(0, 1, (cells + 1, cells + 1))
            place = np.linspace(0, cells, size, endpoint=False)
            share, place = place % 1, place.astype(int)
            rows = knots[place] * (1 - share)[:, None] + knots[place + 1] * share[:, None]
            grain = grain + strength * (rows[:, place] * (1 - share) + rows[:, place + 1] * share)
        sheets.append(grain)
    return np.stack(sheets).astype(np.float32)


def _pixels(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Numbers of 0 to 255 as pixels; what is after the point is cut off."""
    return values.astype(np.uint8)


def finish(picture: NDArray[np.uint8], style: str, rng: random.Random) -> NDArray[np.uint8]:
    """The part of a style that works on pixels: greys, paper grain, blocks."""
    size = picture.shape[0]
    if style == "monochrome style":
        grey = _pixels(picture @ np.array([0.3, 0.59, 0.11]))
        return np.repeat(grey[..., None], 3, -1)
    if style == "pixel art style":
        block = size // 43 if size % 43 == 0 else size // 32
        cells = size // block
        small = picture.reshape(cells, block, cells, block, 3).astype(np.float32).mean((1, 3))
        small = _pixels((np.round(small / 18) * 18).clip(0, 255))
        return small.repeat(block, 0).repeat(block, 1)
    if style == "watercolor style":
        grain = _paper_grain(size)[rng.randrange(16)][..., None]
        value = picture.astype(np.float32) / 255 * 0.87 + 0.12
        value = value + grain * (1.15 - 0.5 * value)
        return _pixels(value.clip(0, 1) * 255)
    if style == "papercut style":
        grain = _paper_grain(size)[rng.randrange(16)][..., None]
        return _pixels((picture * (1 + 0.5 * grain)).clip(0, 255))
    return picture


def spoil(picture: NDArray[np.uint8], fault: str, strength: float, rng: random.Random) -> NDArray[np.uint8]:
    """Makes a picture bad on purpose. strength runs from 0 (low quality) to 1 (worst quality)."""
    image = Image.fromarray(picture)
    size = picture.shape[0]
    if fault == "blurry":
        return np.asarray(image.filter(ImageFilter.GaussianBlur((1.3 + 2.2 * strength) * size / 128)))
    if fault == "jpeg artifacts":
        stored = io.BytesIO()
        image.save(stored, "JPEG", quality=int(13 - 10 * strength))
        return np.asarray(Image.open(stored).convert("RGB"))
    if fault == "noise":
        noise = np.random.default_rng(rng.randrange(1 << 30)).normal(0, 22 + 34 * strength, picture.shape)
        return _pixels((picture + noise).clip(0, 255))
    if fault == "lowres":
        few = int(44 - 22 * strength)
        return np.asarray(
            image.resize((few, few), Image.Resampling.BILINEAR).resize((size, size), Image.Resampling.BICUBIC)
        )
    faded = 150 + (picture.astype(np.float32) - 128) * (0.52 - 0.30 * strength)  # washed out
    return _pixels((faded * 0.8 + faded.mean(-1, keepdims=True) * 0.2).clip(0, 255))
