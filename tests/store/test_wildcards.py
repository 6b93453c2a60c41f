"""`lora_studio.store.wildcards`: names, folders, patterns, and what is not followed or read."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_studio.store.wildcards import LARGEST, Wildcards


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three wildcards in two folders, and a text beside the folder."""
    root = tmp_path / "wildcards"
    (root / "season").mkdir(parents=True)
    (root / "Colour.txt").write_text("red\n\n# a remark\n  blue  \n", encoding="utf-8-sig")
    (root / "season" / "warm.txt").write_text("summer\n", encoding="utf-8")
    (root / "season" / "cold.txt").write_text("冬\n", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("secret\n", encoding="utf-8")
    return root


def test_names_are_paths_in_any_case_with_stars(folder: Path) -> None:
    found = Wildcards(folder)
    assert found.names() == ["Colour", "season/cold", "season/warm"]
    assert found.lines("colour") == ["red", "blue"]
    assert found.lines("season/*") == ["冬", "summer"]
    assert found.lines("season") == []


def test_nothing_outside_of_the_folder_is_read(folder: Path) -> None:
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    found = Wildcards(folder)
    assert found.lines("link") == []
    assert found.lines("../secret") == []
    assert found.lines(str(folder.parent / "secret")) == []


def test_no_folder_large_files_and_changes(folder: Path, tmp_path: Path) -> None:
    assert Wildcards(tmp_path / "none").lines("a") == []
    (folder / "large.txt").write_bytes(b"x\n" * (LARGEST // 2 + 10))
    found = Wildcards(folder)
    assert len(found.lines("large")) == LARGEST // 2
    (folder / "Colour.txt").write_text("green", encoding="utf-8")
    assert found.lines("Colour") == ["green"]
