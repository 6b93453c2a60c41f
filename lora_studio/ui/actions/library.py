"""The library of LoRA files: looking, renaming, deleting."""

from __future__ import annotations

from typing import Any

from lora_studio.types import JobSpec
from lora_studio.ui.studio import Ask
from lora_studio.ui.views import adapter_view, embedding_view, requests_in


def library(ask: Ask) -> dict[str, Any]:
    """The LoRAs that the caller sees, newest first, samples last; and the embeddings, newest first."""
    base = ask.studio.engine.info().base
    embeddings = ask.studio.workspace.embeddings.list(ask.owner)
    return {
        "adapters": [adapter_view(entry, base) for entry in ask.library()],
        "embeddings": [embedding_view(entry, base) for entry in embeddings],
    }


def rename_adapter(ask: Ask) -> dict[str, Any]:
    """Give a LoRA another name; a taken name gets a number."""
    entry = ask.adapter()
    renamed = ask.studio.workspace.adapters.update(entry.sha256, owner=entry.owner, name=ask.text("name"))
    return {"adapter": adapter_view(renamed, ask.studio.engine.info().base)}


def adapter_uses(ask: Ask) -> dict[str, Any]:
    """How many of the caller's cells use a LoRA, asked before it is deleted; and the first few prompts of them."""
    entry = ask.adapter()
    workspace = ask.studio.workspace
    prompts = []
    for notebook in workspace.notebooks.list(ask.owner):
        for cell in workspace.notebooks.cells(notebook.id):
            request = requests_in(cell).get("with", {})
            if any(used.get("sha256") == entry.sha256 for used in request.get("adapters", [])):
                prompts.append(str(request.get("prompt", "")))
    return {"cells": len(prompts), "prompts": prompts[:3]}


def delete_adapter(ask: Ask) -> dict[str, Any]:
    """Remove a LoRA and its file for good; cells that used it keep their pictures and say that it is gone."""
    entry = ask.adapter()
    ask.studio.workspace.adapters.delete(entry.sha256, entry.owner)
    return {}


def import_adapter(ask: Ask, sha256: str, name: str) -> dict[str, Any]:
    """Hand a LoRA file that lies in the store over to the engine, which checks it and enters it into the library."""
    spec = JobSpec(ask.new_id("job"), "import_adapter", ask.owner, {"file": sha256, "name": name})
    return {"job": ask.studio.engine.submit(spec)}


ACTIONS = (library, rename_adapter, adapter_uses, delete_adapter)
