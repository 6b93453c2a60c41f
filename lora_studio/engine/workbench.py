"""The workbench's jobs: files of the store in, files of the store out, a turn between two layers.

A file is read for the loaded base where it fits it, else for the layers of its family, so that nothing needs a base but
what depends on one: changes like DoRA's, and names of layers that the file does not tell. It does not know who asks.

The result of every tool but inspect and meta (see `inspection` and `metadata`): {"tool", "files": [{"name", "sha256",
"size"}], "format", "family", "rank": {"min", "max"}, "layers", "retained": {"mean", "min", "layers": {layer: share}},
"warnings"} and, where it entered the library, "adapter", "name".
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lora_studio.adapters.formats import originals
from lora_studio.adapters.workbench.checkpoint import open_checkpoint
from lora_studio.adapters.workbench.combine import How, Made, Part, combine
from lora_studio.adapters.workbench.extract import extract, most_bytes
from lora_studio.adapters.workbench.layouts import DTYPES, check_named
from lora_studio.adapters.workbench.ranks import Target
from lora_studio.adapters.workbench.resize import bake, resize
from lora_studio.engine.bench import Bench, Product, Source, family_of, read, told, unlike
from lora_studio.engine.inspection import inspected
from lora_studio.engine.metadata import edited
from lora_studio.engine.products import MakingRequest, entered, facts_of, parent_of, written
from lora_studio.errors import InvalidInput
from lora_studio.headers.adapter import words_of
from lora_studio.pipeline import JobGenerator, Report, SharedBase
from lora_studio.pipeline.source import find_base
from lora_studio.store import Workspace
from lora_studio.types import JobSpec
from lora_studio.types.workbench import (
    BakeRequest,
    CombineRequest,
    ExtractRequest,
    InspectRequest,
    MetaRequest,
    RankRule,
    ResizeRequest,
    files_of,
    tool_request,
)

_UNDERSCORED = re.compile(r"(blocks|layers|attentions|resnets)_\d")


FindModel = Callable[[str], Path]
"""Where the model lies that a name means. Raises `BaseUnavailable`."""


def find_model(ref: str) -> Path:
    """A model by its path alone, or one that was fetched from the hub before. Raises `BaseUnavailable`."""
    return find_base(ref, Path(ref), offline=True).path


def open_workbench(
    spec: JobSpec, workspace: Workspace, base: SharedBase | None, find: FindModel = find_model
) -> JobGenerator:
    """Run one tool; see the module's docstring for its result."""
    tool, request = tool_request(spec.payload)
    with tempfile.TemporaryDirectory(prefix="lora-studio-") as folder:
        bench = Bench(workspace, base, spec.payload, Path(folder), find)
        if isinstance(request, InspectRequest):
            return {"tool": tool} | (yield from inspected(request, bench))
        if isinstance(request, MetaRequest):
            return {"tool": tool} | _edited(spec, bench, request)
        product = yield from _made(request, bench)
        return {"tool": tool} | (yield from written(spec, bench, request, product))


def _edited(spec: JobSpec, bench: Bench, request: MetaRequest) -> dict[str, Any]:
    """The metadata's tool; what enters the library is described as the new file describes itself."""
    result, before = edited(request, bench.workspace, bench.label(request.file), bench.folder)
    if result["files"] and spec.payload.get("name"):
        sha256 = result["files"][0]["sha256"]
        parent = parent_of(spec, bench.workspace)
        facts = facts_of(bench.workspace, sha256)
        facts = replace(facts, alpha=parent.alpha if parent else None)
        result |= entered(spec, bench.workspace, sha256, facts, words_of(before))
    return result


def _made(request: MakingRequest, bench: Bench) -> Generator[Any, Any, Product]:
    """The changes that a tool makes."""
    if isinstance(request, ExtractRequest):
        return (yield from _extracted(request, bench))
    found: list[Source] = []
    for sha256 in files_of(request):
        found.append((yield from _read(bench, sha256)))
    sources, first = tuple(found), found[0]
    if isinstance(request, CombineRequest):
        _same_family(bench, request, sources)
    _check_names((layer for source in sources for layer in source.adapter.layers), request.to, family_of(sources))
    if isinstance(request, CombineRequest):
        parts = [
            Part(source.adapter, part.weight, part.text_encoder_weight)
            for source, part in zip(sources, request.parts, strict=True)
        ]
        how = How(request.method, request.rank, request.density, request.election, request.seed)  # type: ignore[arg-type]
        made = yield from told(combine(parts, how, first.weight_of))
    elif isinstance(request, ResizeRequest):
        made = yield from told(resize(first.adapter, target_of(request.rule), first.weight_of))
    elif isinstance(request, BakeRequest):
        made = yield from told(bake(first.adapter, request.scale, request.text_encoder_scale, first.weight_of))
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
    _check_names(before.layers, request.to, "")
    sdxl = (
        any(key.startswith("text_encoder_2") for key in after.layers) or "unet.add_embedding.linear_1" in after.layers
    )
    target = target_of(request.rule)
    size = most_bytes(before, target, request.text_encoders, DTYPES[request.dtype].itemsize)
    yield Report("progress", {"phase": "workbench", "step": 0, "steps": len(before.layers), "size": size})
    found = yield from told(extract(before, after, target, request.text_encoders), size=size)
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


def _read(bench: Bench, sha256: str) -> Generator[Any, None, Source]:
    """A file for the loaded base, or for its own family. Raises `AdapterRefused`."""
    source, report = yield from read(bench, sha256)
    if source is None:
        assert report.refused is not None
        raise report.refused
    return source


def _same_family(bench: Bench, request: CombineRequest, sources: tuple[Source, ...]) -> None:
    """Raise `InvalidInput` where adapters of different models were given: the sum would mean nothing."""
    pairs = [(first, second) for second in range(len(sources)) for first in range(second)]
    for first, second in pairs:
        why = unlike(sources[second], sources[first])
        if why is None:
            continue
        both = {"given": bench.label(request.parts[second].file), "other": bench.label(request.parts[first].file)}
        said = f"{both['other']} and {both['given']} were made for different models"
        if why.families is not None:
            own, other = why.families
            raise InvalidInput(
                f"{said} ({other} and {own}); combine adapters of one model.",
                code="workbench_families",
                family=own,
                other_family=other,
                **both,
            )
        if not why.layer:
            raise InvalidInput(
                f"{said}: one of them fits the loaded base, the other does not; combine adapters of one model.",
                code="workbench_fits",
                **both,
            )
        raise InvalidInput(
            f"{said}: the layer {why.layer} has other in- and outputs; combine adapters of one model.",
            code="workbench_shapes",
            layer=why.layer,
            **both,
        )


def _check_names(layers: Iterable[str], layout: str, family: str) -> None:
    """Raise `InvalidInput` where the layout has no name for a layer, or wants the model's own and the file did not tell
    them: before hours of work, not after."""
    names = list(layers)
    check_named(names, layout, family)
    unnamed = next((layer for layer in names if _UNDERSCORED.search(layer)), None)
    if unnamed is not None and layout != "kohya" and not originals.known(family):
        raise InvalidInput(
            f"The names of the model's layers are not known without its base (the file says {unnamed[:80]}); give the "
            "base that it was made for, or choose kohya's layout.",
            code="workbench_needs_names",
            layer=unnamed[:80],
        )
