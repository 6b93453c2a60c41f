"""The exact request as the text of a PNG chunk of its own, and back.

A1111's text cannot carry everything; this one can: the request as JSON, which of its pictures the file holds, and the
number of the layout. What is read comes from a stranger's file and is checked to the last field.
"""

from __future__ import annotations

import json
from typing import Any

from lora_studio import __version__
from lora_studio.errors import InvalidInput
from lora_studio.types import AdapterWeight, EmbeddingUse, GenerateRequest, from_json, to_json

PARAMETERS = "parameters"
"""Keyword of the PNG text chunk that A1111, Forge and Civitai read."""

CHUNK = "lora_studio"
"""Keyword of the PNG text chunk that holds the exact request."""

CHUNK_FORMAT = 1


def request_chunk(request: GenerateRequest, index: int = 0) -> str:
    """The exact request, and which of its pictures this is (0-based), as the text of the chunk `CHUNK`."""
    data = {"format": CHUNK_FORMAT, "version": __version__, "index": index, "request": to_json(request)}
    return json.dumps(data, ensure_ascii=False, sort_keys=True)


def read_request_chunk(text: str) -> tuple[GenerateRequest, int]:
    """What `request_chunk` wrote: the request and the picture's index in it.

    Raises:
        InvalidInput: the text is no such chunk, or one of a newer format.
    """
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict) or "request" not in data:
        raise _unreadable(text)
    if data.get("format") != CHUNK_FORMAT:
        raise InvalidInput(
            f"The picture's request has format {str(data.get('format'))[:80]!r}; this version reads {CHUNK_FORMAT}; "
            "update LoRA Studio to read it.",
            code="chunk_format",
            given=str(data.get("format"))[:80],
            allowed=str(CHUNK_FORMAT),
        )
    index = data.get("index", 0)
    try:
        request = from_json(GenerateRequest, data["request"])
    except (TypeError, ValueError, AttributeError, OverflowError):
        raise _unreadable(text) from None  # a value of another kind than its field
    if not _whole(request) or not isinstance(index, int) or not 0 <= index < request.num_images:
        raise _unreadable(text)
    return request, index


def _whole(request: GenerateRequest) -> bool:
    """True where the lists are lists of their own kinds; texts and ranges were checked when the request was made."""
    lists = ((request.adapters, AdapterWeight), (request.embeddings, EmbeddingUse), (request.styles, str))
    return all(isinstance(listed, tuple) and all(isinstance(one, kind) for one in listed) for listed, kind in lists)


def _unreadable(text: str) -> InvalidInput:
    return InvalidInput(
        f"The picture's text {text[:60]!r} is no request of LoRA Studio; drop a picture that was saved here.",
        code="chunk_unreadable",
        given=text[:60],
    )
