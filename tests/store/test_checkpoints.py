"""The folder of checkpoints: what is listed of it, and that it cannot hang the page."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lora_studio.store import checkpoints
from lora_studio.store.checkpoints import list_checkpoints


def test_no_folder_is_no_files(tmp_path: Path) -> None:
    assert list_checkpoints(None) == []
    assert list_checkpoints(tmp_path / "nowhere") == []


def test_subfolders_links_and_other_files(tmp_path: Path) -> None:
    """Models on another disk are linked in; a link back to the folder above is a ring and is walked once."""
    other = tmp_path / "disk"
    other.mkdir()
    (other / "z.SAFETENSORS").write_bytes(b"123")
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("b.safetensors", "a.ckpt", "notes.txt", ".hidden.safetensors"):
        (folder / name).write_bytes(b"1")
    os.symlink(other, folder / "linked")
    os.symlink(folder, folder / "ring")
    (folder / "gone.safetensors").symlink_to(folder / "nothing")
    found = list_checkpoints(folder)
    assert [(one.name, one.size) for one in found] == [("b.safetensors", 1), ("linked/z.SAFETENSORS", 3)]


def test_many_files_are_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "MOST", 3)
    for number in range(5):
        (tmp_path / f"{number}.safetensors").write_bytes(b"")
    assert len(list_checkpoints(tmp_path)) == 3
