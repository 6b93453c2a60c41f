"""Notebooks and their cells: each cell is a request and its result.

Cells are deleted softly, so that it can be undone, and purged later together with their pictures. It does not know
what the requests mean.
"""

from __future__ import annotations

import builtins
import json
import time
import uuid
from typing import Any, cast

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from lora_studio.errors import NotFound
from lora_studio.store.database import Database
from lora_studio.store.jobs import ACTIVE, Jobs
from lora_studio.store.mentions import mentions
from lora_studio.store.references import References
from lora_studio.store.tables import cell, cell_adapter, job, notebook, sample_cell
from lora_studio.store.words import checked_name, storable
from lora_studio.types import Cell, Notebook
from lora_studio.types.library import CellKind

FIRST_NAME = "Notebook"


class Notebooks:
    """The tables of notebooks and cells; every method is one transaction and may be called from any thread."""

    def __init__(self, database: Database, references: References, jobs: Jobs) -> None:
        self._database = database
        self._references = references
        self._jobs = jobs

    def default(self, owner: str) -> Notebook:
        """The owner's first notebook; where there is none it is made, with the sample cells."""
        with self._database.write() as connection:
            query = select(notebook).where(notebook.c.owner == owner).order_by(notebook.c.number).limit(1)
            row = connection.execute(query).first()
            if row is not None:
                return _notebook(row)
            made = _make(connection, owner, FIRST_NAME)
            for example in connection.execute(select(sample_cell).order_by(sample_cell.c.position)).all():
                self._insert(
                    connection,
                    Cell(
                        id=uuid.uuid4().hex,
                        notebook=made.id,
                        kind=cast(CellKind, example.kind),
                        position=float(example.position),
                        created=made.created,
                        request=example.request,
                        result=example.result,
                        note=example.note,
                        sample=True,
                    ),
                    owner,
                )
            return made

    def list(self, owner: str) -> builtins.list[Notebook]:
        """The owner's notebooks, oldest first."""
        query = select(notebook).where(notebook.c.owner == owner).order_by(notebook.c.number)
        with self._database.read() as connection:
            return [_notebook(row) for row in connection.execute(query)]

    def create(self, owner: str, name: str) -> Notebook:
        """A new, empty notebook. Raises `InvalidInput` for an empty or long name."""
        name = checked_name(name, "name of the notebook")
        with self._database.write() as connection:
            return _make(connection, owner, name)

    def rename(self, notebook_id: str, name: str) -> None:
        """Call it something else. Raises `NotFound`, or `InvalidInput` for an empty or long name."""
        name = checked_name(name, "name of the notebook")
        with self._database.write() as connection:
            _notebook_row(connection, notebook_id)
            connection.execute(update(notebook).where(notebook.c.id == notebook_id).values(name=name))

    def cells(self, notebook_id: str, *, include_deleted: bool = False) -> builtins.list[Cell]:
        """The cells, newest first by their position. Raises `NotFound`."""
        query = select(cell).where(cell.c.notebook_id == notebook_id).order_by(cell.c.position.desc())
        if not include_deleted:
            query = query.where(cell.c.deleted.is_(None))
        with self._database.read() as connection:
            _notebook_row(connection, notebook_id)
            return [_cell(row) for row in connection.execute(query)]

    def cell(self, cell_id: str) -> Cell:
        """One cell, a deleted one too. Raises `NotFound`."""
        with self._database.read() as connection:
            return _cell(_cell_row(connection, cell_id))

    def add(
        self,
        notebook_id: str,
        kind: CellKind,
        request: dict[str, Any],
        *,
        job: str | None = None,
        result: dict[str, Any] | None = None,
        note: str = "",
        sample: bool = False,
        cell_id: str | None = None,
    ) -> Cell:
        """A new cell above the others; the same `cell_id` twice is the same cell, as it stands. Raises `NotFound`."""
        with self._database.write() as connection:
            owner = _notebook_row(connection, notebook_id).owner
            made_id = cell_id or uuid.uuid4().hex
            found = connection.execute(select(cell).where(cell.c.id == made_id)).first()
            if found is not None:
                return _cell(found)
            top = connection.scalar(select(func.max(cell.c.position)).where(cell.c.notebook_id == notebook_id))
            made = Cell(
                id=made_id,
                notebook=notebook_id,
                kind=kind,
                position=0.0 if top is None else float(int(top)) + 1.0,
                created=time.time(),
                request=json.loads(json.dumps(request)),
                job=job,
                result=json.loads(json.dumps(result)),
                note=storable(note, "note"),
                sample=sample,
            )
            self._insert(connection, made, owner)
            return made

    def finish(self, cell_id: str, result: dict[str, Any]) -> None:
        """Enter a cell's result. Raises `NotFound`."""
        with self._database.write() as connection:
            row = _cell_row(connection, cell_id)
            connection.execute(update(cell).where(cell.c.id == cell_id).values(result=json.loads(json.dumps(result))))
            self._references.drop(connection, "cell", cell_id)
            self._references.add(connection, "cell", cell_id, row.owner, [row.request, result])
        self._references.settle()

    def set_note(self, cell_id: str, note: str) -> None:
        """Change a cell's note. Raises `NotFound`."""
        self._change(cell_id, note=storable(note, "note"))

    def delete(self, cell_id: str) -> None:
        """Take a cell out of sight; `restore` brings it back, `purge` removes it. Raises `NotFound`."""
        self._change(cell_id, deleted=time.time())

    def restore(self, cell_id: str) -> None:
        """Bring a deleted cell back to its place. Raises `NotFound`."""
        self._change(cell_id, deleted=None)

    def purge(self, older_than: float) -> None:
        """Remove for good the cells that were deleted before `older_than` (seconds since 1970), with their pictures."""
        with self._database.write() as connection:
            old = connection.execute(select(cell).where(cell.c.deleted < older_than)).all()
            for row in old:
                self._references.drop(connection, "cell", row.id)
                connection.execute(delete(cell).where(cell.c.id == row.id))
            made_by = {row.job_id for row in old if row.job_id}
            self._jobs.remove_rows(connection, _only_for_cells(connection, made_by))
        self._references.settle()

    def by_job(self, job_id: str) -> Cell | None:
        """The newest cell that a job fills, a deleted one too; None when there is none."""
        query = select(cell).where(cell.c.job_id == job_id).order_by(cell.c.created.desc(), cell.c.position.desc())
        with self._database.read() as connection:
            row = connection.execute(query).first()
            return _cell(row) if row else None

    def _insert(self, connection: Connection, made: Cell, owner: str) -> None:
        mentioned = mentions(made.request)
        connection.execute(
            insert(cell).values(
                id=made.id,
                notebook_id=made.notebook,
                owner=owner,
                kind=made.kind,
                position=made.position,
                created=made.created,
                request=made.request,
                job_id=made.job,
                result=made.result,
                note=made.note,
                deleted=made.deleted,
                sample=made.sample,
                base_sha256=mentioned.base,
            )
        )
        rows = [
            {"cell_id": made.id, "sha256": sha256, "owner": owner, "weight": weight}
            for sha256, weight in mentioned.adapters.items()
        ]
        if rows:
            connection.execute(insert(cell_adapter), rows)
        self._references.add(connection, "cell", made.id, owner, [made.request, made.result])

    def _change(self, cell_id: str, **values: Any) -> None:
        with self._database.write() as connection:
            _cell_row(connection, cell_id)
            connection.execute(update(cell).where(cell.c.id == cell_id).values(**values))


def _only_for_cells(connection: Connection, job_ids: set[str]) -> builtins.list[str]:
    """Those of the generations that have ended and fill no cell any more (trainings stay in the list of runs)."""
    if not job_ids:
        return []
    still = set(connection.scalars(select(cell.c.job_id).where(cell.c.job_id.in_(job_ids))))
    query = select(job.c.id).where(job.c.id.in_(job_ids - still), job.c.kind == "generate", job.c.state.not_in(ACTIVE))
    return list(connection.scalars(query))


def _make(connection: Connection, owner: str, name: str) -> Notebook:
    made = Notebook(id=uuid.uuid4().hex, name=name, owner=owner, created=time.time())
    connection.execute(insert(notebook).values(id=made.id, owner=owner, name=name, created=made.created))
    return made


def _notebook_row(connection: Connection, notebook_id: str) -> Row[Any]:
    row = connection.execute(select(notebook).where(notebook.c.id == notebook_id)).first()
    if row is None:
        asked = str(notebook_id)[:80]
        raise NotFound(
            f"There is no notebook {asked!r}; it may have been deleted.", code="notebook_missing", given=asked
        )
    return row


def _cell_row(connection: Connection, cell_id: str) -> Row[Any]:
    row = connection.execute(select(cell).where(cell.c.id == cell_id)).first()
    if row is None:
        asked = str(cell_id)[:80]
        raise NotFound(f"There is no cell {asked!r}; it may have been deleted.", code="cell_missing", given=asked)
    return row


def _notebook(row: Row[Any]) -> Notebook:
    return Notebook(id=row.id, name=row.name, owner=row.owner, created=row.created)


def _cell(row: Row[Any]) -> Cell:
    return Cell(
        id=row.id,
        notebook=row.notebook_id,
        kind=cast(CellKind, row.kind),
        position=row.position,
        created=row.created,
        request=row.request,
        job=row.job_id,
        result=row.result,
        note=row.note,
        deleted=row.deleted,
        sample=row.sample,
    )
