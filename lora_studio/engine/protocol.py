"""The engine's boundary: whoever implements this class is an engine.

Nothing but JSON values crosses it; pictures and adapter files are named by sha256 and lie in the store. It does
not know threads, devices or tensors. Pattern: httpx transports (one small class, many backends).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from lora_studio.types import EngineInfo, Event, ExplainOptions, Job, JobSpec, Tag


class Engine(Protocol):
    """Runs jobs on one shared base."""

    def submit(self, spec: JobSpec) -> str:
        """Queue a job and return its id; the same id twice is the same job, not a second one.

        Requests for pictures are completed first (`lora_studio.engine.completion`); what is to be said of that stands
        in the job's first events as warnings. One owner's pictures are made one after the other; a change of base waits
        until what was asked for before it has ended, and meanwhile requests that name the loaded base go before it.

        Raises:
            InvalidInput: the payload is not allowed, or a run is to go on on another base than its own; nothing was
                queued, and the run is as it was.
            BaseUnavailable: a base is to be loaded that is not there, as far as that can be told at once.
        """

    def events(self, job_id: str, since: int = 0, timeout: float | None = None) -> Iterator[Event]:
        """Yield the job's events from `seq >= since` on, waiting for new ones until a final one was yielded.

        Where a job's end cannot be written down (a full disk), an error of `seq` -1 says why and is the last one; it is
        told to everybody who asks until the end is written.

        Args:
            timeout: seconds to wait for the next event before the iterator ends quietly; None waits for ever,
                0 yields what is there.

        Raises:
            NotFound: there is no such job.
        """

    def glimpse(self, job_id: str) -> Event | None:
        """The newest glimpse of a running job; never stored, None when there is none."""

    def job(self, job_id: str) -> Job:
        """The job as it stands; raises `NotFound`."""

    def cancel(self, job_id: str) -> None:
        """Stop a job after its present turn; a job that has ended stays as it is. Raises `NotFound`."""

    def finish(self, job_id: str) -> None:
        """End a training early and keep what it has learnt; other jobs are left alone. Raises `NotFound`."""

    def info(self) -> EngineInfo:
        """The base, the device, and which jobs run and wait."""

    def vocabulary(self) -> tuple[Tag, ...]:
        """The words that the loaded base was trained on; empty where the base brings no list."""

    def explain(self, prompt: str, negative: str, options: ExplainOptions) -> dict[str, Any]:
        """What would be understood of two texts (`lora_studio.engine.explain`), told at once and without the device.

        It waits for no job, so that it can be asked while somebody types; while a base is being loaded tokens are not
        counted.

        Raises:
            InvalidInput: a text is longer than prompts may be.
        """

    def close(self) -> None:
        """Stop after the present turn; trainings become *interrupted* and can be continued later."""
