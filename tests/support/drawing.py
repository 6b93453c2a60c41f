"""Pictures without a model: a face whose hair follows the words; ears and more follow the weights of LoRAs by name."""

from __future__ import annotations

import base64
import io
import random

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps
from PIL.PngImagePlugin import PngInfo

from lora_studio.prompt.infotext import CHUNK, request_chunk
from lora_studio.types import GenerateRequest

HAIR = {
    "brown": (122, 84, 60),
    "pink": (236, 150, 180),
    "blue": (110, 150, 220),
    "blonde": (236, 208, 130),
    "black": (52, 48, 58),
    "red": (196, 80, 70),
    "green": (120, 176, 130),
    "purple": (160, 130, 205),
}


def draw(request: GenerateRequest, index: int, changes: dict[str, float] | None = None) -> Image.Image:
    """A face whose hair follows the words, whose background follows the seed, and whose ears follow the weights."""
    rng = random.Random(f"{request.prompt}|{request.seed + index}")
    acts = {adapter.name: adapter.weight for adapter in request.adapters} | (changes or {})
    ears = sum(weight for name, weight in acts.items() if "ear" in name.lower())
    paper = sum(weight for name, weight in acts.items() if "paper" in name.lower())
    star = sum(weight for name, weight in acts.items() if "miko" in name.lower())
    width, height = request.width * 2, request.height * 2
    ground = rng.choice([(214, 229, 240), (240, 226, 214)])
    picture = Image.new("RGB", (width, height), ground)
    pen = ImageDraw.Draw(picture)
    hair = next((colour for word, colour in HAIR.items() if f"{word} hair" in request.prompt), (150, 120, 100))
    cx, cy, r = width * (0.5 + rng.uniform(-0.04, 0.04)), height * 0.56, min(width, height) * 0.27
    pen.ellipse([cx - r * 1.25, cy - r * 1.3, cx + r * 1.25, cy + r * 1.75], fill=hair)
    tall = r * 0.9 * max(0.0, min(1.5, ears))
    if tall > 1:
        for side in (-1, 1):
            tip, foot = cx + side * r * 0.95, cx + side * r * 0.35
            edge = cx + side * r * 1.15
            pen.polygon([(foot, cy - r * 1.1), (tip, cy - r * 1.1 - tall), (edge, cy - r * 0.7)], fill=hair)
            inner = (foot * 0.6 + tip * 0.4, cy - r * 1.02)
            pen.polygon([inner, (tip, cy - r * 1.1 - tall * 0.7), (edge, cy - r * 0.85)], fill=(240, 170, 170))
    pen.ellipse([cx - r, cy - r * 0.95, cx + r, cy + r], fill=(252, 226, 206))
    pen.pieslice([cx - r * 1.08, cy - r * 1.15, cx + r * 1.08, cy + r * 0.55], 180, 360, fill=hair)
    for side in (-1, 1):
        ex = cx + side * r * 0.42
        pen.ellipse([ex - r * 0.15, cy - r * 0.02, ex + r * 0.15, cy + r * 0.38], fill=(70, 110, 170))
        pen.ellipse([ex - r * 0.05, cy + r * 0.05, ex + r * 0.06, cy + r * 0.17], fill=(255, 255, 255))
        pen.ellipse(
            [ex - r * 0.2 + side * r * 0.12, cy + r * 0.42, ex + r * 0.2 + side * r * 0.12, cy + r * 0.56],
            fill=(246, 190, 180),
        )
    pen.arc([cx - r * 0.22, cy + r * 0.4, cx + r * 0.22, cy + r * 0.72], 20, 160, fill=(150, 70, 70), width=3)
    if star > 0.05:
        size = r * 0.3 * min(1.5, star)
        pen.ellipse(
            [cx + r * 0.6 - size, cy - r * 0.8 - size, cx + r * 0.6 + size, cy - r * 0.8 + size], fill=(250, 214, 90)
        )
    small = picture.resize((request.width, request.height), Image.Resampling.LANCZOS)
    if paper > 0.05:
        flat = ImageOps.posterize(small.filter(ImageFilter.ModeFilter(7)), 3)
        edge = ImageChops.offset(flat, 2, 3).point(lambda value: value // 2)
        cut = Image.composite(flat, edge, ImageOps.invert(flat.filter(ImageFilter.FIND_EDGES).convert("L")))
        small = Image.blend(small, cut, min(1.0, paper))
    return small


def encode(picture: Image.Image, chunk: str | None = None) -> bytes:
    """A picture as PNG, with its request when there is one."""
    info = PngInfo()
    if chunk is not None:
        info.add_text(CHUNK, chunk)
    out = io.BytesIO()
    picture.save(out, "PNG", pnginfo=info)
    return out.getvalue()


def png(request: GenerateRequest, index: int) -> bytes:
    """The stored picture of a request."""
    return encode(draw(request, index), request_chunk(request, index))


def uri(picture: Image.Image) -> str:
    """A small picture as a data URI."""
    out = io.BytesIO()
    picture.save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
