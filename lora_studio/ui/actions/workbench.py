"""The workbench's tools for LoRAs of the library, and the way to what they made.

A page names LoRAs by sha256, and only those that it sees; models on the server's disk cannot be named here.
"""

from __future__ import annotations

from typing import Any

from lora_studio.errors import InvalidInput, NotFound
from lora_studio.types import JobSpec
from lora_studio.types.workbench import CombineRequest, MetaRequest, files_of, tool_request
from lora_studio.ui.studio import Ask

PAGE_TOOLS = ("inspect", "convert", "combine", "resize", "bake", "meta")
"""What a page may ask for: `extract` reads folders of this machine, which the command line alone may name."""


def workbench(ask: Ask) -> dict[str, Any]:
    """Hand a tool's request over to the engine; with a name the result enters the library.

    Raises:
        InvalidInput: there is no such tool, or the request is not allowed.
        NotFound: a LoRA or picture that the caller does not see.
    """
    tool = ask.text("tool")
    if tool not in PAGE_TOOLS:
        raise InvalidInput(
            f"The workbench has no tool {tool[:80]!r}; it has {', '.join(PAGE_TOOLS)}; choose one of these.",
            code="workbench_tool",
            given=tool[:80],
            allowed=", ".join(PAGE_TOOLS),
        )
    payload = {"tool": tool, "request": ask.table("request")}
    _, request = tool_request(payload)
    picture = request.thumbnail if isinstance(request, MetaRequest) else ""
    named = [part.file for part in request.parts] if isinstance(request, CombineRequest) else list(files_of(request))
    entries = [ask.adapter(sha256) for sha256 in named if sha256 != picture]
    if picture and picture not in {entry.cover for entry in entries}:
        raise NotFound(
            f"The picture {picture[:80]!r} is not this LoRA's; choose its own.",
            code="file_missing",
            sha256=picture[:80],
        )
    payload["labels"] = {entry.sha256: entry.name for entry in entries}
    name = ask.text("name", "").strip()
    spec = JobSpec(ask.new_id("job"), "workbench", ask.owner, payload | ({"name": name} if name else {}))
    return {"job": ask.studio.engine.submit(spec)}


ACTIONS = (workbench,)
