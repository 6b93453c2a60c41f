"""Two remarks on pictures: twins (nearly the same picture twice) and blur.

A likeness is a difference hash of 16 x 16 bits on brightness (N. Krawetz, "Kind of Like That", 2013) and the mean
colours of 4 x 4 fields; drawings of one kind share much of their layout, so the hash alone would call too many of
them twins (measured on 56 drawings of three sets: different ones differ in 45 bits or more, the same one saved as a
small JPEG and scaled in at most 15). Blur is asked by halving and doubling: what was not sharp loses nothing by it.
"""

from __future__ import annotations

from PIL import Image, ImageChops, ImageStat

_SIDE = 16
_FIELDS = 4
_HASH_DIGITS = _SIDE * _SIDE // 4
MAX_BITS = 28
"""Of 256: twins differ in no more."""
MAX_COLOUR = 14
"""Of 255: no field of twins differs by more in any colour."""
BLUR = 0.06
"""Share of a part's contrast that halving takes away, below which the part is blurry. Measured: sharp drawings of 128
pixels lose 0.26 to 0.61 in their sharpest part, after a Gaussian blur of 2 pixels at most 0.04."""
FLAT = 16.0
"""Contrast (standard deviation of brightness, 0 to 127) below which rounding to 8 bits drowns the measure."""
_COMPARED_SIDE = 512
_MARGIN = 6


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
    """True when no part of an RGB picture loses anything to speak of by being halved and doubled again.

    The sharpest of 4 x 4 parts decides: a sharp face before a soft ground is a sharp picture. Parts without contrast
    say nothing, nor do pictures that have only such parts.
    """
    grey = image.convert("L")
    grey.thumbnail((_COMPARED_SIDE, _COMPARED_SIDE), Image.Resampling.BOX)
    if min(grey.size) < 4 * _MARGIN:
        return False
    half = (grey.width // 2, grey.height // 2)
    again = grey.resize(half, Image.Resampling.LANCZOS).resize(grey.size, Image.Resampling.LANCZOS)
    inner = (_MARGIN, _MARGIN, grey.width - _MARGIN, grey.height - _MARGIN)  # borders lose by resizing alone
    shown, lost = grey.crop(inner), ImageChops.difference(grey, again).crop(inner)
    shares = []
    for part in _parts(shown.size):
        contrast = ImageStat.Stat(shown.crop(part)).stddev[0]
        if contrast >= FLAT:
            shares.append(ImageStat.Stat(lost.crop(part)).rms[0] / contrast)
    return bool(shares) and max(shares) < BLUR


def _parts(size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Boxes (left, top, right, bottom) of 4 x 4 parts of a picture."""
    width, height = size
    columns = [width * i // _FIELDS for i in range(_FIELDS + 1)]
    rows = [height * i // _FIELDS for i in range(_FIELDS + 1)]
    return [(columns[x], rows[y], columns[x + 1], rows[y + 1]) for y in range(_FIELDS) for x in range(_FIELDS)]
