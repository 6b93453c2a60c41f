"""Who refers to which file, and the removal of files that nobody refers to.

A removal is decided in the transaction that drops the last reference and done after it is committed: a crash between
the two leaves a row in `doomed_file`, and `settle` goes on from there when the workspace is next opened. The other
order could remove a file that a row still names. It knows hashes only, not what the files are.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, delete, exists, select
from sqlalchemy.dialects.sqlite import insert

from lora_studio.store.database import Database
from lora_studio.store.files import FileStore
from lora_studio.store.tables import doomed_file, file_reference

_SHA256 = re.compile(r"[0-9a-f]{64}")


def hashes_in(value: Any, named: bool = True) -> Iterator[str]:
    """Every sha256 by which a JSON value names a file.

    Args:
        value: a hash, a list of them, or a table (request, result, event) with its files under keys that mean one.
        named: whether a bare text here names a file.
    """
    if isinstance(value, str):
        if named and _SHA256.fullmatch(value):
            yield value
    elif isinstance(value, dict):
        for key, part in value.items():
            if key not in _FREE:
                yield from hashes_in(part, key in _FILE_KEYS)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from hashes_in(part, named)


_FILE_KEYS = frozenset(
    ("sha256", "file", "other", "thumbnail", "cover", "init_image", "mask", "adapter", "embedding", "tensors")
)
"""What a request, a result or an event calls a file by. Under every other key stands what a person wrote: whoever
wrote a hash as a prompt would else hold the file of that hash, whosesoever it is."""

_FREE = frozenset(("put", "metadata", "values", "labels", "configs"))
"""Tables whose keys are a person's or a file's own words, so that no key in them means anything."""


class References:
    """The table `file_reference` and what follows from it."""

    def __init__(self, database: Database, files: FileStore) -> None:
        self._database = database
        self._files = files

    def add(self, connection: Connection, holder: str, holder_id: str, owner: str, value: Any) -> None:
        """Note that `holder_id` (a row of the kind `holder`) refers to every hash in `value`."""
        rows = [
            {"sha256": sha256, "holder": holder, "holder_id": holder_id, "owner": owner}
            for sha256 in sorted(set(hashes_in(value)))
        ]
        if rows:
            connection.execute(insert(file_reference).on_conflict_do_nothing(), rows)

    def drop(self, connection: Connection, holder: str, holder_id: str, only: Iterable[str] | None = None) -> None:
        """Forget what `holder_id` referred to (all, or `only` some hashes); call `settle` after the transaction."""
        mine = (file_reference.c.holder == holder) & (file_reference.c.holder_id == holder_id)
        if only is not None:
            mine &= file_reference.c.sha256.in_(list(only))
        rows = connection.execute(select(file_reference.c.sha256, file_reference.c.owner).where(mine)).all()
        if not rows:
            return
        connection.execute(delete(file_reference).where(mine))
        self.doom(connection, [row.sha256 for row in rows], rows[0].owner)

    def held(self, sha256: str, owners: Iterable[str]) -> bool:
        """True when something that belongs to one of `owners` refers to the file."""
        mine = (file_reference.c.sha256 == sha256) & file_reference.c.owner.in_(list(owners))
        with self._database.read() as connection:
            return bool(connection.scalar(select(exists(select(file_reference.c.sha256).where(mine)))))

    def forget(self, connection: Connection, sha256: str, owner: str, keep: str = "") -> None:
        """Drop every reference to a file, so that it goes whoever mentions it; call `settle` after the transaction.

        Args:
            keep: a kind of holder whose references stay, and the file with them while there is one.
        """
        mine = (file_reference.c.sha256 == sha256) & (file_reference.c.holder != keep)
        connection.execute(delete(file_reference).where(mine))
        self.doom(connection, [sha256], owner)

    def doom(self, connection: Connection, hashes: Iterable[str], owner: str) -> None:
        """Decide that these files go unless somebody still refers to them; call `settle` after the transaction."""
        rows = [{"sha256": sha256, "owner": owner, "since": time.time()} for sha256 in sorted(set(hashes))]
        if rows:
            connection.execute(insert(doomed_file).on_conflict_do_nothing(), rows)

    def settle(self) -> None:
        """Remove the doomed files to which nobody refers, for good."""
        with self._database.read() as connection:
            if not connection.scalar(select(exists(select(doomed_file.c.sha256)))):
                return
        # Inside one write transaction, so that no new reference can appear between the question and the removal.
        with self._database.write() as connection:
            for sha256 in connection.scalars(select(doomed_file.c.sha256)).all():
                named = select(file_reference).where(file_reference.c.sha256 == sha256)
                wanted = connection.scalar(select(exists(named)))
                if not wanted:
                    self._files.delete(sha256)
                connection.execute(delete(doomed_file).where(doomed_file.c.sha256 == sha256))
