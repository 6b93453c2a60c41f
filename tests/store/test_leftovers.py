"""What lies about after a kill or a full disk is cleared away when the workspace is opened, and nothing else is."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from lora_studio.store import Workspace, disk, leftovers
from lora_studio.store.tables import file_reference
from lora_studio.store.tables import workspace as workspace_table
from lora_studio.types import AdapterEntry, EmbeddingEntry, JobSpec
from lora_studio.types.library import BUNDLED, bundled_text

DAY = 86_400.0


def aged(path: Path, seconds: float) -> Path:
    """A file, or a folder with what is in it, as if nothing had happened to it for so long."""
    for one in (*(path.iterdir() if path.is_dir() else ()), path):
        os.utime(one, (time.time() - seconds,) * 2)
    return path


def made_long_ago(opened: Workspace) -> None:
    """As if the workspace had been made a year ago."""
    with opened.database.write() as connection:
        connection.execute(update(workspace_table).values(created=time.time() - 365 * DAY))


def uploads(root: Path) -> list[Path]:
    """Half an upload and half a cached file, as Python's `tempfile` names them."""
    folder = root / "uploads" / "tmpabc"
    folder.mkdir(parents=True)
    (folder / "upload").write_bytes(b"half of four gigabytes")
    (root / "latents" / "ab").mkdir(parents=True)
    cached = root / "latents" / "ab" / "tmpdef"
    cached.write_bytes(b"half")
    return [folder, cached]


def test_what_names_no_writer_goes_when_nobody_else_is_there(tmp_path: Path) -> None:
    """After kill -9 up to 4 GB of each upload stayed for ever."""
    Workspace.open(tmp_path).close()
    left = uploads(tmp_path)
    kept = tmp_path / "latents" / "ab" / f"ab{'0' * 62}-128"
    kept.write_bytes(b"whole")
    Workspace.open(tmp_path).close()
    assert [path.exists() for path in left] == [False, False]
    assert kept.exists()


def test_what_another_opener_may_be_writing_stays_for_a_day(tmp_path: Path) -> None:
    with Workspace.open(tmp_path):
        left = uploads(tmp_path)
        Workspace.open(tmp_path).close()
        assert [path.exists() for path in left] == [True, True]
        for path in left:
            aged(path, 2 * DAY)
        (left[0] / "upload").write_bytes(b"more has come since")
        Workspace.open(tmp_path).close()
        assert [path.exists() for path in left] == [True, False]
        aged(left[0], 2 * DAY)
        Workspace.open(tmp_path).close()
        assert not left[0].exists()


def test_unfinished_files_of_the_dead_go_from_every_shelf(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as opened:
        left = {}
        for shelf in leftovers.SHELVES:
            for writer in ("12345-aaaaaaaa-bbbbbbbbbbbb", opened._presence.name):
                path = tmp_path / shelf / "ab" / f"{disk.TEMPORARY}{writer}-{'0' * 32}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"half")
                left[shelf, writer == opened._presence.name] = path
        with Workspace.open(tmp_path):
            assert {key for key, path in left.items() if path.exists()} == {(s, True) for s in leftovers.SHELVES}


def test_a_leftover_that_stays_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows another program may be reading it."""
    Workspace.open(tmp_path).close()
    folder, cached = uploads(tmp_path)
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path == cached:
            raise PermissionError(13, "in use", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    Workspace.open(tmp_path).close()
    assert (folder.exists(), cached.exists()) == (False, True)


# ---------------------------------------------------------------- files to which nothing refers
def test_old_files_to_which_nothing_refers_are_set_aside_for_a_month(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A kill between a file and its row left it for ever."""
    with Workspace.open(tmp_path) as opened:
        made_long_ago(opened)
        job = opened.jobs.create(JobSpec("a", "generate", "ann", {}))
        put = {name: opened.files.put_bytes(name.encode(), ".png") for name in ("lost", "young", "held", "before")}
        opened.jobs.append(job.id, "picture", {"index": 0, "seed": 1, "sha256": put["held"]})
        for name in ("lost", "held"):
            aged(opened.files.path(put[name]), 2 * DAY)
        aged(opened.files.path(put["before"]), 400 * DAY)
    with caplog.at_level(logging.WARNING, "lora_studio"):
        Workspace.open(tmp_path).close()
    aside = tmp_path / "lost" / f"{put['lost']}.png"
    assert "1 files" in caplog.text
    assert aside.read_bytes() == b"lost"
    with Workspace.open(tmp_path) as opened:
        assert {name for name in put if opened.files.has(put[name])} == {"young", "held", "before"}, (
            "what came before the database may be of one that was put away"
        )
        assert aside.exists()
        aged(aside, 31 * DAY)
    Workspace.open(tmp_path).close()
    assert not aside.exists()


def test_a_lost_file_that_is_put_again_is_new(tmp_path: Path) -> None:
    """Whoever puts it is about to refer to it: another process that opens the workspace must not take it away."""
    with Workspace.open(tmp_path) as opened:
        made_long_ago(opened)
        sha256 = opened.files.put_bytes(b"again", ".png")
        aged(opened.files.path(sha256), 2 * DAY)
        assert opened.files.put_bytes(b"again", ".png") == sha256
        Workspace.open(tmp_path).close()
        assert opened.files.read(sha256) == b"again"


def test_everything_that_is_entered_is_referred_to(workspace: Workspace, picture: Callable[..., bytes]) -> None:
    """Each way into the store, with all files looked at as if they were old: none is taken for lost."""
    made_long_ago(workspace)
    put = workspace.files.put_bytes
    (workspace.root / "p.png").write_bytes(picture(3))
    workspace.datasets.add_files(workspace.datasets.create("set", "ann").id, [workspace.root / "p.png"])
    word = EmbeddingEntry(put(b"word"), "zxq", "ann", 1.0, 4, 2, {"clip_l": 8}, tensors=put(b"tensors"))
    workspace.embeddings.add(word)
    within = EmbeddingEntry(put(b"within"), "cat", "ann", 1.0, 4, 2, {"clip_l": 8})
    told = {BUNDLED: bundled_text([within])}
    lora = AdapterEntry(put(b"lora"), "cat", "ann", 1.0, 4, cover=put(b"cover"), metadata=told)
    workspace.adapters.add(lora)
    run = workspace.jobs.create(JobSpec("run", "train", "ann", {}))
    workspace.jobs.save_checkpoint(run.id, 5, put(b"state"))
    workspace.jobs.append(run.id, "preview", {"step": 1, "prompt": "x", "seed": 1, "sha256": put(b"preview")})
    brought = workspace.jobs.create(JobSpec("in", "import_adapter", "ann", {"file": put(b"pickle"), "name": "x"}))
    tool = workspace.jobs.create(JobSpec("tool", "workbench", "ann", {"tool": "meta", "request": {"file": put(b"f")}}))
    made = {"files": [{"name": "x", "sha256": put(b"made"), "size": 4}]}
    workspace.jobs.finish_with(tool.id, "done", "done", made, result=made)
    book = workspace.notebooks.default("ann")
    cell = workspace.notebooks.add(book.id, "picture", {"prompt": "x"}, job=brought.id)
    workspace.notebooks.finish(cell.id, {"images": [{"sha256": put(b"shown"), "seed": 1}]})
    assert workspace.references.set_lost_aside(time.time() + DAY) == []


def test_what_a_row_names_is_never_lost(workspace: Workspace) -> None:
    """Even where its reference is missing, by a mistake of ours: better a file too many than a LoRA too few."""
    made_long_ago(workspace)
    put = workspace.files.put_bytes
    workspace.adapters.add(AdapterEntry(put(b"lora"), "cat", "ann", 1.0, 4))
    workspace.jobs.create(JobSpec("a", "workbench", "ann", {"tool": "x", "request": {"after": put(b"named")}}))
    lost = put(b"lost")
    with workspace.database.write() as connection:
        connection.execute(delete(file_reference))
    assert workspace.references.set_lost_aside(time.time() + DAY) == [lost]
