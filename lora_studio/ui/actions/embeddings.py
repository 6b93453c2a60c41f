"""The library of embeddings: renaming, deleting, bringing back. The list itself comes with the LoRAs (`library`)."""

from __future__ import annotations

import time
from typing import Any

from lora_studio.store.embeddings import UNDO_SECONDS
from lora_studio.types import JobSpec
from lora_studio.ui.studio import Ask
from lora_studio.ui.views import embedding_view


def rename_embedding(ask: Ask) -> dict[str, Any]:
    """Let prompts call an embedding something else; a taken name gets a number."""
    entry = ask.embedding()
    renamed = ask.studio.workspace.embeddings.rename(entry.sha256, ask.text("name"), entry.owner)
    return {"embedding": embedding_view(renamed, ask.studio.engine.info().base)}


def delete_embedding(ask: Ask) -> dict[str, Any]:
    """Take an embedding out of the library; `restore_embedding` brings it back for an hour."""
    entry = ask.embedding()
    embeddings = ask.studio.workspace.embeddings
    embeddings.delete(entry.sha256, entry.owner)
    embeddings.purge(time.time() - UNDO_SECONDS)
    return {}


def restore_embedding(ask: Ask) -> dict[str, Any]:
    """Bring a deleted embedding back."""
    entry = ask.embedding(deleted=True)
    restored = ask.studio.workspace.embeddings.restore(entry.sha256, entry.owner)
    return {"embedding": embedding_view(restored, ask.studio.engine.info().base)}


def import_embedding(ask: Ask, sha256: str, name: str) -> dict[str, Any]:
    """Hand an embedding's file that lies in the store over to the engine, which checks it and enters it."""
    spec = JobSpec(ask.new_id("job"), "import_embedding", ask.owner, {"file": sha256, "name": name})
    return {"job": ask.studio.engine.submit(spec)}


ACTIONS = (rename_embedding, delete_embedding, restore_embedding)
