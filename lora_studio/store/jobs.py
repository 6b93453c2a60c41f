"""Jobs, their events and their checkpoints, and what becomes of them after a crash.

A job's state and its last event are written in one transaction; sequence numbers have no gaps, so that a page opened
later redraws from event 0. It does not run anything and knows no engine.
"""

from __future__ import annotations

import builtins
import contextlib
import json
import time
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, exists, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from lora_studio.errors import InvalidInput, NotAllowed, StorageError
from lora_studio.store.allowance import Allowance
from lora_studio.store.database import Database
from lora_studio.store.job_rows import event_of, job_of, row_of
from lora_studio.store.mentions import mentions
from lora_studio.store.presence import Presence
from lora_studio.store.references import References
from lora_studio.store.tables import adapter, cell, checkpoint, job, job_adapter, job_event
from lora_studio.types import LOCAL, Event, EventType, Job, JobKind, JobSpec, JobState
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

    def __init__(self, database: Database, references: References, presence: Presence, allowance: Allowance) -> None:
        self._database = database
        self._references = references
        self._presence = presence
        self._allowance = allowance

    def create(self, spec: JobSpec) -> Job:
        """Enter a job as queued; the same id twice is the same job, as it stands. Raises as `enter` does."""
        return self.enter(spec)[0]

    def enter(self, spec: JobSpec, first: Sequence[tuple[EventType, dict[str, Any]]] = ()) -> tuple[Job, bool]:
        """Enter a job as queued together with its first events, all of it or nothing.

        Args:
            first: types and data of the events.

        Returns:
            The job as it stands, and True where it is new; of a known id nothing is written.

        Raises:
            NotAllowed: its owner has too many jobs, or files that take too much.
            StorageError: too little of the disk is free, or it refuses.
        """
        payload = json.loads(json.dumps(spec.payload))
        mentioned = mentions(payload)
        with self._database.write() as connection:
            found = connection.execute(select(job).where(job.c.id == spec.id)).first()
            if found is not None:
                return job_of(found), False
            self._allowance.check_job(connection, spec.kind, spec.owner)
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
            row = row_of(connection, spec.id)
            for kind, data in first:
                self._append(connection, row, kind, data)
            return job_of(row), True

    def resume(self, job_id: str, owner: str) -> Job:
        """Queue a training again that ended before its time: one that was interrupted, or failed after a checkpoint.

        Args:
            owner: who asks; the command line may go on with anybody's.

        Raises:
            NotFound: there is no such job.
            InvalidInput: it is no training of the owner's that can go on.
            NotAllowed, StorageError: as `enter`.
        """
        with self._database.write() as connection:
            row = row_of(connection, job_id)
            mine = row.kind == "train" and owner in (row.owner, LOCAL)
            if not mine or not self._may_go_on(connection, row):
                raise InvalidInput(
                    f"The run {job_id!r} is {row.state}; only a training of your own that was interrupted, or that "
                    "failed after a checkpoint, can be continued; choose such a run.",
                    code="resume_state",
                    given=job_id,
                    state=row.state,
                )
            self._allowance.check_job(connection, "train", row.owner)
            self._move(connection, row, "queued", None, None)
            return job_of(row_of(connection, job_id))

    def get(self, job_id: str) -> Job:
        """The job as it stands. Raises `NotFound`."""
        with self._database.read() as connection:
            return job_of(row_of(connection, job_id))

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
            return [job_of(row) for row in connection.execute(query)]

    def set_state(
        self,
        job_id: str,
        state: JobState,
        *,
        result: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
    ) -> None:
        """Change a job's state. A final state stays, whatever is asked, but for what may go on (queued, running): an
        interrupted job, and a training that failed with a checkpoint.

        Raises:
            NotFound: there is no such job.
        """
        with self._database.write() as connection:
            self._move(connection, row_of(connection, job_id), state, result, error)

    def append(self, job_id: str, type: EventType, data: dict[str, Any]) -> Event:
        """Store an event under the job's next number. Raises `NotFound`."""
        with self._database.write() as connection:
            return self._append(connection, row_of(connection, job_id), type, data)

    def events(self, job_id: str, since: int = 0) -> builtins.list[Event]:
        """The events with `seq >= since`, in order. Raises `NotFound`."""
        query = (
            select(job_event).where(job_event.c.job_id == job_id, job_event.c.seq >= since).order_by(job_event.c.seq)
        )
        with self._database.read() as connection:
            found = [event_of(row) for row in connection.execute(query)]
            if not found:
                row_of(connection, job_id)
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

        A job that has ended already stays as it is, and its last event is returned. What is done or cancelled needs
        its checkpoint no more (six times the adapter's size), which goes. A run with a checkpoint that is taken out of
        the queue, before it went on, has lost nothing by that: it is interrupted, not cancelled.

        Raises:
            NotFound: there is no such job.
        """
        with self._database.write() as connection:
            row = row_of(connection, job_id)
            if state == "cancelled" and row.state == "queued" and _has_checkpoint(connection, job_id):
                state, event_type, data, result = "interrupted", "interrupted", {}, None
            if not self._move(connection, row, state, result, error):
                query = select(job_event).where(job_event.c.job_id == job_id).order_by(job_event.c.seq.desc()).limit(1)
                last = connection.execute(query).first()
                return event_of(last) if last else self._append(connection, row, event_type, data)
            told = self._append(connection, row, event_type, data)
            if state in ("done", "cancelled"):
                self._references.drop(connection, "checkpoint", job_id)
                connection.execute(delete(checkpoint).where(checkpoint.c.job_id == job_id))
        with contextlib.suppress(StorageError):  # the end is written; what cannot be removed now is removed later
            self._references.settle()
        return told

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
                again.append(job_of(row_of(connection, row.id)))
        return again

    def give_back(self) -> None:
        """Queue again what runs for this opener, which is closed in good order: it has crashed nothing.

        Trainings, changes of the base and what is being stopped are left to `recover`.
        """
        mine = (job.c.opener == self._presence.name) & (job.c.state == "running")
        query = select(job).where(mine, job.c.kind.not_in(("train", "load_base"))).order_by(job.c.number)
        with self._database.read() as connection:
            if connection.execute(query.limit(1)).first() is None:
                return
        with self._database.write() as connection:
            for row in connection.execute(query).all():
                self._move(connection, row, "queued", None, None)
                self._append(connection, row, "queued", {"ahead": 0})

    def _times_started(self, connection: Connection, job_id: str) -> int:
        """How often the job was begun since it was last queued, all of them in processes that ended without a word."""
        of_job = job_event.c.job_id == job_id
        queued = connection.scalar(select(func.max(job_event.c.seq)).where(of_job, job_event.c.type == "queued"))
        since = job_event.c.seq > (-1 if queued is None else queued)
        query = select(func.count()).where(of_job, job_event.c.type == "started", since)
        return int(connection.scalar(query) or 0)

    def abandoned(self) -> builtins.list[str]:
        """Ids of the jobs that stand as running or stopping though their process is gone; `recover` puts them right."""
        query = select(job.c.id, job.c.opener).where(job.c.state.in_(("running", "stopping")))
        with self._database.read() as connection:
            return [row.id for row in connection.execute(query) if self._presence.recoverable(row.opener)]

    def save_checkpoint(self, job_id: str, step: int, sha256: str) -> None:
        """Note the newest checkpoint; the file of the one before goes after this one is on the medium."""
        with self._database.write() as connection:
            row = row_of(connection, job_id)
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
            row_of(connection, job_id)
            query = select(checkpoint.c.step, checkpoint.c.sha256).where(checkpoint.c.job_id == job_id)
            row = connection.execute(query).first()
            return (row.step, row.sha256) if row else None

    def hide(self, job_id: str) -> None:
        """Leave a job out of `list`; it stays otherwise. Raises `NotFound`."""
        with self._database.write() as connection:
            row_of(connection, job_id)
            connection.execute(update(job).where(job.c.id == job_id).values(hidden=True))

    def delete(self, job_id: str) -> None:
        """Remove a run for good: its events, and the files of previews and checkpoints nobody else refers to.

        Raises:
            NotFound: there is no such job.
            NotAllowed: it has not ended.
        """
        with self._database.write() as connection:
            row = row_of(connection, job_id)
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

    def _may_go_on(self, connection: Connection, row: Row[Any]) -> bool:
        """True for an ended job that may run again: an interrupted one, or a training that failed with a checkpoint."""
        failed = row.state == "failed" and row.kind == "train"
        return row.state == "interrupted" or (failed and _has_checkpoint(connection, row.id))

    def _move(
        self,
        connection: Connection,
        row: Row[Any],
        state: JobState,
        result: dict[str, Any] | None,
        error: dict[str, Any] | None,
    ) -> bool:
        """Write a state; False when the job's final state forbids it."""
        again = state in ("queued", "running")
        if row.state in FINAL and not (again and self._may_go_on(connection, row)):
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


def _has_checkpoint(connection: Connection, job_id: str) -> bool:
    return bool(connection.scalar(select(exists().where(checkpoint.c.job_id == job_id))))
