"""Styles: named pieces of prompt, per owner, in the order in which they were first saved.

A name is kept as it was given, because A1111's file tells names apart by capitals. It does not know what a style does
with a prompt, nor how a file of styles looks (`lora_studio.prompt.styles`).
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Row, delete, select
from sqlalchemy.dialects.sqlite import insert

from lora_studio.errors import InvalidInput, NotFound
from lora_studio.store.database import Database
from lora_studio.store.tables import style
from lora_studio.store.words import checked_name, storable
from lora_studio.types import LOCAL, StyleEntry
from lora_studio.types.generate import MAX_PROMPT


class Styles:
    """The table of styles; every method is one transaction and may be called from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, owner: str) -> builtins.list[StyleEntry]:
        """The owner's styles, then the command line's whose names the owner has not used."""
        query = select(style).where(style.c.owner.in_((owner, LOCAL))).order_by(style.c.number)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        mine = [_entry(row) for row in rows if row.owner == owner]
        names = {entry.name for entry in mine}
        return mine + [_entry(row) for row in rows if row.owner != owner and row.name not in names]

    def save(self, entries: Iterable[StyleEntry]) -> None:
        """Keep these styles; one of the same name and owner is replaced and keeps its place.

        Raises:
            InvalidInput: a name is empty or too long, or a text is longer than a prompt may be.
        """
        rows = [_values(entry) for entry in entries]
        if not rows:
            return
        made = insert(style)
        new = {"prompt": made.excluded.prompt, "negative_prompt": made.excluded.negative_prompt}
        with self._database.write() as connection:
            connection.execute(made.on_conflict_do_update(index_elements=["owner", "name"], set_=new), rows)

    def delete(self, name: str, owner: str) -> None:
        """Remove a style for good. Raises `NotFound`."""
        with self._database.write() as connection:
            gone = connection.execute(delete(style).where(style.c.name == name, style.c.owner == owner))
            if gone.rowcount == 0:
                raise NotFound(
                    f"There is no style {name[:100]!r} of your own; it may have been deleted.",
                    code="style_missing",
                    given=name[:100],
                )


def _values(entry: StyleEntry) -> dict[str, Any]:
    """A style as a row. Raises `InvalidInput`."""
    name = checked_name(entry.name, "name of the style")
    for text in (entry.prompt, entry.negative_prompt):
        if len(storable(text, "style")) > MAX_PROMPT:
            raise InvalidInput(
                f"The style {name!r} has {len(text)} characters; at most {MAX_PROMPT} are allowed; shorten it.",
                code="style_text_too_long",
                given=str(len(text)),
                name=name,
                allowed=str(MAX_PROMPT),
            )
    return {"owner": entry.owner, "name": name, "prompt": entry.prompt, "negative_prompt": entry.negative_prompt}


def _entry(row: Row[Any]) -> StyleEntry:
    return StyleEntry(name=row.name, owner=row.owner, prompt=row.prompt, negative_prompt=row.negative_prompt)
