"""A small picture as the text that `modelspec.thumbnail` holds: a data URL of a JPEG, limited in pixels and bytes.

Nothing of the picture's own texts (prompts, places, cameras) comes along. It does not know files of adapters.

Source: https://github.com/Stability-AI/ModelSpec (thumbnail: a data URL, 256x256 or so).
"""

from __future__ import annotations

import base64
import io

from PIL import Image, ImageOps, UnidentifiedImageError

from lora_studio.errors import InvalidInput

SIDE = 256
"""Pixels of the longer side."""

LARGEST = 64 * 1024
"""Bytes of the JPEG."""

MOST_PIXELS = 100_000_000
_QUALITIES = (90, 80, 70, 60, 45, 30)


def data_url(picture: bytes, given: str = "the picture") -> str:
    """The picture as `data:image/jpeg;base64,...`; transparency becomes white.

    Args:
        picture: the bytes of a PNG, JPEG or WebP.
        given: what the sentence of a refusal calls it.

    Raises:
        InvalidInput: it is no picture, or one of too many pixels.
    """
    try:
        with Image.open(io.BytesIO(picture), formats=("PNG", "JPEG", "WEBP")) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError("too many pixels")
            upright = ImageOps.exif_transpose(image).convert("RGBA")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidInput(
            f"{given} is no picture that can be a thumbnail; give a PNG, JPEG or WebP of at most 100 megapixels.",
            code="meta_thumbnail",
            given=given,
        ) from error
    upright.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    plain = Image.new("RGB", upright.size, "white")
    plain.paste(upright, mask=upright.getchannel("A"))
    data = b""
    for quality in _QUALITIES:
        out = io.BytesIO()
        plain.save(out, "JPEG", quality=quality, optimize=True)
        data = out.getvalue()
        if len(data) <= LARGEST:
            break
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")
