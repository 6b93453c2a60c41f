"""Rows of the tables of sets: read, written and put in order inside somebody else's transaction.

Captions that come alone find their pictures here. It opens no files and begins no transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update

from lora_studio.dataset.captions import stem
from lora_studio.dataset.likeness import alike
from lora_studio.errors import NotFound
from lora_studio.store.tables import dataset, dataset_item, dataset_refusal
from lora_studio.store.words import displayable
from lora_studio.types import DatasetItem, DatasetManifest, RefusedPicture


# ------------------------------------------------------------ reading
def set_row(connection: Connection, dataset_id: str) -> Row[Any]:
    """The row of a set. Raises `NotFound`."""
    row = connection.execute(select(dataset).where(dataset.c.id == dataset_id)).first()
    if row is None:
        asked = str(dataset_id)[:80]
        raise NotFound(
            f"There is no set of pictures {asked!r}; it may have been deleted.", code="dataset_missing", given=asked
        )
    return row


def rows_of(connection: Connection, dataset_id: str) -> Sequence[Row[Any]]:
    """The rows of a set's pictures in their order."""
    query = select(dataset_item).where(dataset_item.c.dataset_id == dataset_id).order_by(dataset_item.c.position)
    return connection.execute(query).all()


def manifest_of(connection: Connection, row: Row[Any]) -> DatasetManifest:
    """The set of a row, with its pictures and what was refused."""
    query = select(dataset_refusal).where(dataset_refusal.c.dataset_id == row.id).order_by(dataset_refusal.c.number)
    return DatasetManifest(
        id=row.id,
        name=row.name,
        owner=row.owner,
        items=tuple(item_of(found) for found in rows_of(connection, row.id)),
        refused=tuple(
            RefusedPicture(source=found.source, code=found.code, message=found.message, values=found._mapping["values"])
            for found in connection.execute(query)
        ),
    )


def item_of(row: Row[Any]) -> DatasetItem:
    """The picture of a row."""
    return DatasetItem(
        sha256=row.sha256,
        width=row.width,
        height=row.height,
        caption=row.caption,
        source=row.source,
        warnings=tuple(row.warnings),
    )


def one(dataset_id: str, sha256: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """What finds the row of one picture of a set."""
    return dataset_item.c.dataset_id == dataset_id, dataset_item.c.sha256 == sha256


def item_missing(sha256: str) -> NotFound:
    """The sentence for a picture that is not in its set."""
    asked = str(sha256)[:80]
    return NotFound(f"The picture {asked!r} is not in this set.", code="dataset_item_missing", given=asked)


# ------------------------------------------------------------ writing
def insert_item(connection: Connection, place: tuple[str, str, int], item: DatasetItem, likeness: str) -> None:
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


def mark_twins(connection: Connection, dataset_id: str) -> None:
    """Say "twin" of the pictures that are nearly the same as one before them, and of no others."""
    rows = rows_of(connection, dataset_id)
    for index, row in enumerate(rows):
        twin = any(alike(row.likeness, earlier.likeness) for earlier in rows[:index])
        if twin != ("twin" in row.warnings):
            remarks = [code for code in row.warnings if code != "twin"] + (["twin"] if twin else [])
            where = one(dataset_id, row.sha256)
            connection.execute(update(dataset_item).where(*where).values(warnings=remarks))


def set_caption(connection: Connection, dataset_id: str, sha256: str, caption: str) -> int:
    """Write a caption; returns how many rows have it (0 where the picture is not in the set)."""
    where = one(dataset_id, sha256)
    return connection.execute(update(dataset_item).where(*where).values(caption=caption)).rowcount


def take_captions(connection: Connection, dataset_id: str, captions: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Give captions that came without a picture to the pictures of their names that are in the set already.

    Of several pictures of one name (numbered ones of two folders) a caption belongs to the newest that has none, as the
    page sends the pictures of a heap before its captions. A picture that was given again under another name is found by
    that name too. A caption that stands is somebody's work and stays.

    Args:
        captions: by `captions.stem` of their files' names.

    Returns:
        Those whose pictures have other captions, and those that have no picture.
    """
    rows = rows_of(connection, dataset_id)
    held = {row.sha256: row.caption for row in rows}
    named: dict[str, list[str]] = defaultdict(list)
    for row in reversed(rows):
        named[stem(row.source)].append(row.sha256)
    again = select(dataset_refusal.c.source, dataset_refusal.c["values"]).where(
        dataset_refusal.c.dataset_id == dataset_id, dataset_refusal.c.code == "picture_twice"
    )
    for source, values in connection.execute(again):
        named[stem(source)].append(values.get("sha256", ""))
    kept, alone = [], []
    for key, text in captions.items():
        mine = [sha256 for sha256 in named[key] if sha256 in held]
        bare = next((sha256 for sha256 in mine if not held[sha256]), None)
        if bare is not None:
            set_caption(connection, dataset_id, bare, text)
            held[bare] = text
        elif not mine:
            alone.append(key)
        elif text not in {held[sha256] for sha256 in mine}:
            kept.append(key)
    return kept, alone


def write_refusals(connection: Connection, row: Row[Any], given: set[str], refused: Sequence[RefusedPicture]) -> None:
    """Keep the newest word on each file: what was said before of the files that came again is dropped.

    Args:
        row: the set's.
        given: names of the files that came.
    """
    again = {displayable(name) for name in given} | {displayable(entry.source) for entry in refused}
    mine = dataset_refusal.c.dataset_id == row.id
    connection.execute(delete(dataset_refusal).where(mine, dataset_refusal.c.source.in_(again)))
    rows = [
        {
            "dataset_id": row.id,
            "owner": row.owner,
            "source": displayable(entry.source),
            "code": entry.code,
            "message": displayable(entry.message),
            "values": entry.values,
        }
        for entry in refused
    ]
    if rows:
        connection.execute(insert(dataset_refusal), rows)
