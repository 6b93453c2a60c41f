"""Embeddings that were read, by sha256: reading one is checking it against the base, and that is done once.

The library keeps the safetensors form of pickles and pictures, so that nobody waits for another process here. Host
memory holds the vectors; a prompt's chunks take their own copies.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from lora_studio.adapters.embedding import TextEmbedding, admit
from lora_studio.errors import NotFound
from lora_studio.pipeline import SharedBase
from lora_studio.store import Workspace

_REMEMBERED = 256


class EmbeddingCache:
    """The most recently used embeddings for one base."""

    def __init__(self, workspace: Workspace, base: SharedBase) -> None:
        self._workspace = workspace
        self._base = base
        self._items: OrderedDict[str, TextEmbedding] = OrderedDict()

    def get(self, sha256: str) -> TextEmbedding:
        """The embedding; raises `NotFound` or `EmbeddingRefused`, for one that does not fit this base too."""
        if sha256 in self._items:
            self._items.move_to_end(sha256)
            return self._items[sha256]
        path, name = self._place(sha256)
        self._items[sha256] = admit(path, sha256, self._base.text_widths, name)[0]
        while len(self._items) > _REMEMBERED:
            self._items.popitem(last=False)
        return self._items[sha256]

    def _place(self, sha256: str) -> tuple[Path, str]:
        """Where it lies and what it is called; a file that only a cell still mentions is opened as it is."""
        files = self._workspace.files
        try:
            entry = self._workspace.embeddings.get(sha256)
        except NotFound:
            return files.path(sha256), sha256[:12]
        return files.path(entry.readable), entry.name
