"""The worker: one thread that owns the base, runs the arbiter and tells the store what happens.

Nothing here is called from another thread but the few methods that say so. It does not know who asks or how the
boundary is crossed; `inline` and later engines do.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable
from typing import Any, Literal

import torch

from lora_studio.engine.adapter_cache import AdapterCache
from lora_studio.engine.arbiter import Arbiter, Outcome, Running
from lora_studio.engine.download import open_download_adapter
from lora_studio.engine.embedding_cache import EmbeddingCache
from lora_studio.engine.ends import End, Ends, failure
from lora_studio.engine.folder_cache import FolderCache
from lora_studio.engine.imports import open_import_adapter, open_import_embedding
from lora_studio.engine.jobs import Tools, open_generate, open_train
from lora_studio.engine.sources import NOTHING, Policy
from lora_studio.engine.waiting import Waiting, named_base
from lora_studio.engine.workbench import FindModel, find_model, open_workbench
from lora_studio.errors import BaseUnavailable, StudioError
from lora_studio.generate import generate
from lora_studio.pipeline import JobGenerator, ModelCall, NeedPreview, Report, SharedBase
from lora_studio.pipeline.base import release
from lora_studio.pipeline.calls import Blob
from lora_studio.store import Workspace
from lora_studio.train import Paused
from lora_studio.types import NO_BASE, BaseChoice, BaseInfo, Event, JobKind, JobSpec, from_json, to_json
from lora_studio.types.jobs import FINAL

LOG = logging.getLogger("lora_studio")
_PROGRESS_EVERY = 0.25
"""Seconds between two stored events of progress; glimpses carry the picture meanwhile."""
_NO_FAULT = ("train_base_changed", "no_base")
"""Codes with which a run is refused that was begun on another base: it can go on when that one is loaded."""

LoadBase = Callable[[BaseChoice], SharedBase]
Look = Callable[[str, bool], object]
"""Looks whether a base's name names something, on this machine alone or (True) on the hub too, where it is fetched.
Raises `BaseUnavailable`."""


def anywhere(_ref: str, _hub: bool) -> None:
    """A `Look` that leaves it to the loading."""


class Worker:
    """Runs jobs by turns.

    Attributes:
        glimpses: the newest look of each running job; read by other threads.
        loading: the base that is being loaded or waited for, or None; read by other threads.
        ends: what was written of jobs that ended; `ends.unwritten` is read by other threads.
    """

    def __init__(
        self,
        workspace: Workspace,
        load: LoadBase,
        tell: Callable[[Event], None],
        downloads: Policy = NOTHING,
        find: FindModel = find_model,
        look: Look = anywhere,
    ) -> None:
        """`load` makes a base of a choice; `tell` is called for every event, in this thread; `downloads` says from
        where files may be fetched, `find` where models lie that are only compared, `look` whether a base is there."""
        self._downloads = downloads
        self._find = find
        self._look = look
        self._workspace = workspace
        self._load = load
        self._tell = tell
        self._arbiter = Arbiter(self)
        self._waiting = Waiting()
        self._finish: set[str] = set()
        self._progress: dict[str, float] = {}
        self._pausing = False
        self._base: SharedBase | None = None
        self._choice: BaseChoice | None = None
        self._tools: Tools | None = None
        self.ends = Ends(workspace, tell)
        self.glimpses: dict[str, Event] = {}
        self.loading: str | None = None

    # ------------------------------------------------------------ what the engine does with it
    @property
    def base(self) -> SharedBase | None:
        """The loaded base."""
        return self._base

    @property
    def _here(self) -> str:
        """sha256 of the loaded base, "" without one."""
        return "" if self._base is None else self._base.info.sha256

    @property
    def busy(self) -> bool:
        """True while a job runs or waits."""
        return bool(len(self._waiting) or self._arbiter.running)

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
            self.loading = self._waiting.loading

    def enqueue(self, spec: JobSpec) -> None:
        """Take a job; it starts as soon as nothing stands before it."""
        self._waiting.add(spec, self._arbiter.running)
        self.loading = self._waiting.loading

    def take_up(self, specs: Iterable[JobSpec]) -> None:
        """Take what another process left; what names another base is held until that one is loaded."""
        for spec in specs:
            wanted = named_base(spec)
            if self._base is None or wanted in ("", self._here):
                self.enqueue(spec)
                continue
            self._waiting.hold(spec)
            remark = _held_for(wanted, self._base.info)
            if all(event.data.get("code") != remark["code"] for event in self._workspace.jobs.events(spec.id)):
                self._tell(self._workspace.jobs.append(spec.id, "warning", remark))

    def cancel(self, job_id: str) -> None:
        """Stop a job after its present turn, or take it out of the queue; one that nobody runs any more ends."""
        for job in self._arbiter.running:
            if job.id == job_id:
                job.cancelled = True
                return
        self._waiting.drop(job_id)
        self.loading = self._waiting.loading
        if job_id not in self.ends.unwritten:
            self.ends.write(End(job_id, "cancelled"))

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
        """Let trainings save a checkpoint and stop; what does not manage within `patience` seconds is just stopped.

        The rest is stopped first: beside pictures on a slow device a training would not get to its checkpoint.
        """
        self._pausing = True
        for job in self._arbiter.running:
            if job.kind != "train":
                self._arbiter.remove(job)
        until = time.monotonic() + patience
        while self._arbiter.running and time.monotonic() < until:
            outcome = self._arbiter.turn()
            if outcome is not None:
                self._conclude(outcome)
        for job in self._arbiter.running:
            self._arbiter.remove(job)
            self.ends.write(End(job.id, "interrupted"))
        self.ends.again(at_once=True)

    def fail_all(self, error: Exception) -> None:
        """End what runs: something went wrong outside of every job, and nobody knows what it spoilt."""
        for job in self._arbiter.running:
            try:
                self._arbiter.remove(job)
            except Exception as problem:
                LOG.error("the job %s could not be closed", job.id, exc_info=problem)
            self._fail(job.id, job.kind, error)

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
        """Start what may start."""
        while (spec := self._waiting.take(self._arbiter.running, self._here)) is not None:
            if spec.kind == "load_base":
                self._change_base(spec)
            else:
                self._start(spec)

    def _start(self, spec: JobSpec) -> None:
        try:
            runs = spec.id in {job.id for job in self._arbiter.running}
            if runs or self._workspace.jobs.get(spec.id).state in FINAL:
                return  # asked for twice at once, or stopped before it was taken
            self._workspace.jobs.set_state(spec.id, "running")
            self._tell(self._workspace.jobs.append(spec.id, "started", {}))
            generator = self._open(spec)
        except Exception as error:
            # The job border, as in the arbiter: what a job's beginning meets must not end the worker's thread.
            self._fail(spec.id, spec.kind, error)
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
        """Load another base; when that fails, the one before is there still or again, and the job says why."""
        before = None if self._base is None else self._choice
        try:
            choice = from_json(BaseChoice, spec.payload)
            self._workspace.jobs.set_state(spec.id, "running")
            self._tell(self._workspace.jobs.append(spec.id, "started", {}))
            self._look(choice.base, True)  # a wrong name is found while the base before is still there
            self.use(choice)
            assert self._base is not None
            end = End(spec.id, "done", {"base": to_json(self._base.info)})
        except Exception as error:
            # The job border: whatever a base's files or a full card bring up must not end the worker's thread.
            end = _failure_to_load(spec, error)
        # Only here, where nothing refers any more to what was loaded of a base that did not fit.
        if self._base is None:
            _empty_cache()
            if before is not None:
                self._restore(before)
        self.loading = self._waiting.loading
        self.ends.write(end)
        for freed in self._waiting.release(self._here):
            self.enqueue(freed)

    def _restore(self, choice: BaseChoice) -> None:
        try:
            self.use(choice)
        except Exception as error:
            # Then there is no base, which every page says, and another can be chosen.
            LOG.error("the base before could not be loaded again: %s", error)

    def _conclude(self, outcome: Outcome) -> None:
        """Tell of a job's end."""
        job = outcome.job
        self.glimpses.pop(job.id, None)
        self._finish.discard(job.id)
        self._progress.pop(job.id, None)
        if isinstance(outcome.error, Paused):
            self.ends.write(End(job.id, "interrupted"))
        elif outcome.error is not None:
            self._fail(job.id, job.kind, outcome.error)
            if isinstance(outcome.error, torch.OutOfMemoryError):
                _empty_cache()
        else:
            self.ends.write(_end_of(outcome))

    def _fail(self, job_id: str, kind: JobKind, error: BaseException) -> None:
        """Write a failure down. A run that only met another base than the one it was begun on is as it was before."""
        end = failure(job_id, error)
        if kind == "train" and end.data["code"] in _NO_FAULT:
            try:
                if self._workspace.jobs.checkpoint(job_id) is not None:
                    remark = {key: end.data[key] for key in ("code", "message", "values")}
                    self._tell(self._workspace.jobs.append(job_id, "warning", remark))
                    end = End(job_id, "interrupted")
            except StudioError as problem:
                LOG.error("the run %s could not be looked up: %s", job_id, problem)
        self.ends.write(end)


def _failure_to_load(spec: JobSpec, error: Exception) -> End:
    """The end of a change of base that failed; of too little memory it says what helps a base."""
    end = failure(spec.id, error)
    if end.data["code"] != "out_of_memory":
        return end
    base, why = str(spec.payload["base"]), end.data["values"]["given"]
    sentence = (
        f"The base {base!r} needs more memory than the device has ({why}); choose a smaller one, or end other programs "
        "that use the device."
    )
    return failure(spec.id, BaseUnavailable(sentence, code="base_memory", given=base, why=why))


def _held_for(wanted: str, loaded: BaseInfo) -> dict[str, Any]:
    """The remark on a job that was asked for on another base than the one that is loaded."""
    return {
        "code": "waits_for_base",
        "message": f"It was asked for on the base {wanted[:10]}, and {loaded.title} ({loaded.sha256[:10]}) is loaded; "
        "it waits until that base is loaded, or stop it.",
        "values": {"given": wanted[:10], "loaded": loaded.sha256[:10], "title": loaded.title},
    }


def _end_of(outcome: Outcome) -> End:
    """The end of a job that is done or was stopped."""
    job = outcome.job
    if outcome.state == "cancelled":
        images = [{"sha256": told["sha256"], "seed": told["seed"]} for told in job.pictures]
        return End(job.id, "cancelled", {"images": images} if images else {})
    try:
        result = dict(outcome.value)
        if job.kind == "generate":
            found = zip(result["images"], job.pictures, strict=True)
            result["images"] = [{**size, "sha256": told["sha256"]} for size, told in found]
    except Exception as error:
        return failure(job.id, error)  # a fault of the job's own, like any other
    return End(job.id, "done", result)


def _empty_cache() -> None:
    """Give the memory that the card's allocator holds back to others."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
