"""The JSON header of a safetensors file, read by ourselves before the library sees the file.

A hostile header makes the library work for many seconds; here it is checked for size, count, dimensions, repeated names
and places first. It does not know what the tensors mean.
Source: the format's description, https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, BinaryIO

from lora_studio.headers.reasons import ReasonError, shown

MAX_HEADER = 10 * 2**20
MAX_TENSORS = 20_000
MAX_DIMENSIONS = 4
MAX_NAME = 1000
"""Characters of a tensor's name; real ones stay below 200."""
_LONGEST_DTYPE = 40
_BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16}
_OTHERS = (
    (b"<!doctype html", "file_page"),
    (b"<html", "file_page"),
    (b"version https://git-lfs", "file_lfs"),
    (b"gguf", "file_gguf"),
)
_BITS |= {"I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64}


class HeaderDamagedError(ReasonError):
    """What is wrong with a header: `reason` continues "it is no usable file:"."""


class HeaderCutOffError(HeaderDamagedError):
    """The file ends before its last tensor does: it is cut off, or somebody is still writing it."""


def read(file: BinaryIO, size: int, dimensions: int = MAX_DIMENSIONS) -> dict[str, Any]:
    """The header of an open file of `size` bytes, `__metadata__` included.

    Args:
        dimensions: how many a tensor may have.

    Raises:
        HeaderCutOffError: the file is shorter than its header says.
        HeaderDamagedError: it is no safetensors file, or its header is damaged or beyond the limits.
    """
    start = file.read(8)
    length = int.from_bytes(start, "little") if len(start) == 8 else 0
    if not 2 <= length <= min(MAX_HEADER, size - 8):
        raise HeaderDamagedError(_instead(start, file) or "header_size")
    raw = file.read(length)
    # Counted before they are read: so many would take long and much memory.
    if (named := raw.count(b'"shape"')) > MAX_TENSORS:
        raise HeaderDamagedError("header_count", count=named, allowed=MAX_TENSORS)
    repeated: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        seen = dict(items)
        if len(seen) != len(items):
            repeated.append("header_twice")
        return seen

    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=pairs)
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise HeaderDamagedError("header_json") from None
    if repeated or not isinstance(header, dict):
        raise HeaderDamagedError(repeated[0] if repeated else "header_table")
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise HeaderDamagedError("header_metadata")
    if metadata:
        header["__metadata__"] = {_whole(key): _whole(text) for key, text in metadata.items()}
    if len(header) > MAX_TENSORS:
        raise HeaderDamagedError("header_count", count=len(header), allowed=MAX_TENSORS)
    _check_places(
        {name: entry for name, entry in header.items() if name != "__metadata__"}, size - 8 - length, dimensions
    )
    return header


def _whole(text: str) -> str:
    """The text with a question mark for each half of a character: JSON can say one, no database and no file hold it."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _instead(start: bytes, file: BinaryIO) -> str:
    """The code of what a file is that is no safetensors file, "" for nothing known."""
    if not start:
        return "file_empty"
    beginning = (start + file.read(200)).lstrip().lower()
    return next((code for sign, code in _OTHERS if beginning.startswith(sign)), "")


def to_bytes(entries: Mapping[str, Any], metadata: Mapping[str, str]) -> bytes:
    """Length and header of a safetensors file, padded with blanks to a multiple of 8 as the library does it."""
    whole: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    whole.update(entries)
    text = json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _check_places(tensors: dict[str, Any], room: int, dimensions: int) -> None:
    """Every tensor has a shape that its bytes fill, within the file and beside the others."""
    places: list[tuple[int, int, str]] = []
    missing = 0
    for name, entry in tensors.items():
        if len(name) > MAX_NAME:
            raise HeaderDamagedError("name_long", name=shown(name), count=len(name))
        if not name.isprintable():
            raise HeaderDamagedError("name_hidden", name=shown(name))
        shape = entry.get("shape") if isinstance(entry, dict) else None
        sizes = isinstance(shape, list) and all(type(side) is int and side >= 0 for side in shape)
        if not isinstance(shape, list) or not sizes or len(shape) > dimensions:
            raise HeaderDamagedError("tensor_shape", name=shown(name), allowed=dimensions)
        dtype = entry.get("dtype")
        if not isinstance(dtype, str) or not dtype.isprintable() or len(dtype) > _LONGEST_DTYPE:
            raise HeaderDamagedError("number_kind", name=shown(name), found=shown(str(dtype)))
        offsets = entry.get("data_offsets")
        if not isinstance(offsets, list) or len(offsets) != 2 or any(type(place) is not int for place in offsets):
            raise HeaderDamagedError("tensor_place", name=shown(name))
        first, last = offsets
        if not 0 <= first <= last:
            raise HeaderDamagedError("tensor_outside", name=shown(name))
        missing = max(missing, last - room)
        bits = _BITS.get(dtype)
        if bits is not None and (last - first) * 8 != math.prod(shape) * bits:
            raise HeaderDamagedError("tensor_filled", name=shown(name))
        places.append((first, last, name))
    if missing:
        raise HeaderCutOffError("file_cut", missing=missing)
    end = 0
    for first, last, name in sorted(places):
        if first < end:
            raise HeaderDamagedError("tensor_over", name=shown(name))
        if first > end:
            raise HeaderDamagedError("bytes_before", count=first - end, name=shown(name))
        end = last
    if end < room:
        raise HeaderDamagedError("bytes_behind", count=room - end)
