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


@pytest.mark.parametrize("order", ["txt first", "txt last"])
def test_of_two_captions_the_one_that_can_be_read_is_used(tmp_path: Path, order: str) -> None:
    """A damaged 1.txt made "1.caption is not used" of a caption that was used; not so the other way round."""
    (tmp_path / "1.txt").write_bytes(b"\xff\xfea\0")
    (tmp_path / "1.caption").write_text("long")
    files = [tmp_path / "1.txt", tmp_path / "1.caption"]
    found = gather_files(files if order == "txt first" else files[::-1])
    assert found.captions == {"1": "long"}
    assert told(found) == {"1.txt": "caption_not_utf8"}


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


def test_junk_is_named_where_somebody_gave_it_and_not_where_a_folder_brought_it(tmp_path: Path) -> None:
    given = ["LICENSE", ".x.png", "cats/Thumbs.db", "cats/.git/1.png", "cats/1.png"]
    files = [tmp_path / str(number) for number in range(len(given))]
    for path in files:
        path.write_text("x")
    found = gather_files(files, given)
    assert names(found) == ["cats/1.png"]
    assert told(found) == {"LICENSE": "file_junk", ".x.png": "file_junk"}
    assert found.refused[0].message.startswith("'LICENSE' is not used")


def test_sizes_are_those_of_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read of a file was told as its size: 25.0 MB of a picture of 300 MB, 65537 bytes of any caption."""
    monkeypatch.setattr("lora_studio.dataset.intake.MAX_BYTES", 100_000)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as made:
        made.writestr("big.png", bytes(900_000))
        made.writestr("big.txt", "x" * 400_000)
    (tmp_path / "long.txt").write_text("x" * 300_000)
    found = gather_folder(tmp_path)
    assert names(found) == []
    assert {entry.source: entry.values["given"] for entry in found.refused} == {
        "long.txt": "300000",
        "set.zip/big.txt": "400000",
        "set.zip/big.png": "0.9",
    }


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
    assert told(found) == {"dangling.png": "picture_unreadable", "pipe.png": "picture_unreadable"}


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
