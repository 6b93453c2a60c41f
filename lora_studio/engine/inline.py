"""The inline engine: the worker in a thread of this very process; specs and events pass through JSON all the same."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from lora_studio.engine.completion import completed
from lora_studio.engine.explain import explain_texts
from lora_studio.engine.jobs import check
from lora_studio.engine.protocol import Engine
from lora_studio.engine.sources import NOTHING, Policy, policy_of
from lora_studio.engine.waiting import named_base
from lora_studio.engine.workbench import FindModel, find_model
from lora_studio.engine.worker import LoadBase, Look, Worker, anywhere
from lora_studio.errors import EngineStopped, InvalidInput, NotFound
from lora_studio.pipeline import SharedBase, load_base, probe
from lora_studio.pipeline.device import describe
from lora_studio.pipeline.source import BaseSource, find_base, find_local
from lora_studio.prompt.chunks import Tokenize
from lora_studio.settings import Settings
from lora_studio.store import Workspace
from lora_studio.types import (
    LOCAL,
    NO_BASE,
    BaseChoice,
    BaseInfo,
    DeviceInfo,
    EngineInfo,
    Event,
    EventType,
    ExplainOptions,
    Job,
    JobSpec,
    Tag,
    from_json,
    to_json,
)
from lora_studio.types.jobs import FINAL

LOG = logging.getLogger("lora_studio")
_PATIENCE = 30.0
"""Seconds that trainings get to save a checkpoint when the engine is closed."""


class InlineEngine:
    """See `Engine`."""

    def __init__(
        self,
        workspace: Workspace,
        load: LoadBase,
        base: BaseChoice,
        device: Callable[[], DeviceInfo],
        downloads: Policy = NOTHING,
        find: FindModel = find_model,
        look: Look = anywhere,
        remember: bool = False,
    ) -> None:
        """Load `base`, take up what a crash left, and start; see `Worker` for what is not said here.

        Args:
            remember: load the base that a person chose last instead, where that is still possible.

        Raises:
            BaseUnavailable: the base cannot be loaded; nothing was started.
        """
        self._workspace = workspace
        self._device = device
        self._downloads = downloads
        self._look = look
        self._remember = remember
        self._changed = threading.Condition()
        self._commands: list[Callable[[], None]] = []
        self._closing = False
        self._worker = Worker(workspace, load, self._told, downloads, find, look)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(base,), name="lora-studio-worker", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    # ------------------------------------------------------------ the boundary
    def submit(self, spec: JobSpec) -> str:
        """See `Engine.submit`."""
        spec = from_json(JobSpec, _through_json(to_json(spec)))
        if self._closing:
            raise EngineStopped("The engine is stopping; start the app again and try again.", code="engine_stopped")
        with contextlib.suppress(NotFound):
            return self._workspace.jobs.get(spec.id).id
        spec, warnings = completed(spec, self._workspace, *self._reader())
        check(spec, self._workspace, self._base_for(spec), self._downloads)
        if spec.kind == "train" and "resume" in spec.payload:
            return self._resume(str(spec.payload["resume"]), spec.owner)
        if spec.kind == "load_base":
            self._look(str(spec.payload["base"]), False)  # a wrong name must not make everybody wait for its turn
        ahead = len(self._workspace.jobs.list(states=("queued", "running", "stopping")))
        remarks: list[tuple[EventType, dict[str, Any]]] = [("warning", warning) for warning in warnings]
        _, new = self._workspace.jobs.enter(spec, [("queued", {"ahead": ahead}), *remarks])
        if new:  # two may ask for one id at once
            if spec.kind == "load_base":
                self._worker.loading = str(spec.payload["base"])
            self._post(lambda: self._worker.enqueue(spec))
        return spec.id

    def events(self, job_id: str, since: int = 0, timeout: float | None = None) -> Iterator[Event]:
        """See `Engine.events`."""
        self._workspace.jobs.get(job_id)
        until, late = _deadline(timeout), False
        while True:
            with self._changed:
                ended = self._workspace.jobs.get(job_id).state in FINAL  # asked first: it may end before the next line
                found = self._workspace.jobs.events(job_id, since)
                lost = self._worker.ends.unwritten.get(job_id)
                if not found and lost is None:
                    if ended or late:
                        return
                    left = None if until is None else max(0.0, until - time.monotonic())
                    late = not self._changed.wait(left)  # others' events wake it too; one last look even when late
                    continue
            for event in found:
                since = event.seq + 1
                yield from_json(Event, _through_json(to_json(event)))
            if not found and lost is not None:
                yield from_json(Event, _through_json(to_json(lost)))
                return
            last = found[-1].type in ("done", "error", "cancelled", "interrupted")
            if last and self._workspace.jobs.get(job_id).state in FINAL:  # an interrupted run may go on
                return
            until, late = _deadline(timeout), False

    def glimpse(self, job_id: str) -> Event | None:
        """See `Engine.glimpse`."""
        return self._worker.glimpses.get(job_id)

    def job(self, job_id: str) -> Job:
        """See `Engine.job`."""
        return self._workspace.jobs.get(job_id)

    def cancel(self, job_id: str) -> None:
        """See `Engine.cancel`."""
        state = self._workspace.jobs.get(job_id).state
        if state not in FINAL:
            self._post(lambda: self._worker.cancel(job_id))  # first: a full disk keeps nobody from stopping
        if state == "running":
            self._workspace.jobs.set_state(job_id, "stopping")

    def finish(self, job_id: str) -> None:
        """See `Engine.finish`."""
        job = self._workspace.jobs.get(job_id)
        if job.kind != "train":
            raise InvalidInput(
                f"The job {job_id!r} is a {job.kind}; only a training can end early and keep its result; "
                "cancel it instead.",
                code="finish_not_training",
                given=job_id,
            )
        self._post(lambda: self._worker.finish(job_id))

    def info(self) -> EngineInfo:
        """See `Engine.info`."""
        jobs = self._workspace.jobs
        base = self._worker.base
        return EngineInfo(
            base=None if base is None else base.info,
            device=self._device(),
            running=tuple(jobs.list(states=("running", "stopping"))),
            queued=tuple(jobs.list(states=("queued",))),
            loading=self._worker.loading,
        )

    def vocabulary(self) -> tuple[Tag, ...]:
        """See `Engine.vocabulary`."""
        base = self._worker.base
        return () if base is None else base.vocabulary

    def explain(self, prompt: str, negative: str, options: ExplainOptions) -> dict[str, Any]:
        """See `Engine.explain`."""
        options = from_json(ExplainOptions, _through_json(to_json(options)))
        told = explain_texts((prompt, negative), options, self._workspace, *self._reader())
        return dict(_through_json(told))

    def close(self) -> None:
        """See `Engine.close`."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    # ------------------------------------------------------------ the worker's thread
    def _run(self, base: BaseChoice) -> None:
        try:
            self._begin(base)
        except Exception as error:
            # Whatever stops the start is raised where the engine is made, in the other thread.
            self._failure = error
            return
        finally:
            self._ready.set()
        while not self._closing:
            with self._changed:
                if not self._commands and not self._worker.busy:
                    self._changed.wait(1.0)
                commands, self._commands = self._commands, []
            self._guarded(self._worker.ends.again)
            for command in commands:
                self._guarded(command)
            if self._worker.busy:
                self._guarded(self._worker.turn)
        self._guarded(lambda: self._worker.pause(_PATIENCE))
        self._worker.let_go()

    def _begin(self, base: BaseChoice) -> None:
        """Load the base, and take up what a crash left; without a base it waits for an engine that has one."""
        if self._remember:
            try:
                self._load_chosen(base)
            except Exception as error:
                # Whatever it is: the app must start, and another base can be chosen.
                LOG.warning("the base that was chosen last cannot be loaded: %s", error)
        if self._worker.base is None:
            self._worker.use(base)
        if base.base != NO_BASE:
            left = self._workspace.jobs.recover()
            self._worker.take_up(JobSpec(job.id, job.kind, job.owner, job.payload) for job in left)

    def _load_chosen(self, base: BaseChoice) -> None:
        """Load the base that was last loaded because a person asked for it on a page, if it is another than `base`."""
        for job in self._workspace.jobs.list(kinds=["load_base"], states=["done"]):
            if job.owner != LOCAL:  # the command line loads bases for its own purposes
                chosen = from_json(BaseChoice, job.payload)
                if chosen != base:
                    self._worker.use(chosen)
                return

    def _guarded(self, act: Callable[[], None]) -> None:
        """Do it; the last line of defence: whatever goes wrong outside of every job must not end this thread."""
        try:
            act()
        except Exception as error:
            LOG.error("the worker failed", exc_info=error)
            self._worker.fail_all(error)

    def _post(self, command: Callable[[], None]) -> None:
        """Have `command` done in the worker's thread between two turns."""
        with self._changed:
            self._commands.append(command)
            self._changed.notify_all()

    def _told(self, event: Event) -> None:
        """Wake whoever waits for events."""
        with self._changed:
            self._changed.notify_all()

    # ------------------------------------------------------------ helpers
    def _reader(self) -> tuple[Tokenize | None, BaseInfo | None]:
        """The loaded base's tokenizer, safe in this thread whatever the worker does meanwhile, and what it is."""
        base = self._worker.base
        return (None, None) if base is None else (base.tokenize, base.info)

    def _base_for(self, spec: JobSpec) -> SharedBase | None:
        """The base that a job will meet; None where that is not known, as another one is to be loaded before."""
        base = self._worker.base
        if base is None or not self._worker.loading or named_base(spec) == base.info.sha256:
            return base
        return None

    def _resume(self, job_id: str, owner: str) -> str:
        """Queue a training that ended before its time again, under its own id."""
        job = self._workspace.jobs.resume(job_id, owner)
        spec = JobSpec(job.id, job.kind, job.owner, job.payload)
        self._post(lambda: self._worker.enqueue(spec))
        return job_id


def _deadline(timeout: float | None) -> float | None:
    """When a wait that begins now is over; None never."""
    return None if timeout is None else time.monotonic() + timeout


def _through_json(value: Any) -> Any:
    """What is left of a value after it crossed the boundary."""
    return json.loads(json.dumps(value, allow_nan=False))


def build_engine(settings: Settings, workspace: Workspace, remember: bool = False) -> Engine:
    """The inline engine that `settings` ask for.

    Args:
        remember: start with the base that a person chose last, where the settings name none.

    Raises:
        BaseUnavailable: the base is not there or cannot be loaded.
        InvalidInput: device or dtype are not there.
    """
    transformers_logging.disable_progress_bar()
    diffusers_logging.disable_progress_bar()
    diffusers_logging.set_verbosity_error()
    if settings.threads:
        torch.set_num_threads(settings.threads)
    # OpenMP keeps a team of threads for every thread that computed, and while there are more than processors each waits
    # asleep instead of spinning, which doubles the time of a training step: only the worker's thread may keep one.
    with ThreadPoolExecutor(1) as passing:
        precision = passing.submit(probe, settings.device, settings.dtype).result()

    embedded = settings.assets / "base"

    def found(ref: str) -> BaseSource:
        return find_base(ref, embedded, settings.offline, settings.checkpoints)

    def look(ref: str, hub: bool) -> BaseSource | None:
        return found(ref) if hub else find_local(ref, embedded, settings.checkpoints)

    return InlineEngine(
        workspace,
        load=lambda choice: load_base(found(choice.base), precision, choice),
        base=settings.base_choice,
        device=lambda: describe(precision),
        downloads=policy_of(settings),
        find=lambda ref: found(ref).path,
        look=look,
        remember=remember and not settings.model_fields_set & {"base", "prediction_type", "zero_terminal_snr"},
    )
