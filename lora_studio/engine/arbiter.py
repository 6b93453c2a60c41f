"""The arbiter: runs many jobs on one base by turns, and alone calls the UNet.

A job is a stack of generators (a training on whose top a preview runs). A turn takes it from one yield that used a
model to the next; between turns the arbiter cancels, pauses and switches, so at most one model call follows a
cancel. Shares are fair among users first, then among a user's jobs. A job that waits for something else than the device
takes no turns meanwhile. A failure stays in its job.

It does not know specs, stores or threads: `Performer` does what a want asks for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from lora_studio.engine.fair import FairQueue
from lora_studio.pipeline.calls import ModelCall, NeedPreview, Report, Turn, WaitElsewhere
from lora_studio.types import JobKind

COST_OF_A_SECOND: dict[JobKind, float] = {
    "generate": 1.0,
    "train": 2.0,
    "load_base": 1.0,
    "import_adapter": 1.0,
    "import_embedding": 1.0,
    "workbench": 1.0,
    "download_adapter": 1.0,
}
"""A training's second counts double: whoever waits for a picture gets two thirds of the device, the training keeps one
third and loses nothing but time."""
PAUSE = 0.02
"""Seconds after which a job that waits for something else is asked again."""


@dataclass(eq=False)
class Running:
    """A job with its generators; `cancelled` may be set from any thread."""

    id: str
    owner: str
    kind: JobKind
    stack: list[Generator[Any, Any, Any]]
    inbox: Any = None
    cancelled: bool = False
    started: bool = False
    waits: bool = False
    """Its last want was to wait for something else than the device."""
    pictures: list[dict[str, Any]] = field(default_factory=list)

    def close(self) -> None:
        """Close the generators, innermost first."""
        while self.stack:
            self.stack.pop().close()


@dataclass(frozen=True)
class Outcome:
    """How a job ended: with its generator's value, an exception, or a cancel."""

    job: Running
    state: Literal["done", "failed", "cancelled"]
    value: Any = None
    error: BaseException | None = None


class Performer(Protocol):
    """Does what jobs want."""

    def predict(self, call: ModelCall) -> Any:
        """The UNet's prediction."""

    def publish(self, job: Running, report: Report) -> None:
        """Make an event of a report."""

    def preview(self, want: NeedPreview) -> Generator[Any, Any, Any]:
        """A generate job for a training's preview."""


class Arbiter:
    """Whose turn it is, and taking it."""

    def __init__(
        self,
        performer: Performer,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._performer = performer
        self._clock = clock
        self._sleep = sleep
        self._users: FairQueue[str] = FairQueue()
        self._jobs: dict[str, FairQueue[str]] = {}
        self._running: dict[str, Running] = {}
        self._aside: dict[str, float] = {}

    @property
    def running(self) -> list[Running]:
        """The jobs, in the order in which they were added."""
        return list(self._running.values())

    def add(self, job: Running) -> None:
        """Let a job take part."""
        self._running[job.id] = job
        self._join(job)

    def turn(self) -> Outcome | None:
        """Take one turn of whoever is next; the outcome when the job ended with it. Raises ValueError without jobs.

        Where all of them wait for something else it sleeps first, `PAUSE` seconds at most.
        """
        self._call_back(self._clock())
        if self._aside and not len(self._users):
            first = min(self._aside.values())
            self._sleep(max(0.0, first - self._clock()))
            self._call_back(first)
        owner = self._users.pick()
        job = self._running[self._jobs[owner].pick()]
        began = self._clock()
        outcome = self._advance(job)
        cost = (self._clock() - began) * COST_OF_A_SECOND[job.kind]
        self._jobs[owner].charge(job.id, cost)
        self._users.charge(owner, cost)
        if outcome is not None:
            self._remove(job)
        elif job.waits:
            self._aside[job.id] = self._clock() + PAUSE
            self._leave(job)
        return outcome

    def remove(self, job: Running) -> None:
        """End a job from outside, without an outcome."""
        try:
            job.close()
        finally:
            self._remove(job)

    def _join(self, job: Running) -> None:
        self._users.join(job.owner)
        self._jobs.setdefault(job.owner, FairQueue()).join(job.id)

    def _leave(self, job: Running) -> None:
        own = self._jobs[job.owner]
        own.leave(job.id)
        if not len(own):
            self._users.leave(job.owner)

    def _call_back(self, now: float) -> None:
        """Let those take turns again that were to be asked by now."""
        for job_id in [job_id for job_id, until in self._aside.items() if until <= now]:
            del self._aside[job_id]
            self._join(self._running[job_id])

    def _remove(self, job: Running) -> None:
        del self._running[job.id]
        if self._aside.pop(job.id, None) is None:
            self._leave(job)
        if all(other.owner != job.owner for other in self._running.values()):
            del self._jobs[job.owner]

    def _advance(self, job: Running) -> Outcome | None:
        """Run a job to the end of its present turn."""
        job.started = True
        while True:
            if job.cancelled:
                job.close()
                return Outcome(job, "cancelled")
            try:
                over = self._one_want(job)
            except StopIteration as end:
                job.stack.pop()
                job.inbox = end.value
                if not job.stack:
                    return Outcome(job, "done", value=end.value)
            except Exception as error:
                # The job border: whatever went wrong in a job must not reach another one.
                job.close()
                return Outcome(job, "failed", error=error)
            else:
                if over:
                    return None

    def _one_want(self, job: Running) -> bool:
        """Ask the innermost generator what it wants and do it; True when that ends the turn."""
        inbox, job.inbox = job.inbox, None
        job.waits = False
        want = job.stack[-1].send(inbox)
        if isinstance(want, ModelCall):
            job.inbox = self._performer.predict(want)
            return True
        if isinstance(want, Turn):
            return True
        if isinstance(want, WaitElsewhere):
            job.waits = True
            return True
        if isinstance(want, Report):
            self._performer.publish(job, want)
            return False
        if isinstance(want, NeedPreview):
            job.stack.append(self._performer.preview(want))
            return False
        raise TypeError(f"a job wanted {want!r}, which nobody can do")
