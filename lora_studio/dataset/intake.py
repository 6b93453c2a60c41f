"""A picture as a person has it -> a plain RGB PNG without metadata, remarks on it, or one sentence why not.

What is allowed is decided by the content, not the name, and from the header before anything is decoded (a PNG of
420 KB can ask for a gigabyte). The first frame counts; the camera's orientation is applied; 16-bit grey is scaled,
not cut; transparency lies on white; colours of another profile become sRGB; every other word in the file (place,
camera, owner) is dropped. It knows no database and no training.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageCms, UnidentifiedImageError

from lora_studio.dataset.likeness import is_blurry, likeness
from lora_studio.errors import DatasetError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
MAX_BYTES = 25_000_000
MAX_PIXELS = 40_000_000
MAX_ASPECT = 4.0
"""Longer side over shorter side; what is longer would lose most of itself in any bucket."""
SMALL_SIDE = 128
"""Pictures whose shorter side has fewer pixels are remarked on as small; they are used all the same."""

# What PIL's four decoders raise on damaged files, found by feeding them damaged ones.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    LookupError,
    ArithmeticError,
    struct.error,
    zlib.error,
)

_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Picture:
    """A normalised picture.

    `remarks` are codes: small (see `SMALL_SIDE`), blurry (see `likeness`). `likeness` tells twins, see
    `likeness.alike`.
    """

    png: bytes
    width: int
    height: int
    remarks: tuple[str, ...]
    likeness: str


def normalise(source: Path | bytes, name: str = "") -> Picture:
    """The picture in a file or in bytes.

    Args:
        name: what the person calls it; a file's own name where it is empty.

    Raises:
        DatasetError: it cannot be used; the sentence has its name and the reason.
    """
    shown = name or (source.name if isinstance(source, Path) else "the picture")
    data = _read(source, shown)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image, shown)
            plain = _plain(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(shown, None) from error
    except UnidentifiedImageError as error:
        raise _refusal(
            "picture_unknown", "{name} is not a picture that can be used; give a JPEG, PNG, WebP or BMP file.", shown
        ) from error
    except _BROKEN as error:
        raise _broken(shown) from error
    out = io.BytesIO()
    plain.save(out, "PNG", compress_level=3)  # a tenth larger than level 6 in less than half the time
    return _picture(out.getvalue(), plain)


def reopened(path: Path, name: str = "") -> Picture:
    """What `normalise` said of a picture, from the PNG that it made and that was kept at `path`.

    The bounds for what people send do not hold here: our PNG may be several times as large as the JPEG was.

    Raises:
        DatasetError: the file is damaged.
    """
    try:
        png = path.read_bytes()
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            plain = image.convert("RGB")
    except _BROKEN as error:
        raise _broken(name or path.name) from error
    return _picture(png, plain)


def too_many_bytes(shown: str, size: int) -> DatasetError:
    """The sentence for a file of `size` bytes, which are more than `MAX_BYTES`."""
    return _refusal(
        "picture_too_many_bytes",
        "{name} has {given} MB; at most {allowed} MB are allowed; save it smaller.",
        shown,
        given=f"{size / 1e6:.1f}",
        allowed=f"{MAX_BYTES / 1e6:.0f}",
    )


def _picture(png: bytes, plain: Image.Image) -> Picture:
    """A plain RGB picture with what is to be said of it."""
    remarks = ["small"] if min(plain.size) < SMALL_SIDE else []
    if is_blurry(plain):
        remarks.append("blurry")
    return Picture(png, plain.width, plain.height, tuple(remarks), likeness(plain))


def _read(source: Path | bytes, shown: str) -> bytes:
    """The bytes, if they are not too many."""
    if isinstance(source, bytes):
        size, data = len(source), source
    else:
        try:
            size = source.stat().st_size
            data = source.read_bytes() if size <= MAX_BYTES else b""
        except OSError as error:
            raise _refusal(
                "picture_unreadable", "{name} cannot be read; check that it is there and may be read.", shown
            ) from error
    if size > MAX_BYTES:
        raise too_many_bytes(shown, size)
    return data


def _check_size(image: Image.Image, shown: str) -> None:
    """Refuse by the header alone."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _too_large(shown, (width, height))
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise aspect_refusal(shown, width, height, MAX_ASPECT)


def aspect_refusal(shown: str, width: int, height: int, allowed: float) -> DatasetError:
    """The sentence for a picture that is too long for its width (`allowed`: longer over shorter side)."""
    return _refusal(
        "picture_too_long",
        "{name} has {given} pixels, which is too long and narrow; the longer side may be at most {allowed} times the "
        "shorter; crop it.",
        shown,
        given=f"{width}x{height}",
        allowed=f"{allowed:g}",
    )


def _plain(image: Image.Image) -> Image.Image:
    """First frame, upright, RGB, without metadata."""
    image.seek(0)
    image.load()
    profile = image.info.get("icc_profile")
    upright = _upright(image)
    if upright.mode.startswith("I") or upright.mode == "F":
        # 16-bit grey: PIL would cut everything above 255 to white.
        upright = upright.convert("I").point(lambda value: value * (1 / 257) + 0.5).convert("L")
        upright.info.pop("transparency", None)  # it counts in the old scale
    if upright.has_transparency_data:
        layered = upright.convert("RGBA")
        ground = Image.new("RGBA", layered.size, "white")
        ground.alpha_composite(layered)
        upright = ground
    coloured = _to_srgb(upright, profile)
    # A fresh picture of the pixels alone, so that nothing in `info` can be written out.
    bare = Image.new("RGB", coloured.size)
    bare.paste(coloured)
    return bare


def _upright(image: Image.Image) -> Image.Image:
    """Turned as the camera was held. ImageOps.exif_transpose also writes the EXIF again, which fails on odd ones."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except _BROKEN:
        orientation = None  # damaged words about a picture are no reason to refuse it
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB; colours are converted where the file brings a profile that fits its pixels."""
    if image.mode != "CMYK":
        image = image.convert("RGB")
    if profile:
        try:
            given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            wanted = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
            converted = ImageCms.profileToProfile(image, given, wanted, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            converted = None  # a profile of another colour space, or a damaged one: the pixels stand as they are
        if converted is not None:
            return converted
    return image.convert("RGB")


def _broken(shown: str) -> DatasetError:
    return _refusal(
        "picture_broken", "{name} is damaged and cannot be read to its end; save it again or leave it out.", shown
    )


def _too_large(shown: str, size: tuple[int, int] | None) -> DatasetError:
    given = f"{size[0]}x{size[1]}" if size else f"over {MAX_PIXELS // 1_000_000} million"
    return _refusal(
        "picture_too_many_pixels",
        "{name} has {given} pixels; at most {allowed} million are allowed; make it smaller.",
        shown,
        given=given,
        allowed=str(MAX_PIXELS // 1_000_000),
    )


def _refusal(code: str, sentence: str, shown: str, **values: str) -> DatasetError:
    return DatasetError(sentence.format(name=repr(shown), **values), code=code, name=shown, **values)
