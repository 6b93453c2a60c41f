"""Files that are brought in: checked against the base, then entered into the library.

A `.safetensors` may be a LoRA or an embedding, and people cannot be asked to know: whoever drops one as a LoRA gets
what it is. It does not know turns; while another process opens a file, others have theirs.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Mapping
from typing import Any

from lora_studio.adapters import embedding as embeddings
from lora_studio.adapters.bundled import file_of as embeddings_file
from lora_studio.adapters.door import FileOptions, admitting, read_header
from lora_studio.adapters.embedding import TextEmbedding, is_embedding, kind_of
from lora_studio.adapters.unpacking import ELSEWHERE
from lora_studio.engine.adapter_cache import remember
from lora_studio.engine.jobs import Tools
from lora_studio.errors import AdapterRefused, NotFound
from lora_studio.pipeline import JobGenerator, Report
from lora_studio.pipeline.calls import Turn, WaitElsewhere
from lora_studio.store import Workspace
from lora_studio.store.bundled import header_cover
from lora_studio.types import AdapterEntry, EmbeddingEntry, JobSpec, to_json
from lora_studio.types.library import BUNDLED, bundled_text

Reading = Generator[Any, None, Any]
"""A door that reads a file; see `ELSEWHERE` for what it yields."""


def open_import_adapter(spec: JobSpec, tools: Tools) -> JobGenerator:
    """Check a LoRA file against the base and enter it into the library; an embedding's file becomes an embedding.

    A pickle is entered as the safetensors file that another process makes of it, so that it is opened only once. What
    peft's `adapter_config.json` says (payload `config`, its text) becomes part of the file that is entered.
    """
    sha256 = str(spec.payload["file"])
    workspace = tools.workspace
    path = workspace.files.path(sha256)
    name = str(spec.payload.get("name") or "").strip()
    pickled = kind_of(path) == "torch"
    if not pickled:
        named = read_header(path, name or path.name)
        named.pop("__metadata__", None)
        if is_embedding(named):
            return (yield from open_import_embedding(spec, tools))
    options = FileOptions(label=name, config=str(spec.payload.get("config") or ""), weights=tools.base.slots)
    reading: Reading = admitting(path, sha256, tools.base.layers, tools.base.info.sha256, options=options)
    with contextlib.closing(reading):
        while True:
            try:
                told = next(reading)
            except StopIteration as end:
                adapter, report = end.value
                break
            except AdapterRefused as refusal:
                if pickled and refusal.code in ("adapter_layout", "adapter_empty"):
                    return (yield from open_import_embedding(spec, tools))
                raise
            yield WaitElsewhere() if told == ELSEWHERE else Turn()
    if report.converted is not None:
        sha256 = workspace.files.put_bytes(report.converted, ".safetensors")
    yield Report("progress", {"phase": "load", "step": 1, "steps": 1})
    meta = {key: value for key, value in adapter.metadata.items() if key != BUNDLED}
    bundled = _bundled(workspace, report.bundled)
    if bundled:
        meta[BUNDLED] = bundled_text(bundled)
    entry = workspace.adapters.add(
        AdapterEntry(
            sha256=sha256,
            name=name or meta.get("modelspec.title") or meta.get("ss_output_name") or sha256[:12],
            owner=spec.owner,
            created=time.time(),
            size=workspace.files.path(sha256).stat().st_size,
            base_sha256=meta.get("lora_studio_base_sha256", ""),
            family=tools.base.info.family,
            rank=report.rank,
            alpha=report.alpha,
            trigger_words=report.trigger_words,
            metadata=meta,
            stem=name,
            cover=header_cover(workspace.files, meta),
        )
    )
    remember(workspace, sha256, report, tools.base.info)
    return {"adapter": entry.sha256, "name": entry.name, "warnings": to_json(report.warnings)}


def _bundled(workspace: Workspace, embeddings: Mapping[str, TextEmbedding]) -> list[EmbeddingEntry]:
    """The embeddings that came within a LoRA, each kept as a file of its own beside it."""
    found = []
    for name, embedding in embeddings.items():
        data = embeddings_file(embedding)
        sha256 = workspace.files.put_bytes(data, ".safetensors")
        found.append(EmbeddingEntry(sha256, name, "", time.time(), len(data), embedding.count, dict(embedding.widths)))
    return found


def open_import_embedding(spec: JobSpec, tools: Tools) -> JobGenerator:
    """Check an embedding's file against the base and enter it into the library, with its safetensors form."""
    sha256 = str(spec.payload["file"])
    workspace = tools.workspace
    path = workspace.files.path(sha256)
    name = str(spec.payload.get("name") or "").strip() or sha256[:12]
    reading: Reading = embeddings.admitting(path, sha256, tools.base.text_widths, name)
    with contextlib.closing(reading):
        while True:
            try:
                told = next(reading)
            except StopIteration as end:
                embedding, report = end.value
                break
            yield WaitElsewhere() if told == ELSEWHERE else Turn()
    yield Report("progress", {"phase": "load", "step": 1, "steps": 1})
    tensors = _kept_form(workspace, sha256, report.tensors)
    entry = workspace.embeddings.add(
        EmbeddingEntry(
            sha256=sha256,
            name=name,
            owner=spec.owner,
            created=time.time(),
            size=path.stat().st_size,
            vectors=embedding.count,
            widths=embedding.widths,
            tensors=tensors,
            metadata=dict(report.metadata),
        )
    )
    return {
        "embedding": entry.sha256,
        "name": entry.name,
        "vectors": entry.vectors,
        "warnings": to_json(report.warnings),
    }


def _kept_form(workspace: Workspace, sha256: str, made: bytes | None) -> str:
    """sha256 of an embedding's safetensors form in the store, "" where it is that form itself.

    A file that is in the library already keeps the form it has: the same vectors need not give the same bytes twice.
    """
    if made is None:
        return ""
    with contextlib.suppress(NotFound):
        known = workspace.embeddings.get(sha256).tensors
        if known and workspace.files.has(known):
            return known
    return workspace.files.put_bytes(made, ".safetensors")
