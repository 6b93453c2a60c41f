"""Who has this workspace open: a file per opener, locked as long as its process lives.

The system drops the lock when a process dies, however it dies; so a crash is told from work that goes on elsewhere
(a command line beside a running server), which a process number alone cannot do in containers. It knows neither
jobs nor files.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import time
import uuid
from pathlib import Path

from lora_studio.store.disk import FILE_MODE, make_folder, told

_PAUSE = 0.005
"""Seconds between two attempts at locking the opener's own file."""


class Presence:
    """This opener's name, its lock, and the question whether another opener is still there."""

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self._folder = folder
        # Processes in two containers on one volume may have the same number; their machines have other names.
        machine = hashlib.sha256(platform.node().encode("utf-8", "replace")).hexdigest()[:8]
        self._process = f"{os.getpid()}-{machine}"
        self.name = f"{self._process}-{uuid.uuid4().hex[:12]}"
        self._handle: int | None = self._take()

    def _take(self) -> int:
        """Make this opener's file and lock it, again where a sweeper held it or took it between the two."""
        path = self._folder / self.name
        with told(path):
            while True:
                handle = os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE)
                if _lock(handle) is not False:
                    with contextlib.suppress(FileNotFoundError):
                        if os.path.samestat(os.fstat(handle), path.stat()):
                            return handle
                os.close(handle)
                time.sleep(_PAUSE)

    def recoverable(self, name: str) -> bool:
        """True when the work of opener `name` may be taken over: it is gone, or it is of this very process."""
        return name.rpartition("-")[0] == self._process or not self.alive(name)

    def alive(self, name: str) -> bool:
        """True while the opener `name` (this one included) has the workspace open."""
        if name == self.name:
            return self._handle is not None
        if not name or os.sep in name:
            return False
        try:
            handle = os.open(self._folder / name, os.O_RDWR)
        except OSError:
            return False
        try:
            return not _lock(handle)
        finally:
            os.close(handle)

    def alone(self) -> bool:
        """True when no other opener has the workspace open."""
        return not any(path.name != self.name and self.alive(path.name) for path in self._folder.iterdir())

    def sweep(self) -> None:
        """Remove the files of openers that are gone."""
        for path in self._folder.iterdir():
            if not self.alive(path.name):
                with contextlib.suppress(OSError):
                    path.unlink()

    def close(self) -> None:
        """Give up the lock; the work of this opener may then be taken over."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
            with contextlib.suppress(OSError):
                (self._folder / self.name).unlink()


def _lock(handle: int) -> bool | None:
    """Try to lock an open file for this opener alone; False when somebody else holds it, None where the disk knows no
    locks (whoever is named there counts as alive)."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True
