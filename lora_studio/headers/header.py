"""The JSON header of a safetensors file, read by ourselves before the library sees the file.

A hostile header makes the library work for many seconds; here it is checked for size, count, dimensions and repeated
names first. It does not know what the tensors mean.
Source: the format's description, https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
from typing import Any, BinaryIO

MAX_HEADER = 10 * 2**20
MAX_TENSORS = 20_000


class HeaderDamagedError(ValueError):
    """What is wrong with a header, as words that continue "it is no usable file:"."""


def read(file: BinaryIO, size: int) -> dict[str, Any]:
    """The header of an open file of `size` bytes, `__metadata__` included.

    Raises:
        HeaderDamagedError: it is no safetensors file, or its header is damaged or beyond the limits.
    """
    start = file.read(8)
    length = int.from_bytes(start, "little") if len(start) == 8 else 0
    if not 2 <= length <= min(MAX_HEADER, size - 8):
        raise HeaderDamagedError("its header does not fit into the file")
    raw = file.read(length)
    repeated: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        seen = dict(items)
        if len(seen) != len(items):
            repeated.append("a name stands twice in its header")
        return seen

    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=pairs)
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise HeaderDamagedError("its header is not JSON") from None
    if repeated or not isinstance(header, dict):
        raise HeaderDamagedError(repeated[0] if repeated else "its header is not a table")
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise HeaderDamagedError("its metadata is not text")
    if len(header) > MAX_TENSORS:
        raise HeaderDamagedError(f"it names {len(header)} tensors, at most {MAX_TENSORS} are allowed")
    for name, entry in header.items():
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if name != "__metadata__" and (not isinstance(shape, list) or len(shape) > 4):
            raise HeaderDamagedError(f"the tensor {name[:80]!r} has no shape of at most 4 dimensions")
    return header
