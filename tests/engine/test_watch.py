"""The folders are looked at in a thread of their own, which survives what a look meets and ends when it is told to."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_studio.engine.watch import Watcher
from lora_studio.errors import StorageError
from lora_studio.store import Workspace
from lora_studio.store.references import UNDO_SECONDS
from tests.support import lora_files as made

PATIENCE = 20.0


def wait_until(true: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.01)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "lora-studio-folders"]


def test_files_come_and_go_while_it_watches(tmp_path: Path) -> None:
    folder = tmp_path / "Lora"
    folder.mkdir()
    with Workspace.open(tmp_path / "w", [folder]) as workspace, Watcher(workspace.folders, pause=0.01):
        made.write(folder / "cat.safetensors", seed=1)
        wait_until(lambda: [entry.name for entry in workspace.adapters.list("ann")] == ["cat"])
        shutil.rmtree(folder)
        wait_until(lambda: workspace.adapters.list("ann")[0].missing)
        made.write(folder / "cat.safetensors", seed=1)
        wait_until(lambda: not workspace.adapters.list("ann")[0].missing)
    assert threads() == []


def test_a_failing_look_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk ended the thread, and nothing was found any more until the next start."""
    made.write(tmp_path / "Lora" / "cat.safetensors")
    with Workspace.open(tmp_path / "w", [tmp_path / "Lora"]) as workspace:
        true, failed = workspace.folders.scan, []

        def failing() -> object:
            if not failed:
                failed.append(1)
                raise StorageError("the disk is full", code="disk_full", path="x")
            return true()

        monkeypatch.setattr(workspace.folders, "scan", failing)
        with caplog.at_level(logging.ERROR, "lora_studio"), Watcher(workspace.folders, pause=0.01):
            wait_until(lambda: workspace.adapters.list("ann"))
    assert "the disk is full" in caplog.text


def test_without_folders_it_looks_once(tmp_path: Path) -> None:
    made.write(tmp_path / "Lora" / "cat.safetensors")
    with Workspace.open(tmp_path / "w", [tmp_path / "Lora"]) as workspace:
        list(workspace.folders.scan())
    with Workspace.open(tmp_path / "w") as workspace, Watcher(workspace.folders):
        wait_until(lambda: workspace.adapters.list("ann")[0].missing)
        wait_until(lambda: threads() == [])
        assert not workspace.folders.roots


def test_what_was_deleted_is_removed_while_the_server_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stayed until somebody deleted something else, or the server was started again."""
    with Workspace.open(tmp_path / "w") as workspace:
        book = workspace.notebooks.default("ann").id
        shown = workspace.files.put_bytes(b"private", ".png")
        cell = workspace.notebooks.add(book, "picture", {}, result={"images": [{"sha256": shown}]})
        now = time.time
        with monkeypatch.context() as earlier:
            earlier.setattr(time, "time", lambda: now() - UNDO_SECONDS - 60)
            workspace.notebooks.delete(cell.id)
        with Watcher(workspace.folders, pause=0.01, tidy=workspace.purge, tidy_every=0.0):
            wait_until(lambda: not workspace.files.has(shown))
        assert threads() == []


def test_tidying_that_fails_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    done: list[int] = []

    def tidy() -> None:
        done.append(len(done))
        if len(done) == 1:
            raise StorageError("the disk is full", code="disk_full", path="x")

    with (
        Workspace.open(tmp_path / "w") as workspace,
        caplog.at_level(logging.ERROR, "lora_studio"),
        Watcher(workspace.folders, pause=0.01, tidy=tidy, tidy_every=0.0),
    ):
        wait_until(lambda: len(done) >= 2)
    assert "the disk is full" in caplog.text
    with Workspace.open(tmp_path / "w") as workspace, Watcher(workspace.folders, pause=0.01, tidy=tidy):
        before = len(done)
        time.sleep(0.1)
        assert len(done) == before, "an hour has not passed"
