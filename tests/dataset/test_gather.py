"""Files, folders and zips of a person: pictures in order, captions by name, and a sentence for everything else."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from lora_studio.dataset import Example, examples_for
from lora_studio.dataset.gather import Gathered, gather_files, gather_folder
from lora_studio.errors import DatasetError
from lora_studio.types import DatasetItem


def names(found: Gathered) -> list[str]:
    return [raw.name for raw in found.pictures]


def told(found: Gathered) -> dict[str, str]:
    return {entry.source: entry.code for entry in found.refused}


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    for name in ("10.png", "2.png", "b/1.png", "a.txt", ".hidden.png", "Thumbs.db"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    found = gather_folder(tmp_path)
    assert names(found) == ["2.png", "10.png", "b/1.png"]
    assert found.captions == {"a": "x"}


def test_captions_belong_to_the_same_folder(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("x")
        (tmp_path / name).with_suffix(".txt").write_text(f"caption of {name}")
    assert gather_folder(tmp_path).captions == {"a/1": "caption of a/1.png", "b/1": "caption of b/1.png"}


def test_of_two_captions_txt_is_used_and_the_other_named(tmp_path: Path) -> None:
    (tmp_path / "1.caption").write_text("long")
    (tmp_path / "1.txt").write_text("tags")
    for files in ([tmp_path / "1.caption", tmp_path / "1.txt"], [tmp_path / "1.txt", tmp_path / "1.caption"]):
        found = gather_files(files)
        assert found.captions == {"1": "tags"}
        assert told(found) == {"1.caption": "caption_twice"}


def test_a_bad_caption_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    (tmp_path / "1.txt").write_bytes(b"\xff\xfea\0")
    (tmp_path / "1.png").write_bytes(b"x")
    found = gather_folder(tmp_path)
    assert told(found) == {"1.txt": "caption_not_utf8"}
    assert names(found) == ["1.png"]


def test_files_may_be_called_something_else(tmp_path: Path) -> None:
    for name in ("upload1", "upload2"):
        (tmp_path / name).write_text("cat")
    found = gather_files([tmp_path / "upload1", tmp_path / "upload2"], ["cat.png", "cat.txt"])
    assert names(found) == ["cat.png"]
    assert found.captions == {"cat": "cat"}


def test_a_zip_brings_pictures_and_captions_under_its_name(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("in/1.txt", "tags")
        made.writestr("in/1.png", b"picture")
        made.writestr("in/inner.zip", b"PK")
    found = gather_files([path])
    assert [(raw.name, raw.source) for raw in found.pictures] == [
        ("set.zip/in/1.png", b"picture"),
        ("set.zip/in/inner.zip", b"PK"),
    ]
    assert found.captions == {"set.zip/in/1": "tags"}


def test_a_refused_zip_is_named_once_and_the_rest_is_read(tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    (tmp_path / "1.png").write_bytes(b"x")
    found = gather_folder(tmp_path)
    assert names(found) == ["1.png"]
    assert told(found) == {"bad.zip": "zip_broken"}


def test_what_is_no_file_is_named_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "gone.png")
    found = gather_folder(tmp_path)
    assert names(found) == []
    assert told(found) == {"dangling.png": "file_unreadable", "pipe.png": "file_unreadable"}


def test_an_empty_and_a_missing_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has no pictures in it") as caught:
        gather_folder(tmp_path)
    assert str(tmp_path) in caught.value.message
    with pytest.raises(DatasetError, match="gone' is not there"):
        gather_folder(tmp_path / "gone")


def test_examples_have_path_hash_and_caption() -> None:
    items = [DatasetItem("a" * 64, 1, 1, "smile"), DatasetItem("b" * 64, 1, 1, "")]
    assert examples_for(items, "cat ears", lambda sha256: Path(sha256[:2])) == [
        Example(Path("aa"), "a" * 64, "cat ears, smile"),
        Example(Path("bb"), "b" * 64, "cat ears"),
    ]
    with pytest.raises(DatasetError, match="0 pictures"):
        examples_for([], "cat ears", Path)
