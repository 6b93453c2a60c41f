"""Jobs that have not begun: in which order they may.

They start as they were asked for, with three exceptions. Of one owner's pictures each waits for the one before: by
turns among each other none would be ready before nearly all are, and nobody else gains by it. A change of base waits
until all before it has ended; meanwhile what names the loaded base goes first, see `_past`. What names a base that is
not loaded can be held until it is.

It does not start anything, and knows neither the base nor the store.
"""

from __future__ import annotations

from collections.abc import Sequence

from lora_studio.engine.arbiter import Running
from lora_studio.store.mentions import mentions
from lora_studio.types import JobSpec


def named_base(spec: JobSpec) -> str:
    """sha256 of the base that a job was asked for on; "" where any will do."""
    return mentions(spec.payload).base if spec.kind in ("generate", "train") else ""


class Waiting:
    """The jobs that wait, and those that are held until their base is loaded."""

    def __init__(self) -> None:
        self._specs: list[JobSpec] = []
        self._held: list[JobSpec] = []
        self._before: dict[str, set[str]] = {}

    def __len__(self) -> int:
        """How many wait; those that are held do not count."""
        return len(self._specs)

    @property
    def loading(self) -> str | None:
        """The base that the next change of base will load."""
        return next((str(spec.payload["base"]) for spec in self._specs if spec.kind == "load_base"), None)

    def add(self, spec: JobSpec, running: Sequence[Running]) -> None:
        """Put a job behind the others; `running` are those that have begun."""
        if spec.kind == "load_base":
            self._before[spec.id] = self._there(running)
        self._specs.append(spec)

    def hold(self, spec: JobSpec) -> None:
        """Keep a job until `release` is told of its base."""
        self._held.append(spec)

    def release(self, base: str) -> list[JobSpec]:
        """The jobs that were held for `base` (its sha256), which are held no longer."""
        freed = [spec for spec in self._held if named_base(spec) == base]
        self._held = [spec for spec in self._held if spec not in freed]
        return freed

    def drop(self, job_id: str) -> None:
        """Forget a job, if it is here."""
        self._specs = [spec for spec in self._specs if spec.id != job_id]
        self._held = [spec for spec in self._held if spec.id != job_id]
        self._before.pop(job_id, None)

    def take(self, running: Sequence[Running], base: str) -> JobSpec | None:
        """The next job that may start, which waits no longer; None where none may.

        Args:
            running: the jobs that have begun.
            base: sha256 of the loaded base, "" without one.
        """
        drawing = {job.owner for job in running if job.kind == "generate"}
        held = False
        for spec in self._specs:
            if spec.kind == "load_base" and (held or running):
                return self._past(spec, running, drawing, base)
            if _waits_for_own(spec, drawing):
                held = True
                continue
            return self._taken(spec)
        return None

    def _past(self, change: JobSpec, running: Sequence[Running], drawing: set[str], base: str) -> JobSpec | None:
        """The next job on the loaded base while one from before the `change` of base is still there.

        A training may hold a change up for hours, in which nobody else should wait; and what was asked for on this base
        could not be made after the change. When the last from before has ended nothing goes first any more, so that
        the change comes.
        """
        if not base or not self._there(running) & self._before.get(change.id, set()):
            return None
        for spec in self._specs:
            if not _waits_for_own(spec, drawing) and named_base(spec) == base:
                return self._taken(spec)
        return None

    def _there(self, running: Sequence[Running]) -> set[str]:
        return {job.id for job in running} | {spec.id for spec in self._specs}

    def _taken(self, spec: JobSpec) -> JobSpec:
        self._specs.remove(spec)
        self._before.pop(spec.id, None)
        return spec


def _waits_for_own(spec: JobSpec, drawing: set[str]) -> bool:
    """True for a picture whose owner has one in the making."""
    return spec.kind == "generate" and spec.owner in drawing
