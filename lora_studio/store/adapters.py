"""The library of LoRA files: entries by sha256 and owner, found by name.

A file is one entry for each owner, however often it is added; names are free labels, made different from those that
its owner sees already. It does not open the files (the adapters' room does).
"""

from __future__ import annotations

import builtins
import json
import math
import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update

from lora_studio.errors import InvalidInput, NotFound
from lora_studio.store.database import Database
from lora_studio.store.files import FileStore
from lora_studio.store.names import free_name, near_names
from lora_studio.store.references import References
from lora_studio.store.tables import adapter
from lora_studio.store.words import checked_name, storable
from lora_studio.types import LOCAL, AdapterEntry
from lora_studio.types.library import bundled_in

CHANGEABLE = ("name", "trigger_words", "notes", "cover", "recommended_weight")
_PREFIX = re.compile(r"[0-9a-f]{8,64}")


class Adapters:
    """The table of adapters; every method is one transaction and may be called from any thread."""

    def __init__(self, database: Database, references: References, files: FileStore) -> None:
        self._database = database
        self._references = references
        self._files = files

    def add(self, entry: AdapterEntry) -> AdapterEntry:
        """Enter an adapter whose file is in the store already.

        The same file of the same owner (or a sample) is the entry that is there; a taken name gets " 2", " 3" ...

        Raises:
            InvalidInput: the name is empty or too long.
        """
        name = checked_name(entry.name, "name of the LoRA")
        with self._database.write() as connection:
            mine = (adapter.c.owner == entry.owner) | adapter.c.sample.is_(True)
            query = select(adapter).where(adapter.c.sha256 == entry.sha256, mine).order_by(adapter.c.number)
            found = connection.execute(query).first()
            if found is not None:
                return _entry(found)
            connection.execute(
                insert(adapter).values(
                    sha256=entry.sha256,
                    owner=entry.owner,
                    name=_free_name(connection, name, entry.owner),
                    created=entry.created,
                    size=entry.size,
                    base_sha256=entry.base_sha256,
                    family=entry.family,
                    rank=entry.rank,
                    alpha=entry.alpha,
                    trigger_words=list(entry.trigger_words),
                    cover=entry.cover,
                    run=entry.run,
                    recommended_weight=entry.recommended_weight,
                    notes=storable(entry.notes, "notes"),
                    sample=entry.sample,
                    metadata=json.loads(json.dumps(entry.metadata)),
                )
            )
            row = connection.execute(query).one()
            held = [entry.sha256, entry.cover, *(embedding.sha256 for embedding in bundled_in(entry))]
            self._references.add(connection, "adapter", _holder(row), entry.owner, held)
            added = _entry(row)
        self.short_hash(added.sha256)  # once now, so that a search by hash finds it computed
        return added

    def get(self, sha256: str, owner: str | None = None) -> AdapterEntry:
        """The entry of a file: the owner's or a sample's where `owner` is given, else the oldest. Raises `NotFound`."""
        with self._database.read() as connection:
            return _entry(_rows(connection, sha256, owner)[0])

    def find(self, name_or_sha: str, owner: str | None = None) -> AdapterEntry:
        """By exact name, then the name in any case, then the beginning of the sha256 (8 hex digits or more).

        Raises:
            NotFound: there is none; the sentence names up to five near names.
        """
        entries = self.list(owner)
        folded = name_or_sha.casefold()
        for entry in entries:
            if entry.name == name_or_sha:
                return entry
        for entry in entries:
            if entry.name.casefold() == folded:
                return entry
        if _PREFIX.fullmatch(folded):
            for entry in entries:
                if entry.sha256.startswith(folded):
                    return entry
        near = near_names(name_or_sha, [entry.name for entry in entries])
        asked = name_or_sha[:200]
        if near:
            quoted = ", ".join(repr(name) for name in near)
            raise NotFound(
                f"The library has no LoRA {asked!r}; near names are {quoted}; choose one of these or give a file.",
                code="adapter_missing_near",
                given=asked,
                near=near,
            )
        raise NotFound(
            f"The library has no LoRA {asked!r}; give the name of one that is there, or a file.",
            code="adapter_missing",
            given=asked,
        )

    def short_hash(self, sha256: str) -> str:
        """The 12 hex digits by which A1111 and Civitai know a LoRA file: kohya's hash where the header has one, else
        that of its tensors; of a file that is gone the beginning of `sha256`."""
        with self._database.read() as connection:
            row = connection.execute(select(adapter.c.metadata).where(adapter.c.sha256 == sha256)).first()
        written = str((row.metadata or {}).get("sshs_model_hash", "")) if row is not None else ""
        if re.fullmatch(r"[0-9a-f]{12,64}", written.casefold()):
            return written.casefold()[:12]
        try:
            return self._files.tensors_hash(sha256)[:12]
        except NotFound:
            return sha256[:12]

    def list(self, owner: str | None = None) -> builtins.list[AdapterEntry]:
        """The owner's entries, the command line's, the samples (everybody's for None), newest first, samples last."""
        query = select(adapter).order_by(adapter.c.sample, adapter.c.created.desc(), adapter.c.number.desc())
        if owner is not None:
            query = query.where(adapter.c.owner.in_((owner, LOCAL)) | adapter.c.sample.is_(True))
        with self._database.read() as connection:
            return [_entry(row) for row in connection.execute(query)]

    def update(self, sha256: str, *, owner: str | None = None, **changes: Any) -> AdapterEntry:
        """Change name, trigger_words, notes, cover or recommended_weight; a taken name gets a number as in `add`.

        Args:
            owner: whose entry; None changes every entry of the file.

        Raises:
            NotFound: there is no such entry.
            InvalidInput: another field, or a value that is not allowed.
        """
        values = {key: _checked(key, value) for key, value in changes.items()}
        with self._database.write() as connection:
            for row in _rows(connection, sha256, owner):
                own = dict(values)
                if "name" in own:
                    own["name"] = _free_name(connection, own["name"], row.owner, besides=row.number)
                if own:
                    connection.execute(update(adapter).where(adapter.c.number == row.number).values(**own))
                if "cover" in own:
                    if row.cover and row.cover != own["cover"]:
                        self._references.drop(connection, "adapter", _holder(row), [row.cover])
                    self._references.add(connection, "adapter", _holder(row), row.owner, own["cover"])
            changed = _entry(_rows(connection, sha256, owner)[0])
        self._references.settle()
        return changed

    def delete(self, sha256: str, owner: str | None = None) -> None:
        """Remove the entry and its file for good, whatever cells still mention it; a file another owner has stays.

        Args:
            owner: whose entry; None removes every entry of the file.

        Raises:
            NotFound: there is no such entry.
        """
        with self._database.write() as connection:
            rows = _rows(connection, sha256, owner)
            for row in rows:
                self._references.drop(connection, "adapter", _holder(row))
                connection.execute(delete(adapter).where(adapter.c.number == row.number))
            if connection.execute(select(adapter.c.number).where(adapter.c.sha256 == sha256)).first() is None:
                self._references.forget(connection, sha256, rows[0].owner)
        self._references.settle()


def _rows(connection: Connection, sha256: str, owner: str | None) -> Sequence[Row[Any]]:
    """The entries of a file, oldest first, never none. Raises `NotFound`."""
    query = select(adapter).where(adapter.c.sha256 == sha256).order_by(adapter.c.number)
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
    seen: ColumnElement[bool] = (adapter.c.owner == owner) | adapter.c.sample.is_(True)
    if besides is not None:
        seen &= adapter.c.number != besides
    return free_name(name, connection.scalars(select(adapter.c.name).where(seen)))


def _checked(key: str, value: Any) -> Any:
    """A changed value as it is stored. Raises `InvalidInput`."""
    if key == "name":
        return checked_name(value, "name of the LoRA")
    if key == "notes":
        return storable(value, "notes")
    if key == "trigger_words":
        return [storable(word, "trigger word") for word in value]
    if key == "cover":
        return value
    if key == "recommended_weight":
        number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
        if not -10 <= number <= 10:
            raise InvalidInput(
                f"recommended_weight was given as {value!r}; it must be a number from -10 to 10; change it.",
                code="field_number",
                field="recommended_weight",
                given=str(value),
                allowed="-10 to 10",
            )
        return float(number)
    raise InvalidInput(
        f"A LoRA's {key!r} cannot be changed; what can be is {', '.join(CHANGEABLE)}.",
        code="unknown_field",
        given=key,
        allowed=", ".join(CHANGEABLE),
    )


def _holder(row: Row[Any]) -> str:
    return str(row.number)


def _entry(row: Row[Any]) -> AdapterEntry:
    return AdapterEntry(
        sha256=row.sha256,
        name=row.name,
        owner=row.owner,
        created=row.created,
        size=row.size,
        base_sha256=row.base_sha256,
        family=row.family,
        rank=row.rank,
        alpha=row.alpha,
        trigger_words=tuple(row.trigger_words),
        cover=row.cover,
        run=row.run,
        recommended_weight=row.recommended_weight,
        notes=row.notes,
        sample=row.sample,
        metadata=row.metadata,
    )
