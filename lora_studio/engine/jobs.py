"""From specs to generators: what each kind of job does, between the store and the model rooms.

Checks of a payload stand here too, so that a bad one is refused when it is submitted. Files that are brought in are
`imports`' business. It does not know turns.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lora_studio.adapters import CanonicalAdapter, admit, embedding
from lora_studio.adapters.embedding import TextEmbedding
from lora_studio.dataset.captions import common_words
from lora_studio.dataset.examples import Example, examples_for
from lora_studio.engine.adapter_cache import AdapterCache
from lora_studio.engine.completion import requests_of
from lora_studio.engine.embedding_cache import EmbeddingCache
from lora_studio.engine.folder_cache import FolderCache
from lora_studio.engine.sources import NOTHING, Policy, read_source
from lora_studio.errors import InvalidInput, NotAllowed
from lora_studio.generate import Picture, generate
from lora_studio.generate.job import check_fits
from lora_studio.pipeline import JobGenerator, Report, SharedBase
from lora_studio.store import Workspace
from lora_studio.train import Controls, train
from lora_studio.train.bundle import WordFile
from lora_studio.train.state import learnt_on
from lora_studio.types import (
    NO_BASE,
    AdapterEntry,
    BaseChoice,
    BaseInfo,
    EmbeddingEntry,
    JobSpec,
    TrainConfig,
    from_json,
)
from lora_studio.types.library import BUNDLED, bundled_text
from lora_studio.types.train import check_base
from lora_studio.types.workbench import files_of, tool_request


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
    return examples_for(manifest.items, config.trigger, workspace.files.path, config.embedding)


def check_continue(workspace: Workspace, job_id: str, base: BaseInfo | None) -> None:
    """Refuse to go on with a run on another base than its own, before anything of the run is changed.

    Args:
        base: the loaded one; None while another is being loaded, which the run itself then looks at.

    Raises:
        NotFound: there is no such run, or its checkpoint is gone.
        InvalidInput: another base is loaded.
    """
    job = workspace.jobs.get(job_id)
    if base is not None and job.state in ("interrupted", "failed"):  # others do not go on, which the store says
        check_base(str(job.payload.get("config", {}).get("base", "")), base)
        kept = workspace.jobs.checkpoint(job_id)
        if kept is not None:
            check_base(learnt_on(workspace.files.path(kept[1])), base)


def check(spec: JobSpec, workspace: Workspace, base: SharedBase | None, downloads: Policy = NOTHING) -> None:
    """Raise one sentence for a payload that could not be done; `base` None when another is about to be loaded."""
    if spec.kind == "generate":
        for request in requests_of(spec.payload):
            for adapter in request.adapters:
                workspace.files.path(adapter.sha256)
            for use in request.embeddings:
                if not workspace.files.has(use.sha256):  # one that came within a LoRA has no entry of its own
                    workspace.embeddings.get(use.sha256)
            if base is not None:
                check_fits(base, request)
    elif spec.kind == "train":
        if "resume" in spec.payload:
            check_continue(workspace, str(spec.payload["resume"]), None if base is None else base.info)
        else:
            config = config_of(spec.payload)
            if config.embedding:
                workspace.embeddings.check_free(config.embedding, spec.owner)
            examples_of(workspace, config, spec.owner)
    elif spec.kind == "load_base":
        choice = from_json(BaseChoice, spec.payload)
        if choice.base.strip() == NO_BASE:
            raise InvalidInput(
                f"The base was given as {choice.base!r}, which is the word for having none; give 'embedded', a folder, "
                "a .safetensors file, or a Hugging Face id.",
                code="base_none",
                given=choice.base,
            )
    elif spec.kind in ("import_adapter", "import_embedding"):
        workspace.files.path(str(spec.payload.get("file", "")))
    elif spec.kind == "workbench":
        for sha256 in files_of(tool_request(spec.payload)[1]):
            workspace.files.path(sha256)
    elif spec.kind == "download_adapter":
        read_source(str(spec.payload.get("source", "")), downloads)


@dataclass(frozen=True)
class Tools:
    """What every kind of job may use."""

    workspace: Workspace
    base: SharedBase
    adapters: AdapterCache
    embeddings: EmbeddingCache
    latents: FolderCache
    downloads: Policy = NOTHING
    """From where files may be fetched."""


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
        keep=False,
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
        admit_word=lambda data: _admit_word(data, tools.base, config.embedding),
    )
    result = yield from train(tools.base, examples, config, controls)
    cover = None if result.cover is None else workspace.files.put_bytes(result.cover, ".png")
    sha256 = workspace.files.put_bytes(result.file, ".safetensors")
    bundled = {} if result.word is None else {BUNDLED: bundled_text([_word_entry(result.word, spec, workspace)])}
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
            trigger_words=trigger_words(result.metadata, [example.caption for example in examples]),
            cover=cover,
            run=spec.id,
            metadata=result.metadata | bundled,
        )
    )
    word = {} if result.word is None else {"embedding": (yield from _enter_word(result.word, spec, workspace))}
    return word | {
        "adapter": sha256,
        "name": entry.name,
        "steps": result.steps,
        "seconds": round(result.seconds, 3),
        "final_loss": result.final_loss,
        "trainable_parameters": result.trainable_parameters,
        "base_parameters": result.base_parameters,
    }


def _enter_word(word: WordFile, spec: JobSpec, workspace: Workspace) -> Generator[Report, None, dict[str, Any]]:
    """Put a learnt word into the library of embeddings; what the training's result says of it."""
    entry = workspace.embeddings.add(_word_entry(word, spec, workspace))
    if entry.name != word.name:
        message = (
            f"An embedding {word.name!r} came into the library meanwhile: the one that was learnt is called "
            f"{entry.name!r} there."
        )
        values = {"given": word.name, "name": entry.name}
        yield Report("warning", {"code": "embedding_renamed", "message": message, "values": values})
    return {"sha256": entry.sha256, "name": entry.name, "vectors": entry.vectors}


def _word_entry(word: WordFile, spec: JobSpec, workspace: Workspace) -> EmbeddingEntry:
    """A learnt word as the library would hold it; its file is put into the store."""
    return EmbeddingEntry(
        sha256=workspace.files.put_bytes(word.data, ".safetensors"),
        name=word.name,
        owner=spec.owner,
        created=time.time(),
        size=len(word.data),
        vectors=word.vectors,
        widths=word.widths,
        metadata=word.metadata,
    )


def trigger_words(metadata: Mapping[str, str], captions: Sequence[str]) -> tuple[str, ...]:
    """What the file says calls it; where it says nothing the longest run of words that every caption of the set has:
    the library, unlike the file, goes to nobody."""
    words = metadata.get("modelspec.trigger_phrase", "").strip() or common_words(captions)
    return (words,) if words else ()


def _admit_bytes(data: bytes, base: SharedBase) -> CanonicalAdapter:
    """Read a finished file by our own reader, as if it had come from somebody else."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "adapter.safetensors"
        path.write_bytes(data)
        return admit(path, hashlib.sha256(data).hexdigest(), base.layers, base.info.sha256)[0]


def _admit_word(data: bytes, base: SharedBase, name: str) -> TextEmbedding:
    """The same for the file of a learnt word."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.safetensors"
        path.write_bytes(data)
        return embedding.admit(path, hashlib.sha256(data).hexdigest(), base.text_widths, name)[0]
