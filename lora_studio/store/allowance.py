"""Whether a person may ask for more: jobs at once, bytes of their files, and the free space of the disk.

Refusals come before anything is begun, so that what runs ends in good order. Bytes are those of the files in the store
that rows of the person refer to, deleted ones too as long as they can be brought back. It does not know what jobs do.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from sqlalchemy import Connection, func, select

from lora_studio.errors import NotAllowed, StorageError
from lora_studio.store.disk import told
from lora_studio.store.files import FileStore
from lora_studio.store.tables import file_reference, job
from lora_studio.types import LOCAL, JobKind, Limits
from lora_studio.types.jobs import FINAL

MEGABYTE = 1_000_000

_LARGE: tuple[JobKind, ...] = ("train", "download_adapter", "workbench")
"""Kinds of jobs that write large files and fail late on a full disk."""


class Allowance:
    """`Limits`, counted."""

    def __init__(self, limits: Limits, root: Path, files: FileStore) -> None:
        self._limits = limits
        self._root = root
        self._files = files

    def check_job(self, connection: Connection, kind: JobKind, owner: str) -> None:
        """Raise one sentence where `owner` may not ask for a job of that kind now.

        Raises:
            NotAllowed: too many jobs wait or run, or the owner's files take too much.
            StorageError: too little of the disk is free.
        """
        if kind == "load_base":  # it writes nothing, and everybody waits for it
            return
        if kind in _LARGE:
            self.check_disk()
        if self._limits.jobs and owner != LOCAL:
            mine = select(func.count()).where(job.c.owner == owner, job.c.state.not_in(FINAL))
            count = int(connection.scalar(mine) or 0)
            if count >= self._limits.jobs:
                raise NotAllowed(
                    f"{count} of your jobs wait or run, and {self._limits.jobs} is the most for one person here; wait "
                    "until one has ended, or stop one.",
                    code="too_many_jobs",
                    given=str(count),
                    allowed=str(self._limits.jobs),
                )
        self.check_bytes(connection, owner)

    def check_bytes(self, connection: Connection, owner: str) -> None:
        """Raise `NotAllowed` where the owner's files take all that is allowed."""
        if not self._limits.megabytes or owner == LOCAL:
            return
        mine = select(file_reference.c.sha256).where(file_reference.c.owner == owner).distinct()
        used = sum(self._files.size(sha256) for sha256 in connection.scalars(mine))
        if used >= self._limits.megabytes * MEGABYTE:
            raise NotAllowed(
                f"Your files take {used // MEGABYTE} MB, and {self._limits.megabytes} MB is the most for one person "
                "here; delete pictures, sets, LoRAs or runs and try again (what is deleted counts for another hour).",
                code="too_many_bytes",
                given=str(used // MEGABYTE),
                allowed=str(self._limits.megabytes),
            )

    def check_disk(self) -> None:
        """Raise `StorageError` where less of the disk is free than must be."""
        if not self._limits.free_megabytes:
            return
        with told(self._root):
            free = shutil.disk_usage(self._root).free // MEGABYTE
        if free < self._limits.free_megabytes:
            raise StorageError(
                f"{free} MB are free on the disk of the workspace, and {self._limits.free_megabytes} MB must be free "
                "before this is begun; free some space and try again.",
                code="disk_low",
                given=str(free),
                allowed=str(self._limits.free_megabytes),
            )
