"""From rows of jobs and events to the domain's words."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import Connection, Row, select

from lora_studio.errors import NotFound
from lora_studio.store.tables import job
from lora_studio.types import Event, EventType, Job, JobKind, JobState


def row_of(connection: Connection, job_id: str) -> Row[Any]:
    """The row of a job by its id. Raises `NotFound`."""
    row = connection.execute(select(job).where(job.c.id == job_id)).first()
    if row is None:
        raise NotFound(
            f"There is no job {str(job_id)[:80]!r} in this workspace; it may have been deleted.",
            code="job_missing",
            job=str(job_id)[:80],
        )
    return row


def job_of(row: Row[Any]) -> Job:
    """A row of `job`."""
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


def event_of(row: Row[Any]) -> Event:
    """A row of `job_event`."""
    return Event(job_id=row.job_id, seq=row.seq, time=row.time, type=cast(EventType, row.type), data=row.data)
