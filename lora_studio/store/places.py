"""Where adapters lie in folders that are read in place, as people are told: the folder's own name and what is below it.

Read from the table that `store.folder_scan` writes. Whole paths stay in the database; pages never see one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from sqlalchemy import Connection, select

from lora_studio.store.tables import folder_file


def places(connection: Connection, sha256: str | None = None) -> Mapping[str, list[str]]:
    """The places of the files that are there, by sha256; of one file alone where it is given."""
    query = select(folder_file.c.sha256, folder_file.c.folder, folder_file.c.path).where(
        folder_file.c.gone.is_(None), folder_file.c.sha256 != ""
    )
    if sha256 is not None:
        query = query.where(folder_file.c.sha256 == sha256)
    found: dict[str, list[str]] = {}
    for file, folder, path in connection.execute(query.order_by(folder_file.c.path)).all():
        found.setdefault(file, []).append(place_of(folder, path))
    return found


def place_of(folder: str, path: str) -> str:
    """`Lora/style/ink.safetensors` for a file below the folder `/models/Lora`."""
    below = path.removeprefix(folder).strip(os.sep)
    return "/".join((os.path.basename(folder.rstrip(os.sep)) or folder, *below.split(os.sep)))
