"""Jobs, cells, adapters, embeddings and sets as the JSON that pages draw. Pure reading; nothing is changed here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lora_studio.errors import NotFound
from lora_studio.headers.adapter import TITLES
from lora_studio.store import Workspace
from lora_studio.types import AdapterEntry, BaseInfo, Cell, DatasetManifest, EmbeddingEntry, Event, Job, to_json

LISTED_NOTES = 1000
"""Characters of a LoRA's notes in lists; a single one comes with all of them."""

MAX_TEXT = 4000
MAX_ENTRIES = 300
"""Characters of an entry of a file's metadata, and entries, that a page is sent."""

MAX_POINTS = 400
"""A chart gets at most about this many points per call; the newest is always among them."""


def adapter_view(entry: AdapterEntry, base: BaseInfo | None, used: float | None = None) -> dict[str, Any]:
    """A LoRA of the library as cards and lists show it.

    `misfit` says why it is none for the loaded base: "family" (it cannot be used), "base" (it was trained on another
    one: its effect may be weak or wrong), "" where it fits. Written by hand: a thousand are made for one answer.

    Args:
        used: when the caller last made a picture with it, in seconds since 1970.
    """
    return {
        "sha256": entry.sha256,
        "name": entry.name,
        "created": entry.created,
        "size": entry.size,
        "base_sha256": entry.base_sha256,
        "family": entry.family,
        "made_for": TITLES.get(entry.family, entry.family),
        "rank": entry.rank,
        "alpha": entry.alpha,
        "trigger_words": list(entry.trigger_words),
        "cover": entry.cover,
        "run": entry.run,
        "recommended_weight": entry.recommended_weight,
        "notes": entry.notes[:LISTED_NOTES],
        "sample": entry.sample,
        "stem": entry.stem,
        "stars": entry.stars,
        "title": entry.side.get("title", ""),
        "negative": entry.side.get("negative", ""),
        "warnings": entry.side.get("warnings", []),
        "places": list(entry.places),
        "missing": entry.missing,
        "used": used,
        "misfit": _misfit(entry, base),
        "fits": _misfit(entry, base) == "",
    }


def _misfit(entry: AdapterEntry, base: BaseInfo | None) -> str:
    if base is None:
        return ""
    if not entry.fits(base.family):
        return "family"
    return "base" if entry.base_sha256 and entry.base_sha256 != base.sha256 else ""


def adapter_detail(entry: AdapterEntry, base: BaseInfo | None) -> dict[str, Any]:
    """One LoRA with everything that is known: what the door found out, licence, and the file's metadata as texts."""
    metadata = {key: text[:MAX_TEXT] for key, text in sorted(entry.metadata.items())[:MAX_ENTRIES]}
    return adapter_view(entry, base) | {
        "notes": entry.notes,
        "report": entry.report,
        "checked": bool(base) and entry.report.get("base") == (base.sha256 if base else None),
        "licence": entry.report.get("license") or entry.metadata.get("modelspec.license", ""),
        "metadata": metadata,
    }


def embedding_view(entry: EmbeddingEntry, base: BaseInfo | None) -> dict[str, Any]:
    """An embedding of the library; `fits` is False when the loaded base takes vectors of another width."""
    view: dict[str, Any] = to_json(entry)
    del view["owner"], view["tensors"], view["deleted"]
    view["fits"] = base is None or entry.fits(base.text_widths)
    return view


def dataset_view(manifest: DatasetManifest) -> dict[str, Any]:
    """A set with its pictures and what was refused."""
    view: dict[str, Any] = to_json(manifest)
    del view["owner"]
    return view


def job_view(job: Job) -> dict[str, Any]:
    """A job without its owner."""
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "created": job.created,
        "finished": job.finished,
        "error": job.error,
    }


def requests_in(cell: Cell) -> dict[str, dict[str, Any]]:
    """The requests of a cell by name: {"with": ..., "without": ...} for a comparison, else {"with": ...}.

    That of a grid is the one whose values its axes vary.
    """
    if cell.kind in ("compare", "grid"):
        return {side: cell.request[side] for side in ("with", "without") if side in cell.request}
    return {"with": cell.request}


def cell_view(cell: Cell, job: Job | None, library: dict[str, AdapterEntry], base: BaseInfo | None) -> dict[str, Any]:
    """A cell as it is shown: its recipe, how far it is, its pictures, and what has changed since it was made.

    Args:
        job: the cell's job where the cell has no result yet.
        library: the LoRAs that the owner sees, by sha256.
    """
    requests = requests_in(cell)
    request = requests.get("with", {})
    result = cell.result or (job.result if job else None) or {}
    state, error = _state(cell, job)
    made_for = str(request.get("base") or "")
    return {
        "id": cell.id,
        "kind": cell.kind,
        "created": cell.created,
        "position": cell.position,
        "request": request,
        "grid": {side: cell.request.get(side) for side in ("x", "y")} if cell.kind == "grid" else None,
        "job": cell.job,
        "state": state,
        "error": error,
        "images": result.get("images", []),
        "seconds": result.get("seconds"),
        "note": cell.note,
        "sample": cell.sample,
        "missing": [
            str(adapter.get("name", ""))
            for adapter in request.get("adapters", [])
            if adapter.get("sha256") not in library or library[adapter["sha256"]].missing
        ],
        "base_changed": bool(base and made_for and made_for != base.sha256),
    }


def _state(cell: Cell, job: Job | None) -> tuple[str, dict[str, Any] | None]:
    """done, stopped, lost, or the job's own state; and the sentence of a failure."""
    if cell.result is not None:
        return ("stopped" if cell.result.get("stopped") else "done"), None
    if job is None:
        return "lost", None
    return ("stopped" if job.state == "cancelled" else job.state), job.error


def jobs_of(workspace: Workspace, cells: Iterable[Cell]) -> dict[str, Job]:
    """The jobs of the cells that wait for a result, by cell id."""
    found = {}
    for cell in cells:
        if cell.result is None and cell.job:
            try:
                found[cell.id] = workspace.jobs.get(cell.job)
            except NotFound:
                continue
    return found


def progress_view(events: Sequence[Event]) -> dict[str, Any]:
    """What some events of a job tell, packed: losses as pairs, only the newest progress, all pictures and previews."""
    view: dict[str, Any] = {}
    losses: list[tuple[int, float | None, float | None]] = []
    for event in events:
        if event.type == "step":
            step = event.data.get("step", 0)
            while losses and losses[-1][0] >= step:  # a continued run takes its last steps again
                losses.pop()
            losses.append((step, event.data.get("loss"), event.data.get("learning_rate")))
            view["progress"] = {"phase": "train"} | event.data
        elif event.type == "progress":
            view["progress"] = event.data
        elif event.type in ("picture", "preview", "warning", "checkpoint", "resumed"):
            view.setdefault(event.type + "s", []).append(event.data)
        elif event.type == "queued":
            view["ahead"] = event.data.get("ahead", 0)
    if losses:
        view["losses"] = thin(losses)
    view["since"] = events[-1].seq + 1 if events else None
    return view


def thin(points: Sequence[Any], limit: int = MAX_POINTS) -> list[Any]:
    """At most about `limit` points, evenly chosen, the last one always among them."""
    if len(points) <= limit:
        return list(points)
    step = len(points) / limit
    kept = [points[int(index * step)] for index in range(limit)]
    return kept if kept[-1] is points[-1] else [*kept, points[-1]]
