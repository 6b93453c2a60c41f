"""Jobs, their events and their checkpoints, and what becomes of them after a crash.

A job's state and its last event are written in one transaction; sequence numbers have no gaps, so that a page opened
later redraws from event 0. It does not run anything and knows no engine.
"""

from __future__ import annotations

import builtins
import json
import time
from collections.abc import Iterable, Sequence
from typing import Any, cast

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from lora_studio.errors import NotAllowed, NotFound
from lora_studio.store.database import Database
from lora_studio.store.mentions import mentions
from lora_studio.store.presence import Presence
from lora_studio.store.references import References
from lora_studio.store.tables import adapter, cell, checkpoint, job, job_adapter, job_event
from lora_studio.types import Event, EventType, Job, JobKind, JobSpec, JobState
from lora_studio.types.jobs import FINAL

STARTS = 2
"""How often a job may be begun before it is held for what ended the process."""
CRASHED: dict[str, Any] = {
    "type": "StudioError",
    "code": "crashed_twice",
    "message": f"The app ended {STARTS} times while this was made, so it was not begun again; try a smaller size.",
    "values": {"given": STARTS},
}

ACTIVE: tuple[JobState, ...] = ("queued", "running", "stopping")


class Jobs:
    """The table of jobs; every method is one transaction and may be called from any thread."""

    def __init__(self, database: Database, references: References, presence: Presence) -> None:
        self._database = database
        self._references = references
        self._presence = presence

    def create(self, spec: JobSpec) -> Job:
        """Enter a job as queued; the same id twice is the same job, as it stands."""
        payload = json.loads(json.dumps(spec.payload))
        mentioned = mentions(payload)
        with self._database.write() as connection:
            found = connection.execute(select(job).where(job.c.id == spec.id)).first()
            if found is None:
                connection.execute(
                    insert(job).values(
                        id=spec.id,
                        kind=spec.kind,
                        owner=spec.owner,
                        state="queued",
                        payload=payload,
                        created=time.time(),
                        base_sha256=mentioned.base,
                        hidden=False,
                        opener=self._presence.name,
                    )
                )
                rows = [
                    {"job_id": spec.id, "sha256": sha256, "owner": spec.owner, "weight": weight}
                    for sha256, weight in mentioned.adapters.items()
                ]
                if rows:
                    connection.execute(insert(job_adapter), rows)
                self._references.add(connection, "job", spec.id, spec.owner, payload)
                found = connection.execute(select(job).where(job.c.id == spec.id)).one()
            return _job(found)

    def get(self, job_id: str) -> Job:
        """The job as it stands. Raises `NotFound`."""
        with self._database.read() as connection:
            return _job(_row(connection, job_id))

    def list(
        self,
        *,
        owner: str | None = None,
        kinds: Sequence[JobKind] | None = None,
        states: Sequence[JobState] | None = None,
        limit: int = 200,
    ) -> builtins.list[Job]:
        """The jobs that are not hidden, newest first; None leaves a filter out."""
        query: Select[Any] = select(job).where(job.c.hidden.is_(False)).order_by(job.c.number.desc()).limit(limit)
        if owner is not None:
            query = query.where(job.c.owner == owner)
        if kinds is not None:
            query = query.where(job.c.kind.in_(kinds))
        if states is not None:
            query = query.where(job.c.state.in_(states))
        with self._database.read() as connection:
            return [_job(row) for row in connection.execute(query)]

    def set_state(
        self,
        job_id: str,
        state: JobState,
        *,
        result: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
    ) -> None:
        """Change a job's state. A final state stays, whatever is asked; only interrupted may go on (queued, running).

        Raises:
            NotFound: there is no such job.
        """
        with self._database.write() as connection:
            self._move(connection, _row(connection, job_id), state, result, error)

    def append(self, job_id: str, type: EventType, data: dict[str, Any]) -> Event:
        """Store an event under the job's next number. Raises `NotFound`."""
        with self._database.write() as connection:
            return self._append(connection, _row(connection, job_id), type, data)

    def events(self, job_id: str, since: int = 0) -> builtins.list[Event]:
        """The events with `seq >= since`, in order. Raises `NotFound`."""
        query = (
            select(job_event).where(job_event.c.job_id == job_id, job_event.c.seq >= since).order_by(job_event.c.seq)
        )
        with self._database.read() as connection:
            found = [_event(row) for row in connection.execute(query)]
            if not found:
                _row(connection, job_id)
            return found

    def finish_with(
        self,
        job_id: str,
        state: JobState,
        event_type: EventType,
        data: dict[str, Any],
        *,
        result: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
    ) -> Event:
        """Write a final state and the last event in one transaction.

        A job that has ended already stays as it is, and its last event is returned.

        Raises:
            NotFound: there is no such job.
        """
        with self._database.write() as connection:
            row = _row(connection, job_id)
            if self._move(connection, row, state, result, error):
                return self._append(connection, row, event_type, data)
            query = select(job_event).where(job_event.c.job_id == job_id).order_by(job_event.c.seq.desc()).limit(1)
            last = connection.execute(query).first()
            return _event(last) if last else self._append(connection, row, event_type, data)

    def recover(self) -> builtins.list[Job]:
        """Put right what a crash left behind, and return the jobs to enqueue, oldest first.

        Trainings that ran become interrupted (with the event), other jobs that somebody was stopping cancelled, and so
        is a change of base; the rest that ran are queued again, to be run from
        their spec; queued ones stay. Jobs of another process that is alive are left to it.
        """
        again: builtins.list[Job] = []
        with self._database.write() as connection:
            rows = connection.execute(select(job).where(job.c.state.in_(ACTIVE)).order_by(job.c.number)).all()
            for row in rows:
                if not self._presence.recoverable(row.opener):
                    continue
                if row.kind == "train" and row.state != "queued":
                    self._move(connection, row, "interrupted", None, None)
                    self._append(connection, row, "interrupted", {})
                    continue
                if row.state == "stopping" or (row.kind == "load_base" and row.state == "running"):
                    self._move(connection, row, "cancelled", {}, None)
                    self._append(connection, row, "cancelled", {})
                    continue
                if row.state == "running" and self._times_started(connection, row.id) >= STARTS:
                    self._move(connection, row, "failed", None, CRASHED)
                    self._append(connection, row, "error", CRASHED)
                    continue
                values = {"state": "queued", "opener": self._presence.name}
                connection.execute(update(job).where(job.c.id == row.id).values(**values))
                again.append(_job(_row(connection, row.id)))
        return again

    def _times_started(self, connection: Connection, job_id: str) -> int:
        query = select(func.count()).where(job_event.c.job_id == job_id, job_event.c.type == "started")
        return int(connection.scalar(query) or 0)

    def abandoned(self) -> builtins.list[str]:
        """Ids of the jobs that stand as running or stopping though their process is gone; `recover` puts them right."""
        query = select(job.c.id, job.c.opener).where(job.c.state.in_(("running", "stopping")))
        with self._database.read() as connection:
            return [row.id for row in connection.execute(query) if self._presence.recoverable(row.opener)]

    def save_checkpoint(self, job_id: str, step: int, sha256: str) -> None:
        """Note the newest checkpoint; the file of the one before goes after this one is on the medium."""
        with self._database.write() as connection:
            row = _row(connection, job_id)
            old = connection.scalars(select(checkpoint.c.sha256).where(checkpoint.c.job_id == job_id)).all()
            values = {"step": step, "sha256": sha256, "created": time.time()}
            connection.execute(
                upsert(checkpoint)
                .values(job_id=job_id, owner=row.owner, **values)
                .on_conflict_do_update(index_elements=["job_id"], set_=values)
            )
            self._references.drop(connection, "checkpoint", job_id, [other for other in old if other != sha256])
            self._references.add(connection, "checkpoint", job_id, row.owner, sha256)
        self._references.settle()

    def checkpoint(self, job_id: str) -> tuple[int, str] | None:
        """Step and file of the newest checkpoint, None when there is none. Raises `NotFound`."""
        with self._database.read() as connection:
            _row(connection, job_id)
            query = select(checkpoint.c.step, checkpoint.c.sha256).where(checkpoint.c.job_id == job_id)
            row = connection.execute(query).first()
            return (row.step, row.sha256) if row else None

    def hide(self, job_id: str) -> None:
        """Leave a job out of `list`; it stays otherwise. Raises `NotFound`."""
        with self._database.write() as connection:
            _row(connection, job_id)
            connection.execute(update(job).where(job.c.id == job_id).values(hidden=True))

    def delete(self, job_id: str) -> None:
        """Remove a run for good: its events, and the files of previews and checkpoints nobody else refers to.

        Raises:
            NotFound: there is no such job.
            NotAllowed: it has not ended.
        """
        with self._database.write() as connection:
            row = _row(connection, job_id)
            if row.state in ACTIVE:
                raise NotAllowed(
                    f"The job {job_id!r} is {row.state}; only jobs that have ended can be deleted; stop it first.",
                    code="job_active",
                    job=job_id,
                    state=row.state,
                )
            self.remove_rows(connection, [job_id])
        self._references.settle()

    def remove_rows(self, connection: Connection, job_ids: Iterable[str]) -> None:
        """Remove jobs inside a transaction of the store; the caller settles the files afterwards."""
        for job_id in job_ids:
            self._references.drop(connection, "job", job_id)
            self._references.drop(connection, "checkpoint", job_id)
            connection.execute(update(adapter).where(adapter.c.run == job_id).values(run=None))
            connection.execute(update(cell).where(cell.c.job_id == job_id).values(job_id=None))
            connection.execute(delete(job).where(job.c.id == job_id))

    def _move(
        self,
        connection: Connection,
        row: Row[Any],
        state: JobState,
        result: dict[str, Any] | None,
        error: dict[str, Any] | None,
    ) -> bool:
        """Write a state; False when the job's final state forbids it."""
        if row.state in FINAL and not (row.state == "interrupted" and state in ("queued", "running")):
            return False
        values: dict[str, Any] = {"state": state, "finished": time.time() if state in FINAL else None}
        values |= {"result": result, "error": error, "opener": self._presence.name}
        connection.execute(update(job).where(job.c.id == row.id).values(**values))
        self._references.add(connection, "job", row.id, row.owner, result)
        return True

    def _append(self, connection: Connection, row: Row[Any], type: EventType, data: dict[str, Any]) -> Event:
        """Store an event under the next number."""
        last = connection.scalar(select(func.max(job_event.c.seq)).where(job_event.c.job_id == row.id))
        plain = json.loads(json.dumps(data))
        made = Event(job_id=row.id, seq=0 if last is None else last + 1, time=time.time(), type=type, data=plain)
        connection.execute(
            insert(job_event).values(
                job_id=row.id, seq=made.seq, owner=row.owner, time=made.time, type=type, data=plain
            )
        )
        if type != "checkpoint":  # an old checkpoint's file goes, though the event that told of it stays
            self._references.add(connection, "job", row.id, row.owner, plain)
        return made


def _row(connection: Connection, job_id: str) -> Row[Any]:
    """The job's row. Raises `NotFound`."""
    row = connection.execute(select(job).where(job.c.id == job_id)).first()
    if row is None:
        raise NotFound(
            f"There is no job {str(job_id)[:80]!r} in this workspace; it may have been deleted.",
            code="job_missing",
            job=str(job_id)[:80],
        )
    return row


def _job(row: Row[Any]) -> Job:
    return Job(
        id=row.id,
        kind=cast(JobKind, row.kind),
        owner=row.owner,
        state=cast(JobState, row.state),
        payload=row.payload,
        created=row.created,
        finished=row.finished,
        result=row.result,
        error=row.error,
    )


def _event(row: Row[Any]) -> Event:
    return Event(job_id=row.job_id, seq=row.seq, time=row.time, type=cast(EventType, row.type), data=row.data)
