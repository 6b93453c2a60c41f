"""Small byte strings by key in a folder that anybody may empty at any time; a torn file counts as absent."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

_LENGTH = 32


class FolderCache:
    """See `train.Cache`; each file starts with the sha256 of what follows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> bytes | None:
        """What was put under `key` (hex digits and `-`), or None."""
        try:
            data = self._path(key).read_bytes()
        except OSError:
            return None
        whole = hashlib.sha256(data[_LENGTH:]).digest() == data[:_LENGTH]
        return data[_LENGTH:] if whole else None

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / key

    def put(self, key: str, data: bytes) -> None:
        """Keep `data`; a full disk only means that it is made again next time."""
        name = ""
        try:
            target = self._path(key)
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=target.parent)
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(data).digest() + data)
            os.replace(name, target)
        except OSError:
            return
        finally:
            with contextlib.suppress(OSError):  # gone already where it was renamed; else each try would eat more
                if name:
                    os.unlink(name)
