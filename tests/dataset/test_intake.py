"""Pictures as people have them: each becomes what it shows, or one sentence with its name."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageDraw, PngImagePlugin

from lora_studio.dataset import intake
from lora_studio.dataset.intake import normalise
from lora_studio.errors import DatasetError


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def halves(size: tuple[int, int] = (160, 128)) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, "red")
    image.paste("blue", (size[0] // 2, 0, *size))
    return image


def drawing(size: tuple[int, int] = (160, 160)) -> Image.Image:
    """Something with edges."""
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    for step in range(4, size[0], 14):
        pen.line((step, 0, size[0] - step, size[1]), fill=(step % 256, 20, 120), width=3)
    return image


def refused(source: bytes | Path, name: str = "cat.png") -> DatasetError:
    with pytest.raises(DatasetError) as caught:
        normalise(source, name)
    assert repr(name) in caught.value.message
    assert caught.value.message.count(". ") == 0, "one sentence"
    assert caught.value.values["name"] == name
    return caught.value


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "JPEG"])
def test_every_allowed_kind_becomes_an_rgb_png(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    picture = normalise(encoded(halves(), kind, **options))
    image = opened(picture.png)
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", (160, 128))
    assert (picture.width, picture.height) == (160, 128)
    for at, wanted in (((20, 60), (255, 0, 0)), ((140, 60), (0, 0, 255))):
        assert all(abs(a - b) <= 4 for a, b in zip(image.getpixel(at), wanted, strict=True))


def test_the_content_decides_and_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "photo.txt.exe"
    path.write_bytes(encoded(halves(), "JPEG"))
    assert normalise(path).width == 160
    assert refused(b"<html><script>alert(1)</script></html>", "cute.png").code == "picture_unknown"


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "EPS", "PPM", "ICO"])
def test_other_decoders_are_never_asked(kind: str) -> None:
    assert refused(encoded(halves((64, 64)), kind)).code == "picture_unknown"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_cameras_orientation_is_applied(orientation: int) -> None:
    upright = Image.new("RGB", (160, 128), "white")
    upright.paste("red", (0, 0, 80, 64))  # top left
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = opened(normalise(encoded(stored, "JPEG", quality=95, exif=exif)).png)
    assert image.size == (160, 128)
    red, green, _ = image.getpixel((30, 30))
    assert red > 240
    assert green < 15
    assert min(image.getpixel((130, 100))) > 240


@pytest.mark.filterwarnings("ignore:.*EXIF")
@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0nonsense",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x02\x01\x12\0\x03\0\0\0\x01\0\x63\0\0",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x02upside",
    ],
)
def test_damaged_words_of_the_camera_do_not_matter(exif: bytes) -> None:
    assert normalise(encoded(halves(), "JPEG", exif=exif)).width == 160


def test_a_camera_file_with_several_pictures_gives_the_first() -> None:
    """Telephones save JPEGs with a second picture inside (MPO)."""
    data = encoded(halves(), "MPO", save_all=True, append_images=[Image.new("RGB", (160, 128), "lime")])
    made = opened(normalise(data).png)
    red, green, _ = made.getpixel((20, 60))
    assert (red > 240, green < 15) == (True, True)


def test_sixteen_bit_grey_keeps_its_brightness() -> None:
    """PIL's own conversion cuts every value above 255 to white."""
    row = struct.pack("<H", 1_000) * 65 + struct.pack("<H", 40_000) * 65
    image = Image.frombytes("I;16", (130, 130), row * 130)
    made = opened(normalise(encoded(image)).png)
    assert made.getpixel((100, 60)) == (156, 156, 156)
    assert made.getpixel((20, 60)) == (4, 4, 4)


@pytest.mark.parametrize("value", [0, 65_535])
def test_sixteen_bit_grey_reaches_black_and_white(value: int) -> None:
    made = opened(normalise(encoded(Image.new("I;16", (130, 130), value))).png)
    assert made.getpixel((5, 5)) == (value // 257,) * 3


def test_cmyk_becomes_rgb() -> None:
    image = Image.new("CMYK", (130, 130), (0, 255, 255, 0))
    red, green, blue = opened(normalise(encoded(image, "JPEG", quality=95)).png).getpixel((60, 60))
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_on_white(mode: str) -> None:
    image = Image.new(mode, (130, 130), (255, 0, 0, 0) if mode == "RGBA" else (0, 0))
    image.paste((0, 0, 255, 128) if mode == "RGBA" else (0, 128), (0, 0, 65, 130))
    made = opened(normalise(encoded(image)).png)
    assert made.getpixel((100, 60)) == (255, 255, 255), "transparent red is white, not red"
    half = made.getpixel((20, 60))
    assert abs(half[0] - 127) <= 1
    assert half[2] == (255 if mode == "RGBA" else half[0])


def test_a_palette_with_a_transparent_colour_lies_on_white() -> None:
    image = Image.new("P", (130, 130), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (0, 0, 65, 130))
    made = opened(normalise(encoded(image, transparency=0)).png)
    assert made.getpixel((100, 60)) == (255, 255, 255)
    assert made.getpixel((20, 60)) == (0, 0, 255)


def test_a_transparent_colour_without_an_alpha_channel_lies_on_white() -> None:
    made = opened(normalise(encoded(halves(), transparency=(255, 0, 0))).png)
    assert made.getpixel((20, 60)) == (255, 255, 255)
    assert made.getpixel((140, 60)) == (0, 0, 255)


def test_sixteen_bit_grey_with_a_transparent_value_is_read() -> None:
    made = opened(normalise(encoded(Image.new("I;16", (130, 130), 40_000), transparency=40_000)).png)
    assert made.getpixel((60, 60)) == (156, 156, 156)


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_black_and_white_grey_and_palettes_become_rgb(mode: str) -> None:
    image = halves().convert("L").point(lambda value: 255 if value > 50 else 0).convert(mode)
    made = opened(normalise(encoded(image)).png)
    assert (made.mode, made.getpixel((20, 60)), made.getpixel((140, 60))) == ("RGB", (255,) * 3, (0,) * 3)


@pytest.mark.parametrize("kind", ["WEBP", "PNG"])
def test_the_first_frame_of_an_animation_counts(kind: str) -> None:
    frames = [Image.new("RGB", (130, 130), colour) for colour in ("lime", "red", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
    assert opened(data).n_frames == 3
    red, green, blue = opened(normalise(data).png).getpixel((60, 60))
    assert green > 240
    assert max(red, blue) < 15


def test_colours_of_another_profile_become_srgb() -> None:
    """A profile with swapped primaries shows the pixels' red as green; dropping it would learn the wrong colour."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack_from(">I", profile, 128)[0]
    tags = {bytes(profile[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    red, green = tags[b"rXYZ"] + 4, tags[b"gXYZ"] + 4
    profile[red : red + 8], profile[green : green + 8] = profile[green : green + 8], profile[red : red + 8]
    made = opened(normalise(encoded(halves(), icc_profile=bytes(profile))).png)
    r, g, _ = made.getpixel((20, 60))
    assert (r < 40, g > 215) == (True, True)


@pytest.mark.parametrize("profile", [b"nonsense", b"\0" * 200])
def test_a_damaged_profile_is_no_reason_to_refuse(profile: bytes) -> None:
    assert opened(normalise(encoded(halves(), icc_profile=profile)).png).getpixel((20, 60)) == (255, 0, 0)


def test_nothing_but_pixels_is_kept() -> None:
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    exif.get_ifd(0x8825)[2] = (48.0, 8.0, 15.0)
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "SecretPrompt")
    text.add_itxt("Author", "SecretName")
    for data in (
        encoded(halves(), "JPEG", exif=exif, comment=b"SecretComment"),
        encoded(halves(), "PNG", exif=exif, pnginfo=text, dpi=(300, 300)),
        encoded(halves(), "WEBP", exif=exif, xmp=b"<x>SecretXmp</x>"),
    ):
        png = normalise(data).png
        assert b"Secret" in data
        assert b"Secret" not in png
        kinds, place = [], 8
        while place < len(png):
            size, kind = struct.unpack_from(">I4s", png, place)
            kinds.append(kind)
            place += 12 + size
        assert set(kinds) == {b"IHDR", b"IDAT", b"IEND"}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_picture_is_refused(kind: str, share: float) -> None:
    whole = encoded(drawing(), kind)
    assert refused(whole[: int(len(whole) * share)]).code in ("picture_broken", "picture_unknown")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "WEBP", "BMP"]),
    hits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=12),
)
def test_damage_is_refused_or_read_and_nothing_else(kind: str, hits: list[tuple[float, int]]) -> None:
    data = bytearray(encoded(drawing((40, 40)), kind))
    for place, value in hits:
        data[int(place * (len(data) - 1))] = value
    message, mode = "", ""
    try:
        mode = opened(normalise(bytes(data), "cat.png").png).mode
    except DatasetError as error:
        message = error.message
    assert mode == "RGB" or "'cat.png'" in message


def png_of(width: int, height: int) -> bytes:
    """A valid PNG of zeros, made without ever holding its pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = b"\0" * (1 + width)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_a_pixel_bomb_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[object] = []
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda self: loads.append(self))
    error = refused(png_of(8_000, 8_000), "bomb.png")
    assert error.code == "picture_too_many_pixels"
    assert "8000x8000" in error.message
    assert "40 million" in error.message
    assert loads == []


@pytest.mark.parametrize("side", [10_000, 20_000])
def test_even_larger_bombs_are_refused_where_pillow_warns_or_raises(side: int) -> None:
    header = png_of(1, 1)[:16] + struct.pack(">II", side, side) + png_of(1, 1)[24:]
    fixed = header[:29] + struct.pack(">I", zlib.crc32(header[12:29])) + header[33:]
    assert refused(fixed).code == "picture_too_many_pixels"


def test_text_that_unpacks_to_much_is_refused() -> None:
    packed = zlib.compress(b"a" * 80_000_000, 9)
    data = b"zTXt" + b"k\0\0" + packed
    chunk = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    whole = png_of(130, 130)
    assert refused(whole[:33] + chunk + whole[33:]).code == "picture_broken"


def test_a_file_of_too_many_bytes_is_not_even_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(intake.MAX_BYTES + 1)
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("was read"))
    error = refused(path, "huge.png")
    assert error.code == "picture_too_many_bytes"
    assert "25.0 MB" in error.message


def test_long_and_narrow_pictures_are_refused() -> None:
    error = refused(encoded(Image.new("RGB", (900, 200))), "panorama.png")
    assert error.code == "picture_too_long"
    assert "900x200" in error.message
    assert normalise(encoded(Image.new("RGB", (800, 200)))).width == 800


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path / "gone.png", "gone.png").code == "picture_unreadable"
    assert refused(tmp_path, "folder").code == "picture_unreadable"


def test_an_empty_file_is_no_picture() -> None:
    assert refused(b"").code == "picture_unknown"


def test_small_pictures_are_remarked_on_and_kept() -> None:
    assert "small" in normalise(encoded(drawing((127, 300)))).remarks
    assert "small" not in normalise(encoded(drawing((128, 300)))).remarks


def test_the_same_pixels_give_the_same_bytes() -> None:
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    plain, told = normalise(encoded(drawing())), normalise(encoded(drawing(), "BMP"))
    assert plain.png == told.png == normalise(encoded(drawing(), exif=exif)).png
