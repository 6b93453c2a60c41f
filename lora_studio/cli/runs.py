"""`runs`: the trainings of a workspace, each with its state and how to go on; finding one by the beginning of its id.

No engine is built. A training that a crash ended stands as running until an engine looks: whose process is gone is told
as interrupted here, which is what it becomes.
"""

from __future__ import annotations

import json
import time
from typing import Any

from lora_studio.cli.follow import opened, place_options
from lora_studio.cli.options import given_settings
from lora_studio.cli.train_options import RunsOptions
from lora_studio.errors import NotFound
from lora_studio.settings import Settings, load_settings
from lora_studio.store import Workspace
from lora_studio.types import Job

MOST = 10_000
"""Runs that are looked through."""

SHORT = 12
"""Signs of an id that are shown and enough to name a run."""


def run(options: RunsOptions) -> None:
    """Print the trainings, newest first: one JSON object, or a line for each."""
    settings = load_settings(**given_settings(options))
    with opened(settings) as workspace:
        left = set(workspace.jobs.abandoned())
        told = [_told(workspace, job, left, settings) for job in _trainings(workspace)]
    if options.json:
        print(json.dumps({"runs": told}, ensure_ascii=False))
        return
    for one in told:
        print(_line(one))


def way_on(run_id: str, settings: Settings) -> str:
    """The command that goes on with a run, in the workspace and on the base that `settings` were given."""
    return f"python -m lora_studio train --continue {run_id[:SHORT]} --out F.safetensors{place_options(settings)}"


def find_run(workspace: Workspace, given: str) -> str:
    """The job id of the training that `given` is, or begins (at least 4 characters).

    Raises:
        NotFound: none or several begin so.
    """
    runs = _trainings(workspace)
    found = [job for job in runs if len(given) >= 4 and job.id.startswith(given)]
    if len(found) == 1:
        return found[0].id
    left = set(workspace.jobs.abandoned())
    open_runs = [job.id[:SHORT] for job in runs if _goes_on(workspace, job, left)][:5]
    known = f"runs that can go on are {', '.join(open_runs)}" if open_runs else "there is none that could go on"
    raise NotFound(
        f"The run {given!r} {'is not known' if not found else 'is not the only one'}; {known}.",
        code="run_unknown",
        given=given,
        allowed=", ".join(open_runs),
    )


def _trainings(workspace: Workspace) -> list[Job]:
    return workspace.jobs.list(kinds=["train"], limit=MOST)


def _state(job: Job, left: set[str]) -> str:
    """A job's state as the next engine will find it; `left` are the ids whose process is gone."""
    return "interrupted" if job.id in left else job.state


def _goes_on(workspace: Workspace, job: Job, left: set[str]) -> bool:
    """Whether a run ended before its time and can be continued: a failed one needs a checkpoint."""
    state = _state(job, left)
    return state == "interrupted" or (state == "failed" and workspace.jobs.checkpoint(job.id) is not None)


def _told(workspace: Workspace, job: Job, left: set[str], settings: Settings) -> dict[str, Any]:
    """What is said of a run; `step` is that of the result, or of the checkpoint from which it would go on."""
    config = dict(job.payload.get("config", {}))
    result, state = job.result or {}, _state(job, left)
    kept = workspace.jobs.checkpoint(job.id)
    return {
        "run": job.id,
        "name": str(result.get("name") or config.get("name", "")),
        "state": state,
        "step": result.get("steps", kept[0] if kept else 0),
        "steps": config.get("steps"),
        "created": job.created,
        "adapter": result.get("adapter"),
        "error": None if job.error is None else job.error.get("message"),
        "continue": way_on(job.id, settings) if _goes_on(workspace, job, left) else None,
    }


def _line(one: dict[str, Any]) -> str:
    """A run for people."""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(one["created"]))
    steps = f"step {one['step']} of {one['steps']}"
    parts = [one["run"][:SHORT], when, one["state"], steps, one["name"], one["error"], one["continue"]]
    return "  ".join(part for part in parts if part)
