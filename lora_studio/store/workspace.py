"""One folder that holds everything that is kept, and the rooms in it.

    workspace.db     what there is (SQLite)
    files/           pictures, adapters, embeddings, checkpoints, by their sha256
    thumbs/          small pictures, made again when missing
    latents/         what was computed from files, likewise
    uploads/         files on their way in
    lost/            files to which nothing referred, for a month
    openers/         who has it open (locks)
    wildcards/       text files for `__name__` in prompts, put there by whoever runs it

Opening makes the folders, brings the database to its newest form, and clears away what a crash left unfinished and
what was deleted long enough ago.
Jobs are not touched: the engine asks for `jobs.recover()`.
"""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from sqlalchemy import insert, select

from lora_studio.errors import StorageError
from lora_studio.store import leftovers
from lora_studio.store.adapters import Adapters
from lora_studio.store.allowance import Allowance
from lora_studio.store.database import Database
from lora_studio.store.datasets import Datasets
from lora_studio.store.disk import make_folder
from lora_studio.store.embeddings import Embeddings
from lora_studio.store.files import FileStore
from lora_studio.store.folder_state import Rooms
from lora_studio.store.folders import Folders
from lora_studio.store.jobs import Jobs
from lora_studio.store.notebooks import Notebooks
from lora_studio.store.presence import Presence
from lora_studio.store.references import LOST_AFTER, UNDO_SECONDS, References
from lora_studio.store.styles import Styles
from lora_studio.store.tables import workspace as workspace_table
from lora_studio.store.wildcards import Wildcards
from lora_studio.types import Limits

LOG = logging.getLogger("lora_studio")
NO_LIMITS = Limits()


class Workspace:
    """The facade; safe to use from several threads, and from several processes on one machine."""

    def __init__(
        self, root: Path, database: Database, presence: Presence, loras: Sequence[Path] = (), limits: Limits = NO_LIMITS
    ) -> None:
        """Use `open`."""
        self.root = root
        self.files = FileStore(root, presence)
        self.database = database
        allowance = Allowance(limits, root, self.files)
        self.references = References(database, self.files, allowance)
        self._presence = presence
        self.jobs = Jobs(database, self.references, presence, allowance)
        self.adapters = Adapters(database, self.references, self.files)
        self.folders = Folders(Rooms(database, self.references, self.adapters, self.files), loras)
        self.files.look_elsewhere(self.folders.locate)
        self.embeddings = Embeddings(database, self.references)
        self.datasets = Datasets(database, self.references, self.files)
        self.styles = Styles(database)
        self.wildcards = Wildcards(root / "wildcards")
        self.notebooks = Notebooks(database, self.references, self.jobs)

    @classmethod
    def open(cls, root: Path, loras: Sequence[Path] = (), limits: Limits = NO_LIMITS) -> Workspace:
        """Open the folder `root`, made where it is missing.

        Args:
            loras: folders of LoRA files that are read in place (`store.folders`).
            limits: what one person may take, and what must stay free on the disk.

        Raises:
            StorageError: it cannot be written, the disk is full, or its database is damaged or too new.
        """
        root = root.expanduser().absolute()
        make_folder(root)
        with contextlib.ExitStack() as opened:
            presence = Presence(root / "openers")
            opened.callback(presence.close)
            database = Database(root / "workspace.db")
            opened.callback(database.close)
            database.migrate()
            presence.sweep()
            leftovers.sweep(root, presence)
            made = cls(root, database, presence, loras, limits)
            made.references.settle()
            made.purge()
            lost = made.references.set_lost_aside(time.time() - LOST_AFTER)
            if lost:
                LOG.warning("%d files to which nothing refers were moved to %s for a month", len(lost), root / "lost")
            made._sign()
            opened.pop_all()
        return made

    def purge(self) -> None:
        """Remove for good what was deleted so long ago that it cannot be brought back any more: cells with their
        pictures, LoRAs, embeddings."""
        until = time.time() - UNDO_SECONDS
        self.notebooks.purge(until)
        self.embeddings.purge(until)
        self.adapters.purge(until)

    @property
    def id(self) -> str:
        """The name that this workspace was given when it was made."""
        with self.database.read() as connection:
            return str(connection.scalars(select(workspace_table.c.id)).one())

    def close(self) -> None:
        """Give back what ran, close the database and give up the claim on running jobs; a second call does nothing."""
        if self._presence.alive(self._presence.name):
            with contextlib.suppress(StorageError):  # a full disk must not keep it from being closed
                self.jobs.give_back()
        self.database.close()
        self._presence.close()

    def __enter__(self) -> Workspace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _sign(self) -> None:
        """Give a new workspace its id."""
        with self.database.write() as connection:
            if connection.scalar(select(workspace_table.c.id)) is None:
                connection.execute(
                    insert(workspace_table).values(id=uuid.uuid4().hex, owner="local", created=time.time())
                )
