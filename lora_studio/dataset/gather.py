"""Files, folders and zips of a person -> pictures one after the other, captions by their picture's name, and refusals.

Files are told apart by their ending: .txt and .caption are captions, .zip is an archive, everything else is tried as
a picture (its content decides). Pictures are read only when their turn comes. It knows no database.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lora_studio.dataset import archive, captions, intake
from lora_studio.dataset.archive import is_junk
from lora_studio.errors import DatasetError
from lora_studio.types import RefusedPicture


@dataclass(frozen=True)
class RawPicture:
    """A file that may be a picture, under the name that its owner knows."""

    name: str
    source: Path | bytes


@dataclass
class Gathered:
    """What was found. `pictures` is read once; while it is, `refused` grows."""

    pictures: Iterator[RawPicture] = field(default_factory=lambda: iter(()))
    captions: dict[str, str] = field(default_factory=dict)
    """By `captions.stem` of the caption file's name."""
    caption_files: dict[str, str] = field(default_factory=dict)
    """The caption file's name, by the same."""
    refused: list[RefusedPicture] = field(default_factory=list)


def refusal(name: str, error: DatasetError) -> RefusedPicture:
    """A sentence kept beside the name of the file that it is about."""
    return RefusedPicture(source=name, code=error.code, message=error.message, values=error.values)


def gather_files(files: Sequence[Path], names: Sequence[str] | None = None) -> Gathered:
    """What lies in these files, in their order; `names` is what they are called where they lie under other names.

    What is junk by its name is left out: without a word where its name has a folder, which brought it along, with a
    sentence where somebody gave the file itself.
    """
    called = [path.name for path in files] if names is None else names
    found = Gathered()
    wanted = []
    for path, name in zip(files, called, strict=True):
        if not is_junk(name):
            wanted.append((path, name))
        elif not re.search(r"[\\/]", name):
            _refuse(
                found,
                name,
                "file_junk",
                "{name} is not used because hidden, system and read-me files are called like it; rename it if it "
                "belongs to the set.",
            )
    return _gather(found, wanted)


def gather_folder(folder: Path) -> Gathered:
    """What lies in a folder and below it, in the order of names (2 before 10); links to folders are not followed.

    Raises:
        DatasetError: there is no such folder, or no file in it.
    """
    found = []
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root) / name
            shown = path.relative_to(folder).as_posix()
            if not is_junk(shown):
                found.append((path, shown))
    if not found:
        what = "has no pictures in it" if folder.is_dir() else "is not there"
        raise DatasetError(
            f"The folder {str(folder)!r} {what}; give a folder with JPEG, PNG, WebP or BMP files.",
            code="folder_empty" if folder.is_dir() else "folder_missing",
            given=str(folder),
        )
    return _gather(Gathered(), sorted(found, key=lambda pair: natural(pair[1])))


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts numbers in names by their value."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def _gather(found: Gathered, files: Iterable[tuple[Path, str]]) -> Gathered:
    pictures: list[tuple[Path, str]] = []
    zips: list[tuple[Path, str]] = []
    for path, name in files:
        ending = Path(name).suffix.lower()
        if not path.is_file():
            _refuse_unreadable(found, name)
        elif ending in captions.SUFFIXES:
            _note_caption_file(found, path, name)
        elif ending == ".zip":
            if _note_zip(found, path, name):
                zips.append((path, name))
        else:
            pictures.append((path, name))
    found.pictures = _pictures(found, pictures, zips)
    return found


def _pictures(
    found: Gathered, pictures: Sequence[tuple[Path, str]], zips: Sequence[tuple[Path, str]]
) -> Iterator[RawPicture]:
    for path, name in pictures:
        yield RawPicture(name, path)
    for path, name in zips:
        for entry in archive.entries(path, name, lambda inner: not _is_caption(inner)):
            shown = f"{name}/{entry.name}"
            if entry.error is not None:
                found.refused.append(refusal(shown, entry.error))
            elif entry.size > intake.MAX_BYTES:  # its data are cut off, and so would be their count
                found.refused.append(refusal(shown, intake.too_many_bytes(shown, entry.size)))
            else:
                yield RawPicture(shown, entry.data)


def _note_zip(found: Gathered, path: Path, name: str) -> bool:
    """Read an archive's captions; False when it is refused."""
    try:
        for entry in archive.entries(path, name, _is_caption):
            shown = f"{name}/{entry.name}"
            if entry.error is not None:
                found.refused.append(refusal(shown, entry.error))
            else:
                _note_caption(found, shown, entry.data, entry.size)
    except DatasetError as error:
        found.refused.append(refusal(name, error))
        return False
    return True


def _note_caption_file(found: Gathered, path: Path, name: str) -> None:
    """Read as much of a caption file as can be allowed, and one byte more."""
    try:
        with path.open("rb") as file:
            data, size = file.read(captions.MAX_BYTES + 1), os.fstat(file.fileno()).st_size
    except OSError:
        _refuse_unreadable(found, name)
    else:
        _note_caption(found, name, data, size)


def _note_caption(found: Gathered, name: str, data: bytes, size: int) -> None:
    """Keep a caption under its picture's name; of two that can be read the one of the first ending wins.

    Args:
        size: bytes of the whole file, of which `data` may be the beginning.
    """
    try:
        text = captions.read_caption(data, name, size)
    except DatasetError as error:
        found.refused.append(refusal(name, error))
        return
    key = captions.stem(name)
    other = found.caption_files.get(key)
    if other is not None:
        loser = max(other, name, key=lambda each: captions.SUFFIXES.index(Path(each).suffix.lower()))
        _refuse(
            found, loser, "caption_twice", "{name} is not used because another caption file has its name; remove one."
        )
        if loser == name:
            return
    found.captions[key], found.caption_files[key] = text, name


def _is_caption(name: str) -> bool:
    return Path(name).suffix.lower() in captions.SUFFIXES


def _refuse_unreadable(found: Gathered, name: str) -> None:
    _refuse(found, name, "picture_unreadable", "{name} cannot be read; check that it is there and may be read.")


def _refuse(found: Gathered, name: str, code: str, sentence: str) -> None:
    found.refused.append(refusal(name, DatasetError(sentence.format(name=repr(name)), code=code, name=name)))
