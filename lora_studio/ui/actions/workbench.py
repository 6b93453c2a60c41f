"""The workbench's tools for LoRAs of the library, and the way to what they made.

A page names LoRAs by sha256, and only those that it sees; of models on the server's disk only those that are offered.
"""

from __future__ import annotations

from typing import Any

from lora_studio.errors import InvalidInput, NotFound
from lora_studio.headers import header
from lora_studio.headers.factors import Factors, factors_of
from lora_studio.store.checkpoints import list_checkpoints
from lora_studio.store.names import free_name
from lora_studio.types import AdapterEntry, JobSpec, to_json
from lora_studio.types.workbench import TOOLS, CombineRequest, ExtractRequest, MetaRequest, files_of, tool_request
from lora_studio.ui.sizes import planned
from lora_studio.ui.studio import Ask, folder_name

EMBEDDED = "embedded"
"""The base that comes with the app."""


def workbench(ask: Ask) -> dict[str, Any]:
    """Hand a tool's request over to the engine; with a name the result enters the library.

    Raises:
        InvalidInput: there is no such tool, or the request is not allowed.
        NotFound: a LoRA, a picture or a model that the caller does not see.
    """
    payload, entries = _asked(ask)
    payload["labels"] = {entry.sha256: entry.name for entry in entries}
    name = ask.text("name", "").strip()
    spec = JobSpec(ask.new_id("job"), "workbench", ask.owner, payload | ({"name": name} if name else {}))
    return {"job": ask.studio.engine.submit(spec)}


def workbench_plan(ask: Ask) -> dict[str, Any]:
    """What a request would make: `name` that is free in the library, and `size` in bytes (None where it cannot be told
    before), the most that it may be where `most`; {"problem": the error} for a request that is not allowed, as forms
    are while somebody types. Raises `NotFound` as `workbench` does."""
    try:
        payload, entries = _asked(ask)
    except InvalidInput as problem:
        return {"problem": problem.as_json()}
    name = ask.text("name", "").strip()
    found = planned(tool_request(payload)[1], [_factors(ask, entry) for entry in entries])
    told = {"size": None, "most": False} if found is None else to_json(found)
    return told | {"name": free_name(name, [entry.name for entry in ask.library()]) if name else ""}


def workbench_models(ask: Ask) -> dict[str, Any]:
    """The models that can be compared: {"models": [{"ref", "title", "size"}], "folder": its name or None}."""
    folder = ask.studio.settings.checkpoints
    return {"models": _models(ask), "folder": None if folder is None else folder_name(folder)}


def _asked(ask: Ask) -> tuple[dict[str, Any], list[AdapterEntry]]:
    """A call's payload, checked, and the LoRAs that it names. Raises `InvalidInput` and `NotFound`."""
    tool = ask.text("tool")
    if tool not in TOOLS:
        raise InvalidInput(
            f"The workbench has no tool {tool[:80]!r}; it has {', '.join(TOOLS)}; choose one of these.",
            code="workbench_tool",
            given=tool[:80],
            allowed=", ".join(TOOLS),
        )
    payload = {"tool": tool, "request": ask.table("request")}
    _, request = tool_request(payload)
    if isinstance(request, ExtractRequest):
        _check_models(ask, request)
        return payload, []
    picture = request.thumbnail if isinstance(request, MetaRequest) else ""
    named = [part.file for part in request.parts] if isinstance(request, CombineRequest) else list(files_of(request))
    entries = [ask.adapter(sha256) for sha256 in named if sha256 != picture]
    if picture and picture not in {entry.cover for entry in entries}:
        raise NotFound(
            f"The picture {picture[:80]!r} is not this LoRA's; choose its own.",
            code="file_missing",
            sha256=picture[:80],
        )
    return payload, entries


def _models(ask: Ask) -> list[dict[str, Any]]:
    """What is offered: the app's own base, the one that is loaded, the files of the operator's folder."""
    base = ask.studio.engine.info().base
    found: dict[str, dict[str, Any]] = {EMBEDDED: {"ref": EMBEDDED, "title": None, "size": None}}
    if base is not None and base.ref != EMBEDDED:
        found[base.ref] = {"ref": base.ref, "title": base.title, "size": None}
    for file in list_checkpoints(ask.studio.settings.checkpoints):
        found.setdefault(file.name, {"ref": file.name, "title": file.name, "size": file.size})
    return list(found.values())


def _check_models(ask: Ask, request: ExtractRequest) -> None:
    """Raise `NotFound` for a model that is not offered: nobody may walk this machine's folders from a page."""
    offered = {model["ref"] for model in _models(ask)}
    for given in (request.before, request.after):
        if given not in offered:
            raise NotFound(
                f"The model {given[:80]!r} is not among those that this server offers; choose one of its list.",
                code="workbench_model",
                given=given[:80],
            )


def _factors(ask: Ask, entry: AdapterEntry) -> Factors | None:
    """What a LoRA's factors take; None where its header cannot be read."""
    path = ask.studio.workspace.files.path(entry.sha256)
    try:
        with path.open("rb") as file:
            return factors_of(header.read(file, path.stat().st_size))
    except header.HeaderDamagedError:
        return None


ACTIONS = (workbench, workbench_plan, workbench_models)
