"""Copies of what lies in a LoRA's file beside its factors: embeddings as files of their own, a picture as a cover.

They are small; the LoRA itself stays where it is. It knows no tables.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from lora_studio.errors import InvalidInput
from lora_studio.headers import header
from lora_studio.headers.bundled import picture_of, vectors_of
from lora_studio.store.files import FileStore, shrink
from lora_studio.types import EmbeddingEntry

COVER_SIZE = 512
"""Pixels of the longer side of the copy that is made of a picture beside a LoRA, or in it."""


def keep_bundled(files: FileStore, opened: BinaryIO, named: Mapping[str, Any], start: int) -> Iterator[EmbeddingEntry]:
    """Copy the embeddings of an open LoRA file into the store.

    Args:
        named: its checked header.
        start: bytes before its tensors'.
    """
    for vectors in vectors_of(named):
        entries: dict[str, Any] = {}
        data = b""
        for part, entry in sorted(vectors.entries.items()):
            first, last = entry["data_offsets"]
            opened.seek(start + first)
            own = opened.read(last - first)
            if len(own) != last - first:
                return  # cut off meanwhile: its new size has it read again
            name = part if len(vectors.entries) > 1 else "emb_params"
            place = [len(data), len(data) + len(own)]
            entries[name] = {"dtype": entry["dtype"], "shape": entry["shape"], "data_offsets": place}
            data += own
        whole = header.to_bytes(entries, {}) + data
        sha256 = files.put_bytes(whole, ".safetensors")
        yield EmbeddingEntry(sha256, vectors.name, "", time.time(), len(whole), vectors.count, dict(vectors.widths))


def header_cover(files: FileStore, metadata: Mapping[str, str]) -> str | None:
    """sha256 of a small copy of the picture that a file's metadata hold, None where there is none to be shown."""
    picture = picture_of(metadata)
    if picture is None:
        return None
    try:
        return files.put_bytes(shrink(io.BytesIO(picture), COVER_SIZE), ".webp")
    except InvalidInput:
        return None
