"""Trainings: starting, keeping what has been learnt, continuing, and the list of past runs."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

from lora_studio.errors import InvalidInput, NotFound
from lora_studio.types import EmbeddingEntry, Job, JobSpec, TrainConfig, from_json, recipe, to_json
from lora_studio.ui.actions.status import pace
from lora_studio.ui.forms import read
from lora_studio.ui.studio import Ask
from lora_studio.ui.views import job_view


def train(ask: Ask) -> dict[str, Any]:
    """Start a training of a set with the fields of the form as typed."""
    manifest = ask.dataset()
    form = dict(ask.table("form"))
    kind = str(form.pop("recipe", "balanced"))
    if not manifest.items:
        raise InvalidInput(
            f"The set {manifest.name!r} has 0 pictures that can be used; at least 1 is needed; add pictures.",
            code="set_empty",
            given=manifest.name,
        )
    base = ask.studio.base()
    values = _words(read(TrainConfig, form) | {"dataset": manifest.id})
    config = dataclasses.replace(recipe(kind, base, **values), base=base.sha256)
    payload = {"config": to_json(from_json(TrainConfig, to_json(config)))}
    return {"job": ask.studio.engine.submit(JobSpec(ask.new_id("job"), "train", ask.owner, payload))}


def finish(ask: Ask) -> dict[str, Any]:
    """End a training early and keep what it has learnt."""
    ask.studio.engine.finish(ask.job().id)
    return {}


def resume(ask: Ask) -> dict[str, Any]:
    """Go on with a run that was interrupted, or failed after a checkpoint; asking twice is asking once."""
    run = ask.job("run")
    if run.state in ("queued", "running"):
        return {"job": run.id}
    spec = JobSpec(ask.new_id("job"), "train", ask.owner, {"resume": run.id})
    return {"job": ask.studio.engine.submit(spec)}


def runs(ask: Ask) -> dict[str, Any]:
    """The caller's trainings, newest first, and the pace of the newest finished one on this machine."""
    jobs = ask.studio.workspace.jobs.list(owner=ask.owner, kinds=["train"])
    known = {entry.sha256: entry.name for entry in ask.library()}
    sets = {manifest.id: manifest.name for manifest in ask.studio.workspace.datasets.list(ask.owner)}
    return {"runs": [_run(ask, job, known, sets) for job in jobs], "seconds_per_step": pace(ask.studio)}


def delete_run(ask: Ask) -> dict[str, Any]:
    """Remove a run for good; with `pictures` its set too, with `adapter` the LoRA, with `word` the word it learnt."""
    run = ask.job("run")
    workspace = ask.studio.workspace
    wanted = {name: ask.flag(name) for name in ("adapter", "word", "pictures")}
    workspace.jobs.delete(run.id)
    if wanted["adapter"] and run.result:
        with contextlib.suppress(NotFound):  # what was deleted before is gone, as was asked
            entry = ask.adapter(str(run.result.get("adapter", "")))
            workspace.adapters.delete(entry.sha256, entry.owner)  # it can be brought back from the library for an hour
    word = _word(ask, run)
    if wanted["word"] and word is not None:
        workspace.embeddings.delete(word.sha256, word.owner)
    own = {manifest.id for manifest in workspace.datasets.list(ask.owner)}
    used = str(run.payload.get("config", {}).get("dataset", ""))
    if wanted["pictures"] and used in own:
        workspace.datasets.delete(used)
    return {}


def _words(values: dict[str, Any]) -> dict[str, Any]:
    """A form's values, with the lines of the preview prompts as a list."""
    prompts = values.get("preview_prompts")
    if isinstance(prompts, str):
        lines = tuple(line.strip() for line in prompts.splitlines() if line.strip())
        return values | {"preview_prompts": lines}
    return values


def _word(ask: Ask, run: Job) -> EmbeddingEntry | None:
    """The word that a run learnt, as long as the caller has it in the library."""
    sha256 = (run.result or {}).get("embedding", {}).get("sha256", "")
    entries = ask.studio.workspace.embeddings.list(ask.owner) if sha256 else []
    return next((entry for entry in entries if entry.sha256 == sha256 and entry.owner == ask.owner), None)


def _run(ask: Ask, job: Job, known: dict[str, str], sets: dict[str, str]) -> dict[str, Any]:
    """A run as the list shows it; `known` are the names of the LoRAs, `sets` of the sets that are still there."""
    config = dict(job.payload.get("config", {}))
    kept = ask.studio.workspace.jobs.checkpoint(job.id) if job.state in ("interrupted", "failed") else None
    adapter = str((job.result or {}).get("adapter", ""))
    return job_view(job) | {
        "config": config,
        "set": sets.get(str(config.get("dataset", ""))),
        "result": job.result,
        "adapter": known.get(adapter),
        "word": None if (word := _word(ask, job)) is None else word.name,
        "checkpoint": None if kept is None else kept[0],
    }


ACTIONS = (train, finish, resume, runs, delete_run)
