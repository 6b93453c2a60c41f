"""The adapters and the cells that come with the app, entered once into each workspace.

Every sample is entered once by its name and file: one that a person deleted stays deleted, one that a newer version
of the app brings is new. The texts beside the files come from the training command; what is missing in them is left
at its default.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from lora_studio.store.files import FileStore
from lora_studio.store.tables import sample, sample_cell
from lora_studio.store.workspace import Workspace
from lora_studio.types import AdapterEntry

OWNER = "samples"
"""Samples are listed for everybody; nobody owns them."""

_CELLS = "cells.json"


def install_samples(workspace: Workspace, assets: Path) -> None:
    """Enter `assets/examples/adapters/*.safetensors` and the sample cells of `assets/examples/cells/cells.json`.

    Both may be missing. New notebooks begin with the sample cells; those that are there already stay as they are.

    Raises:
        StorageError: the disk refuses.
    """
    examples = assets / "examples"
    with workspace.database.read() as connection:
        entered = {(row.name, row.sha256) for row in connection.execute(select(sample))}
        kept = connection.scalar(select(sample.c.sha256).where(sample.c.name == _CELLS))
    for path in sorted((examples / "adapters").glob("*.safetensors")):
        sha256 = workspace.files.hash_of(path)
        if (path.name, sha256) not in entered:
            _enter_adapter(workspace, path)
    cells = examples / "cells" / _CELLS
    if cells.is_file() and workspace.files.hash_of(cells) != kept:
        _enter_cells(workspace, cells)


def _enter_adapter(workspace: Workspace, path: Path) -> None:
    side = _read_object(path.with_suffix(".json"))
    sha256 = workspace.files.put_file(path)
    cover = path.parent / Path(str(side.get("cover") or "")).name
    workspace.adapters.add(
        AdapterEntry(
            sha256=sha256,
            name=str(side.get("name") or path.stem),
            owner=OWNER,
            created=time.time(),
            size=path.stat().st_size,
            base_sha256=str(side.get("base_sha256") or ""),
            family=str(side.get("family") or ""),
            rank=_number(side.get("rank"), int),
            alpha=_number(side.get("alpha"), float),
            trigger_words=_words(side.get("trigger_words")),
            recommended_weight=_number(side.get("recommended_weight"), float) or 1.0,
            notes=str(side.get("notes") or ""),
            cover=workspace.files.put_file(cover) if cover.is_file() else None,
            sample=True,
            metadata=_texts(side.get("metadata")),
        )
    )
    with workspace.database.write() as connection:
        _record(connection, path.name, sha256)


def _enter_cells(workspace: Workspace, path: Path) -> None:
    """Keep the cells for notebooks to come, in place of those of an earlier version."""
    listed = json.loads(path.read_text(encoding="utf-8"))
    ready = [_with_pictures(workspace.files, cell, path.parent) for cell in listed]
    rows = [
        {
            "position": position,
            "owner": OWNER,
            "kind": cell.get("kind", "picture"),
            "request": cell.get("request", {}),
            "result": cell.get("result"),
            "note": cell.get("note", ""),
        }
        for position, cell in enumerate(ready)
    ]
    with workspace.database.write() as connection:
        workspace.references.drop(connection, "sample_cell", "all")
        connection.execute(delete(sample_cell))
        if rows:
            connection.execute(insert(sample_cell), rows)
        workspace.references.add(connection, "sample_cell", "all", OWNER, ready)
        _record(connection, _CELLS, workspace.files.hash_of(path))
    workspace.references.settle()


def _record(connection: Connection, name: str, sha256: str) -> None:
    connection.execute(delete(sample).where(sample.c.name == name))
    connection.execute(insert(sample).values(name=name, owner=OWNER, sha256=sha256, entered=time.time()))


def _with_pictures(files: FileStore, value: Any, folder: Path) -> Any:
    """The JSON value with every {"file": name} turned into {"sha256": ...} of the stored picture."""
    if isinstance(value, list):
        return [_with_pictures(files, part, folder) for part in value]
    if not isinstance(value, dict):
        return value
    made = {key: _with_pictures(files, part, folder) for key, part in value.items() if key != "file"}
    if isinstance(value.get("file"), str):
        made["sha256"] = files.put_file(folder / Path(value["file"]).name)
    return made


def _read_object(path: Path) -> dict[str, Any]:
    """A JSON object from a file, {} where there is none."""
    if not path.is_file():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}


def _number(value: Any, kind: type[int] | type[float]) -> Any:
    """A number of that kind, None for what is none."""
    return kind(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _words(value: Any) -> tuple[str, ...]:
    """Trigger words, given as a list or as one text with commas."""
    listed = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(word.strip() for word in listed if isinstance(word, str) and word.strip())


def _texts(value: Any) -> dict[str, str]:
    """A table of texts, {} for what is none."""
    return {str(key): str(text) for key, text in value.items()} if isinstance(value, dict) else {}
