"""Sets of pictures: good ones are kept, bad ones named, edits undone, files gone for good."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from lora_studio.errors import DatasetError, InvalidInput, NotFound
from lora_studio.store import Workspace
from lora_studio.types import DatasetItem, DatasetManifest

Draw = Callable[..., bytes]


@pytest.fixture
def folder(tmp_path: Path, picture: Draw) -> Path:
    """Three pictures with captions."""
    made = tmp_path / "cats"
    made.mkdir()
    for number in (1, 2, 10):
        (made / f"{number}.png").write_bytes(picture(number))
        (made / f"{number}.txt").write_text(f"1girl, number {number}")
    return made


def told(manifest: DatasetManifest) -> dict[str, str]:
    return {entry.source: entry.code for entry in manifest.refused}


def test_a_folder_becomes_a_set(workspace: Workspace, folder: Path) -> None:
    made = workspace.datasets.create(" cats ", "ann")
    assert (made.name, made.owner, made.items) == ("cats", "ann", ())
    filled = workspace.datasets.add_folder(made.id, folder)
    assert [item.source for item in filled.items] == ["1.png", "2.png", "10.png"]
    assert [item.caption for item in filled.items] == [f"1girl, number {n}" for n in (1, 2, 10)]
    assert filled.refused == ()
    assert workspace.datasets.get(made.id) == filled
    assert workspace.datasets.list("ann") == [filled]
    assert workspace.datasets.list("bob") == []
    for item in filled.items:
        with Image.open(workspace.files.path(item.sha256)) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", (item.width, item.height))


def test_bad_ones_are_named_and_good_ones_kept(workspace: Workspace, folder: Path, picture: Draw) -> None:
    (folder / "broken.png").write_bytes(picture(3)[:400])
    (folder / "notes.pdf").write_bytes(b"%PDF-1.7")
    (folder / "alone.txt").write_text("caption of nothing")
    (folder / "again.bmp").write_bytes(_as(picture(1), "BMP"))
    (folder / "evil.zip").write_bytes(_zip({"../x.png": b"x"}))
    (folder / "2.caption").write_text("another")
    filled = workspace.datasets.add_folder(workspace.datasets.create("cats", "ann").id, folder)
    assert len(filled.items) == 3
    assert told(filled) == {
        "broken.png": "picture_broken",
        "notes.pdf": "picture_unknown",
        "alone.txt": "caption_without_picture",
        "again.bmp": "picture_twice",
        "evil.zip": "zip_outside",
        "2.caption": "caption_twice",
    }
    for entry in filled.refused:
        assert repr(entry.source) in entry.message
    again = next(entry for entry in filled.refused if entry.source == "again.bmp")
    assert "'1.png'" in again.message


def test_what_was_said_of_a_file_is_dropped_when_it_comes_again(
    workspace: Workspace, tmp_path: Path, picture: Draw
) -> None:
    made = workspace.datasets.create("cats", "ann")
    path = tmp_path / "a.png"
    for data, wanted in ((b"broken", {"a.png": "picture_unknown"}), (picture(1)[:99], {"a.png": "picture_broken"})):
        path.write_bytes(data)
        assert told(workspace.datasets.add_files(made.id, [path])) == wanted
    path.write_bytes(picture(1))
    filled = workspace.datasets.add_files(made.id, [path])
    assert (len(filled.items), filled.refused) == (1, ())


def test_twins_and_small_ones_are_remarked_on(workspace: Workspace, tmp_path: Path, picture: Draw) -> None:
    with Image.open(io.BytesIO(picture(1))) as image:
        image.resize((100, 88), Image.Resampling.LANCZOS).save(tmp_path / "b.jpg", quality=90)
    (tmp_path / "a.png").write_bytes(picture(1))
    (tmp_path / "c.png").write_bytes(picture(2))
    made = workspace.datasets.create("cats", "ann")
    first, twin, other = workspace.datasets.add_folder(made.id, tmp_path).items
    assert (first.warnings, twin.warnings, other.warnings) == ((), ("small", "twin"), ())
    removed = workspace.datasets.remove(made.id, first.sha256)
    assert [item.warnings for item in workspace.datasets.get(made.id).items] == [("small",), ()], "no twin any more"
    workspace.datasets.restore(made.id, removed, 1)
    now = workspace.datasets.get(made.id).items
    assert [(item.source, item.warnings) for item in now] == [
        ("b.jpg", ("small",)),
        ("a.png", ("twin",)),
        ("c.png", ()),
    ]


def test_captions_may_come_later_or_in_a_zip(workspace: Workspace, tmp_path: Path, picture: Draw) -> None:
    made = workspace.datasets.create("cats", "ann")
    (tmp_path / "up1").write_bytes(picture(1))
    (tmp_path / "up2").write_text("smile")
    (tmp_path / "set.zip").write_bytes(_zip({"in/z.caption": b"\xef\xbb\xbfzipped", "in/z.png": picture(2)}))
    filled = workspace.datasets.add_files(made.id, [tmp_path / "up1", tmp_path / "set.zip"], ["cat.png", "set.zip"])
    assert [(i.source, i.caption) for i in filled.items] == [("cat.png", ""), ("set.zip/in/z.png", "zipped")]
    filled = workspace.datasets.add_files(made.id, [tmp_path / "up2"], ["cat.txt"])
    assert [item.caption for item in filled.items] == ["smile", "zipped"]
    assert filled.refused == ()


def test_adding_again_fills_empty_captions_and_overwrites_none(workspace: Workspace, folder: Path) -> None:
    made = workspace.datasets.create("cats", "ann")
    filled = workspace.datasets.add_folder(made.id, folder)
    workspace.datasets.set_caption(made.id, filled.items[0].sha256, "my own words")
    workspace.datasets.set_caption(made.id, filled.items[1].sha256, "")
    again = workspace.datasets.add_folder(made.id, folder)
    assert [item.caption for item in again.items] == ["my own words", "1girl, number 2", "1girl, number 10"]
    twice = {f"{number}.png": "picture_twice" for number in (1, 2, 10)}
    assert told(again) == twice | {"1.txt": "caption_kept"}


@pytest.fixture
def give(workspace: Workspace, tmp_path: Path) -> Callable[..., DatasetManifest]:
    """give(set, name, data): the set after one file was sent to it alone, as the page sends files."""

    def add(dataset_id: str, name: str, data: bytes | str) -> DatasetManifest:
        path = tmp_path / "upload"
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return workspace.datasets.add_files(dataset_id, [path], [name])

    return add


def test_a_caption_that_comes_alone_belongs_to_the_newest_picture_without_one(
    workspace: Workspace, give: Callable[..., DatasetManifest], picture: Draw
) -> None:
    """Numbered names are the rule: every picture called 1 got the caption, whatever had been written there."""
    made = workspace.datasets.create("cats", "ann").id
    give(made, "1.png", picture(1))
    give(made, "1.txt", "red")
    give(made, "1.png", picture(2))
    filled = give(made, "1.txt", "blue")
    assert [item.caption for item in filled.items] == ["red", "blue"]
    assert give(made, "1.txt", "red").refused == (), "the same words again are nothing to be told of"
    workspace.datasets.set_caption(made, filled.items[1].sha256, "mine")
    kept = give(made, "1.txt", "blue")
    assert [item.caption for item in kept.items] == ["red", "mine"]
    assert told(kept) == {"1.txt": "caption_kept"}
    assert "'1.txt' is not used" in kept.refused[0].message
    workspace.datasets.set_caption(made, filled.items[1].sha256, "")
    again = give(made, "1.txt", "blue")
    assert ([item.caption for item in again.items], again.refused) == (["red", "blue"], ())


def test_files_of_folders_that_come_one_by_one_pair_as_those_of_a_folder_do(
    workspace: Workspace, give: Callable[..., DatasetManifest], picture: Draw
) -> None:
    made = workspace.datasets.create("cats", "ann").id
    for name, data in (
        ("a/1.png", picture(1)),
        ("b/1.png", picture(2)),
        ("a/1.txt", "one"),
        ("b/1.txt", "two"),
        ("1.txt", "nobody's"),
    ):
        filled = give(made, name, data)
    assert [(item.source, item.caption) for item in filled.items] == [("a/1.png", "one"), ("b/1.png", "two")]
    assert told(filled) == {"1.txt": "caption_without_picture"}


def test_a_caption_finds_its_picture_under_the_name_that_it_was_given_again(
    workspace: Workspace, give: Callable[..., DatasetManifest], picture: Draw
) -> None:
    """First the picture alone, later the folder with it and its caption."""
    made = workspace.datasets.create("cats", "ann").id
    give(made, "a.png", picture(1))
    give(made, "cats/7.png", picture(1))
    filled = give(made, "cats/7.txt", "smile")
    assert [(item.source, item.caption) for item in filled.items] == [("a.png", "smile")]
    assert told(filled) == {"cats/7.png": "picture_twice"}
    workspace.datasets.remove(made, filled.items[0].sha256)
    assert told(give(made, "cats/7.txt", "smile"))["cats/7.txt"] == "caption_without_picture"


def test_captions_are_edited_one_and_all(workspace: Workspace, folder: Path) -> None:
    made = workspace.datasets.add_folder(workspace.datasets.create("cats", "ann").id, folder)
    workspace.datasets.set_caption(made.id, made.items[0].sha256, " 猫, a_b% \n")
    assert workspace.datasets.get(made.id).items[0].caption == "猫, a_b%"
    assert len(workspace.datasets.replace_in_captions(made.id, "1girl, ", "")) == 2
    assert list(workspace.datasets.replace_in_captions(made.id, "_b%", "c").values()) == [("猫, a_b%", "猫, ac")]
    assert [item.caption for item in workspace.datasets.get(made.id).items] == ["猫, ac", "number 2", "number 10"]
    assert workspace.datasets.replace_in_captions(made.id, "%", "") == {}
    with pytest.raises(InvalidInput, match="given as ''"):
        workspace.datasets.replace_in_captions(made.id, "", "x")


def test_replacing_is_undone_where_nobody_has_written_since(workspace: Workspace, folder: Path) -> None:
    made = workspace.datasets.add_folder(workspace.datasets.create("cats", "ann").id, folder)
    changes = workspace.datasets.replace_in_captions(made.id, "1girl, number ", "no")
    workspace.datasets.set_caption(made.id, made.items[2].sha256, "written since")
    assert workspace.datasets.restore_captions(made.id, changes) == 2
    assert workspace.datasets.restore_captions(made.id, changes) == 0
    now = [item.caption for item in workspace.datasets.get(made.id).items]
    assert now == ["1girl, number 1", "1girl, number 2", "written since"]
    with pytest.raises(InvalidInput, match="no valid text"):
        workspace.datasets.restore_captions(made.id, {made.items[0].sha256: ("\ud83d", now[0])})


@pytest.mark.parametrize(("index", "order"), [(0, "312"), (1, "132"), (2, "123"), (99, "123"), (-5, "312")])
def test_removing_is_undone_in_place(workspace: Workspace, folder: Path, index: int, order: str) -> None:
    made = workspace.datasets.add_folder(workspace.datasets.create("cats", "ann").id, folder)
    one, two, three = made.items
    names = {one.sha256: "1", two.sha256: "2", three.sha256: "3"}
    removed = workspace.datasets.remove(made.id, three.sha256)
    assert removed == three
    assert workspace.datasets.get(made.id).items == (one, two)
    assert workspace.files.has(three.sha256)
    workspace.datasets.restore(made.id, removed, index)
    workspace.datasets.restore(made.id, removed, 0)
    assert "".join(names[item.sha256] for item in workspace.datasets.get(made.id).items) == order


def test_a_picture_larger_than_what_may_be_sent_can_be_put_back(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Photos become PNGs of several times their size: the bound on what people send refused their own pictures."""
    made = workspace.datasets.add_folder(workspace.datasets.create("cats", "ann").id, folder)
    monkeypatch.setattr("lora_studio.dataset.intake.MAX_BYTES", 1000)
    removed = workspace.datasets.remove(made.id, made.items[0].sha256)
    workspace.datasets.restore(made.id, removed, 0)
    assert workspace.datasets.get(made.id).items == made.items


def test_only_what_was_in_a_set_is_put_back_and_what_is_said_of_it_is_seen(
    workspace: Workspace, folder: Path, picture: Draw
) -> None:
    """A page sent the item: any stored file entered, somebody else's picture too, with sizes and remarks as sent."""
    made = workspace.datasets.add_folder(workspace.datasets.create("cats", "ann").id, folder)
    (folder / "1.png").write_bytes(picture(77))
    other = workspace.datasets.add_folder(workspace.datasets.create("theirs", "ben").id, folder)
    stranger = next(item for item in other.items if item.source == "1.png")
    with pytest.raises(NotFound, match=stranger.sha256):
        workspace.datasets.restore(made.id, stranger, 0)
    assert workspace.datasets.get(made.id) == made
    removed = workspace.datasets.remove(made.id, made.items[0].sha256)
    with pytest.raises(InvalidInput, match="no valid text"):
        workspace.datasets.restore(made.id, replace(removed, caption="\ud83d"), 0)
    workspace.datasets.restore(made.id, replace(removed, width=1, height=9, warnings=("small", "fine")), 0)
    assert workspace.datasets.get(made.id) == made


def test_a_damaged_file_is_told_and_not_put_back(workspace: Workspace, folder: Path) -> None:
    made = workspace.datasets.add_folder(workspace.datasets.create("cats", "ann").id, folder)
    removed = workspace.datasets.remove(made.id, made.items[0].sha256)
    path = workspace.files.path(removed.sha256)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DatasetError, match=r"'1\.png' is damaged"):
        workspace.datasets.restore(made.id, removed, 0)
    path.unlink()
    with pytest.raises(NotFound, match=removed.sha256):
        workspace.datasets.restore(made.id, removed, 0)
    assert len(workspace.datasets.get(made.id).items) == 2


def test_deleting_a_set_takes_its_files_and_no_others(workspace: Workspace, folder: Path, picture: Draw) -> None:
    first = workspace.datasets.add_folder(workspace.datasets.create("one", "ann").id, folder)
    (folder / "1.png").write_bytes(picture(77))
    second = workspace.datasets.add_folder(workspace.datasets.create("two", "ann").id, folder)
    removed = workspace.datasets.remove(first.id, first.items[0].sha256)
    thumbs = [workspace.files.thumbnail(item.sha256) for item in first.items]
    workspace.datasets.delete(first.id)
    assert not workspace.files.has(removed.sha256), "a picture taken out of the set goes with it"
    assert not thumbs[0].exists()
    assert all(workspace.files.has(item.sha256) for item in second.items)
    workspace.datasets.delete(second.id)
    assert [path for path in (workspace.root / "files").rglob("*") if path.is_file()] == []
    with pytest.raises(NotFound):
        workspace.datasets.get(first.id)


def test_a_set_deleted_while_it_is_filled_leaves_nothing(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = workspace.datasets.create("cats", "ann")
    put = workspace.files.put_bytes

    def put_then_delete(data: bytes, suffix: str = "") -> str:
        sha256 = put(data, suffix)
        workspace.datasets.delete(made.id)
        return sha256

    monkeypatch.setattr(workspace.files, "put_bytes", put_then_delete)
    with pytest.raises(NotFound):
        workspace.datasets.add_folder(made.id, folder)
    assert [path for path in (workspace.root / "files").rglob("*") if path.is_file()] == []


def test_threads_that_fill_one_set_lose_nothing(workspace: Workspace, tmp_path: Path, picture: Draw) -> None:
    made = workspace.datasets.create("cats", "ann")
    for number in range(12):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: workspace.datasets.add_files(made.id, [tmp_path / f"{n}.png"]), range(12)))
    assert sorted(item.source for item in workspace.datasets.get(made.id).items) == sorted(
        f"{n}.png" for n in range(12)
    )


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_names_that_are_no_text_can_be_shown(workspace: Workspace, tmp_path: Path, picture: Draw) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    for name, data in ((b"f\xfcnf.png", picture(1)), (b"f\xfcnf2.png", b"broken"), (b"f\xfcnf.txt", b"five")):
        Path(os.fsdecode(os.fsencode(inside) + b"/" + name)).write_bytes(data)
    filled = workspace.datasets.add_folder(workspace.datasets.create("x", "ann").id, inside)
    assert [(item.source, item.caption) for item in filled.items] == [("f?nf.png", "five")]
    assert told(filled) == {"f?nf2.png": "picture_unknown"}


def test_folders_without_pictures_are_named(workspace: Workspace, tmp_path: Path) -> None:
    made = workspace.datasets.create("cats", "ann")
    (tmp_path / "empty").mkdir()
    for name in ("empty", "gone"):
        with pytest.raises(DatasetError) as caught:
            workspace.datasets.add_folder(made.id, tmp_path / name)
        assert str(tmp_path / name) in caught.value.message


@pytest.mark.parametrize(
    "call",
    [
        lambda sets, path: sets.get("nobody"),
        lambda sets, path: sets.add_files("nobody", [path]),
        lambda sets, path: sets.add_folder("nobody", path.parent),
        lambda sets, path: sets.set_caption("nobody", "a" * 64, ""),
        lambda sets, path: sets.replace_in_captions("nobody", "a", "b"),
        lambda sets, path: sets.remove("nobody", "a" * 64),
        lambda sets, path: sets.restore("nobody", DatasetItem("a" * 64, 1, 1), 0),
        lambda sets, path: sets.restore_captions("nobody", {}),
        lambda sets, path: sets.rename("nobody", "x"),
        lambda sets, path: sets.delete("nobody"),
    ],
)
def test_a_set_that_is_not_there_is_named(
    workspace: Workspace, folder: Path, call: Callable[[object, Path], object]
) -> None:
    with pytest.raises(NotFound, match="'nobody'"):
        call(workspace.datasets, folder / "1.png")
    assert [path for path in (workspace.root / "files").rglob("*") if path.is_file()] == []


def test_a_picture_that_is_not_in_the_set_is_named(workspace: Workspace) -> None:
    made = workspace.datasets.create("cats", "ann")
    for call in (workspace.datasets.remove, lambda *a: workspace.datasets.set_caption(*a, "x")):
        with pytest.raises(NotFound, match="a" * 64):
            call(made.id, "a" * 64)


def _as(data: bytes, kind: str) -> bytes:
    out = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.save(out, kind)
    return out.getvalue()


def _zip(content: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, data in content.items():
            made.writestr(name, data)
    return out.getvalue()
