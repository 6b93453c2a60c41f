"""From specs to generators: what each kind of job does, between the store and the model rooms.

Checks of a payload stand here too, so that a bad one is refused when it is submitted. Files that are brought in are
`imports`' business. It does not know turns.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lora_studio.adapters import CanonicalAdapter, admit
from lora_studio.dataset.captions import common_words
from lora_studio.dataset.examples import Example, examples_for
from lora_studio.engine.adapter_cache import AdapterCache
from lora_studio.engine.completion import requests_of
from lora_studio.engine.embedding_cache import EmbeddingCache
from lora_studio.engine.folder_cache import FolderCache
from lora_studio.errors import InvalidInput, NotAllowed
from lora_studio.generate import Picture, generate
from lora_studio.generate.job import check_fits
from lora_studio.pipeline import JobGenerator, Report, SharedBase
from lora_studio.store import Workspace
from lora_studio.train import Controls, train
from lora_studio.types import AdapterEntry, BaseChoice, JobSpec, TrainConfig, from_json


def config_of(payload: dict[str, Any]) -> TrainConfig:
    """The settings of a train payload."""
    if "config" not in payload:
        raise InvalidInput(
            "The payload of train holds no settings; give 'config' or 'resume'.", code="payload", given="train"
        )
    return from_json(TrainConfig, payload["config"])


def examples_of(workspace: Workspace, config: TrainConfig, owner: str) -> list[Example]:
    """The pictures and captions that a run learns from.

    Raises:
        NotFound: there is no such dataset.
        NotAllowed: it is somebody else's.
        DatasetError: no pictures, or one with neither caption nor trigger word.
    """
    manifest = workspace.datasets.get(config.dataset)
    if manifest.owner != owner:
        raise NotAllowed(
            f"The set of pictures {config.dataset!r} is somebody else's; choose one of your own.",
            code="dataset_not_yours",
            given=config.dataset,
        )
    return examples_for(manifest.items, config.trigger, workspace.files.path)


def check(spec: JobSpec, workspace: Workspace, base: SharedBase | None) -> None:
    """Raise one sentence for a payload that could not be done; `base` None when another is about to be loaded."""
    if spec.kind == "generate":
        for request in requests_of(spec.payload):
            for adapter in request.adapters:
                workspace.files.path(adapter.sha256)
            for embedding in request.embeddings:
                workspace.embeddings.get(embedding.sha256)
            if base is not None:
                check_fits(base, request)
    elif spec.kind == "train":
        if "resume" in spec.payload:
            workspace.jobs.get(str(spec.payload["resume"]))
        else:
            examples_of(workspace, config_of(spec.payload), spec.owner)
    elif spec.kind == "load_base":
        from_json(BaseChoice, spec.payload)
    elif spec.kind in ("import_adapter", "import_embedding"):
        workspace.files.path(str(spec.payload.get("file", "")))


@dataclass(frozen=True)
class Tools:
    """What every kind of job may use."""

    workspace: Workspace
    base: SharedBase
    adapters: AdapterCache
    embeddings: EmbeddingCache
    latents: FolderCache


def open_generate(spec: JobSpec, tools: Tools) -> JobGenerator:
    """Pictures, each told of as it is finished; returns the result of a generate job."""
    requests = requests_of(spec.payload)
    began = time.monotonic()
    told: set[str] = set()
    for adapter in (a for request in requests for a in request.adapters if a.weight != 0.0):
        _, warnings = tools.adapters.get(adapter.sha256)
        if adapter.sha256 not in told:
            told.add(adapter.sha256)
            for warning in warnings:
                yield Report("warning", warning | {"adapter": adapter.sha256, "name": adapter.name})
    pictures: list[Picture] = yield from generate(
        tools.base,
        requests,
        lambda sha256: tools.adapters.get(sha256)[0],
        embedding=tools.embeddings.get,
        known_as=tools.workspace.adapters.short_hash,
    )
    sizes = [{"seed": p.seed, "width": p.request.width, "height": p.request.height} for p in pictures]
    return {"images": sizes, "seconds": round(time.monotonic() - began, 3)}


def open_train(
    spec: JobSpec, tools: Tools, checkpoint: bytes | None, ask: Callable[[], Literal["go", "finish", "pause"]]
) -> JobGenerator:
    """A training; its adapter enters the library before the job is done."""
    workspace = tools.workspace
    config = config_of(spec.payload)
    examples = examples_of(workspace, config, spec.owner)
    controls = Controls(
        cache=tools.latents,
        checkpoint=checkpoint,
        ask=ask,
        admit=lambda data: _admit_bytes(data, tools.base),
    )
    result = yield from train(tools.base, examples, config, controls)
    cover = None if result.cover is None else workspace.files.put_bytes(result.cover, ".png")
    sha256 = workspace.files.put_bytes(result.file, ".safetensors")
    entry = workspace.adapters.add(
        AdapterEntry(
            sha256=sha256,
            name=config.name,
            owner=spec.owner,
            created=time.time(),
            size=len(result.file),
            base_sha256=tools.base.info.sha256,
            family=tools.base.info.family,
            rank=config.rank,
            alpha=float(config.rank if config.alpha is None else config.alpha),
            trigger_words=trigger_words(config.trigger, [example.caption for example in examples]),
            cover=cover,
            run=spec.id,
            metadata=result.metadata,
        )
    )
    return {
        "adapter": sha256,
        "name": entry.name,
        "steps": result.steps,
        "seconds": round(result.seconds, 3),
        "final_loss": result.final_loss,
        "trainable_parameters": result.trainable_parameters,
        "base_parameters": result.base_parameters,
    }


def trigger_words(trigger: str, captions: Sequence[str]) -> tuple[str, ...]:
    """The trigger word, or without one the longest run of words that every caption of the set has."""
    words = trigger.strip() or common_words(captions)
    return (words,) if words else ()


def _admit_bytes(data: bytes, base: SharedBase) -> CanonicalAdapter:
    """Read a finished file by our own reader, as if it had come from somebody else."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "adapter.safetensors"
        path.write_bytes(data)
        return admit(path, hashlib.sha256(data).hexdigest(), base.layers, base.info.sha256)[0]
