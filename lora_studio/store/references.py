"""Who refers to which file, and the removal of files that nobody refers to.

A removal is decided in the transaction that drops the last reference and done after it is committed: a crash between
the two leaves a row in `doomed_file`, and `settle` goes on from there when the workspace is next opened. The other
order could remove a file that a row still names. It knows hashes only, not what the files are.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, Text, cast, delete, exists, func, select
from sqlalchemy.dialects.sqlite import insert

from lora_studio.errors import StorageError
from lora_studio.store.allowance import Allowance
from lora_studio.store.database import Database
from lora_studio.store.files import FileStore
from lora_studio.store.tables import (
    adapter,
    cell,
    checkpoint,
    dataset_item,
    doomed_file,
    embedding,
    file_reference,
    job,
    sample_cell,
    workspace,
)

UNDO_SECONDS = 3600.0
"""What was deleted is removed for good when it has been deleted for so long; pages offer to undo for 10 s."""

LOST_AFTER = 86_400.0
"""Seconds after which a file that nobody refers to is taken for lost: a younger one may be on its way into a row."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_GROWING = "dataset"
"""The holder whose files people bring in one by one, without a job that could be refused."""


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

    def __init__(self, database: Database, files: FileStore, allowance: Allowance) -> None:
        self._database = database
        self._files = files
        self._allowance = allowance

    def add(self, connection: Connection, holder: str, holder_id: str, owner: str, value: Any) -> None:
        """Note that `holder_id` (a row of the kind `holder`) refers to every hash in `value`.

        Raises:
            NotAllowed: a picture comes into a set, and its owner's files take all that is allowed already.
        """
        hashes = sorted(set(hashes_in(value)))
        rows = [{"sha256": one, "holder": holder, "holder_id": holder_id, "owner": owner} for one in hashes]
        if not rows:
            return
        if holder == _GROWING and self._news(connection, holder, holder_id, hashes):
            self._allowance.check_bytes(connection, owner)
        connection.execute(insert(file_reference).on_conflict_do_nothing(), rows)

    def _news(self, connection: Connection, holder: str, holder_id: str, hashes: Collection[str]) -> bool:
        """True when `holder_id` does not refer to all of these files yet (a removed picture comes back at no cost)."""
        mine = (file_reference.c.holder == holder) & (file_reference.c.holder_id == holder_id)
        known = select(file_reference.c.sha256).where(mine, file_reference.c.sha256.in_(hashes))
        return set(connection.scalars(known)) != set(hashes)

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

    def refers(self, connection: Connection, holder: str, holder_id: str, sha256: str) -> bool:
        """True when `holder_id` refers to the file."""
        mine = (file_reference.c.holder == holder) & (file_reference.c.holder_id == holder_id)
        named = select(file_reference.c.sha256).where(mine & (file_reference.c.sha256 == sha256))
        return bool(connection.scalar(select(exists(named))))

    def forget(self, connection: Connection, sha256: str, owner: str, keep: Collection[str] = ()) -> None:
        """Drop every reference to a file, so that it goes whoever mentions it; call `settle` after the transaction.

        Args:
            keep: kinds of holders whose references stay, and the file with them while there is one.
        """
        mine = (file_reference.c.sha256 == sha256) & file_reference.c.holder.not_in(list(keep))
        connection.execute(delete(file_reference).where(mine))
        self.doom(connection, [sha256], owner)

    def doom(self, connection: Connection, hashes: Iterable[str], owner: str) -> None:
        """Decide that these files go unless somebody still refers to them; call `settle` after the transaction."""
        rows = [{"sha256": sha256, "owner": owner, "since": time.time()} for sha256 in sorted(set(hashes))]
        if rows:
            connection.execute(insert(doomed_file).on_conflict_do_nothing(), rows)

    def set_lost_aside(self, older_than: float) -> list[str]:
        """Move the files to which nothing refers out of the store, into `lost`: what a kill, or a refusal, left there.

        Files that came before this database was made are left alone: they may be another one's, which was put away.

        Args:
            older_than: seconds since 1970; younger files may be on their way into a row.

        Returns:
            The hashes of what was moved; a file that the disk does not let go stays.
        """
        lying = self._files.listing()
        with self._database.read() as connection:
            made = connection.scalar(select(func.min(workspace.c.created)))
            if made is None:
                return []
            old = [one for one in _unnamed(connection, lying) if made < self._files.came(one) < older_than]
        if not old:
            return []
        moved = []
        with self._database.write() as connection:  # asked once more, where no new reference can come between
            for sha256 in sorted(_unnamed(connection, old)):
                with contextlib.suppress(StorageError):
                    self._files.set_aside(sha256)
                    moved.append(sha256)
        return moved

    def settle(self) -> None:
        """Remove the doomed files to which nobody refers, for good; one that cannot be removed is tried again by the
        next call (somebody reads it just now, as on Windows, or its folder has lost a permission)."""
        with self._database.read() as connection:
            if not connection.scalar(select(exists(select(doomed_file.c.sha256)))):
                return
        # Inside one write transaction, so that no new reference can appear between the question and the removal.
        with self._database.write() as connection:
            for sha256 in connection.scalars(select(doomed_file.c.sha256)).all():
                named = select(file_reference).where(file_reference.c.sha256 == sha256)
                wanted = connection.scalar(select(exists(named)))
                if not wanted:
                    try:
                        self._files.delete(sha256)
                    except StorageError:
                        continue
                connection.execute(delete(doomed_file).where(doomed_file.c.sha256 == sha256))


def _unnamed(connection: Connection, hashes: Collection[str]) -> set[str]:
    """Those to which nothing refers, and which stand nowhere in a row: better a file too many than one too few."""
    left = set(hashes)
    columns = (
        file_reference.c.sha256,
        adapter.c.sha256,
        adapter.c.cover,
        embedding.c.sha256,
        embedding.c.tensors,
        dataset_item.c.sha256,
        checkpoint.c.sha256,
    )
    for column in columns:
        left.difference_update(connection.scalars(select(column).distinct()))
    texts = (
        job.c.payload,
        job.c.result,
        cell.c.request,
        cell.c.result,
        sample_cell.c.request,
        sample_cell.c.result,
        adapter.c.metadata,
    )
    for column in texts if left else ():
        for text in connection.scalars(select(cast(column, Text)).where(column.is_not(None))):
            left.difference_update(_SHA256.findall(text))
    return left
