"""Walking through a folder of LoRA files: names, sizes and times, nothing is opened.

Links are followed, as people link their models together, but no folder is entered twice, so that a loop ends; only
ordinary files count, so that no pipe or device is ever opened. It knows no tables.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lora_studio.errors import NotFound, StudioError
from lora_studio.store.side_files import side_names
from lora_studio.types.library import ADAPTER_SUFFIXES

MOST_FILES = 20_000
"""LoRA files of one folder; what is beyond is not read."""
MOST_ENTRIES = 400_000
"""Names of any kind that are looked at in one folder."""
DEEPEST = 24


@dataclass(frozen=True)
class Found:
    """A file that may be a LoRA.

    Attributes:
        size: bytes.
        modified: nanoseconds since 1970.
        side: names, sizes and times of the files beside it, as one text that changes with them.
        sides: their names by kind (`side_files.side_names`).
    """

    path: Path
    size: int
    modified: int
    side: str
    sides: dict[str, str]


def walk(folder: Path) -> Iterator[Found]:
    """Every file of a folder and the folders below it that ends as a LoRA's may: `.safetensors`, and pickles'.

    Raises:
        NotFound: the folder is not there or cannot be read (a folder below it that cannot is left out).
        StudioError: it holds more than is read; what was yielded until then is valid.
    """
    try:
        waiting = [(os.fspath(folder), 0)]
        seen = {_identity(os.stat(folder))}
        os.scandir(folder).close()
    except OSError as error:
        raise _unreadable(folder, error) from error
    files = entries = 0
    while waiting:
        here, depth = waiting.pop()
        listed, below = _list(here, seen)
        entries += len(listed)
        if depth < DEEPEST:
            waiting += [(path, depth + 1) for path in below]
        for found in _adapters(here, listed):
            files += 1
            if files > MOST_FILES or entries > MOST_ENTRIES:
                raise too_large(folder)
            yield found


def too_large(folder: Path) -> StudioError:
    """The sentence for a folder that holds more than is read."""
    return StudioError(
        f"The folder {str(folder)!r} holds more than {MOST_FILES} LoRA files; the first {MOST_FILES} are listed; give "
        "smaller folders.",
        code="library_folder_too_large",
        given=str(folder),
        allowed=str(MOST_FILES),
    )


def _unreadable(folder: Path, error: OSError) -> NotFound:
    if isinstance(error, FileNotFoundError):
        return NotFound(
            f"The folder {str(folder)!r} is not there; its LoRAs come back when it is.",
            code="library_folder_missing",
            given=str(folder),
        )
    reason = os.strerror(error.errno) if error.errno else str(error)
    return NotFound(
        f"The folder {str(folder)!r} cannot be read ({reason}); check that it is a folder that may be read.",
        code="library_folder_unreadable",
        given=str(folder),
        reason=reason,
    )


def _list(here: str, seen: set[tuple[int, int]]) -> tuple[dict[str, os.stat_result], list[str]]:
    """The ordinary files of a folder by name, and the folders in it that were not seen yet."""
    files: dict[str, os.stat_result] = {}
    folders: list[str] = []
    try:
        with os.scandir(here) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                try:
                    known = entry.stat()
                except OSError:
                    continue  # a link that leads nowhere, or a file that went away meanwhile
                if stat.S_ISDIR(known.st_mode):
                    if _new(entry.path, seen):
                        folders.append(entry.path)
                elif stat.S_ISREG(known.st_mode) and _storable(entry.name):
                    files[entry.name] = known
    except OSError:
        return {}, []
    return files, folders


def _adapters(here: str, files: dict[str, os.stat_result]) -> Iterator[Found]:
    lower = {name.casefold(): name for name in files}
    for name in sorted(files):
        suffix = next((one for one in ADAPTER_SUFFIXES if name.casefold().endswith(one)), None)
        if suffix is None:
            continue
        known, sides = files[name], side_names(name[: -len(suffix)], lower)
        told = (f"{side}:{files[side].st_size}:{files[side].st_mtime_ns}" for side in sides.values())
        yield Found(Path(here, name), known.st_size, known.st_mtime_ns, "|".join(told), sides)


def _new(path: str, seen: set[tuple[int, int]]) -> bool:
    """True at the first sight of a folder, whatever it is called. (Entries of a folder know no number on Windows.)"""
    try:
        known = _identity(os.stat(path))
    except OSError:
        return False
    new = known not in seen
    seen.add(known)
    return new


def _identity(known: os.stat_result) -> tuple[int, int]:
    return known.st_dev, known.st_ino


def _storable(name: str) -> bool:
    """False for a name that is no valid text: no database can hold it."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
