"""What is loaded, what runs and waits, and how far the caller's own jobs are."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from lora_studio import __version__
from lora_studio.errors import InvalidInput, NotFound
from lora_studio.store.mentions import mentions
from lora_studio.types import (
    RECIPES,
    SAMPLERS,
    BaseInfo,
    EngineInfo,
    GenerateRequest,
    Job,
    TrainConfig,
    recipe,
    to_json,
)
from lora_studio.types.generate import a1111_sampler
from lora_studio.ui.forms import plan
from lora_studio.ui.studio import Ask, Studio
from lora_studio.ui.views import job_view, progress_view

MAX_WATCHED = 1000
"""Jobs that one page may follow; those that wait cost nothing but their place in the queue."""

TOLD = ("sha256", "title", "ref", "prediction_type", "zero_terminal_snr")
"""What pages compare to know that another base is loaded, or the same one read otherwise."""

ENDS = ("done", "error", "cancelled", "interrupted")
"""The types of a job's last event."""


def hello(ask: Ask) -> dict[str, Any]:
    """What a page needs once: the base and its defaults, the plans of the forms, recipes and example sets."""
    studio = ask.studio
    base = studio.engine.info().base
    return {
        "version": __version__,
        "base": None if base is None else to_json(base),
        "form": {"generate": plan(GenerateRequest), "train": plan(TrainConfig)},
        "samplers": {name: " ".join(filter(None, a1111_sampler(name))) for name in SAMPLERS},
        "recipes": {kind: _recipe(kind, base) for kind in RECIPES},
        "examples": examples(studio.settings.assets),
        "seconds_per_step": pace(studio),
    }


def poll(ask: Ask) -> dict[str, Any]:
    """What runs and waits, and what is new in the caller's jobs since the numbers that the page has seen."""
    info = ask.studio.engine.info()
    watched = ask.table("watch")
    if len(watched) > MAX_WATCHED:
        raise InvalidInput(
            f"watch has {len(watched)} jobs; at most {MAX_WATCHED} are allowed; reload the page.",
            code="call_value",
            field="watch",
            given=str(len(watched)),
            allowed=str(MAX_WATCHED),
        )
    since = {str(job): number if isinstance(number, int) else 0 for job, number in watched.items()}
    active = {job.id: job for job in (*info.running, *info.queued)}
    for job in active.values():
        if job.owner == ask.owner:
            since.setdefault(job.id, 0)
    base = info.base
    workspace = ask.studio.workspace
    folders = workspace.folders.state
    told = {job_id: _news(ask, job_id, seen, active, info) for job_id, seen in since.items()}
    for job_id in set(told) - set(watched):  # a page that does not ask has heard of an end that cannot be written
        if (told[job_id] or {}).get("state") == "failed":
            told[job_id] = None
    return {
        "base": {name: getattr(base, name) for name in TOLD} if base else None,
        "page": ask.studio.page,
        "loading": info.loading,
        "device": to_json(info.device),
        "running": [_told(job, ask) for job in info.running],
        "waiting": len(info.queued),
        "library": {"stamp": workspace.adapters.stamp(), "done": folders.done, "todo": folders.todo},
        "jobs": {job_id: news for job_id, news in told.items() if news is not None},
    }


def vocabulary(ask: Ask) -> dict[str, Any]:
    """The words of the loaded base as [word, how often, Chinese name]; the most frequent first."""
    tags = sorted(ask.studio.engine.vocabulary(), key=lambda tag: -tag.count)
    return {"tags": [[tag.tag, tag.count, tag.zh] for tag in tags]}


def stop(ask: Ask) -> dict[str, Any]:
    """Stop a job; what it has shown stays, a training's work is discarded."""
    job = ask.job()
    ask.studio.engine.cancel(job.id)
    return {}


def examples(assets: Path) -> list[dict[str, Any]]:
    """The sample sets that come with the app: name, number of pictures, and the first of them to show."""
    found = []
    for folder in sorted((assets / "examples").glob("*/")):
        pictures = sorted(path.name for path in folder.glob("*.png") if path.with_suffix(".txt").is_file())
        if pictures:
            found.append({"name": folder.name, "count": len(pictures), "show": pictures[:4]})
    return found


def pace(studio: Studio) -> float | None:
    """Seconds per step of the newest finished training here, None when there is none to judge from."""
    for job in studio.workspace.jobs.list(kinds=["train"], states=["done"], limit=1):
        result = job.result or {}
        if result.get("steps") and result.get("seconds"):
            return float(result["seconds"]) / float(result["steps"])
    return None


def _recipe(kind: str, base: BaseInfo | None) -> dict[str, Any]:
    """The settings of a recipe on a base, without what a person must give."""
    values = dataclasses.asdict(recipe(kind, base, name="-", dataset="-"))
    for name in ("name", "dataset", "base", "preview_prompts", "trigger"):
        del values[name]
    return values


def _told(job: Job, ask: Ask) -> dict[str, Any]:
    """A running job as everybody may see it: what kind it is, and whose only if it is the caller's."""
    mine = job.owner == ask.owner
    told: dict[str, Any] = {"kind": job.kind, "mine": mine, "job": job.id if mine else None}
    if mine and job.kind == "train":
        told["name"] = str(job.payload.get("config", {}).get("name", ""))
    if mine and job.kind == "load_base":
        told["name"] = str(job.payload.get("base", ""))
    return told


def _news(ask: Ask, job_id: str, since: int, active: dict[str, Job], info: EngineInfo) -> dict[str, Any] | None:
    """What is new in one job; None when it is gone or somebody else's. `active` are all jobs that run or wait."""
    engine = ask.studio.engine
    job = active.get(job_id)
    if job is not None and job.state == "queued" and job.owner == ask.owner and not _is_held(job, info.base):
        ahead = sum(1 for other in active.values() if other.created < job.created)
        return job_view(job) | {"since": since, "ahead": ahead}
    try:
        job = engine.job(job_id)
        if job.owner != ask.owner:
            return None
        events = list(engine.events(job_id, since, 0))
        if events and events[-1].type in ENDS:
            job = engine.job(job_id)  # it may have ended between the two questions
    except NotFound:
        return None
    unwritten = events.pop() if events and events[-1].seq < 0 else None
    news = job_view(job) | progress_view(events)
    if unwritten is not None:  # the disk is full, most likely: the page hears that, whatever still stands in the store
        news |= {"state": "failed", "error": unwritten.data}
    news["since"] = news.get("since") or since
    glimpse = engine.glimpse(job_id)
    if glimpse is not None:
        news["glimpse"] = glimpse.data.get("image")
    if job.state in ("done", "cancelled"):
        news["result"] = job.result
    return news


def _is_held(job: Job, base: BaseInfo | None) -> bool:
    """True for a job that may be waiting for its own base, of which its events tell."""
    named = mentions(job.payload).base if job.kind in ("generate", "train") else ""
    return bool(named and base is not None and named != base.sha256)


ACTIONS = (hello, poll, vocabulary, stop)
