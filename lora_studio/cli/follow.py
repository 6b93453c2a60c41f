"""Building an engine for one command, waiting for its jobs, and telling on standard error how they go.

It knows the engine's protocol and nothing behind it. Standard output is kept clean: whatever libraries print while an
engine lives goes to standard error.
"""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO
from uuid import uuid4

from lora_studio.engine.protocol import Engine
from lora_studio.errors import BaseUnavailable, EngineStopped, from_json
from lora_studio.settings import Settings
from lora_studio.store import Workspace
from lora_studio.store.samples import install_samples
from lora_studio.types import BaseInfo, Event, JobKind, JobSpec, to_json
from lora_studio.types.jobs import FINAL

EngineFactory = Callable[[Settings, Workspace], Engine]

OWNER = "local"
"""Owner of what the command line makes."""

POLL = 0.5
"""Seconds after which a wait for events looks up: on Windows a wait without an end would not hear Ctrl-C."""

PATIENCE = 30.0
"""Seconds that a cancelled job gets to end its present turn."""


@contextlib.contextmanager
def opened(settings: Settings) -> Iterator[Workspace]:
    """The workspace of `settings` with the samples that come with the app, closed in the end."""
    workspace = Workspace.open(settings.workspace, settings.lora_folders, settings.limits)
    try:
        install_samples(workspace, settings.assets)
        yield workspace
    finally:
        workspace.close()


@contextlib.contextmanager
def running(build: EngineFactory, settings: Settings, workspace: Workspace) -> Iterator[Engine]:
    """An engine on `workspace`, closed in the end."""
    with contextlib.redirect_stdout(sys.stderr):
        engine = build(settings, workspace)
        try:
            yield engine
        finally:
            engine.close()


def spec(kind: JobKind, payload: dict[str, Any]) -> JobSpec:
    """A new job of the command line."""
    return JobSpec(id=uuid4().hex, kind=kind, owner=OWNER, payload=payload)


def place_options(settings: Settings) -> str:
    """The options by which another command finds the workspace and the base of this one; only what somebody gave."""
    names = ("base", "prediction_type", "zero_terminal_snr", "checkpoints", "workspace")
    given = {name: getattr(settings, name) for name in names if name in settings.model_fields_set}
    told = [(name.replace("_", "-"), str(value)) for name, value in given.items() if value is not None]
    return "".join(f" --{name} {shlex.quote(value)}" for name, value in told)


def follow(engine: Engine, job_id: str, teller: Teller, since: int = 0, *, keep: bool = False) -> dict[str, Any]:
    """Wait for the job's end and return its result; what happens on the way goes to `teller`.

    Args:
        keep: after Ctrl-C leave the job as it is for `Engine.close` to interrupt; otherwise it is cancelled.

    Raises:
        StudioError: the job failed, with the job's own error; or somebody else stopped it.
    """
    try:
        while True:
            for event in engine.events(job_id, since=since, timeout=POLL):
                since = event.seq + 1
                teller.tell(event)
                if event.type == "done":
                    return event.data
                if event.type == "error":
                    raise from_json(event.data)
                if event.type in ("cancelled", "interrupted"):
                    raise EngineStopped(
                        f"The job {job_id[:12]} was {event.type} by somebody else; start it again.",
                        code="job_stopped",
                        given=job_id,
                        state=event.type,
                    )
    except KeyboardInterrupt:
        if not keep:
            _cancel(engine, job_id)
        raise


def _cancel(engine: Engine, job_id: str) -> None:
    """Cancel a job and wait until it has ended: one that has not would be taken up again by the next engine."""
    engine.cancel(job_id)
    until = time.monotonic() + PATIENCE
    while engine.job(job_id).state not in FINAL and time.monotonic() < until:
        time.sleep(0.02)


def loaded_base(engine: Engine, settings: Settings, teller: Teller) -> BaseInfo:
    """The engine's base, loaded first where it is not yet.

    Raises:
        BaseUnavailable: it cannot be loaded.
    """
    info = engine.info()
    if info.base is None:
        follow(engine, engine.submit(spec("load_base", to_json(settings.base_choice))), teller)
        info = engine.info()
    if info.base is None:
        raise BaseUnavailable(
            f"The base {settings.base!r} could not be loaded; give another one by --base.",
            code="base_missing",
            given=settings.base,
        )
    for told in info.base.remarks:
        if told["code"] != "base_prediction_config":  # what a folder says of itself goes without saying
            teller.say(f"note: {told['message']}")
    return info.base


class Teller:
    """Progress in one line: overwritten on a terminal, a line now and then in a log."""

    def __init__(self, stream: TextIO | None = None, every: float = 2.0) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._tty = self._stream.isatty()
        self._every = 0.1 if self._tty else every
        self._last = float("-inf")
        self._open = False

    def say(self, text: str) -> None:
        """A line of its own."""
        if self._open:
            self._stream.write("\n")
            self._open = False
        self._stream.write(text + "\n")
        self._stream.flush()

    def tell(self, event: Event) -> None:
        """What `event` means, where it is worth a line."""
        if event.type == "warning":
            self.say(f"note: {event.data.get('message', event.data.get('code', ''))}")
        elif event.type == "queued" and event.data.get("ahead"):
            self.say(f"waiting for {event.data['ahead']} other jobs")
        elif event.type == "resumed":
            self.say(f"going on from step {event.data.get('step')}")
        elif event.type == "progress" and event.data.get("step") == 0 and "size" in event.data:
            self.say(f"the file will have at most {event.data['size'] / 1e6:.1f} MB")
        elif event.type in ("step", "progress"):
            self._progress(progress_line(event), last=event.data.get("step") == event.data.get("steps"))

    def _progress(self, line: str, *, last: bool) -> None:
        now = time.monotonic()
        if not last and now - self._last < self._every:
            return
        self._last = now
        if self._tty:
            self._stream.write(f"\r{line}\x1b[K")
            self._open = True
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def done(self) -> None:
        """End an open line."""
        if self._open:
            self._stream.write("\n")
            self._stream.flush()
            self._open = False


def progress_line(event: Event) -> str:
    """One line for a `step` or `progress` event, with what it tells and nothing else."""
    data = event.data
    parts = []
    if event.type == "progress":
        parts.append(str(data.get("phase", "work")))
        if data.get("pictures", 1) > 1:
            parts.append(f"picture {data.get('picture', 0)} of {data['pictures']}")
    if data.get("steps"):
        parts.append(f"step {data.get('step', 0)} of {data['steps']}")
    if data.get("loss") is not None:
        parts.append(f"loss {data['loss']:.4f}")
    if data.get("seconds_left") is not None:
        parts.append(f"{duration(data['seconds_left'])} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """`75.2` as `1 min 15 s`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
