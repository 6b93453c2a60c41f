"""How jobs end, written down: now, or as soon as it can be.

A full disk must not leave a job "running" for ever: an end that cannot be written is kept here, told meanwhile to
whoever asks for the job's events, and tried again. It does not know what jobs do.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from lora_studio.errors import NotFound, OutOfMemory, StudioError
from lora_studio.store import Workspace
from lora_studio.types import Event, EventType

LOG = logging.getLogger("lora_studio")
RETRY = 1.0
"""Seconds between two attempts at writing an end."""

EndState = Literal["done", "failed", "cancelled", "interrupted"]
_EVENTS: dict[EndState, EventType] = {
    "done": "done",
    "failed": "error",
    "cancelled": "cancelled",
    "interrupted": "interrupted",
}


@dataclass(frozen=True)
class End:
    """How a job ended: `data` is its result, or the error as JSON."""

    job_id: str
    state: EndState
    data: dict[str, Any] = field(default_factory=dict)


class Ends:
    """Writes ends, in the worker's thread alone.

    Attributes:
        unwritten: by job, the failure to tell of while its end cannot be written (`seq` -1); read by other threads.
    """

    def __init__(self, workspace: Workspace, tell: Callable[[Event], None]) -> None:
        self._workspace = workspace
        self._tell = tell
        self._kept: dict[str, End] = {}
        self._tried = 0.0
        self.unwritten: dict[str, Event] = {}

    def write(self, end: End) -> None:
        """Write an end and tell of it; where that cannot be done it is kept, and the reason told instead."""
        try:
            told = self._written(end)
        except NotFound:  # the job itself is gone, and nobody waits for it
            self._kept.pop(end.job_id, None)
            self.unwritten.pop(end.job_id, None)
            return
        except Exception as error:
            if not isinstance(error, StudioError) and end.state != "failed":
                # A result that cannot be stored is a fault of ours: better a failed job than one without an end.
                self.write(failure(end.job_id, error))
                return
            if end.job_id not in self._kept:
                LOG.error("the end of job %s could not be written: %s", end.job_id, error)
            self._kept[end.job_id] = end
            told = Event(end.job_id, -1, time.time(), "error", in_words(error).as_json())
            self.unwritten[end.job_id] = told
        else:
            self._kept.pop(end.job_id, None)
            self.unwritten.pop(end.job_id, None)
        self._tell(told)

    def again(self, *, at_once: bool = False) -> None:
        """Try once more to write what could not be written, at most every `RETRY` seconds or `at_once`."""
        now = time.monotonic()
        if self._kept and (at_once or now - self._tried >= RETRY):
            for end in list(self._kept.values()):
                self.write(end)
            self._tried = time.monotonic()

    def _written(self, end: End) -> Event:
        """The cell first, then state and last event together; a cell that was deleted for good keeps no job open."""
        cell = self._workspace.jobs.get(end.job_id).payload.get("cell")
        stopped = end.state == "cancelled" and bool(end.data.get("images"))
        if isinstance(cell, str) and (end.state == "done" or stopped):
            with contextlib.suppress(NotFound):
                self._workspace.notebooks.finish(cell, end.data | ({"stopped": True} if stopped else {}))
        return self._workspace.jobs.finish_with(
            end.job_id,
            end.state,
            _EVENTS[end.state],
            end.data,
            result=end.data if end.state in ("done", "cancelled") else None,
            error=end.data if end.state == "failed" else None,
        )


def failure(job_id: str, error: BaseException) -> End:
    """The end of a job that failed."""
    return End(job_id, "failed", in_words(error).as_json())


def in_words(error: BaseException) -> StudioError:
    """Any failure as an error with a sentence."""
    if isinstance(error, StudioError):
        return error
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    said = "not enough memory" in text or "out of memory" in text
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or said:
        return OutOfMemory(
            f"The device ran out of memory ({text[:200]}); use a smaller size, fewer pictures at once or a "
            "smaller batch.",
            code="out_of_memory",
            given=text[:200],
        )
    LOG.error("a job failed", exc_info=error)
    return StudioError(
        f"Something went wrong inside ({type(error).__name__}: {text[:300]}); try again, and report it if it stays.",
        code="internal",
        given=f"{type(error).__name__}: {text[:300]}",
    )
