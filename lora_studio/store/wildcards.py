"""The workspace's wildcards: text files, one entry a line, that prompts name as `__name__`.

They lie in the folder `wildcards/` of the workspace, subfolders included, where whoever runs the program puts them;
nothing here writes. A name is a path below that folder without `.txt`, in any case, and may hold `*`. Files are read
anew each time, so that a changed one acts at once. It knows no prompts.
"""

from __future__ import annotations

import fnmatch
from pathlib import Path

LARGEST = 5 * 2**20
"""Bytes of a file that are read; what is behind is left out."""
MOST_FILES = 10_000


class Wildcards:
    """The files of one folder; it need not be there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """The names of all wildcards, in the order of the alphabet."""
        return sorted(self._files())

    def lines(self, name: str) -> list[str]:
        """The entries of all wildcards that a name means; none where there are none. Never raises."""
        wanted = name.casefold()
        found: list[str] = []
        for own, path in sorted(self._files().items()):
            if fnmatch.fnmatchcase(own.casefold(), wanted):
                found += _entries(path)
        return found

    def _files(self) -> dict[str, Path]:
        """Wildcards by name; links that lead out of the folder are not followed."""
        found: dict[str, Path] = {}
        root = self._folder.resolve()
        for path in self._folder.rglob("*.txt") if self._folder.is_dir() else ():
            if len(found) == MOST_FILES:
                break
            if path.is_file() and path.resolve().is_relative_to(root):
                found[path.relative_to(self._folder).with_suffix("").as_posix()] = path
        return found


def _entries(path: Path) -> list[str]:
    """The lines of a file but for empty ones and those that begin with #; one that cannot be read has none."""
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST).decode("utf-8-sig", "replace")
    except OSError:
        return []
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]
