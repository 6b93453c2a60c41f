"""Folders of LoRA files that are read in place: which there are, how far reading them is, and where a file lies now.

An existing `models/Lora` of A1111 or `models/loras` of ComfyUI; nothing in it is ever written, moved or copied. The
table `folder_file` remembers what lay where, with size, time and sha256, so that a file is hashed once; a file is
opened only after it was found to be the same still. `scan` (in `store.folder_scan`) is a generator that whoever has a
thread of its own runs again and again (`engine.watch`); this module has none.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from lora_studio.errors import NotFound, StudioError
from lora_studio.store.folder_scan import Scan
from lora_studio.store.folder_state import FolderState, Rooms, ScanState
from lora_studio.store.places import place_of
from lora_studio.store.tables import folder_file


class Folders:
    """The watched folders.

    Attributes:
        state: replaced as a whole while a scan goes on, so that any thread may read it.
    """

    def __init__(self, rooms: Rooms, roots: Sequence[Path] = ()) -> None:
        self._rooms = rooms
        self.roots = _apart(roots)
        self.state = ScanState(tuple(FolderState(str(root)) for root in self.roots))

    def scan(self) -> Generator[ScanState, None, None]:
        """Look through all folders once, reading what is new; yields after each file and some times within large ones.

        Closing it between two yields loses nothing but the file that was being read. One scan at a time.

        Raises:
            StorageError: the disk refuses.
        """
        for state in Scan(self._rooms, self.roots, self.state).steps():
            self.state = state
            yield state

    def note(self, folder: str, **changes: Any) -> None:
        """Change what is said of one folder."""
        folders = tuple(replace(one, **changes) if one.folder == folder else one for one in self.state.folders)
        self.state = replace(self.state, folders=folders)

    def locate(self, sha256: str) -> Path:
        """Where a file lies now, made sure that it is still the same: by size and time, else by hashing it again.

        Raises:
            NotFound: it lies in no folder, or was changed since it was read.
        """
        with self._rooms.database.read() as connection:
            rows = connection.execute(select(folder_file).where(folder_file.c.sha256 == sha256)).all()
        # One that was gone at the last look may be back, but only where the operator still has its folder read.
        watched = {str(root) for root in self.roots}
        known = [row for row in rows if row.gone is None or row.folder in watched]
        changed: Path | None = None
        for row in known:
            path = Path(row.path)
            with contextlib.suppress(OSError, StudioError):
                stat = path.stat()
                if (stat.st_size, stat.st_mtime_ns) == (row.size, row.modified):
                    return path
                if stat.st_size == row.size and self._rooms.files.hash_of(path) == sha256:
                    self._same(row.path, stat)
                    return path
                changed = path
        if changed is not None:
            raise NotFound(
                f"The LoRA file {changed.name!r} was changed since it was read; it is being read anew: choose it "
                "again in the library.",
                code="adapter_changed",
                given=changed.name,
            )
        if rows:
            name = Path(rows[0].path).name
            raise NotFound(
                f"The LoRA file {name!r} is not in its folder any more; put it back or choose another LoRA.",
                code="adapter_away",
                given=name,
            )
        raise NotFound(
            f"The file {sha256[:80]!r} is not in the workspace; it may have been deleted.",
            code="file_missing",
            sha256=sha256[:80],
        )

    def _same(self, path: str, stat: os.stat_result) -> None:
        """Remember that a file is the same under another time."""
        with self._rooms.database.write() as connection:
            mine = folder_file.c.path == path
            connection.execute(update(folder_file).where(mine).values(modified=stat.st_mtime_ns, gone=None))

    def unusable(self) -> list[dict[str, str]]:
        """Files that are no LoRAs, by place and code of the reason, at most 200."""
        query = select(folder_file).where(folder_file.c.problem != "", folder_file.c.gone.is_(None))
        with self._rooms.database.read() as connection:
            rows = connection.execute(query.order_by(folder_file.c.path).limit(200)).all()
        return [{"place": place_of(row.folder, row.path), "code": row.problem} for row in rows]


def _apart(roots: Sequence[Path]) -> tuple[Path, ...]:
    """The folders without those that lie within another one, in their order."""
    real = {root: os.path.realpath(root) for root in dict.fromkeys(roots)}
    kept: list[Path] = []
    for root, path in real.items():
        others = [other for one, other in real.items() if one is not root]
        within = any(path != other and path.startswith(other.rstrip(os.sep) + os.sep) for other in others)
        if not within and path not in [real[one] for one in kept]:
            kept.append(root)
    return tuple(kept)
