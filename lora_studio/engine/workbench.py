"""The workbench's jobs: files of the store in, files of the store out, a turn between two layers.

A file is read for the loaded base where it fits it, else for the layers of its family, so that nothing needs a base but
what depends on one: changes like DoRA's, and names of layers that the file does not tell. It does not know who asks.

The result of every tool but inspect and meta (see `inspection` and `metadata`): {"tool", "files": [{"name", "sha256",
"size"}], "format", "family", "rank": {"min", "max"}, "layers", "retained": {"mean", "min", "layers": {layer: share}},
"warnings"} and, where it entered the library, "adapter", "name".
"""

from __future__ import annotations

import contextlib
import re
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_studio.adapters import AdapterReport, CanonicalAdapter
from lora_studio.adapters.canonical import LayerChange
from lora_studio.adapters.door import FileOptions, inspect
from lora_studio.adapters.formats import families, originals
from lora_studio.adapters.workbench.checkpoint import open_checkpoint
from lora_studio.adapters.workbench.combine import How, Made, Part, combine
from lora_studio.adapters.workbench.extract import extract, most_bytes
from lora_studio.adapters.workbench.layouts import DTYPES, named_for, write
from lora_studio.adapters.workbench.plain import WeightOf, no_weights
from lora_studio.adapters.workbench.progress import Done
from lora_studio.adapters.workbench.ranks import Target
from lora_studio.adapters.workbench.resize import bake, resize
from lora_studio.adapters.workbench.sealing import metadata_of, seal
from lora_studio.engine.inspection import inspected
from lora_studio.engine.metadata import edited
from lora_studio.errors import InvalidInput, NotFound
from lora_studio.headers.adapter import TITLES
from lora_studio.pipeline import JobGenerator, Report, SharedBase
from lora_studio.pipeline.calls import Turn
from lora_studio.pipeline.source import find_base
from lora_studio.store import Workspace
from lora_studio.types import AdapterEntry, JobSpec, to_json
from lora_studio.types.library import BUNDLED
from lora_studio.types.workbench import (
    BakeRequest,
    CombineRequest,
    ConvertRequest,
    ExtractRequest,
    InspectRequest,
    MetaRequest,
    RankRule,
    ResizeRequest,
    files_of,
    tool_request,
)

MakingRequest = ConvertRequest | CombineRequest | ResizeRequest | ExtractRequest | BakeRequest
_SAME = ("convert", "resize", "bake", "meta")
"""Tools whose result is the same LoRA in another form."""
_OF_UNETS = (*families.USABLE, "lora-studio-base")
_A_UNET = "Stable Diffusion"
"""What a UNet's file of no known family is called beside a transformer's."""
_UNDERSCORED = re.compile(r"(blocks|layers|attentions|resnets)_\d")


FindModel = Callable[[str], Path]
"""Where the model lies that a name means. Raises `BaseUnavailable`."""


def find_model(ref: str) -> Path:
    """A model by its path alone, or one that was fetched from the hub before. Raises `BaseUnavailable`."""
    return find_base(ref, Path(ref), offline=True).path


@dataclass(frozen=True, eq=False)
class Bench:
    """What a tool may use: the store, the loaded base or None, the job's payload, and a folder of its own."""

    workspace: Workspace
    base: SharedBase | None
    payload: Mapping[str, Any]
    folder: Path
    find: FindModel

    def label(self, sha256: str) -> str:
        """What sentences call a file."""
        return str(dict(self.payload.get("labels", {})).get(sha256, "")) or f"The file {sha256[:12]}"

    def path(self, sha256: str) -> Path:
        """Where a file lies. Raises `NotFound`."""
        return self.workspace.files.path(sha256)

    def options(self, sha256: str) -> FileOptions:
        """What the door is told beside a file."""
        config = dict(self.payload.get("configs", {})).get(sha256, "")
        weights = None if self.base is None else self.base.slots
        return FileOptions(self.label(sha256), str(config), weights)


@dataclass(frozen=True, eq=False)
class Source:
    """One file, read; `weight_of` gives the base's weights where it `fits` the loaded base."""

    adapter: CanonicalAdapter
    report: AdapterReport
    weight_of: WeightOf = no_weights
    fits: bool = False


@dataclass(frozen=True, eq=False)
class Product:
    """What a tool made, and of what."""

    made: Made
    sources: tuple[Source, ...]
    sdxl: bool
    warnings: list[dict[str, Any]] = field(default_factory=list)


def open_workbench(
    spec: JobSpec, workspace: Workspace, base: SharedBase | None, find: FindModel = find_model
) -> JobGenerator:
    """Run one tool; see the module's docstring for its result."""
    tool, request = tool_request(spec.payload)
    with tempfile.TemporaryDirectory(prefix="lora-studio-") as folder:
        bench = Bench(workspace, base, spec.payload, Path(folder), find)
        if isinstance(request, InspectRequest):
            return {"tool": tool} | (yield from _told(inspected(request, bench.path, bench.options, base)))
        if isinstance(request, MetaRequest):
            result = {"tool": tool} | edited(request, workspace, bench.label(request.file), bench.folder)
            if result["files"] and spec.payload.get("name"):
                source = _read(bench, request.file)
                result |= _entered(spec, workspace, result["files"][0]["sha256"], source.report)
            return result
        product = yield from _made(request, bench)
        return {"tool": tool} | (yield from _written(spec, bench, request, product))


def _made(request: MakingRequest, bench: Bench) -> Generator[Any, Any, Product]:
    """The changes that a tool makes."""
    if isinstance(request, ExtractRequest):
        return (yield from _extracted(request, bench))
    sources = tuple(_read(bench, sha256) for sha256 in files_of(request))
    first = sources[0]
    if isinstance(request, CombineRequest):
        parts = [
            Part(source.adapter, part.weight, part.text_encoder_weight)
            for source, part in zip(sources, request.parts, strict=True)
        ]
        _same_family(bench, request, sources)
        how = How(request.method, request.rank, request.density, request.election, request.seed)  # type: ignore[arg-type]
        made = yield from _told(combine(parts, how, first.weight_of))
    elif isinstance(request, ResizeRequest):
        made = yield from _told(resize(first.adapter, target_of(request.rule), first.weight_of))
    elif isinstance(request, BakeRequest):
        made = bake(first.adapter, request.scale, request.text_encoder_scale, first.weight_of)
    else:
        made = Made(first.adapter.layers, dict.fromkeys(first.adapter.layers, 1.0))
    sdxl = any(s.report.family == "sdxl" or s.adapter.touches("text_encoder_2") for s in sources)
    warnings = [warning for source in sources for warning in source.report.warnings]
    return Product(made, sources, sdxl, warnings)


def target_of(rule: RankRule) -> Target:
    """A request's rule as the workbench's own."""
    name, value = rule.rule
    return Target(name, value, rule.rank, rule.conv_rank)  # type: ignore[arg-type]


def _extracted(request: ExtractRequest, bench: Bench) -> Generator[Any, Any, Product]:
    """Two models, opened and compared."""
    before, after = (open_checkpoint(_model(ref, bench)) for ref in (request.before, request.after))
    sdxl = (
        any(key.startswith("text_encoder_2") for key in after.layers) or "unet.add_embedding.linear_1" in after.layers
    )
    target = target_of(request.rule)
    size = most_bytes(before, target, request.text_encoders, DTYPES[request.dtype].itemsize)
    yield Report("progress", {"phase": "workbench", "step": 0, "steps": len(before.layers), "size": size})
    found = yield from _told(extract(before, after, target, request.text_encoders), size=size)
    warnings: list[dict[str, Any]] = []
    if found.left_out:
        warnings.append(
            {
                "code": "extract_left_out",
                "message": f"{found.left_out} biases, norms or embeddings differ too and are not in the LoRA.",
                "values": {"count": found.left_out},
            }
        )
    if found.alone:
        warnings.append(
            {
                "code": "extract_alone",
                "message": f"{found.alone} layers of text encoders are in one of the models only and were left out.",
                "values": {"count": found.alone},
            }
        )
    return Product(found.made, (), sdxl, warnings)


def _model(ref: str, bench: Bench) -> Path:
    """Where a model lies: a whole path, or a base's name. Raises `BaseUnavailable`."""
    path = Path(ref).expanduser()
    return path if path.is_absolute() and path.exists() else bench.find(ref)


def _told(tool: Generator[Done, None, Any], **also: Any) -> Generator[Any, Any, Any]:
    """A tool's generator as a job's: progress is published, `also` with it, and every layer is a turn."""
    while True:
        try:
            done = next(tool)
        except StopIteration as end:
            return end.value
        yield Report("progress", {"phase": "workbench", "step": done.step, "steps": done.steps, **also})
        yield Turn()


def _read(bench: Bench, sha256: str) -> Source:
    """A file for the loaded base, or for its own family. Raises `AdapterRefused`."""
    path, options, base = bench.path(sha256), bench.options(sha256), bench.base
    if base is not None:
        adapter, report = inspect(path, sha256, base.layers, base.info.sha256, options)
        if adapter is not None:
            return Source(adapter, report, base.slots.weight, fits=True)
    adapter, report = inspect(path, sha256, options=options)
    if adapter is None:
        assert report.refused is not None
        raise report.refused
    return Source(adapter, report)


def _same_family(bench: Bench, request: CombineRequest, sources: tuple[Source, ...]) -> None:
    """Raise `InvalidInput` where adapters of different models were given: the sum would mean nothing."""
    shapes: dict[str, tuple[int, ...]] = {}
    first = sources[0]
    for part, source in zip(request.parts, sources, strict=True):
        both = {"given": bench.label(part.file), "other": bench.label(request.parts[0].file)}
        said = f"{both['other']} and {both['given']} were made for different models"
        own, other = (TITLES.get(one.report.family, one.report.family or _A_UNET) for one in (source, first))
        if _apart(source, first):
            raise InvalidInput(
                f"{said} ({other} and {own}); combine adapters of one model.",
                code="workbench_families",
                family=own,
                other_family=other,
                **both,
            )
        if source.fits != first.fits:
            raise InvalidInput(
                f"{said}: one of them fits the loaded base, the other does not; combine adapters of one model.",
                code="workbench_fits",
                **both,
            )
        for layer, change in source.adapter.layers.items():
            shape = _shape(change)
            if shape and shapes.setdefault(layer, shape) != shape:
                raise InvalidInput(
                    f"{said}: the layer {layer} has other in- and outputs; combine adapters of one model.",
                    code="workbench_shapes",
                    layer=layer,
                    **both,
                )


def _apart(one: Source, other: Source) -> bool:
    """True where two families are known and differ, or a transformer's meets a UNet's of no known family."""
    known, unknown = (one, other) if one.report.family else (other, one)
    if unknown.report.family or not known.report.family:
        return known.report.family != unknown.report.family
    transformer = known.report.family not in _OF_UNETS
    return transformer and any(layer.startswith("unet.") for layer in unknown.adapter.layers)


def _shape(change: LayerChange) -> tuple[int, ...]:
    """Out, in and kernel of a layer by its change; () where the change does not tell."""
    down, up, delta = (getattr(change, name, None) for name in ("down", "up", "delta_weight"))
    if down is not None and up is not None:
        return (up.shape[0], *down.shape[1:])
    return () if delta is None else tuple(delta.shape)


def _written(
    spec: JobSpec, bench: Bench, request: MakingRequest, product: Product
) -> Generator[Any, Any, dict[str, Any]]:
    """The files of a product in the store, and the result."""
    layers = product.made.layers
    if not originals.known(_family(product)):
        _check_names(layers, request.to)
    files = list(_files(bench, request, product, spec.payload["tool"]))
    yield Report("progress", {"phase": "export", "step": 1, "steps": 1})
    yield Turn()
    shares = product.made.retained
    ranks = sorted({int(getattr(change, "rank", 0)) for change in layers.values()} - {0})
    result = {
        "files": files,
        "format": request.to,
        "family": _family(product),
        "rank": {"min": ranks[0], "max": ranks[-1]} if ranks else None,
        "layers": len(layers),
        "retained": {"mean": sum(shares.values()) / len(shares), "min": min(shares.values()), "layers": dict(shares)},
        "warnings": product.warnings,
    }
    if spec.payload.get("name") and request.to != "peft":
        _, report = inspect(bench.workspace.files.path(files[0]["sha256"]), files[0]["sha256"])
        result |= _entered(spec, bench.workspace, files[0]["sha256"], report)
    return result


def _family(product: Product) -> str:
    """The family of the first source that tells it."""
    return next((source.report.family for source in product.sources if source.report.family), "")


def _check_names(layers: Mapping[str, LayerChange], layout: str) -> None:
    """Raise `InvalidInput` where the layout wants the model's own names and the file did not tell them."""
    unnamed = next((layer for layer in layers if _UNDERSCORED.search(layer)), None)
    if unnamed is not None and layout != "kohya":
        raise InvalidInput(
            f"The names of the model's layers are not known without its base (the file says {unnamed[:80]}); give the "
            "base that it was made for, or choose kohya's layout.",
            code="workbench_needs_names",
            layer=unnamed[:80],
        )


def _files(bench: Bench, request: MakingRequest, product: Product, tool: str) -> Iterator[dict[str, Any]]:
    """The files of a product, taken into the store."""
    settings = {k: v for k, v in to_json(request).items() if k not in ("file", "parts", "before", "after")}
    how = {"tool": tool, "settings": settings, "from": [source.adapter.key for source in product.sources]}
    layers = named_for(product.made.layers, request.to, _family(product))
    metadata = metadata_of([source.report.metadata for source in product.sources], layers, how)
    for part in write(layers, request.to, DTYPES[request.dtype], product.sdxl, _family(product)):
        path = bench.folder / "made.safetensors"
        seal(part.tensors, metadata, path)
        yield _kept(bench.workspace, path, part.name or "adapter.safetensors")
        if part.config:
            beside = bench.folder / "made.json"
            beside.write_text(part.config, encoding="utf-8")
            folder = part.name.rpartition("adapter_model.safetensors")[0]
            yield _kept(bench.workspace, beside, f"{folder}adapter_config.json")


def _kept(workspace: Workspace, path: Path, name: str) -> dict[str, Any]:
    """A finished file, taken into the store."""
    return {"name": name, "sha256": workspace.files.put_file(path), "size": path.stat().st_size}


def _entered(spec: JobSpec, workspace: Workspace, sha256: str, report: AdapterReport) -> dict[str, Any]:
    """A result's entry in the library. What people said of the one file that it was made of goes on being said."""
    files = files_of(tool_request(spec.payload)[1])
    parent = None
    with contextlib.suppress(NotFound):
        parent = workspace.adapters.get(files[0], spec.owner) if spec.payload["tool"] in _SAME else None
    entry = workspace.adapters.add(
        AdapterEntry(
            sha256=sha256,
            name=str(spec.payload["name"]),
            owner=spec.owner,
            created=time.time(),
            size=workspace.files.path(sha256).stat().st_size,
            base_sha256=report.metadata.get("lora_studio_base_sha256", "") or (parent.base_sha256 if parent else ""),
            family=report.family or (parent.family if parent else ""),
            rank=report.rank,
            alpha=report.alpha,
            trigger_words=report.trigger_words or (parent.trigger_words if parent else ()),
            cover=parent.cover if parent else None,
            # What a file says under our own key would name files that are not its owner's.
            metadata={key: text for key, text in report.metadata.items() if key != BUNDLED},
        )
    )
    return {"adapter": entry.sha256, "name": entry.name}
