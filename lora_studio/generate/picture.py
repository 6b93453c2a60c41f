"""Tensors to pictures: PNG with the texts that travel inside, and small JPEGs for looking while it runs."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from lora_studio.prompt.infotext import CHUNK, PARAMETERS, ModelFacts, infotext, request_chunk
from lora_studio.prompt.readers.reading import valid
from lora_studio.types import GenerateRequest

_GLIMPSE_SIDE = 192


@dataclass(frozen=True)
class Picture:
    """A finished picture: PNG bytes with both texts inside, of what request, and which of its pictures."""

    png: bytes
    request: GenerateRequest
    index: int

    @property
    def seed(self) -> int:
        """The seed of this very picture."""
        return self.request.seed + self.index


def to_image(pixels: Tensor) -> Image.Image:
    """A picture (3, H, W) in -1..1, rounded to 8 bits as diffusers' image processor does; no number is black."""
    shades = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().nan_to_num(0)
    return Image.fromarray(shades.permute(1, 2, 0).numpy().astype("uint8"))


def to_png(pixels: Tensor, request: GenerateRequest, index: int, facts: ModelFacts) -> Picture:
    """A picture (3, H, W) in -1..1 as PNG, with A1111's text and the exact request inside.

    Halves of characters become question marks: a base's title may have one from the name of its folder.
    """
    texts = PngInfo()
    for key, text in ((PARAMETERS, infotext(request, facts, index=index)), (CHUNK, request_chunk(request, index))):
        if text.isascii():
            texts.add_text(key, text)
        else:
            texts.add_itxt(key, valid(text))
    out = io.BytesIO()
    to_image(pixels).save(out, "PNG", pnginfo=texts)
    return Picture(out.getvalue(), request, index)


def glimpse_uri(colours: Tensor) -> str:
    """A look (3, h, w) in -1..1 as a smooth small JPEG in a data URI."""
    image = to_image(colours)
    scale = _GLIMPSE_SIDE / max(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
