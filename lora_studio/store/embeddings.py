"""The library of textual-inversion embeddings: entries by sha256 and owner; prompts find them by name.

A file is one entry for each owner, however often it is added. Names are what prompts call them, so those that an owner
sees are made different. Entries are deleted softly, so that it can be undone, and purged later; a file that a cell
still mentions, or a LoRA has brought along, stays until that goes. It does not open the files (the adapters' room
does).
"""

from __future__ import annotations

import builtins
import json
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from lora_studio.errors import InvalidInput, NotFound
from lora_studio.store.database import Database
from lora_studio.store.names import free_name, near_names
from lora_studio.store.references import UNDO_SECONDS as UNDO_SECONDS
from lora_studio.store.references import References
from lora_studio.store.tables import embedding
from lora_studio.store.words import checked_name
from lora_studio.types import LOCAL, EmbeddingEntry

_WHAT = "name of the embedding"
_KEPT_BY = ("cell", "sample_cell", "adapter")
"""Kinds of holders that go on needing a file whose entry is gone: a LoRA names the word that came within it."""


class Embeddings:
    """The table of embeddings; every method is one transaction and may be called from any thread."""

    def __init__(self, database: Database, references: References) -> None:
        self._database = database
        self._references = references

    def add(self, entry: EmbeddingEntry) -> EmbeddingEntry:
        """Enter an embedding whose files are in the store already.

        The same file of the same owner is the entry that is there, or comes back under the new name where it was
        deleted; a taken name gets " 2", " 3" ...

        Raises:
            InvalidInput: the name is empty or too long.
        """
        name = checked_name(entry.name, _WHAT)
        with self._database.write() as connection:
            query = select(embedding).where(embedding.c.sha256 == entry.sha256, embedding.c.owner == entry.owner)
            found = connection.execute(query).first()
            if found is not None and found.deleted is None:
                return _entry(found)
            if found is not None:
                _bring_back(connection, found, name)
                return _entry(connection.execute(query).one())
            connection.execute(
                insert(embedding).values(
                    sha256=entry.sha256,
                    owner=entry.owner,
                    name=_free_name(connection, name, entry.owner),
                    created=entry.created,
                    size=entry.size,
                    vectors=entry.vectors,
                    widths=dict(entry.widths),
                    tensors=entry.tensors,
                    metadata=json.loads(json.dumps(entry.metadata)),
                )
            )
            row = connection.execute(query).one()
            self._references.add(connection, "embedding", str(row.number), row.owner, [row.sha256, row.tensors])
            return _entry(row)

    def get(self, sha256: str, owner: str | None = None) -> EmbeddingEntry:
        """The entry of a file, a deleted one too: the owner's, or the oldest of anybody for None. Raises `NotFound`."""
        with self._database.read() as connection:
            return _entry(_rows(connection, sha256, owner)[0])

    def find(self, name: str, owner: str | None = None) -> EmbeddingEntry:
        """By its name in any case, an exact one first.

        Raises:
            NotFound: there is none; the sentence names up to five near names.
        """
        entries = self.list(owner)
        folded = name.casefold()
        for entry in [*(e for e in entries if e.name == name), *(e for e in entries if e.name.casefold() == folded)]:
            return entry
        near = near_names(name, [entry.name for entry in entries])
        asked = name[:200]
        if near:
            quoted = ", ".join(repr(other) for other in near)
            raise NotFound(
                f"The library has no embedding {asked!r}; near names are {quoted}; choose one of these or give a file.",
                code="embedding_missing_near",
                given=asked,
                near=near,
            )
        raise NotFound(
            f"The library has no embedding {asked!r}; give the name of one that is there, or a file.",
            code="embedding_missing",
            given=asked,
        )

    def check_free(self, name: str, owner: str) -> None:
        """Raise `InvalidInput` where `owner` sees an embedding of that name, in any case: prompts would go on reading
        that one."""
        for entry in self.list(owner):
            if entry.name.casefold() == name.casefold():
                raise InvalidInput(
                    f"The new word was given as {name!r}, and the library has an embedding {entry.name!r} already, "
                    "which prompts would go on reading; write another word, or rename or delete that embedding.",
                    code="embedding_name_taken",
                    field="embedding",
                    given=name,
                    taken=entry.name,
                )

    def list(self, owner: str | None = None) -> builtins.list[EmbeddingEntry]:
        """The owner's entries and the command line's (everybody's for None), newest first; no deleted ones."""
        query = select(embedding).where(embedding.c.deleted.is_(None))
        if owner is not None:
            query = query.where(embedding.c.owner.in_((owner, LOCAL)))
        query = query.order_by(embedding.c.created.desc(), embedding.c.number.desc())
        with self._database.read() as connection:
            return [_entry(row) for row in connection.execute(query)]

    def rename(self, sha256: str, name: str, owner: str | None = None) -> EmbeddingEntry:
        """Let prompts call it something else; a taken name gets a number as in `add`.

        Args:
            owner: whose entry; None renames every entry of the file.

        Raises:
            NotFound: there is no such entry.
            InvalidInput: the name is empty or too long.
        """
        name = checked_name(name, _WHAT)
        with self._database.write() as connection:
            for row in _rows(connection, sha256, owner):
                free = _free_name(connection, name, row.owner, besides=row.number)
                connection.execute(update(embedding).where(embedding.c.number == row.number).values(name=free))
            return _entry(_rows(connection, sha256, owner)[0])

    def delete(self, sha256: str, owner: str | None = None) -> None:
        """Take an entry out of sight; `restore` brings it back, `purge` removes it. Raises `NotFound`."""
        with self._database.write() as connection:
            for row in _rows(connection, sha256, owner):
                gone = update(embedding).where(embedding.c.number == row.number, embedding.c.deleted.is_(None))
                connection.execute(gone.values(deleted=time.time()))

    def restore(self, sha256: str, owner: str | None = None) -> EmbeddingEntry:
        """Bring a deleted entry back; its name gets a number where another one took it meanwhile. Raises `NotFound`."""
        with self._database.write() as connection:
            for row in _rows(connection, sha256, owner):
                if row.deleted is not None:
                    _bring_back(connection, row, row.name)
            return _entry(_rows(connection, sha256, owner)[0])

    def purge(self, older_than: float) -> None:
        """Remove for good what was deleted before `older_than` (seconds since 1970), with the files.

        A file stays as long as somebody else has it, a cell mentions it, or a LoRA has brought it along.
        """
        with self._database.write() as connection:
            for row in connection.execute(select(embedding).where(embedding.c.deleted < older_than)).all():
                self._references.drop(connection, "embedding", str(row.number))
                connection.execute(delete(embedding).where(embedding.c.number == row.number))
                if connection.execute(select(embedding.c.number).where(embedding.c.sha256 == row.sha256)).first():
                    continue
                self._references.forget(connection, row.sha256, row.owner, keep=_KEPT_BY)
                if row.tensors:
                    self._references.forget(connection, row.tensors, row.owner, keep=_KEPT_BY)
        self._references.settle()


def _rows(connection: Connection, sha256: str, owner: str | None) -> Sequence[Row[Any]]:
    """The entries of a file, oldest first, never none. Raises `NotFound`."""
    query = select(embedding).where(embedding.c.sha256 == sha256).order_by(embedding.c.number)
    if owner is not None:
        query = query.where(embedding.c.owner == owner)
    rows = connection.execute(query).all()
    if not rows:
        asked = str(sha256)[:80]
        raise NotFound(
            f"The library has no embedding {asked!r}; it may have been deleted.",
            code="embedding_file_missing",
            given=asked,
        )
    return rows


def _bring_back(connection: Connection, row: Row[Any], name: str) -> None:
    free = _free_name(connection, name, row.owner, besides=row.number)
    mine = embedding.c.number == row.number
    connection.execute(update(embedding).where(mine).values(deleted=None, name=free))


def _free_name(connection: Connection, name: str, owner: str, besides: int | None = None) -> str:
    """`name`, or `name 2` ... where the owner sees that name already (in any case)."""
    seen = embedding.c.owner.in_((owner, LOCAL)) & embedding.c.deleted.is_(None)
    if besides is not None:
        seen &= embedding.c.number != besides
    return free_name(name, connection.scalars(select(embedding.c.name).where(seen)))


def _entry(row: Row[Any]) -> EmbeddingEntry:
    return EmbeddingEntry(
        sha256=row.sha256,
        name=row.name,
        owner=row.owner,
        created=row.created,
        size=row.size,
        vectors=row.vectors,
        widths=row.widths,
        tensors=row.tensors,
        metadata=row.metadata,
        deleted=row.deleted,
    )
