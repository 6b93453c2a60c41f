"""How the folders of LoRA files stand, for scans and pages; values alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lora_studio.store.adapters import Adapters
from lora_studio.store.database import Database
from lora_studio.store.files import FileStore
from lora_studio.store.references import References


@dataclass(frozen=True)
class FolderState:
    """How one folder stands.

    Attributes:
        folder: its path.
        files: LoRA files that were found.
        unusable: files that are none: damaged, checkpoints, embeddings ...
        problem: the error of a folder that cannot be read, as JSON.
        read: False until it was looked at for the first time.
    """

    folder: str
    files: int = 0
    unusable: int = 0
    problem: dict[str, Any] | None = None
    read: bool = False


@dataclass(frozen=True)
class ScanState:
    """How the folders stand, and how far a scan is: `done` of `todo` new or changed files are read (0 of 0: idle)."""

    folders: tuple[FolderState, ...] = ()
    done: int = 0
    todo: int = 0


@dataclass(frozen=True)
class Rooms:
    """What a scan writes to."""

    database: Database
    references: References
    adapters: Adapters
    files: FileStore
