"""What is kept: adapters, embeddings, datasets, notebooks and their cells."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lora_studio.errors import InvalidInput

ADAPTER_SUFFIX = ".safetensors"
"""How the names of LoRA files end that are written here."""

ADAPTER_SUFFIXES = (ADAPTER_SUFFIX, ".pt", ".ckpt", ".bin")
"""How the name of a LoRA file may end, in any case."""

EMBEDDING_SUFFIXES = (".safetensors", ".pt", ".bin", ".png")
"""How the name of an embedding's file may end, in any case."""

LOCAL = "local"
"""Owner of what the command line makes. Until there are accounts every page of this machine sees it too."""


@dataclass(frozen=True)
class AdapterEntry:
    """One LoRA file in the library; `sha256` is its identity, the name a free label."""

    sha256: str
    name: str
    owner: str
    created: float
    size: int
    base_sha256: str = ""
    """The base it was trained on; empty when the file does not say."""
    family: str = ""
    rank: int | None = None
    alpha: float | None = None
    trigger_words: tuple[str, ...] = ()
    cover: str | None = None
    """sha256 of a picture."""
    run: str | None = None
    """Job id of the training that made it here."""
    recommended_weight: float = 1.0
    notes: str = ""
    sample: bool = False
    """True for the ones that come with the app."""
    metadata: dict[str, str] = field(default_factory=dict)
    """The file's own; in lists only those entries by which files are found."""
    stem: str = ""
    """Name of the file as it came, without its ending: A1111's prompts call a LoRA by it."""
    stars: int = 0
    """0 to 5, a person's."""
    side: dict[str, Any] = field(default_factory=dict)
    """What the files beside it say (`lora_studio.store.side_files`): title, negative, warnings."""
    report: dict[str, Any] = field(default_factory=dict)
    """What is known of the file, by its header or, where it was read for a base, by the door; left out in lists."""
    deleted: float | None = None
    """When it was deleted; it can be brought back for an hour, one that lies in a folder as long as it lies there."""
    places: tuple[str, ...] = ()
    """Where it lies in folders that are read in place, each below the folder's own name; never a path to open."""
    missing: bool = False
    """True for one that lay in a folder and is not there now."""

    def fits(self, family: str) -> bool:
        """False where it was made for another family of models than `family`; unknown ones fit."""
        return not family or not self.family or self.family == family


@dataclass(frozen=True)
class StyleEntry:
    """A named piece of prompt that is put around or behind what is typed (see `lora_studio.prompt.styles`)."""

    name: str
    owner: str
    prompt: str = ""
    negative_prompt: str = ""


@dataclass(frozen=True)
class EmbeddingEntry:
    """One textual-inversion embedding in the library; `sha256` of its file is its identity, the name is what prompts
    call it."""

    sha256: str
    name: str
    owner: str
    created: float
    size: int
    """Bytes of the file."""
    vectors: int
    """How many places its name takes in a prompt."""
    widths: dict[str, int]
    """Width of the vectors of each text encoder: {"clip_l": 768}, for SDXL with "clip_g" too."""
    tensors: str = ""
    """sha256 of its safetensors form, where the file itself is a pickle or a picture; empty where it is that form."""
    metadata: dict[str, str] = field(default_factory=dict)
    """What the file says of itself: step, sd_checkpoint_name ..."""
    deleted: float | None = None
    """When it was deleted; it can be brought back for an hour."""

    @property
    def readable(self) -> str:
        """sha256 of the file that is to be opened."""
        return self.tensors or self.sha256

    def fits(self, widths: dict[str, int]) -> bool:
        """True where a base's text encoders take vectors of these widths; a base that does not say takes all."""
        return not widths or self.widths == widths


BUNDLED = "lora_studio_bundled"
"""Key of an adapter's metadata in the library, never a file's: its bundled embeddings, as `bundled_text` says them."""


def bundled_text(embeddings: Sequence[EmbeddingEntry]) -> str:
    """Name, file, number and widths of embeddings that came within a LoRA, as text for its metadata."""
    return json.dumps([[e.name, e.sha256, e.vectors, e.widths] for e in embeddings], ensure_ascii=False)


def bundled_in(adapter: AdapterEntry) -> tuple[EmbeddingEntry, ...]:
    """The embeddings that came within a LoRA; their names mean something while it is in the stack.

    A file in a watched folder may write anything under this key: what `bundled_text` would not have written is nothing.
    """
    try:
        rows = json.loads(adapter.metadata.get(BUNDLED, "[]"))
        return tuple(
            EmbeddingEntry(str(sha256), str(name), adapter.owner, adapter.created, 0, int(vectors), dict(widths))
            for name, sha256, vectors, widths in rows
        )
    except (ValueError, TypeError, RecursionError):
        return ()


@dataclass(frozen=True)
class DatasetItem:
    """One picture of a set: `sha256` of the normalised PNG, its size in pixels, caption, and the name it came with."""

    sha256: str
    width: int
    height: int
    caption: str = ""
    source: str = ""
    warnings: tuple[str, ...] = ()
    """codes of remarks: small, blurry, twin (see dataset.intake)."""


@dataclass(frozen=True)
class RefusedPicture:
    """A file that is not used, and the sentence that says why."""

    source: str
    code: str
    message: str
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DatasetManifest:
    """A set of pictures with captions."""

    id: str
    name: str
    owner: str
    items: tuple[DatasetItem, ...] = ()
    refused: tuple[RefusedPicture, ...] = ()


CellKind = Literal["picture", "compare", "grid", "training", "note"]


@dataclass(frozen=True)
class Cell:
    """One entry of a notebook: a request and its result."""

    id: str
    notebook: str
    kind: CellKind
    position: float
    created: float
    request: dict[str, Any]
    """A `GenerateRequest` as JSON; for compare {"with": ..., "without": ...}, for a grid {"with": ..., "x": an `Axis`,
    "y": another or None}."""
    job: str | None = None
    result: dict[str, Any] | None = None
    note: str = ""
    deleted: float | None = None
    sample: bool = False


@dataclass(frozen=True)
class Notebook:
    """A named list of cells of one owner."""

    id: str
    name: str
    owner: str
    created: float


def adapter_name(file: str) -> str:
    """The name that a LoRA has by the name of its file. Raises `InvalidInput` for files of another kind."""
    for suffix in ADAPTER_SUFFIXES:
        if file.casefold().endswith(suffix) and len(file) > len(suffix):
            return file[: -len(suffix)]
    raise InvalidInput(
        f"The file {file!r} is no LoRA that is read here; give a file that ends in one of "
        f"{', '.join(ADAPTER_SUFFIXES)}.",
        code="adapter_suffix",
        given=file,
        allowed=", ".join(ADAPTER_SUFFIXES),
    )


def embedding_name(file: str) -> str:
    """The name that an embedding has by the name of its file. Raises `InvalidInput` for files of another kind."""
    for suffix in EMBEDDING_SUFFIXES:
        if file.casefold().endswith(suffix) and len(file) > len(suffix):
            return file[: -len(suffix)]
    allowed = ", ".join(EMBEDDING_SUFFIXES)
    raise InvalidInput(
        f"The file {file!r} is no embedding that is read here; give a file that ends in one of {allowed}.",
        code="embedding_suffix",
        given=file,
        allowed=allowed,
    )
