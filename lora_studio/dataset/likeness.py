"""Two remarks on pictures: twins (nearly the same picture twice) and blur.

A likeness is a difference hash of 16 x 16 bits on brightness (N. Krawetz, "Kind of Like That", 2013) and the mean
colours of 4 x 4 fields; drawings of one kind share much of their layout, so the hash alone would call too many of
them twins. Blur is asked by halving and doubling the picture: what was not sharp loses nothing by it.
"""

from __future__ import annotations

from PIL import Image, ImageChops, ImageStat

_SIDE = 16
_FIELDS = 4
_HASH_DIGITS = _SIDE * _SIDE // 4
MAX_BITS = 20
"""Of 256: twins differ in no more."""
MAX_COLOUR = 14
"""Of 255: no field of twins differs by more in any colour."""
BLUR = 0.02
"""Share of the picture's contrast that halving takes away, below which it is blurry."""
FLAT = 2.0
"""Contrast (standard deviation of brightness, 0 to 127) below which a picture has nothing that could be sharp."""
_COMPARED_SIDE = 512


def likeness(image: Image.Image) -> str:
    """Hex digits that `alike` compares: 256 bits of brightness and 48 bytes of colour, of an RGB picture."""
    grey = image.convert("L").resize((_SIDE + 1, _SIDE), Image.Resampling.BOX).tobytes()
    bits = 0
    for row in range(_SIDE):
        start = row * (_SIDE + 1)
        for column in range(_SIDE):
            bits = bits << 1 | (grey[start + column] < grey[start + column + 1])
    fields = image.resize((_FIELDS, _FIELDS), Image.Resampling.BOX).tobytes()
    return f"{bits:0{_HASH_DIGITS}x}{fields.hex()}"


def alike(one: str, other: str) -> bool:
    """True when two likenesses are of nearly the same picture (scaled, saved again, a few pixels changed)."""
    if (int(one[:_HASH_DIGITS], 16) ^ int(other[:_HASH_DIGITS], 16)).bit_count() > MAX_BITS:
        return False
    colours = zip(bytes.fromhex(one[_HASH_DIGITS:]), bytes.fromhex(other[_HASH_DIGITS:]), strict=True)
    return all(abs(a - b) <= MAX_COLOUR for a, b in colours)


def is_blurry(image: Image.Image) -> bool:
    """True when an RGB picture loses next to nothing by being halved and doubled again."""
    grey = image.convert("L")
    grey.thumbnail((_COMPARED_SIDE, _COMPARED_SIDE), Image.Resampling.BOX)
    contrast = ImageStat.Stat(grey).stddev[0]
    if contrast < FLAT:
        return False
    half = (max(1, grey.width // 2), max(1, grey.height // 2))
    again = grey.resize(half, Image.Resampling.BOX).resize(grey.size, Image.Resampling.BICUBIC)
    lost = ImageStat.Stat(ImageChops.difference(grey, again)).rms[0]
    return bool(lost < BLUR * contrast)
