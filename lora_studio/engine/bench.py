"""What the workbench's tools work with: files of the store, read for the loaded base or for their own family.

It does not know the tools, nor who asks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_studio.adapters import AdapterReport, CanonicalAdapter
from lora_studio.adapters.canonical import Decomposed, Dense, LayerChange, LowRank
from lora_studio.adapters.door import FileOptions, inspecting
from lora_studio.adapters.formats import families
from lora_studio.adapters.unpacking import ELSEWHERE
from lora_studio.adapters.workbench.combine import Made
from lora_studio.adapters.workbench.plain import WeightOf, no_weights
from lora_studio.adapters.workbench.progress import Done
from lora_studio.headers.adapter import TITLES
from lora_studio.pipeline import Report, SharedBase
from lora_studio.pipeline.calls import Turn, WaitElsewhere
from lora_studio.store import Workspace

_OF_UNETS = (*families.USABLE, "lora-studio-base")
_A_UNET = "Stable Diffusion"
"""What a UNet's file of no known family is called beside a transformer's."""


@dataclass(frozen=True, eq=False)
class Bench:
    """What a tool may use: the store, the loaded base or None, the job's payload, a folder of its own, and where the
    model lies that a name means."""

    workspace: Workspace
    base: SharedBase | None
    payload: Mapping[str, Any]
    folder: Path
    find: Callable[[str], Path]

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

    @property
    def family(self) -> str:
        """See `family_of`."""
        return family_of(self.sources)


def family_of(sources: Sequence[Source]) -> str:
    """The family of the first source that tells it, "" where none does."""
    return next((source.report.family for source in sources if source.report.family), "")


def read(bench: Bench, sha256: str) -> Generator[Turn | WaitElsewhere, None, tuple[Source | None, AdapterReport]]:
    """A file for the loaded base, or where that has no use for it for its own family; None for a damaged one.

    Returns:
        The source, and what is to be said of the file: that the loaded base refuses it is said of a source too.
    """
    path, options, base = bench.path(sha256), bench.options(sha256), bench.base
    said: AdapterReport | None = None
    if base is not None:
        adapter, said = yield from turned(inspecting(path, sha256, base.layers, base.info.sha256, options))
        if adapter is not None:
            return Source(adapter, said, base.slots.weight, fits=True), said
    adapter, report = yield from turned(inspecting(path, sha256, options=options))
    return None if adapter is None else Source(adapter, report), said or report


def turned(work: Generator[Any, None, Any]) -> Generator[Turn | WaitElsewhere, None, Any]:
    """Work that is cut into pieces as a job's: each is a turn."""
    with contextlib.closing(work):
        while True:
            try:
                looked = next(work)
            except StopIteration as end:
                return end.value
            yield WaitElsewhere() if looked == ELSEWHERE else Turn()


def told(tool: Generator[Done, None, Any], **also: Any) -> Generator[Any, Any, Any]:
    """A tool's generator as a job's: progress is published, `also` with it, and every layer is a turn."""
    while True:
        try:
            done = next(tool)
        except StopIteration as end:
            return end.value
        yield Report("progress", {"phase": "workbench", "step": done.step, "steps": done.steps, **also})
        yield Turn()


@dataclass(frozen=True)
class Unlike:
    """Why two LoRAs are of different models: by their families (as people call them), by which fits the loaded base, or
    by the shape of a layer that both have."""

    families: tuple[str, str] | None = None
    layer: str = ""


def unlike(one: Source, other: Source) -> Unlike | None:
    """Why two LoRAs were made for different models, None where nothing says that they were."""
    if _apart(one, other):
        titles = (TITLES.get(source.report.family, source.report.family or _A_UNET) for source in (one, other))
        return Unlike(families=(next(titles), next(titles)))
    if one.fits != other.fits:
        return Unlike()
    for layer in one.adapter.layers.keys() & other.adapter.layers.keys():
        shapes = [_shape(source.adapter.layers[layer]) for source in (one, other)]
        if all(shapes) and shapes[0] != shapes[1]:
            return Unlike(layer=layer)
    return None


def _apart(one: Source, other: Source) -> bool:
    """True where two families are known and differ, or a transformer's meets a UNet's of no known family."""
    known, unknown = (one, other) if one.report.family else (other, one)
    if unknown.report.family or not known.report.family:
        return known.report.family != unknown.report.family
    transformer = known.report.family not in _OF_UNETS
    return transformer and any(layer.startswith("unet.") for layer in unknown.adapter.layers)


def _shape(change: LayerChange) -> tuple[int, ...]:
    """Out, in and kernel of a layer by its change, a kernel of one pixel being none; () where it does not tell."""
    plain = change.direction if isinstance(change, Decomposed) else change
    shape = plain.shape if isinstance(plain, LowRank | Dense) else ()
    return shape[:2] if shape[2:] == (1, 1) else shape
