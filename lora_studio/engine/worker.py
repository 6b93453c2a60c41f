"""The worker: one thread that owns the base, runs the arbiter and tells the store what happens.

Nothing here is called from another thread but the few methods that say so. It does not know who asks or how the
boundary is crossed; `inline` and later engines do.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Literal

import torch

from lora_studio.engine.adapter_cache import AdapterCache
from lora_studio.engine.arbiter import Arbiter, Outcome, Running
from lora_studio.engine.download import open_download_adapter
from lora_studio.engine.embedding_cache import EmbeddingCache
from lora_studio.engine.folder_cache import FolderCache
from lora_studio.engine.imports import open_import_adapter, open_import_embedding
from lora_studio.engine.jobs import Tools, open_generate, open_train
from lora_studio.engine.sources import NOTHING, Policy
from lora_studio.engine.workbench import FindModel, find_model, open_workbench
from lora_studio.errors import OutOfMemory, StudioError
from lora_studio.generate import generate
from lora_studio.pipeline import JobGenerator, ModelCall, NeedPreview, Report, SharedBase
from lora_studio.pipeline.base import release
from lora_studio.pipeline.calls import Blob
from lora_studio.store import Workspace
from lora_studio.train import Paused
from lora_studio.types import NO_BASE, BaseChoice, Event, JobSpec, from_json, to_json

LOG = logging.getLogger("lora_studio")
_PROGRESS_EVERY = 0.25
"""Seconds between two stored events of progress; glimpses carry the picture meanwhile."""

LoadBase = Callable[[BaseChoice], SharedBase]


class Worker:
    """Runs jobs by turns.

    Attributes:
        glimpses: the newest look of each running job; read by other threads.
        loading: the base that is being loaded or waited for, or None; read by other threads.
    """

    def __init__(
        self,
        workspace: Workspace,
        load: LoadBase,
        tell: Callable[[Event], None],
        downloads: Policy = NOTHING,
        find: FindModel = find_model,
    ) -> None:
        """`load` makes a base of a choice; `tell` is called for every event, in this thread; `downloads` says from
        where files may be fetched, `find` where models lie that are only compared."""
        self._downloads = downloads
        self._find = find
        self._workspace = workspace
        self._load = load
        self._tell = tell
        self._arbiter = Arbiter(self)
        self._waiting: deque[JobSpec] = deque()
        self._finish: set[str] = set()
        self._progress: dict[str, float] = {}
        self._pausing = False
        self._base: SharedBase | None = None
        self._choice: BaseChoice | None = None
        self._tools: Tools | None = None
        self.glimpses: dict[str, Event] = {}
        self.loading: str | None = None

    # ------------------------------------------------------------ what the engine does with it
    @property
    def base(self) -> SharedBase | None:
        """The loaded base."""
        return self._base

    @property
    def busy(self) -> bool:
        """True while a job runs or waits."""
        return bool(self._waiting or self._arbiter.running)

    def use(self, choice: BaseChoice) -> None:
        """Free the present base, then load another; none for `NO_BASE`.

        Raises:
            BaseUnavailable: it cannot be loaded; then there is none.
        """
        self.loading = choice.base
        try:
            self.let_go()
            if choice.base == NO_BASE:
                return
            base = self._load(choice)
            latents = FolderCache(self._workspace.files.latents)
            adapters, embeddings = AdapterCache(self._workspace, base), EmbeddingCache(self._workspace, base)
            self._tools = Tools(self._workspace, base, adapters, embeddings, latents, self._downloads)
            self._base, self._choice = base, choice
        finally:
            self.loading = None

    def enqueue(self, spec: JobSpec) -> None:
        """Take a job; it starts as soon as no change of base stands before it."""
        self._waiting.append(spec)
        if spec.kind == "load_base":
            self.loading = str(spec.payload["base"])

    def cancel(self, job_id: str) -> None:
        """Stop a job after its present turn, or take it out of the queue."""
        for job in self._arbiter.running:
            if job.id == job_id:
                job.cancelled = True
                return
        for spec in list(self._waiting):
            if spec.id == job_id:
                self._waiting.remove(spec)
                waiting = [other for other in self._waiting if other.kind == "load_base"]
                self.loading = str(waiting[0].payload["base"]) if waiting else None
                self._end(job_id, "cancelled", "cancelled", {})

    def finish(self, job_id: str) -> None:
        """Let a training end early and keep what it has learnt."""
        self._finish.add(job_id)

    def turn(self) -> None:
        """Admit what may start, then take one turn."""
        self._admit()
        if self._arbiter.running:
            outcome = self._arbiter.turn()
            if outcome is not None:
                self._conclude(outcome)

    def let_go(self) -> None:
        """Free the memory of the base, if there is one; nothing may run on it any more."""
        if self._base is not None:
            old, self._base, self._tools = self._base, None, None
            release(old)

    def pause(self, patience: float) -> None:
        """Let trainings save a checkpoint and stop; what does not manage within `patience` seconds is just stopped."""
        self._pausing = True
        until = time.monotonic() + patience
        while any(job.kind == "train" for job in self._arbiter.running) and time.monotonic() < until:
            outcome = self._arbiter.turn()
            if outcome is not None:
                self._conclude(outcome)
        for job in self._arbiter.running:
            self._arbiter.remove(job)
            if job.kind == "train":
                self._end(job.id, "interrupted", "interrupted", {})

    # ------------------------------------------------------------ what the arbiter asks of it
    def predict(self, call: ModelCall) -> Any:
        """The UNet's prediction for one call."""
        assert self._base is not None
        return self._base.predict(call)

    def preview(self, want: NeedPreview) -> Generator[Any, Any, Any]:
        """A training's pictures, by the one generate path."""
        tools = self._ready()
        return generate(tools.base, want.requests, lambda sha256: tools.adapters.get(sha256)[0], live=want.live)

    def publish(self, job: Running, report: Report) -> None:
        """Store a report's blob and make an event of it; a preview's own reports stay silent but for its glimpses."""
        if report.type == "glimpse":
            event = Event(job.id, -1, time.time(), "glimpse", report.data)
            self.glimpses[job.id] = event
            return
        if len(job.stack) > 1 or self._too_soon(job.id, report):
            return
        data = dict(report.data)
        for key, value in report.data.items():
            if isinstance(value, Blob):
                data[key] = self._workspace.files.put_bytes(value.data, value.suffix)
        if report.type == "checkpoint":
            self._workspace.jobs.save_checkpoint(job.id, int(data["step"]), str(data["sha256"]))
        if report.type == "picture":
            job.pictures.append(data)
        self._tell(self._workspace.jobs.append(job.id, report.type, data))

    def _too_soon(self, job_id: str, report: Report) -> bool:
        """True for progress within moments of other progress: it would fill the store and tell nobody more."""
        if report.type != "progress" or report.data.get("step") == report.data.get("steps"):
            return False
        now = time.monotonic()
        if now - self._progress.get(job_id, 0.0) < _PROGRESS_EVERY:
            return True
        self._progress[job_id] = now
        return False

    # ------------------------------------------------------------ beginnings and ends
    def _ready(self) -> Tools:
        if self._tools is None:
            raise StudioError("No base is loaded; choose one in the base chooser and try again.", code="no_base")
        return self._tools

    def _admit(self) -> None:
        """Start waiting jobs, in order, up to a change of base, which waits until nothing runs."""
        while self._waiting:
            if self._waiting[0].kind == "load_base":
                if self._arbiter.running:
                    return
                self._change_base(self._waiting.popleft())
                continue
            self._start(self._waiting.popleft())

    def _start(self, spec: JobSpec) -> None:
        try:
            self._workspace.jobs.set_state(spec.id, "running")
            self._tell(self._workspace.jobs.append(spec.id, "started", {}))
            generator = self._open(spec)
        except StudioError as error:
            self._end(spec.id, "failed", "error", error.as_json())
            return
        self._arbiter.add(Running(spec.id, spec.owner, spec.kind, [generator]))

    def _open(self, spec: JobSpec) -> JobGenerator:
        if spec.kind == "workbench":
            return open_workbench(spec, self._workspace, self._base, self._find)
        tools = self._ready()
        if spec.kind == "generate":
            return open_generate(spec, tools)
        if spec.kind == "import_adapter":
            return open_import_adapter(spec, tools)
        if spec.kind == "download_adapter":
            return open_download_adapter(spec, tools)
        if spec.kind == "import_embedding":
            return open_import_embedding(spec, tools)
        kept = self._workspace.jobs.checkpoint(spec.id)
        checkpoint = None if kept is None else self._workspace.files.read(kept[1])
        return open_train(spec, tools, checkpoint, lambda: self._wish(spec.id))

    def _wish(self, job_id: str) -> Literal["go", "finish", "pause"]:
        if self._pausing:
            return "pause"
        return "finish" if job_id in self._finish else "go"

    def _change_base(self, spec: JobSpec) -> None:
        """Load another base; when that fails, the one before is loaded again and the job says why."""
        choice = from_json(BaseChoice, spec.payload)
        before = None if self._base is None else self._choice
        self._workspace.jobs.set_state(spec.id, "running")
        self._tell(self._workspace.jobs.append(spec.id, "started", {}))
        try:
            self.use(choice)
        except StudioError as error:
            if before is not None and before != choice:
                self._restore(before)
            self._end(spec.id, "failed", "error", error.as_json())
            return
        assert self._base is not None
        self._end(spec.id, "done", "done", {"base": to_json(self._base.info)})

    def _restore(self, choice: BaseChoice) -> None:
        try:
            self.use(choice)
        except StudioError as error:
            LOG.error("the base before could not be loaded again: %s", error)

    def _conclude(self, outcome: Outcome) -> None:
        """Tell of a job's end."""
        job = outcome.job
        self.glimpses.pop(job.id, None)
        self._finish.discard(job.id)
        self._progress.pop(job.id, None)
        if outcome.state == "done":
            result = dict(outcome.value)
            if job.kind == "generate":
                result["images"] = [
                    {**size, "sha256": told["sha256"]}
                    for size, told in zip(result["images"], job.pictures, strict=True)
                ]
            self._end(job.id, "done", "done", result)
        elif outcome.state == "cancelled":
            images = [{"sha256": told["sha256"], "seed": told["seed"]} for told in job.pictures]
            self._end(job.id, "cancelled", "cancelled", {"images": images} if images else {})
        elif isinstance(outcome.error, Paused):
            self._end(job.id, "interrupted", "interrupted", {})
        else:
            assert outcome.error is not None
            self._end(job.id, "failed", "error", _sentence(outcome.error).as_json())
            if isinstance(outcome.error, torch.OutOfMemoryError) and torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _end(
        self,
        job_id: str,
        state: Literal["done", "failed", "cancelled", "interrupted"],
        event: Literal["done", "error", "cancelled", "interrupted"],
        data: dict[str, Any],
    ) -> None:
        """Write a job's end: its cell first, then state and last event together."""
        try:
            spec = self._workspace.jobs.get(job_id)
            cell = spec.payload.get("cell")
            if isinstance(cell, str) and state in ("done", "cancelled") and (state == "done" or data.get("images")):
                self._workspace.notebooks.finish(cell, data | ({"stopped": True} if state == "cancelled" else {}))
            told = self._workspace.jobs.finish_with(
                job_id,
                state,
                event,
                data,
                result=data if state in ("done", "cancelled") else None,
                error=data if state == "failed" else None,
            )
        except StudioError as error:
            # The disk is full, most likely: the waiting page must hear it even where it cannot be written down.
            LOG.error("the end of job %s could not be written: %s", job_id, error)
            failure = error.as_json()
            told = Event(job_id, -1, time.time(), "error", failure)
        self._tell(told)


def _sentence(error: BaseException) -> StudioError:
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
