"""What every action and screen stands on: the engine, the workspace, the settings; and a checked view of a call.

It knows no widgets and no HTTP.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_studio.engine.protocol import Engine
from lora_studio.errors import InvalidInput, NotFound, StudioError
from lora_studio.settings import Settings
from lora_studio.store import Workspace
from lora_studio.types import AdapterEntry, BaseInfo, Cell, DatasetManifest, EmbeddingEntry, Job

SHELL = "local"
"""Owner of what the command line makes; as the server listens on this machine alone, every page may use it."""

SAMPLES = "samples"
"""Owner of what comes with the app."""

_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Studio:
    """The three things that a page works with, and the name of the present version of its scripts."""

    engine: Engine
    workspace: Workspace
    settings: Settings
    page: str = ""

    def base(self) -> BaseInfo:
        """The loaded base. Raises `StudioError` when none is loaded."""
        info = self.engine.info()
        if info.base is not None:
            return info.base
        if info.loading is not None:
            raise StudioError(
                f"The base {info.loading!r} is being loaded; try again when it is there.",
                code="base_loading",
                given=info.loading,
            )
        raise StudioError("No base is loaded; choose one in the base chooser and try again.", code="no_base")


@dataclass(frozen=True)
class Ask:
    """One call of a page: who asks, and with what. Every getter checks; nothing of a call is trusted."""

    studio: Studio
    owner: str
    data: dict[str, Any]

    @property
    def readers(self) -> tuple[str, ...]:
        """The owners whose things this one may see."""
        return (self.owner, SHELL, SAMPLES)

    def text(self, name: str, default: str | None = None) -> str:
        """A text of the call. Raises `InvalidInput`."""
        value = self.data.get(name, default)
        if not isinstance(value, str):
            raise _bad(name, value, "a text")
        return value

    def flag(self, name: str) -> bool:
        """A yes or no of the call, no where it is left out. Raises `InvalidInput`."""
        value = self.data.get(name, False)
        if not isinstance(value, bool):
            raise _bad(name, value, "true or false")
        return value

    def whole(self, name: str) -> int:
        """A whole number of the call. Raises `InvalidInput`."""
        value = self.data.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise _bad(name, value, "a whole number")
        return value

    def table(self, name: str) -> dict[str, Any]:
        """An object of the call. Raises `InvalidInput`."""
        value = self.data.get(name, {})
        if not isinstance(value, dict):
            raise _bad(name, value, "an object")
        return value

    def names(self, name: str) -> tuple[str, ...]:
        """A list of texts of the call, none where it is left out. Raises `InvalidInput`."""
        value = self.data.get(name, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise _bad(name, value, "a list of texts")
        return tuple(value)

    def new_id(self, name: str) -> str:
        """An id that the page chose: 32 hexadecimal digits. Raises `InvalidInput`."""
        value = self.text(name)
        if not _ID.fullmatch(value):
            raise _bad(name, value, "32 hexadecimal digits")
        return value

    # ------------------------------------------------------------ things that must be the caller's own
    def job(self, name: str = "job") -> Job:
        """A job of the caller. Raises `NotFound`, for somebody else's too."""
        return self.owned_job(self.text(name))

    def owned_job(self, job_id: str) -> Job:
        """The job of that id, if it is the caller's. Raises `NotFound`."""
        job = self.studio.engine.job(job_id)
        if job.owner != self.owner:
            raise NotFound(
                f"There is no job {job.id[:80]!r} in this workspace; it may have been deleted.",
                code="job_missing",
                job=job.id[:80],
            )
        return job

    def cell(self, name: str = "cell") -> Cell:
        """A cell in a notebook of the caller. Raises `NotFound`, for somebody else's too."""
        notebooks = self.studio.workspace.notebooks
        cell = notebooks.cell(self.text(name))
        if cell.notebook not in {notebook.id for notebook in notebooks.list(self.owner)}:
            raise NotFound(
                f"There is no cell {cell.id[:80]!r}; it may have been deleted.", code="cell_missing", given=cell.id[:80]
            )
        return cell

    def dataset(self, name: str = "set") -> DatasetManifest:
        """A set of pictures of the caller. Raises `NotFound`, for somebody else's too."""
        found = self.studio.workspace.datasets.get(self.text(name))
        if found.owner != self.owner:
            raise NotFound(
                f"There is no set of pictures {found.id[:80]!r}; it may have been deleted.",
                code="dataset_missing",
                given=found.id[:80],
            )
        return found

    def adapter(self, sha256: str | None = None, deleted: bool = False) -> AdapterEntry:
        """A LoRA that the caller sees, or one that is `deleted` and can come back. Raises `NotFound`."""
        wanted = self.text("sha256") if sha256 is None else sha256
        for owner in (self.owner, SHELL):
            with contextlib.suppress(NotFound):
                return self.studio.workspace.adapters.get(wanted, owner, deleted=deleted)
        raise NotFound(
            f"The library has no LoRA file {wanted[:80]!r}; it may have been deleted.",
            code="adapter_file_missing",
            given=wanted[:80],
        )

    def embedding(self, deleted: bool = False) -> EmbeddingEntry:
        """An embedding that the caller sees, or one that is `deleted` and can come back. Raises `NotFound`."""
        wanted = self.text("sha256")
        embeddings = self.studio.workspace.embeddings
        for owner in (self.owner, SHELL):
            with contextlib.suppress(NotFound):
                entry = embeddings.get(wanted, owner)
                if (entry.deleted is not None) == deleted:
                    return entry
        raise NotFound(
            f"The library has no embedding {wanted[:80]!r}; it may have been deleted.",
            code="embedding_file_missing",
            given=wanted[:80],
        )

    def file(self, sha256: str) -> str:
        """`sha256` again, where something that the caller sees refers to that file; else raises `NotFound`, for whoever
        knows the name of a file has not got it yet."""
        if not self.studio.workspace.references.held(sha256, self.readers):
            raise file_missing(sha256)
        return sha256

    def library(self) -> list[AdapterEntry]:
        """The LoRAs that the caller sees, without their reports and most of their metadata: own ones, the command
        line's and those in folders, newest first, then the samples."""
        return self.studio.workspace.adapters.shelf(self.owner)


Action = Callable[[Ask], Any]
"""A thing that a page may ask for: returns what goes back as JSON, raises `StudioError`."""


def folder_name(folder: Path) -> str:
    """What pages call a folder of the operator's: its own name, for the way to it is nobody else's business."""
    return folder.name or str(folder)


def file_missing(given: str) -> NotFound:
    """A file that is not there, or that is not the caller's."""
    return NotFound(
        f"The file {given[:80]!r} is not in the workspace; it may have been deleted.",
        code="file_missing",
        sha256=given[:80],
    )


def _bad(name: str, value: Any, allowed: str) -> InvalidInput:
    shown = repr(value)[:80]
    return InvalidInput(
        f"{name} was given as {shown}; it must be {allowed}; reload the page and try again.",
        code="call_value",
        field=name,
        given=shown,
        allowed=allowed,
    )
