"""Sets of pictures with captions: rows here, pictures in the file store.

Pictures are taken in by `dataset.intake`, outside any transaction; what cannot be used is kept as a sentence, and the
good ones are kept. Removing a picture can be undone: its file stays until the set is deleted. It does not train.
"""

from __future__ import annotations

import builtins
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update

from lora_studio.dataset.captions import stem
from lora_studio.dataset.gather import Gathered, gather_files, gather_folder, refusal
from lora_studio.dataset.intake import Picture, normalise
from lora_studio.dataset.likeness import alike
from lora_studio.errors import DatasetError, InvalidInput, NotFound
from lora_studio.store.database import Database
from lora_studio.store.files import FileStore
from lora_studio.store.references import References
from lora_studio.store.tables import dataset, dataset_item, dataset_refusal
from lora_studio.store.words import checked_name, displayable, storable
from lora_studio.types import DatasetItem, DatasetManifest, RefusedPicture


class Datasets:
    """The tables of datasets; may be called from any thread."""

    def __init__(self, database: Database, references: References, files: FileStore) -> None:
        self._database = database
        self._references = references
        self._files = files

    def create(self, name: str, owner: str) -> DatasetManifest:
        """A new, empty set. Raises `InvalidInput` for an empty or long name."""
        made = DatasetManifest(id=uuid.uuid4().hex, name=checked_name(name, "name of the set"), owner=owner)
        with self._database.write() as connection:
            connection.execute(insert(dataset).values(id=made.id, owner=owner, name=made.name, created=time.time()))
        return made

    def get(self, dataset_id: str) -> DatasetManifest:
        """The set as it stands. Raises `NotFound`."""
        with self._database.read() as connection:
            return _manifest(connection, _row(connection, dataset_id))

    def list(self, owner: str) -> builtins.list[DatasetManifest]:
        """The owner's sets, newest first."""
        query = select(dataset).where(dataset.c.owner == owner).order_by(dataset.c.number.desc())
        with self._database.read() as connection:
            return [_manifest(connection, row) for row in connection.execute(query).all()]

    def add_files(self, dataset_id: str, files: Sequence[Path], names: Sequence[str] | None = None) -> DatasetManifest:
        """Take in pictures, caption files of the same name beside them, and zips of both.

        What cannot be used goes to `refused` with its sentence; a caption file without a picture among `files`
        belongs to the picture of its name that is in the set already.

        Args:
            names: what the files are called, where they lie under other names.

        Raises:
            NotFound: there is no such set.
            StorageError: the disk refuses.
        """
        self.get(dataset_id)
        return self._take(dataset_id, gather_files(files, names))

    def add_folder(self, dataset_id: str, folder: Path) -> DatasetManifest:
        """Take in what lies in a folder and the folders below it, as `add_files` does.

        Raises:
            NotFound: there is no such set.
            DatasetError: the folder is not there or has no file in it.
        """
        self.get(dataset_id)
        return self._take(dataset_id, gather_folder(folder))

    def set_caption(self, dataset_id: str, sha256: str, caption: str) -> None:
        """Change a picture's caption. Raises `NotFound`."""
        text = storable(caption, "caption").strip()
        with self._database.write() as connection:
            _row(connection, dataset_id)
            if not _set_caption(connection, dataset_id, sha256, text):
                raise _item_missing(sha256)

    def replace_in_captions(self, dataset_id: str, find: str, replace: str) -> int:
        """Replace a text in all captions; returns how many captions changed.

        Raises:
            NotFound: there is no such set.
            InvalidInput: the text to find is empty.
        """
        if not find:
            raise InvalidInput(
                f"The text to find was given as {find!r}; write at least one character.", code="find_empty", given=find
            )
        storable(replace, "replacement")
        changed = 0
        with self._database.write() as connection:
            _row(connection, dataset_id)
            for item in _items(connection, dataset_id):
                text = item.caption.replace(find, replace).strip()
                if text != item.caption:
                    _set_caption(connection, dataset_id, item.sha256, text)
                    changed += 1
        return changed

    def remove(self, dataset_id: str, sha256: str) -> DatasetItem:
        """Take a picture out of the set and return it for `restore`. Raises `NotFound`."""
        with self._database.write() as connection:
            _row(connection, dataset_id)
            row = connection.execute(select(dataset_item).where(*_is(dataset_id, sha256))).first()
            if row is None:
                raise _item_missing(sha256)
            connection.execute(delete(dataset_item).where(*_is(dataset_id, sha256)))
            _mark_twins(connection, dataset_id)
            return _item(row)

    def restore(self, dataset_id: str, item: DatasetItem, index: int) -> None:
        """Put a removed picture back at a place (0 is first; beyond the end is last); one that is there stays.

        Raises:
            NotFound: there is no such set, or the picture's file is gone.
        """
        picture = normalise(self._files.path(item.sha256), item.source)
        with self._database.write() as connection:
            owner = _row(connection, dataset_id).owner
            order = [row.sha256 for row in _items(connection, dataset_id)]
            if item.sha256 in order:
                return
            order.insert(max(0, min(index, len(order))), item.sha256)
            _insert_item(connection, (dataset_id, owner, len(order)), item, picture.likeness)
            self._references.add(connection, "dataset", dataset_id, owner, item.sha256)
            for position, sha256 in enumerate(order):
                connection.execute(update(dataset_item).where(*_is(dataset_id, sha256)).values(position=position))
            _mark_twins(connection, dataset_id)

    def rename(self, dataset_id: str, name: str) -> None:
        """Call it something else. Raises `NotFound`, or `InvalidInput` for an empty or long name."""
        name = checked_name(name, "name of the set")
        with self._database.write() as connection:
            _row(connection, dataset_id)
            connection.execute(update(dataset).where(dataset.c.id == dataset_id).values(name=name))

    def delete(self, dataset_id: str) -> None:
        """Remove the set and its pictures' files for good, those of removed pictures too. Raises `NotFound`."""
        with self._database.write() as connection:
            _row(connection, dataset_id)
            self._references.drop(connection, "dataset", dataset_id)
            connection.execute(delete(dataset).where(dataset.c.id == dataset_id))
        self._references.settle()

    def _take(self, dataset_id: str, found: Gathered) -> DatasetManifest:
        """Enter what was found, each picture on its own, so that a full disk keeps the ones before it."""
        used: set[str] = set()
        given: set[str] = set(found.caption_files.values())
        for raw in found.pictures:
            key = stem(raw.name)
            used.add(key)
            given.add(raw.name)
            try:
                picture = normalise(raw.source, raw.name)
            except DatasetError as error:
                found.refused.append(refusal(raw.name, error))
                continue
            twice = self._enter(dataset_id, displayable(raw.name), picture, found.captions.get(key, ""))
            if twice is not None:
                found.refused.append(twice)
        with self._database.write() as connection:
            owner = _row(connection, dataset_id).owner
            left = {key: text for key, text in found.captions.items() if key not in used}
            for key in _caption_those_there(connection, dataset_id, left):
                left.pop(key)
            found.refused += [_caption_alone(found.caption_files[key]) for key in left]
            _write_refusals(connection, dataset_id, owner, given, found.refused)
            return _manifest(connection, _row(connection, dataset_id))

    def _enter(self, dataset_id: str, source: str, picture: Picture, caption: str) -> RefusedPicture | None:
        """Put one picture at the end of the set; the sentence when the set has it already."""
        sha256 = self._files.put_bytes(picture.png, ".png")
        try:
            with self._database.write() as connection:
                owner = _row(connection, dataset_id).owner
                rows = _items(connection, dataset_id)
                for row in rows:
                    if row.sha256 == sha256:
                        if caption and not row.caption:
                            _set_caption(connection, dataset_id, sha256, caption)
                        return _same(source, row.source)
                twin = any(alike(picture.likeness, row.likeness) for row in rows)
                item = DatasetItem(
                    sha256=sha256,
                    width=picture.width,
                    height=picture.height,
                    caption=caption,
                    source=source,
                    warnings=(*picture.remarks, *(("twin",) if twin else ())),
                )
                position = rows[-1].position + 1 if rows else 0
                _insert_item(connection, (dataset_id, owner, position), item, picture.likeness)
                self._references.add(connection, "dataset", dataset_id, owner, sha256)
                if not self._files.has(sha256):  # a set that was deleted meanwhile had the same picture
                    self._files.put_bytes(picture.png, ".png")
        except NotFound:
            with self._database.write() as connection:
                self._references.doom(connection, [sha256], "")
            self._references.settle()
            raise
        return None


def _same(source: str, other: str) -> RefusedPicture:
    return refusal(
        source,
        DatasetError(
            f"{source!r} is the same picture as {other!r}, which is in the set already; it is used once.",
            code="picture_twice",
            name=source,
            other=other,
        ),
    )


def _caption_alone(name: str) -> RefusedPicture:
    return refusal(
        displayable(name),
        DatasetError(
            f"{displayable(name)!r} is a caption without a picture of its name; add the picture or rename the file.",
            code="caption_without_picture",
            name=displayable(name),
        ),
    )


def _caption_those_there(connection: Connection, dataset_id: str, captions: dict[str, str]) -> builtins.list[str]:
    """Give captions that came alone to the pictures of their names in the set; returns the names that were found."""
    found = []
    if captions:
        for row in _items(connection, dataset_id):
            if stem(row.source) in captions:
                _set_caption(connection, dataset_id, row.sha256, captions[stem(row.source)])
                found.append(stem(row.source))
    return sorted(set(found))


def _write_refusals(
    connection: Connection, dataset_id: str, owner: str, given: set[str], refused: Sequence[RefusedPicture]
) -> None:
    """Keep the newest word on each file: what was said before of the files that came again is dropped."""
    again = {displayable(name) for name in given} | {displayable(entry.source) for entry in refused}
    mine = dataset_refusal.c.dataset_id == dataset_id
    connection.execute(delete(dataset_refusal).where(mine, dataset_refusal.c.source.in_(again)))
    rows = [
        {
            "dataset_id": dataset_id,
            "owner": owner,
            "source": displayable(entry.source),
            "code": entry.code,
            "message": displayable(entry.message),
            "values": entry.values,
        }
        for entry in refused
    ]
    if rows:
        connection.execute(insert(dataset_refusal), rows)


def _insert_item(connection: Connection, place: tuple[str, str, int], item: DatasetItem, likeness: str) -> None:
    """Write a row; `place` is (dataset, owner, position)."""
    dataset_id, owner, position = place
    connection.execute(
        insert(dataset_item).values(
            dataset_id=dataset_id,
            sha256=item.sha256,
            owner=owner,
            position=position,
            width=item.width,
            height=item.height,
            caption=item.caption,
            source=item.source,
            warnings=list(item.warnings),
            likeness=likeness,
        )
    )


def _mark_twins(connection: Connection, dataset_id: str) -> None:
    """Say "twin" of the pictures that are nearly the same as one before them, and of no others."""
    rows = _items(connection, dataset_id)
    for index, row in enumerate(rows):
        twin = any(alike(row.likeness, earlier.likeness) for earlier in rows[:index])
        if twin != ("twin" in row.warnings):
            remarks = [code for code in row.warnings if code != "twin"] + (["twin"] if twin else [])
            where = _is(dataset_id, row.sha256)
            connection.execute(update(dataset_item).where(*where).values(warnings=remarks))


def _set_caption(connection: Connection, dataset_id: str, sha256: str, caption: str) -> int:
    """Write a caption; returns how many rows have it (0 where the picture is not in the set)."""
    where = _is(dataset_id, sha256)
    return connection.execute(update(dataset_item).where(*where).values(caption=caption)).rowcount


def _is(dataset_id: str, sha256: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return dataset_item.c.dataset_id == dataset_id, dataset_item.c.sha256 == sha256


def _items(connection: Connection, dataset_id: str) -> Sequence[Row[Any]]:
    """The rows of a set's pictures in their order."""
    query = select(dataset_item).where(dataset_item.c.dataset_id == dataset_id).order_by(dataset_item.c.position)
    return connection.execute(query).all()


def _row(connection: Connection, dataset_id: str) -> Row[Any]:
    row = connection.execute(select(dataset).where(dataset.c.id == dataset_id)).first()
    if row is None:
        asked = str(dataset_id)[:80]
        raise NotFound(
            f"There is no set of pictures {asked!r}; it may have been deleted.", code="dataset_missing", given=asked
        )
    return row


def _item_missing(sha256: str) -> NotFound:
    asked = str(sha256)[:80]
    return NotFound(f"The picture {asked!r} is not in this set.", code="dataset_item_missing", given=asked)


def _manifest(connection: Connection, row: Row[Any]) -> DatasetManifest:
    query = select(dataset_refusal).where(dataset_refusal.c.dataset_id == row.id).order_by(dataset_refusal.c.number)
    return DatasetManifest(
        id=row.id,
        name=row.name,
        owner=row.owner,
        items=tuple(_item(found) for found in _items(connection, row.id)),
        refused=tuple(
            RefusedPicture(source=found.source, code=found.code, message=found.message, values=found._mapping["values"])
            for found in connection.execute(query)
        ),
    )


def _item(row: Row[Any]) -> DatasetItem:
    return DatasetItem(
        sha256=row.sha256,
        width=row.width,
        height=row.height,
        caption=row.caption,
        source=row.source,
        warnings=tuple(row.warnings),
    )
