"""Folders read in place: found, hashed once, told apart by what is in them, missing and back, never written."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import update

from lora_studio.errors import InvalidInput, NotFound
from lora_studio.headers import header
from lora_studio.headers.adapter import READER
from lora_studio.store import FileStore, Workspace, files, folder_scan, folder_walk
from lora_studio.store.tables import adapter, folder_file
from lora_studio.types import LOCAL, AdapterEntry
from lora_studio.types.library import BUNDLED, bundled_in
from tests.support import lora_files as made

Make = Callable[..., AdapterEntry]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """An existing folder of LoRAs."""
    folder = tmp_path / "models" / "Lora"
    made.write(folder / "cat.safetensors", "sd1", seed=1)
    made.write(folder / "style" / "ink.safetensors", "sdxl", {"modelspec.trigger_phrase": "ink, wash"}, seed=2)
    return folder


@pytest.fixture
def opened(tmp_path: Path, empty_workspace: Path, models: Path) -> Iterator[Workspace]:
    """A workspace that reads the folder."""
    with Workspace.open(shutil.copytree(empty_workspace, tmp_path / "workspace"), [models]) as workspace:
        yield workspace


def scan(workspace: Workspace) -> int:
    """One look; how many files were read for it."""
    return max(state.todo for state in workspace.folders.scan())


def names(workspace: Workspace, owner: str = "ann") -> list[str]:
    return sorted(entry.name for entry in workspace.adapters.list(owner))


def later(path: Path, seconds: int = 5) -> None:
    """Give a file another time."""
    known = path.stat()
    os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns + seconds * 10**9))


def snapshot(folder: Path) -> dict[str, Any]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in sorted([folder, *folder.rglob("*")])
    }


def test_files_are_listed_where_they_lie(opened: Workspace, models: Path) -> None:
    before = snapshot(models)
    assert scan(opened) == 2
    cat, ink = sorted(opened.adapters.list("ann"), key=lambda entry: entry.name)
    assert (cat.name, cat.family, cat.rank, cat.places) == ("cat", "sd1", 4, ("Lora/cat.safetensors",))
    assert (ink.name, ink.family, ink.places) == ("ink", "sdxl", ("Lora/style/ink.safetensors",))
    assert ink.trigger_words == ("ink", "wash")
    assert cat.created == pytest.approx((models / "cat.safetensors").stat().st_mtime)
    assert not cat.missing
    assert not opened.files.has(cat.sha256), "no copy is made"
    assert opened.files.path(cat.sha256) == models / "cat.safetensors"
    assert opened.files.hash_of(models / "cat.safetensors") == cat.sha256
    assert snapshot(models) == before


def test_what_is_known_is_not_opened_again(opened: Workspace, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan(opened)
    monkeypatch.setattr(Path, "open", lambda *_, **__: pytest.fail("a known file was opened"))
    assert scan(opened) == 0


def test_the_tensors_hash_is_kept_with_the_first_reading(
    opened: Workspace, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan(opened)
    cat = opened.adapters.find("cat")
    fresh = FileStore(models.parent / "other", opened._presence)
    expected = fresh.tensors_hash(fresh.put_file(models / "cat.safetensors"))
    monkeypatch.setattr(files, "_tensors_hash", lambda _: pytest.fail("the file was read again"))
    assert opened.files.tensors_hash(cat.sha256) == expected


def test_a_moved_and_renamed_file_is_the_same_entry(opened: Workspace, models: Path) -> None:
    scan(opened)
    cat = opened.adapters.find("cat")
    opened.adapters.update(cat.sha256, owner=LOCAL, name="Kitty", notes="mine", stars=4)
    (models / "animals").mkdir()
    (models / "cat.safetensors").rename(models / "animals" / "cat v2.safetensors")
    scan(opened)
    moved = opened.adapters.get(cat.sha256)
    assert (moved.name, moved.notes, moved.stars) == ("Kitty", "mine", 4)
    assert moved.places == ("Lora/animals/cat v2.safetensors",)
    assert len(opened.adapters.list("ann")) == 2


def test_one_file_in_two_places_is_one_entry_and_stays_when_one_goes(opened: Workspace, models: Path) -> None:
    shutil.copyfile(models / "cat.safetensors", models / "style" / "copy.safetensors")
    scan(opened)
    assert names(opened) in (["cat", "ink"], ["copy", "ink"])
    entry = next(entry for entry in opened.adapters.list("ann") if entry.family == "sd1")
    assert entry.places == ("Lora/cat.safetensors", "Lora/style/copy.safetensors")
    for name in ("cat", "copy", "COPY"):  # prompts of either file's name mean it
        assert opened.adapters.find(name).sha256 == entry.sha256
    (models / "cat.safetensors").unlink()
    scan(opened)
    assert opened.adapters.get(entry.sha256).places == ("Lora/style/copy.safetensors",)
    assert opened.files.path(entry.sha256) == models / "style" / "copy.safetensors"


def test_what_vanishes_is_missing_and_comes_back_without_being_read(opened: Workspace, models: Path) -> None:
    scan(opened)
    cat = opened.adapters.get(opened.adapters.find("cat").sha256)
    stamp = opened.adapters.stamp()
    away = models.parent / "away"
    models.rename(away)
    scan(opened)
    assert opened.folders.state.folders[0].problem is not None
    assert opened.folders.state.folders[0].problem["code"] == "library_folder_missing"
    assert [entry.missing for entry in opened.adapters.list("ann")] == [True, True]
    assert opened.adapters.stamp() > stamp, "pages must look again"
    with pytest.raises(NotFound, match=r"'cat\.safetensors' is not in its folder"):
        opened.files.path(cat.sha256)
    away.rename(models)
    assert scan(opened) == 0
    assert opened.adapters.get(cat.sha256) == cat


def test_an_uploaded_file_is_the_entry_that_lies_there(opened: Workspace, models: Path, entry: Make) -> None:
    scan(opened)
    cat = opened.adapters.find("cat")
    opened.files.put_file(models / "cat.safetensors")
    added = opened.adapters.add(entry(cat.sha256, "mine", owner="ann"))
    assert (added.name, added.owner) == ("cat", LOCAL)
    (models / "cat.safetensors").unlink()
    scan(opened)
    assert not opened.adapters.get(cat.sha256).missing, "the store has a copy now"


def test_what_ann_uploaded_first_stays_hers_and_others_see_the_folders(
    opened: Workspace, models: Path, entry: Make
) -> None:
    sha256 = opened.files.put_file(models / "cat.safetensors")
    opened.adapters.add(entry(sha256, "anns", owner="ann"))
    scan(opened)
    assert names(opened, "ann") == ["anns", "ink"]
    assert names(opened, "bob") == ["cat", "ink"]


def test_a_file_written_over_is_another_one_and_is_noticed_at_once(opened: Workspace, models: Path) -> None:
    scan(opened)
    cat = opened.adapters.find("cat")
    opened.adapters.update(cat.sha256, owner=LOCAL, notes="my notes", stars=3)
    made.write(models / "cat.safetensors", "sd1", seed=9)
    later(models / "cat.safetensors")
    with pytest.raises(NotFound, match="was changed"):
        opened.files.path(cat.sha256)
    scan(opened)
    new = opened.adapters.find("cat")
    assert new.sha256 != cat.sha256
    assert (new.notes, new.stars) == ("my notes", 3), "what a person wrote for the place goes with it"
    old = opened.adapters.get(cat.sha256)
    assert old.missing
    assert old.name.startswith("cat (20")


def test_a_touched_file_is_hashed_again_and_is_the_same(opened: Workspace, models: Path) -> None:
    scan(opened)
    cat = opened.adapters.find("cat")
    later(models / "cat.safetensors")
    assert opened.files.path(cat.sha256) == models / "cat.safetensors"
    assert scan(opened) == 0, "its new time is remembered"


def test_side_files_are_taken_over_and_followed(opened: Workspace, models: Path) -> None:
    made.write_json(models / "cat.json", {"activation text": "cat ears", "preferred weight": 0.6, "notes": "n"})
    made.write_json(models / "cat.civitai.info", {"model": {"name": "Cats"}, "name": "v1", "baseModel": "SDXL 1.0"})
    made.write_picture(models / "cat.preview.png")
    scan(opened)
    cat = opened.adapters.find("cat")
    assert (cat.trigger_words, cat.recommended_weight, cat.notes) == (("cat ears",), 0.6, "n")
    assert (cat.side["title"], cat.family) == ("Cats · v1", "sd1"), "the file's own widths say the family"
    assert cat.cover is not None
    assert opened.files.thumbnail(cat.cover, 64).is_file()
    assert opened.references.held(cat.cover, [LOCAL])
    opened.adapters.update(cat.sha256, owner=LOCAL, notes="mine")
    made.write_json(models / "cat.json", {"activation text": "ears", "notes": "other"})
    later(models / "cat.json")
    (models / "cat.preview.png").unlink()
    assert scan(opened) == 0, "the LoRA itself is not read again"
    after = opened.adapters.find("cat")
    assert (after.trigger_words, after.recommended_weight, after.notes) == (("ears",), 1.0, "mine")
    assert after.cover is None
    assert not opened.files.has(cat.cover), "nobody refers to the old picture any more"


def test_broken_side_files_are_told_on_the_card(opened: Workspace, models: Path) -> None:
    (models / "cat.json").write_bytes(b"{broken")
    (models / "cat.png").write_bytes(b"no picture")
    scan(opened)
    codes = [(one["code"], one["values"]["file"]) for one in opened.adapters.find("cat").side["warnings"]]
    assert codes == [("side_damaged", "cat.json"), ("side_picture", "cat.png")]


def test_what_is_no_lora_is_counted_with_its_reason(opened: Workspace, models: Path) -> None:
    (models / "damaged.safetensors").write_bytes(b"not a header at all")
    whole = made.file_bytes(made.kohya(), seed=5)
    (models / "half.safetensors").write_bytes(whole[:-10])
    (models / "word.safetensors").write_bytes(made.file_bytes({"emb_params": (2, 768)}))
    (models / "model.safetensors").write_bytes(made.file_bytes({"model.x": (2, 3, 4), "vae.y": (4, 4)}))
    scan(opened)
    assert {one["place"].removeprefix("Lora/"): one["code"] for one in opened.folders.unusable()} == {
        "damaged.safetensors": "damaged",
        "half.safetensors": "incomplete",
        "word.safetensors": "embedding",
        "model.safetensors": "other",
    }
    state = opened.folders.state.folders[0]
    assert (state.files, state.unusable, state.problem, state.read) == (2, 4, None, True)
    (models / "half.safetensors").write_bytes(whole)
    assert scan(opened) == 1
    assert names(opened) == ["cat", "half", "ink"]


def test_links_are_followed_once_and_loops_end(opened: Workspace, models: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    made.write(elsewhere / "linked.safetensors", seed=7)
    (models / "there").symlink_to(elsewhere)
    (models / "again").symlink_to(elsewhere)
    (models / "loop").symlink_to(models)
    (models / "one.safetensors").symlink_to(elsewhere / "linked.safetensors")
    (models / "broken.safetensors").symlink_to(tmp_path / "nothing")
    os.mkfifo(models / "pipe.safetensors")
    scan(opened)
    assert len(opened.adapters.list("ann")) == 3
    linked = next(entry for entry in opened.adapters.list("ann") if entry.name in ("linked", "one"))
    assert len(linked.places) == 2, "as a file that is linked and in a folder that is linked twice"


def test_a_folder_that_is_a_file_or_too_large_says_so_and_the_others_go_on(
    tmp_path: Path, empty_workspace: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_walk, "MOST_FILES", 2)
    many = tmp_path / "many"
    for number in range(4):
        made.write(many / f"n{number}.safetensors", seed=10 + number)
    (tmp_path / "file").write_text("x")
    folders = [tmp_path / "file", many, models, models / "style"]
    with Workspace.open(shutil.copytree(empty_workspace, tmp_path / "w"), folders) as workspace:
        scan(workspace)
        told = {
            Path(one.folder).name: (one.files, (one.problem or {}).get("code"))
            for one in workspace.folders.state.folders
        }
        assert told == {
            "file": (0, "library_folder_unreadable"),
            "many": (2, "library_folder_too_large"),
            "Lora": (2, None),
        }
        assert len(workspace.adapters.list("ann")) == 4


def test_deleting_hides_it_and_the_next_look_does_not_bring_it_back(opened: Workspace, models: Path) -> None:
    scan(opened)
    cat = opened.adapters.find("cat")
    opened.adapters.delete(cat.sha256, LOCAL)
    opened.adapters.purge(1e12)
    later(models / "cat.safetensors")
    scan(opened)
    assert names(opened) == ["ink"]
    assert [entry.name for entry in opened.adapters.list("ann", deleted=True)] == ["cat"]
    assert (models / "cat.safetensors").is_file(), "nothing in the folder is ever removed"
    assert opened.adapters.restore(cat.sha256, LOCAL).name == "cat"


def test_folders_that_are_no_longer_watched_are_missing(tmp_path: Path, opened: Workspace, models: Path) -> None:
    scan(opened)
    opened.close()
    with Workspace.open(tmp_path / "workspace", []) as again:
        scan(again)
        assert [entry.missing for entry in again.adapters.list("ann")] == [True, True]
    with Workspace.open(tmp_path / "workspace", [models]) as again:
        assert scan(again) == 0
        assert [entry.missing for entry in again.adapters.list("ann")] == [False, False]


def test_a_look_that_is_broken_off_goes_on_later(opened: Workspace) -> None:
    half = opened.folders.scan()
    while next(half).done < 1:
        pass
    half.close()
    assert len(opened.adapters.list("ann")) == 1
    assert scan(opened) == 1
    assert names(opened) == ["cat", "ink"]


def test_names_that_no_database_can_hold_are_left_out(opened: Workspace, models: Path) -> None:
    raw = os.fsencode(models) + b"/bad\xff.safetensors"
    with open(raw, "wb") as file:
        file.write(made.file_bytes(made.kohya(), seed=3))
    scan(opened)
    assert names(opened) == ["cat", "ink"]


def test_files_are_found_by_stem_place_and_label(opened: Workspace, models: Path) -> None:
    made.write(models / "style" / "cat.safetensors", seed=20)
    scan(opened)
    first, second = opened.adapters.find("cat"), opened.adapters.find("cat 2")
    assert {first.stem, second.stem} == {"cat"}
    opened.adapters.update(first.sha256, owner=LOCAL, name="Kitty")
    opened.adapters.update(second.sha256, owner=LOCAL, name="Tiger")
    with pytest.raises(InvalidInput) as caught:
        opened.adapters.find("cat")
    assert caught.value.code == "adapter_ambiguous"
    assert sorted(caught.value.values["near"]) == ["Kitty", "Tiger"]
    assert opened.adapters.find("style/cat").places == ("Lora/style/cat.safetensors",)
    assert opened.adapters.find("Style\\Cat.safetensors").places == ("Lora/style/cat.safetensors",)
    assert opened.adapters.find("ink").stem == "ink"
    opened.adapters.update(opened.adapters.find("ink").sha256, owner=LOCAL, name="Wash")
    assert opened.adapters.find("ink").name == "Wash", "A1111's prompts still find it"
    assert opened.adapters.find("INK").name == "Wash"


def test_pickles_are_listed_and_not_opened(opened: Workspace, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They were not seen at all: people looked for a LoRA that lay in its folder."""
    for name in ("old.pt", "older.CKPT", "style/oldest.bin"):
        (models / name).write_bytes(b"PK\x03\x04")
    (models / "notes.txt").write_text("x")
    plain = Path.open

    def watched(path: Path, *mode: Any, **more: Any) -> Any:
        assert path.suffix == ".safetensors" or path.is_relative_to(opened.root)
        return plain(path, *mode, **more)

    monkeypatch.setattr(Path, "open", watched)
    scan(opened)
    assert names(opened) == ["cat", "ink"]
    assert opened.folders.unusable() == [
        {"place": place, "code": "pickled"} for place in ("Lora/old.pt", "Lora/older.CKPT", "Lora/style/oldest.bin")
    ]
    assert opened.folders.state.folders[0].unusable == 3


def picture(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (300, 200), colour).save(out, "JPEG")
    return out.getvalue()


@pytest.mark.parametrize("key", ["modelspec.thumbnail", "ssmd_cover_images"])
def test_the_picture_in_a_header_is_the_cover(opened: Workspace, models: Path, key: str) -> None:
    """One that lies beside the file comes first; without it the header's is the cover again."""
    text = base64.b64encode(picture("green")).decode()
    said = f"data:image/jpeg;base64,{text}" if key == "modelspec.thumbnail" else json.dumps([text])
    made.write(models / "fern.safetensors", metadata={key: said}, seed=5)
    made.write(models / "moss.safetensors", metadata={key: said[:-90] + "A" * 7}, seed=6)
    scan(opened)

    def colour() -> tuple[int, ...]:
        cover = opened.adapters.find("fern").cover
        assert cover is not None
        with Image.open(opened.files.path(cover)) as image:
            assert max(image.size) <= 512
            found = image.convert("RGB").getpixel((9, 9))
        return tuple(int(value > 60) for value in found)

    assert colour() == (0, 1, 0)
    assert opened.adapters.find("moss").cover is None, "it is damaged"
    made.write_picture(models / "fern.png", "blue")
    scan(opened)
    assert colour() == (0, 0, 1)
    (models / "fern.png").unlink()
    scan(opened)
    assert colour() == (0, 1, 0)


def test_embeddings_within_a_lora_are_known_by_the_first_look(opened: Workspace, models: Path) -> None:
    """They were known only of files that had been brought in; their bytes are the file's, in a file of the store."""
    shapes = made.kohya() | {
        "bundle_emb.mycat.string_to_param.*": (2, 768),
        "bundle_emb.both.clip_l": (3, 768),
        "bundle_emb.both.clip_g": (3, 1280),
        "bundle_emb.one.emb_params": (768,),
        "bundle_emb.uneven.clip_l": (1, 768),
        "bundle_emb.uneven.clip_g": (2, 1280),
        "bundle_emb.deep.clip_l": (1, 2, 768),
    }
    path = models / "with.safetensors"
    path.write_bytes(made.file_bytes(shapes, {BUNDLED: "[[]]"}, seed=7))
    scan(opened)
    entry = next(one for one in opened.adapters.shelf("ann") if one.name == "with")
    found = {one.name: one for one in bundled_in(entry)}
    assert {name: (one.vectors, one.widths) for name, one in found.items()} == {
        "mycat": (2, {"clip_l": 768}),
        "both": (3, {"clip_g": 1280, "clip_l": 768}),
        "one": (1, {"clip_l": 768}),
    }
    whole = path.read_bytes()
    for one in found.values():
        data = opened.files.path(one.sha256).read_bytes()
        assert data[8 + int.from_bytes(data[:8], "little") :][: 2 * 768] in whole
    with opened.files.path(found["both"].sha256).open("rb") as file:
        named = header.read(file, opened.files.path(found["both"].sha256).stat().st_size)
    assert {name: entry["shape"] for name, entry in named.items()} == {"clip_g": [3, 1280], "clip_l": [3, 768]}
    opened.adapters.delete(entry.sha256, LOCAL)
    opened.adapters.purge(1e12)
    opened.adapters.restore(entry.sha256, LOCAL)
    assert opened.files.has(found["mycat"].sha256), "it comes back with the LoRA"


def test_what_an_older_reader_looked_at_is_looked_at_once_more(
    opened: Workspace, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bug: families, covers and embeddings that a newer version tells stood only on files that changed after it."""
    path = models / "with.safetensors"
    path.write_bytes(made.file_bytes(made.kohya() | {"bundle_emb.mycat.emb_params": (2, 768)}, seed=7))
    scan(opened)
    entry = next(one for one in opened.adapters.shelf("ann") if one.name == "with")
    opened.adapters.update(entry.sha256, notes="mine")
    with opened.database.write() as connection:  # as an older version left it
        mine = adapter.c.sha256 == entry.sha256
        connection.execute(
            update(adapter).where(mine).values(family="wan", rank=None, metadata={}, hints={}, report={})
        )
        connection.execute(update(folder_file).values(reader=READER - 1))
    scan(opened)
    again = opened.adapters.get(entry.sha256)
    assert (again.family, again.rank, again.notes) == (entry.family, entry.rank, "mine")
    assert [one.name for one in bundled_in(again)] == ["mycat"]
    assert again.report["layers_in_file"] > 0
    monkeypatch.setattr(folder_scan.Scan, "_read", lambda *_: pytest.fail("it was read a third time"))
    scan(opened)
