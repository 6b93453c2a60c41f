"""Files by their hash: immutable, found by nothing but a hash, gone when they are deleted."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from lora_studio.errors import InvalidInput, NotFound, StorageError
from lora_studio.store import Workspace, disk, files


def test_bytes_come_back_by_their_hash(workspace: Workspace) -> None:
    sha256 = workspace.files.put_bytes(b"hello", ".png")
    assert sha256 == hashlib.sha256(b"hello").hexdigest()
    path = workspace.files.path(sha256)
    assert path == workspace.root / "files" / sha256[:2] / f"{sha256}.png"
    assert workspace.files.read(sha256) == path.read_bytes() == b"hello"
    assert stat.S_IMODE(path.stat().st_mode) & 0o137 == 0, "0640 at most"


@pytest.mark.parametrize("again", [".png", ".webp", ""])
def test_what_is_there_is_left_untouched(workspace: Workspace, again: str) -> None:
    path = workspace.files.path(workspace.files.put_bytes(b"hello", ".png"))
    before = (path.stat().st_ino, path.stat().st_mtime_ns)
    assert workspace.files.put_bytes(b"hello", again) == path.stem
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == before
    assert len(list(path.parent.iterdir())) == 1


@pytest.mark.parametrize(
    ("name", "suffix"), [("a.PNG", ".png"), ("b.safetensors", ".safetensors"), ("c.x y", ""), ("d", "")]
)
def test_a_file_is_copied_with_its_ending(workspace: Workspace, tmp_path: Path, name: str, suffix: str) -> None:
    source = tmp_path / name
    source.write_bytes(os.urandom(3_000_000))
    sha256 = workspace.files.put_file(source)
    assert workspace.files.path(sha256).name == sha256 + suffix
    assert workspace.files.read(sha256) == source.read_bytes()
    assert workspace.files.put_file(source, ".other") == sha256


def test_a_file_that_changes_while_it_is_copied_is_not_kept(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "a"
    source.write_bytes(b"one")
    first = workspace.files.hash_of

    def hash_then_change(path: Path) -> str:
        found = first(path)
        path.write_bytes(b"two")
        return found

    monkeypatch.setattr(workspace.files, "hash_of", hash_then_change)
    with pytest.raises(StorageError, match="changed while it was read"):
        workspace.files.put_file(source)
    assert [path for path in (workspace.root / "files").rglob("*") if path.is_file()] == []


def test_a_source_that_cannot_be_read_is_named(workspace: Workspace, tmp_path: Path) -> None:
    for source in (tmp_path / "gone.png", tmp_path):
        with pytest.raises(NotFound) as caught:
            workspace.files.put_file(source)
        assert str(source) in caught.value.message


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "abc",
        "../../etc/passwd",
        "a" * 63,
        "A" * 64,
        "g" * 64,
        "a" * 64 + "/..",
        "*" * 64,
        "a" * 62 + "??",
        "a" * 64,
    ],
)
def test_only_hashes_find_files(workspace: Workspace, asked: str) -> None:
    workspace.files.put_bytes(b"hello")
    assert not workspace.files.has(asked)
    for look in (workspace.files.path, workspace.files.read, workspace.files.thumbnail):
        with pytest.raises(NotFound):
            look(asked)
    workspace.files.delete(asked)
    assert workspace.files.has(hashlib.sha256(b"hello").hexdigest())


@pytest.mark.parametrize("suffix", ["png", "../x", ".PNG", ".a/b", ".", ".toolongtobeanending"])
def test_odd_endings_are_refused(workspace: Workspace, suffix: str) -> None:
    with pytest.raises(InvalidInput, match="file ending"):
        workspace.files.put_bytes(b"hello", suffix)


def test_deleting_takes_the_thumbnails_along(workspace: Workspace, picture: Callable[..., bytes]) -> None:
    sha256 = workspace.files.put_bytes(picture(), ".png")
    other = workspace.files.put_bytes(picture(1), ".png")
    thumbs = [workspace.files.thumbnail(sha256, size) for size in (32, 64)]
    workspace.files.delete(sha256)
    assert not workspace.files.has(sha256)
    assert [path.exists() for path in thumbs] == [False, False]
    assert workspace.files.has(other)
    workspace.files.delete(sha256)


def test_thumbnails_are_small_webp_in_proportion(workspace: Workspace, picture: Callable[..., bytes]) -> None:
    path = workspace.files.thumbnail(workspace.files.put_bytes(picture(0, (400, 200)), ".png"), 100)
    with Image.open(path) as image:
        assert (image.format, image.size) == ("WEBP", (100, 50))
    before = path.stat().st_mtime_ns
    assert workspace.files.thumbnail(path.name[:64], 100).stat().st_mtime_ns == before


def test_thumbnails_do_not_enlarge(workspace: Workspace, picture: Callable[..., bytes]) -> None:
    path = workspace.files.thumbnail(workspace.files.put_bytes(picture(0, (40, 30)), ".png"), 256)
    with Image.open(path) as image:
        assert image.size == (40, 30)


def test_thumbnails_keep_transparency(workspace: Workspace) -> None:
    out = io.BytesIO()
    Image.new("RGBA", (64, 64), (255, 0, 0, 0)).save(out, "PNG")
    with Image.open(workspace.files.thumbnail(workspace.files.put_bytes(out.getvalue(), ".png"), 32)) as image:
        assert image.convert("RGBA").getpixel((5, 5))[3] == 0


@pytest.mark.parametrize("size", [0, 15, 1025, -1, True])
def test_thumbnails_of_odd_sizes_are_refused(workspace: Workspace, picture: Callable[..., bytes], size: int) -> None:
    sha256 = workspace.files.put_bytes(picture(), ".png")
    with pytest.raises(InvalidInput, match="16 to 1024"):
        workspace.files.thumbnail(sha256, size)


@pytest.mark.parametrize("data", [b"no picture", b"", b"\x89PNG\r\n\x1a\n broken"])
def test_what_is_no_picture_has_no_thumbnail(workspace: Workspace, data: bytes) -> None:
    sha256 = workspace.files.put_bytes(data, ".png")
    with pytest.raises(InvalidInput, match="not a picture"):
        workspace.files.thumbnail(sha256)


def test_a_file_and_its_folder_are_forced_to_the_medium_in_that_order(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """safetensors' own save renames but never forces: after a power cut the file has its name and no bytes."""
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(handle: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    def note_replace(source: Path, target: Path) -> None:
        assert source.parent == target.parent
        assert source.name.startswith(disk.TEMPORARY)
        done.append("rename")
        replace(source, target)

    (workspace.root / "files" / hashlib.sha256(b"x").hexdigest()[:2]).mkdir()
    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    workspace.files.put_bytes(b"x")
    assert done == ["file", "rename", "folder"]


def test_leftovers_of_the_dead_are_swept_and_those_of_the_living_are_not(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as alive:
        folder = alive.files.path(alive.files.put_bytes(b"x")).parent
        dead = folder / f"{disk.TEMPORARY}12345-aaaaaaaaaaaa-{'0' * 32}"
        dead.write_bytes(b"half")
        mine = folder / f"{disk.TEMPORARY}{alive._presence.name}-{'0' * 32}"
        mine.write_bytes(b"being written")
        with Workspace.open(tmp_path):
            assert not dead.exists()
            assert mine.exists()
    with Workspace.open(tmp_path):
        assert not mine.exists()


# ---------------------------------------------------------------- hashes of LoRA files
def lora(metadata: bytes, tensors: bytes) -> bytes:
    """A file in safetensors' layout."""
    return len(metadata).to_bytes(8, "little") + metadata + tensors


def test_the_hash_of_the_tensors_does_not_see_the_header(workspace: Workspace) -> None:
    tensors = os.urandom(3_000_000)
    hashes = [
        workspace.files.tensors_hash(workspace.files.put_bytes(lora(header, tensors), ".safetensors"))
        for header in (b"{}", b'{"a": "' + b"b" * 1_500_000 + b'"}')
    ]
    assert hashes == [hashlib.sha256(tensors).hexdigest()] * 2


@pytest.mark.parametrize("data", [b"", b"1234567", b"\xff" * 8 + b"{" + b"x" * 20, b"plain text, no header at all"])
def test_a_file_without_a_header_is_hashed_whole(workspace: Workspace, data: bytes) -> None:
    assert workspace.files.tensors_hash(workspace.files.put_bytes(data)) == hashlib.sha256(data).hexdigest()


def test_the_hash_is_computed_once_and_goes_with_the_file(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = workspace.files.put_bytes(lora(b"{}", b"abc"), ".safetensors")
    found = workspace.files.tensors_hash(sha256)
    (kept,) = workspace.files.latents.rglob(f"{sha256}*")
    with monkeypatch.context() as patch:
        patch.setattr(files, "_tensors_hash", lambda path: pytest.fail(f"{path} was read again"))
        assert workspace.files.tensors_hash(sha256) == found
    kept.write_text("damaged", encoding="ascii")
    assert workspace.files.tensors_hash(sha256) == found
    workspace.files.delete(sha256)
    assert not kept.exists()
    with pytest.raises(NotFound):
        workspace.files.tensors_hash(sha256)
