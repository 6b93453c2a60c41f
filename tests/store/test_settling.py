"""Removing what nobody refers to goes on around a file that cannot be removed just now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lora_studio.errors import StorageError
from lora_studio.store import Workspace
from lora_studio.types import JobSpec


def test_a_file_that_cannot_be_removed_stops_nothing_and_is_tried_again(
    tmp_path: Path, spec: Callable[..., JobSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file that somebody read on Windows: each checkpoint, each end and each start failed from then on."""
    with Workspace.open(tmp_path) as opened:
        stuck, gone, last = (opened.files.put_bytes(data) for data in (b"stuck", b"gone", b"last"))
        unlink = Path.unlink

        def refuse(path: Path, missing_ok: bool = False) -> None:
            if path.stem == stuck:
                raise PermissionError(13, "in use", str(path))
            unlink(path, missing_ok)

        monkeypatch.setattr(Path, "unlink", refuse)
        run = opened.jobs.create(spec("train")).id
        for step, sha256 in enumerate((stuck, gone, last)):
            opened.jobs.save_checkpoint(run, step, sha256)
        assert (opened.files.has(stuck), opened.files.has(gone)) == (True, False)
        with pytest.raises(StorageError):
            opened.files.delete(stuck)
    with Workspace.open(tmp_path) as opened:
        assert opened.files.has(stuck), "it could be opened"
        monkeypatch.undo()
        opened.references.settle()
        assert not opened.files.has(stuck)
        assert opened.files.has(last)


def test_a_file_that_is_referred_to_again_meanwhile_stays(
    workspace: Workspace, spec: Callable[..., JobSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, last = workspace.files.put_bytes(b"stuck"), workspace.files.put_bytes(b"last")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", lambda path, missing_ok=False: (_ for _ in ()).throw(PermissionError(13, "x")))
        run = workspace.jobs.create(spec("train")).id
        for step, sha256 in enumerate((stuck, last)):
            workspace.jobs.save_checkpoint(run, step, sha256)
    workspace.jobs.append(run, "preview", {"step": 1, "prompt": "", "seed": 1, "sha256": stuck})
    workspace.references.settle()
    assert workspace.files.has(stuck)
