"""Who has this workspace open: a file per opener, locked as long as its process lives.

The system drops the lock when a process dies, however it dies; so a crash is told from work that goes on elsewhere
(a command line beside a running server), which a process number alone cannot do in containers. It knows neither
jobs nor files.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path

from lora_studio.store.disk import FILE_MODE, make_folder, told


class Presence:
    """This opener's name, its lock, and the question whether another opener is still there."""

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self._folder = folder
        self.name = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._handle: int | None = self._take()

    def _take(self) -> int:
        """Make this opener's file and lock it, again where a sweeper took it between the two."""
        path = self._folder / self.name
        with told(path):
            while True:
                handle = os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE)
                _lock(handle)
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(handle), path.stat()):
                        return handle
                os.close(handle)

    def recoverable(self, name: str) -> bool:
        """True when the work of opener `name` may be taken over: it is gone, or it is of this very process."""
        return name.split("-", 1)[0] == str(os.getpid()) or not self.alive(name)

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


def _lock(handle: int) -> bool:
    """Try to lock an open file for this opener alone; False when somebody else holds it."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
