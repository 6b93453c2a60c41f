"""Sets of pictures with captions: rows here, pictures in the file store.

Pictures are taken in by `dataset.intake`, outside any transaction; what cannot be used is kept as a sentence, and the
good ones are kept. Removing a picture can be undone: its file stays until the set is deleted. It does not train.
"""

from __future__ import annotations

import builtins
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Row, delete, insert, select, update

from lora_studio.dataset.captions import stem
from lora_studio.dataset.gather import Gathered, gather_files, gather_folder, refusal
from lora_studio.dataset.intake import Picture, normalise, reopened
from lora_studio.dataset.likeness import alike
from lora_studio.errors import DatasetError, InvalidInput, NotFound
from lora_studio.store import dataset_rows as rows
from lora_studio.store.database import Database
from lora_studio.store.files import FileStore
from lora_studio.store.references import References
from lora_studio.store.tables import dataset, dataset_item
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
            return rows.manifest_of(connection, rows.set_row(connection, dataset_id))

    def list(self, owner: str) -> builtins.list[DatasetManifest]:
        """The owner's sets, newest first."""
        query = select(dataset).where(dataset.c.owner == owner).order_by(dataset.c.number.desc())
        with self._database.read() as connection:
            return [rows.manifest_of(connection, row) for row in connection.execute(query).all()]

    def add_files(self, dataset_id: str, files: Sequence[Path], names: Sequence[str] | None = None) -> DatasetManifest:
        """Take in pictures, caption files of the same name beside them, and zips of both.

        What cannot be used goes to `refused` with its sentence. A caption file without a picture among `files` belongs
        to the newest picture of its name in the set that has no caption; a caption that stands is never changed.

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
            rows.set_row(connection, dataset_id)
            if not rows.set_caption(connection, dataset_id, sha256, text):
                raise rows.item_missing(sha256)

    def replace_in_captions(self, dataset_id: str, find: str, replace: str) -> dict[str, tuple[str, str]]:
        """Replace a text in all captions; returns the captions that changed by sha256, each as it was and as it is.

        Raises:
            NotFound: there is no such set.
            InvalidInput: the text to find is empty.
        """
        if not find:
            raise InvalidInput(
                f"The text to find was given as {find!r}; write at least one character.", code="find_empty", given=find
            )
        storable(replace, "replacement")
        changes = {}
        with self._database.write() as connection:
            rows.set_row(connection, dataset_id)
            for item in rows.rows_of(connection, dataset_id):
                text = item.caption.replace(find, replace).strip()
                if text != item.caption:
                    rows.set_caption(connection, dataset_id, item.sha256, text)
                    changes[item.sha256] = (item.caption, text)
        return changes

    def restore_captions(self, dataset_id: str, changes: Mapping[str, tuple[str, str]]) -> int:
        """Undo what `replace_in_captions` returned, or a part of it; returns how many captions are as they were.

        A caption that somebody has changed since then stays as it is.

        Raises:
            NotFound: there is no such set.
            InvalidInput: a caption is no valid text.
        """
        for before, _ in changes.values():
            storable(before, "caption")
        restored = 0
        with self._database.write() as connection:
            rows.set_row(connection, dataset_id)
            for item in rows.rows_of(connection, dataset_id):
                before, after = changes.get(item.sha256, ("", None))
                if item.caption == after:
                    restored += rows.set_caption(connection, dataset_id, item.sha256, before)
        return restored

    def remove(self, dataset_id: str, sha256: str) -> DatasetItem:
        """Take a picture out of the set and return it for `restore`. Raises `NotFound`."""
        with self._database.write() as connection:
            rows.set_row(connection, dataset_id)
            row = connection.execute(select(dataset_item).where(*rows.one(dataset_id, sha256))).first()
            if row is None:
                raise rows.item_missing(sha256)
            # The reference to its file stays: `restore` needs the file, and knows by it whose picture that was.
            connection.execute(delete(dataset_item).where(*rows.one(dataset_id, sha256)))
            rows.mark_twins(connection, dataset_id)
            return rows.item_of(row)

    def restore(self, dataset_id: str, item: DatasetItem, index: int) -> None:
        """Put a removed picture back at a place (0 is first; beyond the end is last); one that is there stays.

        Of `item` count the hash, the caption and the name; what else is to be said of a picture is seen in its file.

        Raises:
            NotFound: there is no such set, the picture was never in it, or its file is gone.
            InvalidInput: the caption is no valid text, or the picture's file is damaged.
        """
        caption, source = storable(item.caption, "caption").strip(), displayable(item.source)
        with self._database.read() as connection:
            rows.set_row(connection, dataset_id)
            if not self._references.refers(connection, "dataset", dataset_id, item.sha256):
                raise rows.item_missing(item.sha256)
        found = reopened(self._files.path(item.sha256), source)
        back = DatasetItem(item.sha256, found.width, found.height, caption, source, found.remarks)
        with self._database.write() as connection:
            owner = rows.set_row(connection, dataset_id).owner
            order = [row.sha256 for row in rows.rows_of(connection, dataset_id)]
            if item.sha256 in order:
                return
            order.insert(max(0, min(index, len(order))), item.sha256)
            rows.insert_item(connection, (dataset_id, owner, len(order)), back, found.likeness)
            for position, sha256 in enumerate(order):
                where = rows.one(dataset_id, sha256)
                connection.execute(update(dataset_item).where(*where).values(position=position))
            rows.mark_twins(connection, dataset_id)

    def rename(self, dataset_id: str, name: str) -> None:
        """Call it something else. Raises `NotFound`, or `InvalidInput` for an empty or long name."""
        name = checked_name(name, "name of the set")
        with self._database.write() as connection:
            rows.set_row(connection, dataset_id)
            connection.execute(update(dataset).where(dataset.c.id == dataset_id).values(name=name))

    def delete(self, dataset_id: str) -> None:
        """Remove the set and its pictures' files for good, those of removed pictures too. Raises `NotFound`."""
        with self._database.write() as connection:
            rows.set_row(connection, dataset_id)
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
            caption = (found.captions.get(key, ""), found.caption_files.get(key, ""))
            found.refused += self._enter(dataset_id, displayable(raw.name), picture, caption)
        with self._database.write() as connection:
            row = rows.set_row(connection, dataset_id)
            left = {key: text for key, text in found.captions.items() if key not in used}
            kept, alone = rows.take_captions(connection, dataset_id, left)
            found.refused += [_caption_kept(found.caption_files[key]) for key in kept]
            found.refused += [_caption_alone(found.caption_files[key]) for key in alone]
            rows.write_refusals(connection, row, given, found.refused)
            return rows.manifest_of(connection, row)

    def _enter(
        self, dataset_id: str, source: str, picture: Picture, caption: tuple[str, str]
    ) -> builtins.list[RefusedPicture]:
        """Put one picture at the end of the set; what is to be said when the set has it already.

        Args:
            caption: the caption and the name of its file, both "" where there is none.
        """
        sha256 = self._files.put_bytes(picture.png, ".png")
        text, caption_file = caption
        try:
            with self._database.write() as connection:
                owner = rows.set_row(connection, dataset_id).owner
                there = rows.rows_of(connection, dataset_id)
                for row in there:
                    if row.sha256 == sha256:
                        if text and not row.caption:
                            rows.set_caption(connection, dataset_id, sha256, text)
                        kept = [_caption_kept(caption_file)] if text and row.caption not in ("", text) else []
                        return [_same(source, row), *kept]
                twin = any(alike(picture.likeness, row.likeness) for row in there)
                item = DatasetItem(
                    sha256=sha256,
                    width=picture.width,
                    height=picture.height,
                    caption=text,
                    source=source,
                    warnings=(*picture.remarks, *(("twin",) if twin else ())),
                )
                position = there[-1].position + 1 if there else 0
                rows.insert_item(connection, (dataset_id, owner, position), item, picture.likeness)
                self._references.add(connection, "dataset", dataset_id, owner, sha256)
                if not self._files.has(sha256):  # a set that was deleted meanwhile had the same picture
                    self._files.put_bytes(picture.png, ".png")
        except NotFound:
            with self._database.write() as connection:
                self._references.doom(connection, [sha256], "")
            self._references.settle()
            raise
        return []


def _same(source: str, row: Row[Any]) -> RefusedPicture:
    return refusal(
        source,
        DatasetError(
            f"{source!r} is the same picture as {row.source!r}, which is in the set already; it is used once.",
            code="picture_twice",
            name=source,
            other=row.source,
            sha256=row.sha256,
        ),
    )


def _caption_kept(name: str) -> RefusedPicture:
    return refusal(
        displayable(name),
        DatasetError(
            f"{displayable(name)!r} is not used because its picture has another caption already; clear that one first.",
            code="caption_kept",
            name=displayable(name),
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
