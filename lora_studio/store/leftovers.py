"""What a kill, a power cut or a full disk leaves beside the files: unfinished ones, uploads that never arrived whole.

Looked for when a workspace is opened. What names its writer goes when that one is gone; what does not (folders and
files that Python's `tempfile` named) goes when nobody else has the workspace open, or when nothing has happened to it
for a day. Files that were set aside as lost go after a month. It knows places and names, not what the files are.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path

from lora_studio.store.disk import TEMPORARY
from lora_studio.store.presence import Presence

SHELVES = ("files", "thumbs", "latents")
UPLOADS = "uploads"
LOST = "lost"
QUIET_SECONDS = 86_400.0
"""A leftover that does not name its writer is nobody's after so long without a change."""
LOST_KEPT_SECONDS = 30 * 86_400.0
"""Files that were set aside because nothing refers to them are kept for so long, should the database be put back."""


def sweep(root: Path, presence: Presence) -> None:
    """Remove unfinished files and uploads in the workspace `root` whose writers are gone.

    What cannot be removed stays, for the next opening: a leftover must not keep the app from starting.
    """
    for shelf in SHELVES:
        for path in (root / shelf).glob(f"*/{TEMPORARY}*"):
            writer = path.name.removeprefix(TEMPORARY).rpartition("-")[0]
            if not presence.alive(writer):
                _remove(path)
    # Listed before the others are asked for: whoever comes later is the writer of none of these.
    nameless = [*(root / "latents").glob("*/tmp*"), *(root / UPLOADS).glob("*")]
    alone = presence.alone()
    for path in nameless:
        if alone or time.time() - _changed(path) > QUIET_SECONDS:
            _remove(path)
    for path in (root / LOST).glob("*"):
        if time.time() - _changed(path) > LOST_KEPT_SECONDS:
            _remove(path)


def _changed(path: Path) -> float:
    """When something last happened to a file, or to a folder and what lies in it; now, where that cannot be told."""
    try:
        inside = list(path.iterdir()) if path.is_dir() else []
        return max(one.stat().st_mtime for one in (path, *inside))
    except OSError:
        return time.time()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
