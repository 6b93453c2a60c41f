"""Pictures and their cells: a cell is written before its job is handed over, so that no reload can lose it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from lora_studio.errors import InvalidInput, NotFound, StudioError
from lora_studio.prompt.tags import without_loras
from lora_studio.types import AdapterWeight, Cell, GenerateRequest, JobSpec, from_json, to_json
from lora_studio.types.grid import Axis, pictures_of, read_values
from lora_studio.ui.actions.words import styled, with_named, without_adapters
from lora_studio.ui.forms import read
from lora_studio.ui.studio import Ask
from lora_studio.ui.views import cell_view, jobs_of, requests_in

NO_WORDS = "#"
"""A prompt without words, which no request may have: a comment alone."""

UNDO_SECONDS = 3600.0
"""Deleted cells are removed for good when they have been deleted for so long; pages offer to undo for 10 s."""


def cells(ask: Ask) -> dict[str, Any]:
    """The notebook of the caller, newest cell first; made with the sample cells at the first visit."""
    workspace = ask.studio.workspace
    notebook = workspace.notebooks.default(ask.owner)
    return {
        "notebook": {"id": notebook.id, "name": notebook.name},
        "cells": _views(ask, workspace.notebooks.cells(notebook.id)),
    }


def make(ask: Ask) -> dict[str, Any]:
    """Ask for pictures: `form` holds the fields as typed and the LoRAs.

    `compare` makes them with and without LoRAs; `grid` ({"x": {"what", "values" as typed, "adapter"}, "y": the same or
    None}) makes one for each of its values.
    """
    request = with_named(ask, request_of(ask))
    if "grid" in ask.data:
        x, y = (_axis(ask.table("grid").get(side)) for side in ("x", "y"))
        if x is None:
            raise _no_values("")
        shown = {"with": to_json(request), "x": to_json(x), "y": None if y is None else to_json(y)}
        return _hand_over(ask, "grid", shown)
    if not ask.flag("compare"):
        return _hand_over(ask, "picture", to_json(request))
    if not any(adapter.weight for adapter in request.adapters):
        raise InvalidInput(
            f"{len(request.adapters)} LoRAs with a weight other than 0 are switched on; at least 1 is needed to show "
            "what it does; add one or move its slider.",
            code="compare_nothing",
            given=str(len(request.adapters)),
        )
    return _hand_over(ask, "compare", {"with": to_json(request), "without": to_json(without_adapters(request))})


def again(ask: Ask) -> dict[str, Any]:
    """Make a cell's pictures once more into a new cell; with `seed` from another seed."""
    source = ask.cell("source")
    seed = {"seed": ask.whole("seed")} if "seed" in ask.data else {}
    made = {
        name: to_json(from_json(GenerateRequest, dict(value) | seed)) for name, value in requests_in(source).items()
    }
    shown = made["with"] if source.kind == "picture" else dict(source.request) | made
    # The pictures of a grid may have seeds of their own: with another one they are reckoned anew.
    completed = None if source.kind == "grid" and seed else _completed(ask, source, seed)
    return _hand_over(ask, source.kind, shown, completed)


def note(ask: Ask) -> dict[str, Any]:
    """Change a cell's note."""
    ask.studio.workspace.notebooks.set_note(ask.cell().id, ask.text("note"))
    return {}


def delete_cell(ask: Ask) -> dict[str, Any]:
    """Take a cell out of sight; its job is stopped."""
    cell = ask.cell()
    if cell.result is None and cell.job:
        ask.studio.engine.cancel(cell.job)
    ask.studio.workspace.notebooks.delete(cell.id)
    ask.studio.workspace.notebooks.purge(time.time() - UNDO_SECONDS)
    return {}


def restore_cell(ask: Ask) -> dict[str, Any]:
    """Bring a deleted cell back."""
    cell = ask.cell()
    ask.studio.workspace.notebooks.restore(cell.id)
    return {"cell": _views(ask, [ask.cell()])[0]}


def request_of(ask: Ask) -> GenerateRequest:
    """The request of a form as a page sends it, complete: what is not given comes from the base.

    Raises:
        InvalidInput: a value that is not allowed, named by its field.
        NotFound: a LoRA that is not in the library any more, or a picture that the caller does not see.
    """
    base = ask.studio.base()
    form = dict(ask.table("form"))
    listed, styles = form.pop("adapters", []), form.pop("styles", [])
    for name, value in (("adapters", listed), ("styles", styles)):
        if not isinstance(value, list):
            raise InvalidInput(
                f"{name} was given as {str(value)[:80]!r}; it must be a list; reload the page and try again.",
                code="call_value",
                field=name,
                given=str(value)[:80],
                allowed="a list",
            )
    adapters = tuple(_weight(ask, item) for item in listed)
    for name in ("init_image", "mask"):
        if form.get(name) is not None:
            ask.file(str(form[name]))
    plain = {"width", "height", "num_inference_steps", "guidance_scale", "guidance_rescale", "sampler"}
    defaults = {name: value for name, value in to_json(base.defaults).items() if name in plain}
    values = (
        defaults
        | read(GenerateRequest, form)
        | {
            "base": base.sha256,
            "adapters": to_json(adapters),
            "styles": [str(name) for name in styles],
        }
    )
    return from_json(GenerateRequest, values)


def _weight(ask: Ask, item: Any) -> AdapterWeight:
    """One LoRA of a stack with its weight as typed; a bad weight is named by the LoRA."""
    given = item if isinstance(item, dict) else {}
    entry = ask.adapter(str(given.get("sha256", "")))
    typed = {key: given[key] for key in ("weight", "text_encoder_weight", "start", "stop") if key in given}
    weights = read(AdapterWeight, typed)
    weight = weights.get("weight", 1.0)
    blocks = given.get("blocks") or []
    try:
        used = AdapterWeight(sha256=entry.sha256, name=entry.name, **weights)
    except InvalidInput as problem:
        if problem.values.get("field") != "weight":
            raise
        raise InvalidInput(
            f"The weight of {entry.name!r} was given as {str(weight)!r}; it must be a number from "
            f"{problem.values['allowed']}; change it and try again.",
            code="weight_not_a_number",
            field=f"weight:{entry.sha256}",
            name=entry.name,
            given=str(weight),
            allowed=problem.values["allowed"],
        ) from problem
    return replace(used, blocks=tuple(blocks) if isinstance(blocks, list) else blocks)


def _completed(ask: Ask, source: Cell, changes: dict[str, Any]) -> list[dict[str, Any]] | None:
    """What was really made for a cell: its texts with their styles as they were then; None where that is gone."""
    if source.job is None:
        return None
    try:
        payload = ask.owned_job(source.job).payload
    except NotFound:
        return None
    made = payload.get("requests")
    return [dict(request) | changes for request in made] if isinstance(made, list) and made else None


def _axis(given: Any) -> Axis | None:
    """An axis of a grid as a page sends it, its values as typed; None where there is none."""
    if given is None:
        return None
    table = given if isinstance(given, dict) else {}
    text = str(table.get("values", ""))
    values = read_values(text)
    if not values:
        raise _no_values(text)
    return Axis(str(table.get("what", "")), values, str(table.get("adapter") or ""))


def _no_values(text: str) -> InvalidInput:
    return InvalidInput(
        f"The values of the grid were given as {text[:80]!r}; write at least one number, like 0, 0.5, 1.",
        code="grid_empty",
        given=text[:80],
    )


def _asked(ask: Ask, kind: str, shown: dict[str, Any]) -> list[dict[str, Any]]:
    """The requests of a cell's pictures, from what the cell shows."""
    if kind == "picture":
        return [shown]
    if kind == "compare":
        return [shown["with"], shown["without"]]
    x, y = (None if shown[side] is None else from_json(Axis, shown[side]) for side in ("x", "y"))
    assert x is not None
    # The list of LoRAs says what acts; a tag, of a style too, would say something else in nearly every picture.
    request = styled(ask, from_json(GenerateRequest, shown["with"]))
    words = without_loras(request.prompt)
    plain = replace(request, prompt=words if words.strip() else NO_WORDS)
    return [to_json(one) for one in pictures_of(plain, x, y)]


def _hand_over(
    ask: Ask, kind: Any, shown: dict[str, Any], completed: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Write the cell, then submit the job that fills it. Asking twice with the same ids makes one cell and one job.

    Args:
        shown: what the cell shows, texts as typed (`Cell.request`).
        completed: what is handed to the engine instead, where that is known.
    """
    notebooks = ask.studio.workspace.notebooks
    notebook = notebooks.default(ask.owner)
    asked = completed or _asked(ask, kind, shown)
    job = ask.new_id("job")
    made = notebooks.add(notebook.id, kind, shown, job=job, cell_id=ask.new_id("cell"))
    cell = ask.cell()
    try:
        payload = {"requests": asked, "notebook": notebook.id, "cell": made.id}
        ask.studio.engine.submit(JobSpec(job, "generate", ask.owner, payload))
        ask.owned_job(job)
    except StudioError:
        notebooks.delete(cell.id)  # nothing will ever fill it
        raise
    return {"cell": _views(ask, [notebooks.cell(cell.id)])[0]}


def _views(ask: Ask, listed: list[Cell]) -> list[dict[str, Any]]:
    """Cells as they are shown."""
    jobs = jobs_of(ask.studio.workspace, listed)
    library = {entry.sha256: entry for entry in ask.library()}
    base = ask.studio.engine.info().base
    return [cell_view(cell, jobs.get(cell.id), library, base) for cell in listed]


ACTIONS = (cells, make, again, note, delete_cell, restore_cell)
