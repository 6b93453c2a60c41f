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
