"""The texts inside a picture file by keyword, without looking at its pixels and whatever the file holds.

    PNG    tEXt, zTXt and iTXt chunks, also behind the pixels; eXIf (PNG specification, third edition, 11.3.3)
    JPEG   the Exif segment: UserComment, ImageDescription; comments
    WebP   the EXIF chunk of the RIFF container

ComfyUI writes into WebP's camera fields: a value that begins with `prompt:{` is its graph. UserComment begins with
eight bytes that say how it is written; "UNICODE" is UTF-16 of either order. Compressed texts are opened only up to
`MAX_TEXTS`: a bomb is cut off and remarked on. It does not know what the texts mean.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

MAX_FILE = 100_000_000
"""Bytes of a picture that is read."""

MAX_TEXTS = 16_000_000
"""Bytes of all texts of a picture together, after decompression."""

MAX_EFFORT = 4 * MAX_TEXTS
"""Bytes that are opened or copied while looking for them, with those that are not taken."""

_MAX_CHUNKS = 100_000
_MAX_FIELDS = 4000
_MOST_PACKED = 1032
"""Bytes that one byte of deflate can become (zlib.net, "Maximum Compression Factor")."""
_PNG = b"\x89PNG\r\n\x1a\n"
_USER_COMMENT = 0x9286
_EXIF_TABLE = 0x8769
_BYTES = (1, 2, 7)
"""Kinds of fields that hold bytes: BYTE, ASCII, UNDEFINED."""
_NAMED = {0x010E: "ImageDescription", 0x9286: "UserComment", 0x927C: "MakerNote", 0x0131: "Software"}
_COMFY = {"prompt:": "prompt", "workflow:": "workflow"}
_CAMERA = (0x010F, 0x0110)


@dataclass
class PictureTexts:
    """Texts by keyword (the first of a keyword counts), and codes of what could not be read: `texts_cut`,
    `texts_damaged`, `texts_unknown` (no PNG, JPEG or WebP), `texts_too_large`."""

    texts: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    room: int = MAX_TEXTS
    effort: int = MAX_EFFORT
    """Bytes that may still be opened or copied, whether or not they are taken."""
    fields: int = _MAX_FIELDS
    """Fields of Exif that may still be looked at."""

    def add(self, keyword: str, text: str) -> None:
        """Take a text, unless there is one of that keyword or no room is left."""
        if len(text) > self.room:
            self.complain("texts_cut")
        elif text and keyword not in self.texts:
            self.texts[keyword] = text
            self.room -= len(text)

    def looks(self, size: int) -> bool:
        """Spend effort on `size` bytes; False, and a problem noted, where there is not so much of it left."""
        if size > self.effort:
            self.complain("texts_cut")
            return False
        self.effort -= size
        return True

    def complain(self, code: str) -> None:
        """Note a problem once."""
        if code not in self.problems:
            self.problems.append(code)


def texts_of(source: Path | bytes) -> PictureTexts:
    """The texts of a file or of bytes. Never raises on any content; OSError where a file cannot be read."""
    found = PictureTexts()
    if isinstance(source, Path):
        with source.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    else:
        data = source
    if len(data) > MAX_FILE:
        found.complain("texts_too_large")
    elif data.startswith(_PNG):
        _png(data, found)
    elif data.startswith(b"\xff\xd8"):
        _jpeg(data, found)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        _webp(data, found)
    else:
        found.complain("texts_unknown")
    return found


# ------------------------------------------------------------ containers
def _png(data: bytes, found: PictureTexts) -> None:
    position = len(_PNG)
    for _ in range(_MAX_CHUNKS):
        if position + 12 > len(data):
            break
        length, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        body = data[position + 8 : position + 8 + length]
        position += 12 + length
        if kind in (b"tEXt", b"zTXt", b"iTXt"):
            _chunk(kind, body, found)
        elif kind == b"eXIf":
            _exif(body, found)
        elif kind == b"IEND":
            return
        if len(body) < length:
            break
    found.complain("texts_damaged")


def _chunk(kind: bytes, body: bytes, found: PictureTexts) -> None:
    """One text chunk: keyword, NUL, then what its kind says."""
    key, zero, rest = body.partition(b"\0")
    keyword = key[:79].decode("latin-1")
    if not zero:
        found.complain("texts_damaged")
        return
    if kind == b"tEXt":
        # Latin-1 by the specification; some programs put UTF-8 there, which is hardly ever Latin-1 by chance.
        found.add(keyword, _decoded(rest))
        return
    packed = kind == b"zTXt"
    if kind == b"iTXt":
        if len(rest) < 2:
            found.complain("texts_damaged")
            return
        packed, rest = rest[0] == 1, rest[2:]
        _, _, rest = rest.partition(b"\0")  # language
        _, _, rest = rest.partition(b"\0")  # the keyword in that language
    else:
        rest = rest[1:]
    text = _opened(rest, found) if packed else rest
    if text is not None:
        found.add(keyword, _decoded(text))


def _opened(packed: bytes, found: PictureTexts) -> bytes | None:
    """The decompressed bytes; None where they are damaged or more than there is room for."""
    opener = zlib.decompressobj()
    most = min(found.room, found.effort)
    try:
        data = opener.decompress(packed, most + 1)
    except zlib.error:
        found.effort -= min(most, _MOST_PACKED * len(packed))  # it may have opened so much before it broke
        found.complain("texts_damaged")
        return None
    found.effort -= min(most, len(data))
    if len(data) > most:
        found.complain("texts_cut")
        return None
    return data


def _jpeg(data: bytes, found: PictureTexts) -> None:
    """Segments up to the pixels."""
    position = 2
    for _ in range(_MAX_CHUNKS):
        if position + 4 > len(data) or data[position] != 0xFF:
            break
        marker = data[position + 1]
        if marker in (0xDA, 0xD9):
            return
        if marker == 0xFF:
            position += 1
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        body = data[position + 4 : position + 2 + length]
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            _exif(body[6:], found)
        elif marker == 0xFE:
            found.add("Comment", _decoded(body))
        position += 2 + max(2, length)
    found.complain("texts_damaged")


def _webp(data: bytes, found: PictureTexts) -> None:
    position = 12
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(data):
            return
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        body = data[position + 8 : position + 8 + length]
        if data[position : position + 4] == b"EXIF":
            _exif(body.removeprefix(b"Exif\0\0"), found)
        position += 8 + length + length % 2
    found.complain("texts_damaged")


# ------------------------------------------------------------ Exif
def _exif(data: bytes, found: PictureTexts) -> None:
    """The fields of a TIFF structure that hold texts, in the main table and in Exif's own below it (TIFF 6.0, 2).

    A hostile file makes every field point at the whole file, and every table at one table: fields and bytes are
    counted over the whole file, and what is known already is not read again.
    """
    order = {b"II": "little", b"MM": "big"}.get(data[:2])
    if order is None:
        found.complain("texts_damaged")
        return
    number = functools.partial(_number, data, "little" if order == "little" else "big")
    main = number(4, 4)
    below = (number(at + 8, 4) for tag, _, _, at in _entries(data, number, main, found) if tag == _EXIF_TABLE)
    for table in (main, next(below, 0)):
        for tag, kind, count, at in _entries(data, number, table, found):
            if kind not in _BYTES or not _wanted(tag, found):
                continue
            place = at + 8 if count <= 4 else number(at + 8, 4)
            if place + count > len(data):
                found.complain("texts_damaged")
                count = max(0, len(data) - place)
            if found.looks(count):
                value = data[place : place + count]
                _field(tag, _comment(value) if tag == _USER_COMMENT else _decoded(value).rstrip("\0"), found)


def _wanted(tag: int, found: PictureTexts) -> bool:
    """True for a field that may hold a text which is not known yet."""
    if tag in _CAMERA:
        return not found.texts.keys() >= set(_COMFY.values())
    return tag in _NAMED and _NAMED[tag] not in found.texts


def _field(tag: int, text: str, found: PictureTexts) -> None:
    """Take one field's text."""
    for head, keyword in _COMFY.items():
        if tag in _CAMERA and text.startswith(head):
            found.add(keyword, text[len(head) :])
    if tag in _NAMED:
        found.add(_NAMED[tag], text)


def _number(data: bytes, order: Literal["little", "big"], at: int, size: int) -> int:
    """The number of `size` bytes at a place; beyond the end it is 0."""
    return int.from_bytes(data[at : at + size], order)


def _entries(
    data: bytes, number: Callable[[int, int], int], table: int, found: PictureTexts
) -> Iterator[tuple[int, int, int, int]]:
    """Tag, kind, count and place of each entry of a table."""
    if table < 8:
        return
    for index in range(number(table, 2)):
        at = table + 2 + 12 * index
        if at + 12 > len(data) or found.fields <= 0:
            found.complain("texts_damaged" if found.fields > 0 else "texts_cut")
            return
        found.fields -= 1
        yield number(at, 2), number(at + 2, 2), number(at + 4, 4), at


def _comment(value: bytes) -> str:
    """UserComment by the eight bytes that it begins with (Exif 2.32, 4.6.5)."""
    head, body = value[:8], value[8:]
    if head.startswith(b"UNICODE"):
        return body.decode(_utf16_order(body), "replace").rstrip("\0")
    if head.startswith((b"ASCII", b"\0\0\0\0")):
        return _decoded(body).rstrip("\0")
    return _decoded(value).rstrip("\0")


def _utf16_order(body: bytes) -> str:
    """The order of bytes: a mark tells it, else the zeros of the most common letters do; undecided is big-endian."""
    if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    sample = body[:4096]
    return "utf-16-le" if sample[1::2].count(0) > sample[0::2].count(0) else "utf-16-be"


def _decoded(data: bytes) -> str:
    """UTF-8 where it is that, else Latin-1."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")
