"""The checkpoint files that an operator offers to choose from: a folder, read and never written.

Names alone are listed; what kind of base a file is is read from its header when it is chosen. It does not know models.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

MOST = 2000
"""Files that are listed; a folder of more than these is shown cut off."""


@dataclass(frozen=True)
class CheckpointFile:
    """A file of the folder: its name below it, with `/` between folders, and its size in bytes."""

    name: str
    size: int


def list_checkpoints(folder: Path | None) -> list[CheckpointFile]:
    """The .safetensors files in `folder` and below it, by name; none where there is no such folder.

    Links to folders are followed, as people keep models on other disks; a ring of links is walked once.
    """
    found: list[CheckpointFile] = []
    if folder is None or not folder.is_dir():
        return found
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for name in sorted(files):
            path = Path(place) / name
            if path.suffix.lower() == ".safetensors" and not name.startswith(".") and path.is_file():
                found.append(CheckpointFile(path.relative_to(folder).as_posix(), path.stat().st_size))
                if len(found) == MOST:
                    return sorted(found, key=lambda one: one.name.casefold())
    return sorted(found, key=lambda one: one.name.casefold())
