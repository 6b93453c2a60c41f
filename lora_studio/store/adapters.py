"""The library of LoRA files: entries by sha256 and owner, found by name.

A file is one entry for each owner, however often it is added and wherever it lies; names are free labels, made
different from those that its owner sees already. Entries are deleted softly, so that it can be undone, and purged later
with their files. Files in folders that are read in place (`store.folders`) are the command line's entries, seen by
everybody; the store holds no copy of them. It does not open the files (the adapters' room does).
"""

from __future__ import annotations

import builtins
import re
import time
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, delete, exists, func, insert, select, update

from lora_studio.errors import NotFound
from lora_studio.store.adapter_rows import LIGHT, checked, entry_of, values_of
from lora_studio.store.database import Database
from lora_studio.store.files import FileStore
from lora_studio.store.names import free_name
from lora_studio.store.naming import found_by_name
from lora_studio.store.places import places
from lora_studio.store.references import UNDO_SECONDS as UNDO_SECONDS
from lora_studio.store.references import References
from lora_studio.store.tables import adapter, folder_file, job, job_adapter
from lora_studio.store.words import checked_name
from lora_studio.types import LOCAL, AdapterEntry
from lora_studio.types.library import bundled_in


class Adapters:
    """The table of adapters; every method is one transaction and may be called from any thread."""

    def __init__(self, database: Database, references: References, files: FileStore) -> None:
        self._database = database
        self._references = references
        self._files = files

    def add(self, entry: AdapterEntry) -> AdapterEntry:
        """Enter an adapter whose file is in the store already, or lies in a folder that was read.

        The same file of the same owner (or a sample, or one of the command line) is the entry that is there, or comes
        back under the new name where it was deleted; a taken name gets " 2", " 3" ...

        Raises:
            InvalidInput: the name is empty or too long.
        """
        with self._database.write() as connection:
            found = _same(connection, entry)
            if found is None:
                found = self.insert(connection, entry, kept=True)
            else:
                uploaded = not found.kept and self._files.has(entry.sha256)
                values: dict[str, Any] = {"kept": True, "changed": time.time()} if uploaded else {}
                if found.deleted is not None:
                    values |= _revived(connection, found, checked_name(entry.name, "name of the LoRA"))
                _change(connection, found.number, values)
            bundled = [embedding.sha256 for embedding in bundled_in(entry)]
            if connection.scalar(select(adapter.c.kept).where(adapter.c.number == found.number)):
                self._references.add(connection, "adapter", _holder(found), found.owner, [entry.sha256, *bundled])
            added = _read(connection, found.number)
        self.short_hash(added.sha256)  # once now, so that a search by hash finds it computed
        return added

    def insert(self, connection: Connection, entry: AdapterEntry, kept: bool) -> Row[Any]:
        """A new row inside the caller's transaction; `kept` says that the store holds the file.

        Raises:
            InvalidInput: the name is empty or too long.
        """
        name = _free_name(connection, checked_name(entry.name, "name of the LoRA"), entry.owner)
        made = values_of(entry) | {"name": name, "kept": kept, "changed": time.time()}
        number = connection.execute(insert(adapter).values(**made)).inserted_primary_key
        assert number is not None
        row = connection.execute(select(adapter).where(adapter.c.number == number[0])).one()
        beside = [entry.cover, *(embedding.sha256 for embedding in bundled_in(entry))]
        self._references.add(connection, "adapter", _holder(row), entry.owner, beside)
        return row

    def get(self, sha256: str, owner: str | None = None, *, deleted: bool = False) -> AdapterEntry:
        """The entry of a file: the owner's or a sample's where `owner` is given, else the oldest; one that is `deleted`
        and can come back where that is asked for. Raises `NotFound`."""
        with self._database.read() as connection:
            return entry_of(_rows(connection, sha256, owner, deleted)[0], places(connection, sha256))

    def find(self, name_or_sha: str, owner: str | None = None) -> AdapterEntry:
        """By its label, the name of its file, or the beginning of its sha256 (`store.naming`).

        Raises:
            NotFound: there is none; the sentence names up to five near names.
            InvalidInput: several files have that name, and none that label.
        """
        return found_by_name(name_or_sha, self.shelf(owner))

    def short_hash(self, sha256: str) -> str:
        """The 12 hex digits by which A1111 and Civitai know a LoRA file: kohya's hash where the header has one, else
        that of its tensors; of a file that is gone the beginning of `sha256`."""
        with self._database.read() as connection:
            row = connection.execute(select(adapter.c.hints).where(adapter.c.sha256 == sha256)).first()
        written = str((row.hints or {}).get("sshs_model_hash", "")) if row is not None else ""
        if re.fullmatch(r"[0-9a-f]{12,64}", written.casefold()):
            return written.casefold()[:12]
        try:
            return self._files.tensors_hash(sha256)[:12]
        except NotFound:
            return sha256[:12]

    def list(self, owner: str | None = None, *, deleted: bool = False) -> builtins.list[AdapterEntry]:
        """The owner's entries, the command line's, the samples (everybody's for None), newest first, samples last.

        Each file once for an owner, who sees the own entry first. Deleted ones are left out, or listed alone where
        `deleted` asks for them.
        """
        return self._listed(select(adapter), owner, deleted)

    def shelf(self, owner: str | None = None, *, deleted: bool = False) -> builtins.list[AdapterEntry]:
        """`list` without reports and with a few entries of the metadata alone: quick also for a thousand files."""
        return self._listed(select(*LIGHT), owner, deleted)

    def stamp(self) -> float:
        """Grows whenever anything of any entry changes, where files lie included."""
        with self._database.read() as connection:
            return float(connection.scalar(select(func.max(adapter.c.changed))) or 0.0)

    def last_used(self, owner: str) -> dict[str, float]:
        """When the owner last asked for a picture with each file, in seconds since 1970, by sha256."""
        newest = (
            select(job_adapter.c.sha256, func.max(job.c.created))
            .join(job, job.c.id == job_adapter.c.job_id)
            .where(job_adapter.c.owner == owner, job_adapter.c.weight != 0)
            .group_by(job_adapter.c.sha256)
        )
        with self._database.read() as connection:
            return {sha256: float(when) for sha256, when in connection.execute(newest)}

    def update(self, sha256: str, *, owner: str | None = None, **changes: Any) -> AdapterEntry:
        """Change name, trigger_words, notes, cover, recommended_weight or stars, as a person does: what side files say
        later leaves such a field alone. A taken name gets a number as in `add`.

        Args:
            owner: whose entry; None changes every entry of the file.

        Raises:
            NotFound: there is no such entry.
            InvalidInput: another field, or a value that is not allowed.
        """
        values = {key: checked(key, value) for key, value in changes.items()}
        with self._database.write() as connection:
            for row in _rows(connection, sha256, owner):
                own = dict(values)
                if "name" in own:
                    own["name"] = _free_name(connection, own["name"], row.owner, besides=row.number)
                if own:
                    edited = sorted({*row.edited, *own})
                    _change(connection, row.number, own | {"edited": edited, "changed": time.time()})
                if "cover" in own:
                    self._cover(connection, row, own["cover"])
            changed = entry_of(_rows(connection, sha256, owner)[0], places(connection, sha256))
        self._references.settle()
        return changed

    def describe(self, connection: Connection, row: Row[Any], values: dict[str, Any]) -> None:
        """Write what files say into a row inside the caller's transaction, but for what a person changed; call
        `References.settle` after it."""
        fresh = {key: value for key, value in values.items() if key not in row.edited}
        _change(connection, row.number, fresh | {"changed": time.time()})
        if "cover" in fresh:
            self._cover(connection, row, fresh["cover"])

    def complete(self, sha256: str, owner: str, values: dict[str, Any]) -> AdapterEntry:
        """Write what files say into the owner's entry, but for what a person changed. Raises `NotFound`."""
        with self._database.write() as connection:
            row = _rows(connection, sha256, owner)[0]
            self.describe(connection, row, values)
            made = _read(connection, row.number)
        self._references.settle()
        return made

    def report(self, sha256: str, report: dict[str, Any]) -> None:
        """Keep what the door found out about a file, in all its entries; for a file that has none nothing happens."""
        with self._database.write() as connection:
            mine = adapter.c.sha256 == sha256
            connection.execute(update(adapter).where(mine).values(report=report, changed=time.time()))

    def delete(self, sha256: str, owner: str | None = None) -> None:
        """Take an entry out of sight; `restore` brings it back, `purge` removes it with its file.

        Args:
            owner: whose entry; None deletes every entry of the file.

        Raises:
            NotFound: there is no such entry.
        """
        with self._database.write() as connection:
            for row in _rows(connection, sha256, owner):
                _change(connection, row.number, {"deleted": time.time(), "changed": time.time()})

    def restore(self, sha256: str, owner: str | None = None) -> AdapterEntry:
        """Bring a deleted entry back; its name gets a number where another one took it meanwhile. Raises `NotFound`."""
        with self._database.write() as connection:
            for row in _rows(connection, sha256, owner, deleted=True):
                _change(connection, row.number, _revived(connection, row, row.name))
            return entry_of(_rows(connection, sha256, owner)[0], places(connection, sha256))

    def purge(self, older_than: float) -> None:
        """Remove for good what was deleted before `older_than` (seconds since 1970), with the files in the store,
        whatever cells still mention them; a file that another owner has stays.

        What lies in a folder stays hidden: without its row the next look into the folder would show it again.
        """
        with self._database.write() as connection:
            for row in connection.execute(select(adapter).where(adapter.c.deleted < older_than)).all():
                self._references.drop(connection, "adapter", _holder(row))
                if connection.scalar(select(exists().where(folder_file.c.sha256 == row.sha256))):
                    _change(connection, row.number, {"kept": False, "cover": None})
                    within = [embedding.sha256 for embedding in bundled_in(entry_of(row, {}))]
                    self._references.add(connection, "adapter", _holder(row), row.owner, within)
                else:
                    connection.execute(delete(adapter).where(adapter.c.number == row.number))
                others = (adapter.c.sha256 == row.sha256) & adapter.c.kept.is_(True)
                if not connection.scalar(select(exists().where(others))):
                    self._references.forget(connection, row.sha256, row.owner)
        self._references.settle()

    def _cover(self, connection: Connection, row: Row[Any], cover: str | None) -> None:
        """Refer to another cover and no longer to the one before."""
        if row.cover and row.cover != cover:
            self._references.drop(connection, "adapter", _holder(row), [row.cover])
        self._references.add(connection, "adapter", _holder(row), row.owner, cover)

    def _listed(self, query: Select[Any], owner: str | None, deleted: bool) -> builtins.list[AdapterEntry]:
        query = query.where(adapter.c.deleted.is_not(None) if deleted else adapter.c.deleted.is_(None))
        query = query.order_by(adapter.c.sample, adapter.c.created.desc(), adapter.c.number.desc())
        if owner is not None:
            query = query.where(adapter.c.owner.in_((owner, LOCAL)) | adapter.c.sample.is_(True))
        with self._database.read() as connection:
            lies = places(connection)
            entries = [entry_of(row, lies) for row in connection.execute(query).all()]
        return entries if owner is None else _once(entries, owner)


def _once(entries: Iterable[AdapterEntry], owner: str) -> list[AdapterEntry]:
    """Each file once; the owner's own entry is the one that stays."""
    listed = list(entries)
    own = {entry.sha256 for entry in listed if entry.owner == owner}
    seen: set[str] = set()
    kept = []
    for entry in listed:
        if entry.sha256 in seen or (entry.sha256 in own and entry.owner != owner):
            continue
        seen.add(entry.sha256)
        kept.append(entry)
    return kept


def _same(connection: Connection, entry: AdapterEntry) -> Row[Any] | None:
    """The row that a file of this owner is already: the own one, a sample's, or the command line's, which all see.

    One of the command line that is deleted comes back only where its file lies in a folder, which would show it again.
    """
    seen = adapter.c.deleted.is_(None) | adapter.c.kept.is_(False)
    shared = adapter.c.sample.is_(True) | ((adapter.c.owner == LOCAL) & seen)
    mine = (adapter.c.owner == entry.owner) | shared
    query = select(adapter).where(adapter.c.sha256 == entry.sha256, mine)
    return connection.execute(query.order_by(adapter.c.owner != entry.owner, adapter.c.number)).first()


def _read(connection: Connection, number: int) -> AdapterEntry:
    row = connection.execute(select(adapter).where(adapter.c.number == number)).one()
    return entry_of(row, places(connection, row.sha256))


def _change(connection: Connection, number: int, values: dict[str, Any]) -> None:
    if values:
        connection.execute(update(adapter).where(adapter.c.number == number).values(**values))


def _revived(connection: Connection, row: Row[Any], name: str) -> dict[str, Any]:
    """What a deleted row becomes."""
    free = _free_name(connection, name, row.owner, besides=row.number)
    return {"deleted": None, "name": free, "changed": time.time()}


def _rows(connection: Connection, sha256: str, owner: str | None, deleted: bool = False) -> Sequence[Row[Any]]:
    """The entries of a file, oldest first, never none. Raises `NotFound`."""
    query = select(adapter).where(adapter.c.sha256 == sha256).order_by(adapter.c.number)
    query = query.where(adapter.c.deleted.is_not(None) if deleted else adapter.c.deleted.is_(None))
    if owner is not None:
        query = query.where((adapter.c.owner == owner) | adapter.c.sample.is_(True))
    rows = connection.execute(query).all()
    if not rows:
        asked = str(sha256)[:80]
        raise NotFound(
            f"The library has no LoRA file {asked!r}; it may have been deleted.",
            code="adapter_file_missing",
            given=asked,
        )
    return rows


def _free_name(connection: Connection, name: str, owner: str, besides: int | None = None) -> str:
    """`name`, or `name 2` ... where the owner sees that name already (in any case)."""
    seen: ColumnElement[bool] = ((adapter.c.owner == owner) | adapter.c.sample.is_(True)) & adapter.c.deleted.is_(None)
    if besides is not None:
        seen &= adapter.c.number != besides
    return free_name(name, connection.scalars(select(adapter.c.name).where(seen)))


def _holder(row: Row[Any]) -> str:
    return str(row.number)
