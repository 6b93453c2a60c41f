"""What was computed is kept under a key, whole or not at all, and a full disk costs nothing but time."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from lora_studio.engine.folder_cache import FolderCache

KEY = "ab" * 32 + "-128"


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


def test_what_is_put_comes_back(tmp_path: Path) -> None:
    cache = FolderCache(tmp_path)
    assert cache.get(KEY) is None
    cache.put(KEY, b"latents")
    cache.put(KEY, b"newer")
    assert cache.get(KEY) == b"newer"
    assert files(tmp_path) == [KEY]
    (tmp_path / KEY[:2] / KEY).write_bytes(b"torn")
    assert cache.get(KEY) is None


@pytest.mark.parametrize("broken", ["replace", "fdopen"])
def test_a_full_disk_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """Each picture of each training left a temporary file, until the disk was fuller still."""

    def full(first: object, *more: object) -> None:
        if isinstance(first, int):
            os.close(first)
        raise OSError(errno.ENOSPC, "full")

    cache = FolderCache(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, broken, full)
        for _ in range(3):
            cache.put(KEY, b"latents")
    assert files(tmp_path) == []
    assert cache.get(KEY) is None
