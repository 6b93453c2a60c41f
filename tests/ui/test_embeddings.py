"""What pages may do with embeddings, asked directly: listing, renaming, deleting, bringing back; whose they are."""

from __future__ import annotations

import time

import pytest

from lora_studio.errors import InvalidInput, NotFound
from lora_studio.store.embeddings import UNDO_SECONDS
from lora_studio.types import EmbeddingEntry
from lora_studio.ui.studio import Studio
from tests.ui.conftest import Call


def enter(studio: Studio, name: str, owner: str = "ann", width: int = 768) -> EmbeddingEntry:
    sha256 = studio.workspace.files.put_bytes(f"{name} {owner}".encode(), ".pt")
    entry = EmbeddingEntry(sha256, name, owner, time.time(), 9, 16, {"clip_l": width}, "", {"step": "5"})
    return studio.workspace.embeddings.add(entry)


def test_the_list_comes_with_the_library(studio: Studio, call: Call) -> None:
    entry = enter(studio, "EasyThing")
    enter(studio, "wide", width=1024)
    enter(studio, "from the shell", owner="local")
    enter(studio, "bens", owner="ben")
    listed = call("library")["embeddings"]
    assert [(one["name"], one["fits"]) for one in listed] == [
        ("from the shell", True), ("wide", False), ("EasyThing", True),
    ]  # fmt: skip
    assert listed[2] == {
        "sha256": entry.sha256,
        "name": "EasyThing",
        "created": entry.created,
        "size": 9,
        "vectors": 16,
        "widths": {"clip_l": 768},
        "metadata": {"step": "5"},
        "fits": True,
    }


def test_renaming_gives_a_free_name(studio: Studio, call: Call) -> None:
    entry = enter(studio, "mine")
    enter(studio, "taken", owner="local")
    assert call("rename_embedding", sha256=entry.sha256, name="Taken")["embedding"]["name"] == "Taken 2"
    with pytest.raises(InvalidInput):
        call("rename_embedding", sha256=entry.sha256, name=" ")


def test_deleting_and_bringing_back(studio: Studio, call: Call) -> None:
    entry = enter(studio, "mine")
    call("delete_embedding", sha256=entry.sha256)
    assert call("library")["embeddings"] == []
    for name in ("delete_embedding", "rename_embedding"):
        with pytest.raises(NotFound):
            call(name, sha256=entry.sha256, name="x")
    assert call("restore_embedding", sha256=entry.sha256)["embedding"]["name"] == "mine"
    assert [one["name"] for one in call("library")["embeddings"]] == ["mine"]
    with pytest.raises(NotFound):
        call("restore_embedding", sha256=entry.sha256)


def test_deleting_removes_what_was_deleted_long_ago(
    studio: Studio, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = enter(studio, "old"), enter(studio, "new")
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - UNDO_SECONDS - 60)
    call("delete_embedding", sha256=old.sha256)
    monkeypatch.undo()
    assert studio.workspace.files.has(old.sha256)
    call("delete_embedding", sha256=new.sha256)
    assert not studio.workspace.files.has(old.sha256)
    assert studio.workspace.files.has(new.sha256)


@pytest.mark.parametrize("name", ["rename_embedding", "delete_embedding", "restore_embedding"])
def test_somebody_elses_are_not_there(name: str, studio: Studio, call: Call) -> None:
    entry = enter(studio, "mine")
    if name == "restore_embedding":
        call("delete_embedding", sha256=entry.sha256)
    with pytest.raises(NotFound):
        call(name, "ben", sha256=entry.sha256, name="his")
    assert studio.workspace.embeddings.get(entry.sha256).name == "mine"
