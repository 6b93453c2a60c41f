"""The library of embeddings: one entry for a file, names as prompts say them, deletion that can be undone."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command

from lora_studio.errors import InvalidInput, NotFound
from lora_studio.store import Workspace
from lora_studio.store.database import Database
from lora_studio.store.embeddings import UNDO_SECONDS
from lora_studio.store.migrations.run import config
from lora_studio.types import AdapterEntry, EmbeddingEntry, JobSpec
from lora_studio.types.library import BUNDLED, bundled_text

Make = Callable[..., EmbeddingEntry]
HASHES = [f"{number:064x}" for number in range(16)]
SOON = 1.0


@pytest.fixture
def entry() -> Make:
    def make(sha256: str, name: str = "EasyNegative", owner: str = "ann", **more: object) -> EmbeddingEntry:
        given = {"created": 1.0, "size": 3, "vectors": 8, "widths": {"clip_l": 768}}
        return EmbeddingEntry(sha256=sha256, name=name, owner=owner, **(given | more))  # type: ignore[arg-type]

    return make


@pytest.fixture
def stored(workspace: Workspace, entry: Make) -> EmbeddingEntry:
    """An embedding with its pickle and the safetensors form of it."""
    sha256, tensors = (workspace.files.put_bytes(data, ".pt") for data in (b"pickle", b"tensors"))
    return workspace.embeddings.add(entry(sha256, tensors=tensors))


def long_ago(workspace: Workspace) -> None:
    """Purge as if the time for undoing were over."""
    workspace.embeddings.purge(time.time() + SOON)


def test_an_entry_comes_back_as_it_was(workspace: Workspace, entry: Make) -> None:
    asked = entry(
        HASHES[1],
        "负面 词",
        created=5.5,
        size=7,
        vectors=16,
        widths={"clip_l": 768, "clip_g": 1280},
        tensors=HASHES[2],
        metadata={"step": "1500"},
    )
    assert workspace.embeddings.add(asked) == asked
    assert workspace.embeddings.get(HASHES[1]) == workspace.embeddings.get(HASHES[1], "ann") == asked
    assert workspace.embeddings.list("ann") == [asked]
    assert asked.readable == HASHES[2]
    assert entry(HASHES[3]).readable == HASHES[3]


def test_the_same_file_twice_is_one_entry(workspace: Workspace, entry: Make) -> None:
    first = workspace.embeddings.add(entry(HASHES[1], "one"))
    assert workspace.embeddings.add(entry(HASHES[1], "two")) == first
    assert len(workspace.embeddings.list()) == 1
    assert workspace.embeddings.add(entry(HASHES[1], "one", owner="bob")).owner == "bob"


def test_names_differ_for_whoever_sees_them(workspace: Workspace, entry: Make) -> None:
    """A prompt says a name, so two must not have the same; what the command line added is seen by all."""
    add = workspace.embeddings.add
    assert add(entry(HASHES[1], "bad", owner="local")).name == "bad"
    assert add(entry(HASHES[2], "BAD", owner="ann")).name == "BAD 2"
    assert add(entry(HASHES[3], "bad", owner="ann")).name == "bad 3"
    assert add(entry(HASHES[4], "other", owner="bob")).name == "other"
    assert [found.name for found in workspace.embeddings.list("bob")] == ["other", "bad"]
    assert workspace.embeddings.rename(HASHES[2], "Bad 3", "ann").name == "Bad 3 2"
    assert workspace.embeddings.rename(HASHES[2], "bad 2", "ann").name == "bad 2", "its own name is no obstacle"


def test_finding_by_name(workspace: Workspace, entry: Make) -> None:
    workspace.embeddings.add(entry(HASHES[1], "EasyNegative"))
    workspace.embeddings.add(entry(HASHES[2], "bad hands", owner="bob"))
    assert workspace.embeddings.find("easynegative", "ann").sha256 == HASHES[1]
    with pytest.raises(NotFound, match="'EasyNegative'") as caught:
        workspace.embeddings.find("EasyNegativeV2", "ann")
    assert (caught.value.code, caught.value.values["near"]) == ("embedding_missing_near", ["EasyNegative"])
    with pytest.raises(NotFound) as caught:
        workspace.embeddings.find("bad hands", "ann")
    assert caught.value.code == "embedding_missing"


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "\ud800"])
def test_names_that_are_none(name: str, workspace: Workspace, entry: Make) -> None:
    with pytest.raises(InvalidInput):
        workspace.embeddings.add(entry(HASHES[1], name))
    workspace.embeddings.add(entry(HASHES[1]))
    with pytest.raises(InvalidInput):
        workspace.embeddings.rename(HASHES[1], name)


def test_deleting_can_be_undone(workspace: Workspace, stored: EmbeddingEntry, entry: Make) -> None:
    workspace.embeddings.delete(stored.sha256, "ann")
    assert workspace.embeddings.list("ann") == []
    assert workspace.embeddings.get(stored.sha256).deleted is not None, "who makes a picture with it just now has it"
    workspace.embeddings.purge(time.time() - UNDO_SECONDS)
    assert workspace.embeddings.restore(stored.sha256, "ann") == stored
    assert workspace.embeddings.list("ann") == [stored]

    workspace.embeddings.delete(stored.sha256, "ann")
    workspace.embeddings.add(entry(HASHES[1], stored.name))
    assert workspace.embeddings.restore(stored.sha256, "ann").name == "EasyNegative 2"


def test_adding_a_deleted_file_again_brings_it_back(workspace: Workspace, stored: EmbeddingEntry, entry: Make) -> None:
    workspace.embeddings.delete(stored.sha256)
    again = workspace.embeddings.add(entry(stored.sha256, "new name"))
    assert (again.name, again.deleted, again.tensors) == ("new name", None, stored.tensors)
    long_ago(workspace)
    assert workspace.files.has(stored.tensors)


def test_purging_removes_the_files(workspace: Workspace, stored: EmbeddingEntry) -> None:
    """The job that brought it in mentions the file for ever; that must not keep it."""
    workspace.jobs.create(JobSpec(uuid.uuid4().hex, "import_embedding", "ann", {"file": stored.sha256}))
    workspace.embeddings.delete(stored.sha256)
    long_ago(workspace)
    assert not workspace.files.has(stored.sha256)
    assert not workspace.files.has(stored.tensors)
    for call in (workspace.embeddings.get, workspace.embeddings.delete, workspace.embeddings.restore):
        with pytest.raises(NotFound):
            call(stored.sha256)


def test_somebody_elses_stays(workspace: Workspace, stored: EmbeddingEntry, entry: Make) -> None:
    bobs = workspace.embeddings.add(entry(stored.sha256, owner="bob", tensors=stored.tensors))
    with pytest.raises(NotFound):
        workspace.embeddings.delete(stored.sha256, "carl")
    workspace.embeddings.delete(stored.sha256, "ann")
    long_ago(workspace)
    assert workspace.embeddings.list() == [bobs]
    assert workspace.files.has(stored.sha256)
    assert workspace.files.has(stored.tensors)


def test_what_a_cell_mentions_stays_as_long_as_the_cell(workspace: Workspace, stored: EmbeddingEntry) -> None:
    notebook = workspace.notebooks.default("ann")
    request = {"prompt": "x", "embeddings": [{"name": "EasyNegative", "sha256": stored.sha256}]}
    cell = workspace.notebooks.add(notebook.id, "picture", request)
    workspace.embeddings.delete(stored.sha256)
    long_ago(workspace)
    assert workspace.files.has(stored.sha256)
    workspace.notebooks.delete(cell.id)
    workspace.notebooks.purge(time.time() + SOON)
    assert not workspace.files.has(stored.sha256)


def test_a_word_that_a_lora_brought_along_stays_as_long_as_the_lora(workspace: Workspace, entry: Make) -> None:
    """Its file went an hour after the word was deleted: the LoRA was refused with its trigger word ever after."""
    word, lora = workspace.files.put_bytes(b"word"), workspace.files.put_bytes(b"lora")
    learnt = workspace.embeddings.add(entry(word, "zxq"))
    within = {BUNDLED: bundled_text([learnt])}
    workspace.adapters.add(AdapterEntry(lora, "ears", "ann", 1.0, 4, metadata=within))
    workspace.jobs.create(JobSpec(uuid.uuid4().hex, "generate", "ann", {"embeddings": [{"sha256": word}]}))
    workspace.embeddings.delete(word)
    long_ago(workspace)
    assert workspace.embeddings.list() == []
    assert workspace.files.has(word)
    workspace.adapters.delete(lora)
    workspace.adapters.purge(time.time() + SOON)
    assert not workspace.files.has(word)


def test_opening_removes_what_was_deleted_long_ago(
    tmp_path: Path, empty_workspace: Path, entry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(empty_workspace, tmp_path / "ws")
    with Workspace.open(tmp_path / "ws") as opened:
        old, new = (opened.files.put_bytes(data, ".pt") for data in (b"old", b"new"))
        for sha256 in (old, new):
            opened.embeddings.add(entry(sha256, sha256[:5]))
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() - UNDO_SECONDS - 60)
        opened.embeddings.delete(old)
        monkeypatch.undo()
        opened.embeddings.delete(new)
    with Workspace.open(tmp_path / "ws") as again:
        assert (again.files.has(old), again.files.has(new)) == (False, True)


def test_a_workspace_of_the_first_revision_is_brought_up(tmp_path: Path, entry: Make) -> None:
    """Whoever made a workspace before there were embeddings keeps what is in it."""
    with Workspace.open(tmp_path) as opened:
        opened.jobs.create(JobSpec("a", "train", "ann", {"x": 1}))
    database = Database(tmp_path / "workspace.db")
    with database.write() as connection:
        command.downgrade(config(connection), "0001")
    database.close()
    with Workspace.open(tmp_path) as opened:
        assert opened.jobs.get("a").payload == {"x": 1}
        assert opened.embeddings.add(entry(HASHES[1])).name == "EasyNegative"
