"""One folder that holds everything that is kept, and the rooms in it.

    workspace.db     what there is (SQLite)
    files/           pictures, adapters, embeddings, checkpoints, by their sha256
    thumbs/          small pictures, made again when missing
    openers/         who has it open (locks)
    wildcards/       text files for `__name__` in prompts, put there by whoever runs it

Opening makes the folders, brings the database to its newest form, and clears away what a crash left unfinished and
what was deleted long enough ago.
Jobs are not touched: the engine asks for `jobs.recover()`.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from sqlalchemy import insert, select

from lora_studio.store.adapters import UNDO_SECONDS as ADAPTER_SECONDS
from lora_studio.store.adapters import Adapters
from lora_studio.store.database import Database
from lora_studio.store.datasets import Datasets
from lora_studio.store.disk import make_folder
from lora_studio.store.embeddings import UNDO_SECONDS, Embeddings
from lora_studio.store.files import FileStore
from lora_studio.store.folder_state import Rooms
from lora_studio.store.folders import Folders
from lora_studio.store.jobs import Jobs
from lora_studio.store.notebooks import Notebooks
from lora_studio.store.presence import Presence
from lora_studio.store.references import References
from lora_studio.store.styles import Styles
from lora_studio.store.tables import workspace as workspace_table
from lora_studio.store.wildcards import Wildcards


class Workspace:
    """The facade; safe to use from several threads, and from several processes on one machine."""

    def __init__(
        self, root: Path, database: Database, files: FileStore, presence: Presence, loras: Sequence[Path] = ()
    ) -> None:
        """Use `open`."""
        self.root = root
        self.files = files
        self.database = database
        self.references = References(database, files)
        self._presence = presence
        self.jobs = Jobs(database, self.references, presence)
        self.adapters = Adapters(database, self.references, files)
        self.folders = Folders(Rooms(database, self.references, self.adapters, files), loras)
        files.look_elsewhere(self.folders.locate)
        self.embeddings = Embeddings(database, self.references)
        self.datasets = Datasets(database, self.references, files)
        self.styles = Styles(database)
        self.wildcards = Wildcards(root / "wildcards")
        self.notebooks = Notebooks(database, self.references, self.jobs)

    @classmethod
    def open(cls, root: Path, loras: Sequence[Path] = ()) -> Workspace:
        """Open the folder `root`, made where it is missing.

        Args:
            loras: folders of LoRA files that are read in place (`store.folders`).

        Raises:
            StorageError: it cannot be written, the disk is full, or its database is damaged or too new.
        """
        root = root.expanduser().absolute()
        make_folder(root)
        with contextlib.ExitStack() as opened:
            presence = Presence(root / "openers")
            opened.callback(presence.close)
            files = FileStore(root, presence)
            database = Database(root / "workspace.db")
            opened.callback(database.close)
            database.migrate()
            presence.sweep()
            files.sweep()
            made = cls(root, database, files, presence, loras)
            made.references.settle()
            made.embeddings.purge(time.time() - UNDO_SECONDS)
            made.adapters.purge(time.time() - ADAPTER_SECONDS)
            made._sign()
            opened.pop_all()
        return made

    @property
    def id(self) -> str:
        """The name that this workspace was given when it was made."""
        with self.database.read() as connection:
            return str(connection.scalars(select(workspace_table.c.id)).one())

    def close(self) -> None:
        """Close the database and give up the claim on running jobs; a second call does nothing."""
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
