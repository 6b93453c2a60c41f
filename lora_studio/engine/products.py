"""What the workbench made: files in the store, and an entry in the library.

What lay in the sources beside their factors, embeddings of their own, lies in the result too. It does not know tools.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from lora_studio.adapters.canonical import Dense, LayerChange
from lora_studio.adapters.embedding import TextEmbedding
from lora_studio.adapters.workbench.layouts import DTYPES, FilePart, named_for, write
from lora_studio.adapters.workbench.sealing import metadata_of, seal
from lora_studio.engine.bench import Bench, Product
from lora_studio.errors import NotFound
from lora_studio.headers import header
from lora_studio.headers.adapter import examine
from lora_studio.pipeline import Report
from lora_studio.pipeline.calls import Turn
from lora_studio.store import Workspace
from lora_studio.store.bundled import keep_bundled
from lora_studio.train.bundle import bundle
from lora_studio.types import LOCAL, AdapterEntry, JobSpec, to_json
from lora_studio.types.library import BUNDLED, bundled_text
from lora_studio.types.workbench import (
    BakeRequest,
    CombineRequest,
    ConvertRequest,
    ExtractRequest,
    ResizeRequest,
    files_of,
    tool_request,
)

MakingRequest = ConvertRequest | CombineRequest | ResizeRequest | ExtractRequest | BakeRequest
_SAME = ("convert", "resize", "bake", "meta")
"""Tools whose result is the same LoRA in another form."""
_GROWN = 2
"""A result with whole differences that is larger than its sources by this factor is told of."""
_SHORT = 12
"""Digits of a source's hash that a result tells: enough for whoever has the file to know it again, and no key to it."""


@dataclass(frozen=True)
class Facts:
    """What a finished file says of itself; `metadata` as an entry has them, alpha from whoever knows it."""

    family: str
    rank: int | None
    alpha: float | None
    trigger_words: tuple[str, ...]
    metadata: dict[str, str]


def written(
    spec: JobSpec, bench: Bench, request: MakingRequest, product: Product
) -> Generator[Any, Any, dict[str, Any]]:
    """The files of a product in the store, and the result."""
    layers = product.made.layers
    warnings = list(product.warnings)
    files = yield from _files(bench, request, product, warnings)
    yield Report("progress", {"phase": "export", "step": 1, "steps": 1})
    yield Turn()
    warnings += _grown(bench, request, product, sum(file["size"] for file in files))
    shares = product.made.retained
    ranks = sorted({int(getattr(change, "rank", 0)) for change in layers.values()} - {0})
    result = {
        "files": files,
        "format": request.to,
        "family": product.family,
        "rank": {"min": ranks[0], "max": ranks[-1]} if ranks else None,
        "layers": len(layers),
        "retained": {"mean": sum(shares.values()) / len(shares), "min": min(shares.values()), "layers": dict(shares)},
        "warnings": warnings,
    }
    if spec.payload.get("name") and request.to != "peft":
        sha256 = files[0]["sha256"]
        facts = facts_of(bench.workspace, sha256)
        alpha = float(facts.rank) if facts.rank and request.to == "kohya" else None  # as `layouts` writes it
        result |= entered(spec, bench.workspace, sha256, replace(facts, alpha=alpha))
    return result


def facts_of(workspace: Workspace, sha256: str) -> Facts:
    """What a file that was written here says in its header; its numbers, gigabytes at worst, are not read again."""
    path = workspace.files.path(sha256)
    with path.open("rb") as opened:
        named = header.read(opened, path.stat().st_size)
        told = examine(named)
        bundled = tuple(keep_bundled(workspace.files, opened, named, opened.tell()))
    metadata = dict(told.metadata) | ({BUNDLED: bundled_text(bundled)} if bundled else {})
    return Facts(told.family, told.rank, None, told.words, metadata)


def parent_of(spec: JobSpec, workspace: Workspace) -> AdapterEntry | None:
    """The entry of the one LoRA that a job makes another form of; None where there is none."""
    if spec.payload["tool"] not in _SAME:
        return None
    sha256 = files_of(tool_request(spec.payload)[1])[0]
    for owner in (spec.owner, LOCAL):  # what lies in folders is the command line's, and seen by everybody
        with contextlib.suppress(NotFound):
            return workspace.adapters.get(sha256, owner)
    return None


def entered(
    spec: JobSpec, workspace: Workspace, sha256: str, facts: Facts, said: tuple[str, ...] = ()
) -> dict[str, Any]:
    """A result's entry in the library. What people said of the one file that it was made of goes on being said.

    Args:
        said: trigger words that the source's header said: where the result says them no longer, they were taken out.
    """
    parent = parent_of(spec, workspace)
    words = () if parent is None or parent.trigger_words == said else parent.trigger_words
    entry = workspace.adapters.add(
        AdapterEntry(
            sha256=sha256,
            name=str(spec.payload["name"]),
            owner=spec.owner,
            created=time.time(),
            size=workspace.files.path(sha256).stat().st_size,
            base_sha256=facts.metadata.get("lora_studio_base_sha256", "") or (parent.base_sha256 if parent else ""),
            family=facts.family or (parent.family if parent else ""),
            rank=facts.rank,
            alpha=facts.alpha,
            trigger_words=facts.trigger_words or words,
            cover=parent.cover if parent else None,
            metadata=facts.metadata,
        )
    )
    return {"adapter": entry.sha256, "name": entry.name}


# ---------------------------------------------------------------- files
def _files(
    bench: Bench, request: MakingRequest, product: Product, warnings: list[dict[str, Any]]
) -> Generator[Turn, None, list[dict[str, Any]]]:
    """The files of a product, taken into the store; what is to be said of them is added to `warnings`."""
    settings = {k: v for k, v in to_json(request).items() if k not in ("file", "parts", "before", "after")}
    sources = [source.adapter.key[:_SHORT] for source in product.sources]
    how = {"tool": bench.payload["tool"], "settings": settings, "from": sources}
    layers = named_for(product.made.layers, request.to, product.family)
    metadata = metadata_of([source.report.metadata for source in product.sources], layers, how)
    beside = _bundled(product, request.to, warnings)
    files = []
    for part in write(layers, request.to, DTYPES[request.dtype], product.sdxl, product.family):
        files += _kept(bench, part, metadata, beside)
        yield Turn()
    return files


def _kept(bench: Bench, part: FilePart, metadata: dict[str, str], beside: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """One part of a layout, sealed and taken into the store, with the config beside it."""
    path = bench.folder / "made.safetensors"
    seal({**part.tensors, **beside}, metadata, path)
    names = {part.name or "adapter.safetensors": path}
    if part.config:
        text = bench.folder / "made.json"
        text.write_text(part.config, encoding="utf-8")
        names[f"{part.name.rpartition('adapter_model.safetensors')[0]}adapter_config.json"] = text
    store = bench.workspace.files
    return [{"name": name, "sha256": store.put_file(file), "size": file.stat().st_size} for name, file in names.items()]


def _bundled(product: Product, layout: str, warnings: list[dict[str, Any]]) -> dict[str, Tensor]:
    """The tensors of the embeddings that lie in the sources; peft's folders have no place for them."""
    found: dict[str, TextEmbedding] = {}
    twice: list[str] = []
    for source in product.sources:
        for name, embedding in source.report.bundled.items():
            if found.setdefault(name, embedding).sha256 != embedding.sha256:
                twice.append(name)
    if found and layout == "peft":
        names = ", ".join(found)[:200]
        warnings.append(
            {
                "code": "workbench_bundled_left",
                "message": f"The embeddings that came within it ({names}) are left out: peft's layout has no place for "
                "them.",
                "values": {"names": names},
            }
        )
        return {}
    if twice:
        names = ", ".join(dict.fromkeys(twice))[:200]
        warnings.append(
            {
                "code": "workbench_bundled_twice",
                "message": f"Several of them bring an embedding called {names}, and not the same: the first one's is "
                "in the result.",
                "values": {"names": names},
            }
        )
    return {key: rows for embedding in found.values() for key, rows in bundle(embedding).items()}


def _grown(bench: Bench, request: MakingRequest, product: Product, size: int) -> list[dict[str, Any]]:
    """A warning where layers had to be written as whole differences, and the result is much larger for it."""
    whole = sum(_is_whole(change) for change in product.made.layers.values())
    named = files_of(request)
    before = sum(bench.path(sha256).stat().st_size for sha256 in named)
    if not whole or not named or size <= _GROWN * before:
        return []
    megabytes = f"{size / 1e6:.3g}"
    return [
        {
            "code": "workbench_grown",
            "message": f"{whole} of its layers are whole differences, which no factors hold exactly: the result has "
            f"{megabytes} MB, {size / before:.0f} times what it was made of; resize it to a rank to have a small one.",
            "values": {"layers": whole, "size": megabytes, "times": f"{size / before:.0f}"},
        }
    ]


def _is_whole(change: LayerChange) -> bool:
    """True for a matrix of differences; a norm's vector is none."""
    return isinstance(change, Dense) and len(change.shape) > 1
