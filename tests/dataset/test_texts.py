"""`lora_studio.dataset.texts`: what stands in PNG, JPEG and WebP files, real and hostile ones."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lora_studio.dataset import texts
from lora_studio.dataset.texts import MAX_TEXTS, texts_of

TEXT = "cat, 猫耳\nSteps: 1, Sampler: Euler, Seed: 2"


def saved(kind: str, exif: Image.Exif | None = None, info: PngInfo | None = None) -> bytes:
    """A small picture as bytes."""
    out = io.BytesIO()
    options: dict[str, object] = {"pnginfo": info} if info else {}
    if exif is not None:
        options["exif"] = exif
    Image.new("RGB", (8, 8), "red").save(out, kind, **options)
    return out.getvalue()


def comment(value: bytes | str, sub: bool = True) -> Image.Exif:
    """Exif with a UserComment, in the table below the main one or in the main one."""
    exif = Image.Exif()
    exif[0x0112] = 1  # without a field in the main table PIL writes none into a PNG
    if sub:
        exif.get_ifd(0x8769)[0x9286] = value
    else:
        exif[0x9286] = value
    return exif


def chunk(kind: bytes, body: bytes) -> bytes:
    """One PNG chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*chunks: bytes) -> bytes:
    """A file of these chunks and an end."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


def test_all_kinds_of_png_text() -> None:
    info = PngInfo()
    info.add_text("plain", "a\nb")
    info.add_text("packed", "x" * 1000, zip=True)
    info.add_itxt("unicode", TEXT)
    info.add_itxt("unicode packed", TEXT, zip=True)
    found = texts_of(saved("PNG", info=info))
    assert found.problems == []
    assert found.texts == {"plain": "a\nb", "packed": "x" * 1000, "unicode": TEXT, "unicode packed": TEXT}


def test_texts_behind_the_pixels_and_twice() -> None:
    data = saved("PNG")
    end = data.index(b"IEND") - 4
    more = chunk(b"tEXt", b"k\0first") + chunk(b"tEXt", b"k\0second") + chunk(b"tEXt", "l\0猫é".encode())
    assert texts_of(data[:end] + more + data[end:]).texts == {"k": "first", "l": "猫é"}
    assert texts_of(png(chunk(b"tEXt", b"k\0caf\xe9"))).texts == {"k": "café"}


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
@pytest.mark.parametrize(
    "value",
    [
        b"UNICODE\0" + TEXT.encode("utf-16-be"),
        b"UNICODE\0" + TEXT.encode("utf-16-le"),
        b"UNICODE\0" + TEXT.encode("utf-16"),
        b"ASCII\0\0\0" + TEXT.encode(),
        b"\0" * 8 + TEXT.encode(),
    ],
)
def test_user_comments(kind: str, value: bytes) -> None:
    assert texts_of(saved(kind, comment(value))).texts == {"UserComment": TEXT}


def test_fooocus_writes_it_into_the_main_table() -> None:
    assert texts_of(saved("JPEG", comment("cat, a", sub=False))).texts["UserComment"] == "cat, a"


def test_comfyui_writes_its_graph_into_the_camera_s_name() -> None:
    exif = Image.Exif()
    exif[0x0110] = 'prompt:{"1": 2}'
    exif[0x010F] = "workflow:{}"
    assert texts_of(saved("WEBP", exif)).texts == {"prompt": '{"1": 2}', "workflow": "{}"}


def test_a_comment_of_jpeg() -> None:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "JPEG", comment=TEXT.encode())
    assert texts_of(out.getvalue()).texts == {"Comment": TEXT}


def test_a_file_and_what_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(chunk(b"tEXt", b"k\0v")))
    assert texts_of(tmp_path / "a.png").texts == {"k": "v"}
    assert texts_of(b"GIF89a").problems == ["texts_unknown"]
    assert texts_of(b"").problems == ["texts_unknown"]
    with pytest.raises(OSError):
        texts_of(tmp_path / "none.png")


def test_a_file_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MAX_FILE", 100)
    assert texts_of(png(chunk(b"tEXt", b"k\0" + b"v" * 100))).problems == ["texts_too_large"]


def test_a_bomb_is_cut_off() -> None:
    """A kilobyte that becomes a gigabyte: no more than the limit is ever opened."""
    opener = zlib.compressobj(9)
    packed = b"".join(opener.compress(b"a" * 2**20) for _ in range(64)) + opener.flush()
    found = texts_of(png(chunk(b"zTXt", b"bomb\0\0" + packed), chunk(b"tEXt", b"k\0v")))
    assert (found.texts, found.problems) == ({"k": "v"}, ["texts_cut"])
    half = zlib.compress(b"b" * (MAX_TEXTS // 2 + 1))
    found = texts_of(png(chunk(b"zTXt", b"one\0\0" + half), chunk(b"zTXt", b"two\0\0" + half)))
    assert (list(found.texts), found.problems) == (["one"], ["texts_cut"])


def tiff(tables: list[list[tuple[int, int, int, int]]], filling: bytes = b"") -> bytes:
    """Exif of these tables of (tag, kind, count, value), one behind the other, and bytes behind them."""
    out = b"II*\0\x08\0\0\0"
    for table in tables:
        fields = b"".join(struct.pack("<HHLL", *each) for each in table)
        out += struct.pack("<H", len(table)) + fields + bytes(4)
    return out + filling


@pytest.mark.parametrize("tag", [0x010E, 0x0110, 0x9286])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_fields_that_all_point_at_the_whole_file_are_read_a_few_times(
    monkeypatch: pytest.MonkeyPatch, kind: str, tag: int
) -> None:
    """A thousand tables of a thousand fields that each hold all the rest of the file: 24 KB kept a server busy for
    minutes, with a megabyte behind them for hours."""
    bytes_seen = 0
    decoded = texts._decoded

    def counted(data: bytes) -> str:
        nonlocal bytes_seen
        bytes_seen += len(data)
        assert bytes_seen <= texts.MAX_EFFORT
        return decoded(data)

    monkeypatch.setattr(texts, "_decoded", counted)
    size, below = (200_000 if kind == "PNG" else 30_000), 8 + 2 + 12 * 1000 + 4
    pointers, fields = [(0x8769, 4, 1, below)] * 1000, [(tag, 2, size, 100)] * 1000
    data = tiff([pointers, fields], b"x" * size)
    segment = b"\xff\xe1" + struct.pack(">H", len(data) + 8) + b"Exif\0\0" + data if kind == "JPEG" else b""
    found = texts_of(png(chunk(b"eXIf", data)) if kind == "PNG" else b"\xff\xd8" + segment * 50 + b"\xff\xda\0\0")
    if tag == 0x0110:
        assert (found.texts, found.problems) == ({}, ["texts_cut"])
    else:
        assert len(found.texts) == 1
        assert bytes_seen <= size


def test_counts_beyond_the_file_cost_what_the_file_holds() -> None:
    field = (0x010E, 2, 2**32 - 1, 26)
    found = texts_of(png(chunk(b"eXIf", tiff([[field]], b"the rest"))))
    assert (found.texts, found.problems) == ({"ImageDescription": "the rest"}, ["texts_damaged"])
    many = b"II*\0\x08\0\0\0\xff\xff"
    found = texts_of(png(*[chunk(b"eXIf", many)] * 2000))
    assert (found.texts, found.problems) == ({}, ["texts_damaged"])


def test_bombs_are_not_opened_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The room for texts shrank by what was taken alone: each of thousands of bombs was opened up to it."""
    opened = 0

    class Opener:
        """What zlib gives out, counted."""

        def __init__(self) -> None:
            self._opener = zlib.decompressobj()

        def decompress(self, data: bytes, most: int) -> bytes:
            nonlocal opened
            out = self._opener.decompress(data, most)
            opened += len(out)
            return out

    monkeypatch.setattr(texts, "zlib", SimpleNamespace(decompressobj=Opener, error=zlib.error))
    bomb = zlib.compress(b"b" * (MAX_TEXTS // 2))
    found = texts_of(png(chunk(b"tEXt", b"k\0v"), *[chunk(b"zTXt", b"k\0\0" + bomb)] * 40))
    assert (found.texts, found.problems) == ({"k": "v"}, ["texts_cut"])
    assert opened <= texts.MAX_EFFORT + 40


def test_damage_leaves_the_rest() -> None:
    found = texts_of(
        png(chunk(b"zTXt", b"bad\0\0xx"), chunk(b"iTXt", b"k\0"), chunk(b"tEXt", b"none"), chunk(b"tEXt", b"k\0v"))
    )
    assert (found.texts, found.problems) == ({"k": "v"}, ["texts_damaged"])
    whole = png(chunk(b"tEXt", b"k\0v"), chunk(b"tEXt", b"l\0w"))
    for length in range(8, len(whole)):
        assert set(texts_of(whole[:length]).texts) <= {"k", "l"}


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(["PNG", "JPEG", "WEBP"]), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=12))
def test_no_damage_raises(kind: str, changes: list[tuple[float, int]]) -> None:
    data = bytearray(saved(kind, comment(b"UNICODE\0" + TEXT.encode("utf-16-be"))))
    for place, value in changes:
        data[min(len(data) - 1, int(place * len(data)))] = value
    found = texts_of(bytes(data))
    assert all(isinstance(text, str) and text.encode() for text in found.texts.values())


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=200))
def test_no_exif_raises(body: bytes) -> None:
    heads = (b"", b"MM\0*\0\0\0\x08", b"II*\0\x08\0\0\0")
    for data in [head + body for head in heads]:
        jpeg = b"\xff\xd8\xff\xe1" + struct.pack(">H", len(data) + 8) + b"Exif\0\0" + data
        for found in (texts_of(png(chunk(b"eXIf", data))), texts_of(jpeg)):
            assert set(found.texts) <= {
                "UserComment",
                "ImageDescription",
                "MakerNote",
                "Software",
                "prompt",
                "workflow",
            }
