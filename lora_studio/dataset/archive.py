"""A zip -> its files as bytes, one after the other; nothing is ever unpacked onto the disk.

Whole archives are refused that are made to do harm or cannot be read as a set of pictures: too many entries, too
much when unpacked, names that lead out of the archive, links, locked entries, entries that unpack to far more than
they hold. Sizes are checked as declared before anything is read, and again while reading. It does not look into the
files.
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lora_studio.dataset import captions, intake
from lora_studio.errors import DatasetError

MAX_ENTRIES = 10_000
MAX_UNPACKED = 2_000_000_000
MAX_DIRECTORY = 4_000_000
"""Bytes of the list of entries, which is read into memory at once."""
MAX_RATIO = 200
"""Unpacked over packed size; deflate reaches 1000 on zeros, pictures stay near 1."""
_SMALL = 1_000_000
"""Entries up to this size are let be whatever their ratio: texts and flat drawings pack well."""
_JUNK_FOLDERS = ("__MACOSX",)
_JUNK_FILES = ("thumbs.db", "desktop.ini", ".ds_store", "readme.md", "readme.txt", "license", "license.txt")

# What zipfile raises on damaged archives, found by feeding it damaged ones: names that are no UTF-8 and places beyond
# the file are among them.
_BROKEN = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    ArithmeticError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True)
class Entry:
    """One file of an archive: its name with folders, and its bytes or the sentence why it cannot be read."""

    name: str
    data: bytes = b""
    """No more than one byte above what a picture may have."""
    size: int = 0
    """Bytes of the whole entry."""
    error: DatasetError | None = None


def is_junk(name: str) -> bool:
    """True for what lies beside pictures and is none: system files (__MACOSX, ._ files, Thumbs.db), read-me files."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    hidden = any(part.startswith(".") and part not in (".", "..") for part in parts)
    return hidden or any(part in _JUNK_FOLDERS for part in parts) or (parts[-1:] or ("",))[0].lower() in _JUNK_FILES


def entries(path: Path, name: str = "", wanted: Callable[[str], bool] = lambda name: True) -> Iterator[Entry]:
    """The files of a zip in its order, without folders and junk; a name that comes twice is an error the second time.

    Args:
        name: what the person calls the archive.
        wanted: which entries to give out, by their names.

    Raises:
        DatasetError: the archive as a whole is refused (before its first file is given out).
    """
    shown = name or path.name
    try:
        with _Guarded(path, shown) as file, zipfile.ZipFile(file) as archive:
            file.listed = True
            listed = [info for info in _checked(archive, shown) if wanted(info.filename)]
            seen: set[str] = set()
            for info in listed:
                yield _twice(info, shown) if info.filename in seen else _read(archive, info, shown)
                seen.add(info.filename)
    except _BROKEN as error:
        raise _broken(shown) from error


class _Guarded(io.BufferedReader):
    """A zip's bytes. zipfile takes the list of entries in one read, from where the archive's end says that it lies:
    until the list stands (`listed`) no read may be longer than a list may be. Asking the end beforehand would need a
    second reading of it that is the same in every damaged archive."""

    def __init__(self, path: Path, shown: str) -> None:
        super().__init__(io.FileIO(path))
        self._shown = shown
        self.listed = False

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `size` bytes. Raises `DatasetError` for a list that is too long."""
        if not self.listed and size is not None and size > MAX_DIRECTORY:
            raise _too_many(self._shown, "too many")
        return super().read(size)


def _checked(archive: zipfile.ZipFile, shown: str) -> list[zipfile.ZipInfo]:
    """The entries worth reading. Raises `DatasetError` for the archive."""
    listed = archive.infolist()
    if len(listed) > MAX_ENTRIES:
        raise _too_many(shown, str(len(listed)))
    unpacked = sum(info.file_size for info in listed)
    if unpacked > MAX_UNPACKED:
        raise _refusal(
            "zip_too_large",
            "The archive {name} unpacks to {given} MB; at most {allowed} MB are allowed; split it.",
            shown,
            given=str(unpacked // 1_000_000),
            allowed=str(MAX_UNPACKED // 1_000_000),
        )
    for info in listed:
        _check_entry(info, shown)
    return [info for info in listed if not info.is_dir() and not is_junk(info.filename)]


def _check_entry(info: zipfile.ZipInfo, shown: str) -> None:
    """Refuse the archive for what one entry is."""
    if not info.filename:
        raise _broken(shown)
    parts = PurePosixPath(info.filename.replace("\\", "/"))
    outside = parts.is_absolute() or ".." in parts.parts or (parts.parts and parts.parts[0].endswith(":"))
    if outside:
        raise _entry_refusal("zip_outside", "leads out of the archive", info, shown)
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _entry_refusal("zip_link", "is a link or a device, not a file", info, shown)
    if info.flag_bits & 0x1:
        raise _entry_refusal("zip_locked", "is locked with a password", info, shown)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _entry_refusal("zip_method", "is packed in a way other than store or deflate", info, shown)
    if info.file_size > _SMALL and info.file_size > MAX_RATIO * max(1, info.compress_size):
        raise _entry_refusal("zip_bomb", "unpacks to far more than it holds", info, shown)


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, shown: str) -> Entry:
    """One entry's bytes, never more than it declares nor than any file may have."""
    limit = max(intake.MAX_BYTES, captions.MAX_BYTES) + 1
    try:
        with archive.open(info) as file:
            data = file.read(limit)
    except _BROKEN as error:
        refused = _refusal(
            "zip_entry_broken", "{entry} in the archive {name} is damaged; pack it again.", shown, entry=info.filename
        )
        refused.__cause__ = error
        return Entry(info.filename, error=refused)
    return Entry(info.filename, data, info.file_size)


def _broken(shown: str) -> DatasetError:
    return _refusal("zip_broken", "The archive {name} is damaged or no zip; pack it again or give the pictures.", shown)


def _too_many(shown: str, given: str) -> DatasetError:
    return _refusal(
        "zip_too_many_entries",
        "The archive {name} has {given} entries; at most {allowed} are allowed; split it.",
        shown,
        given=given,
        allowed=str(MAX_ENTRIES),
    )


def _twice(info: zipfile.ZipInfo, shown: str) -> Entry:
    return Entry(
        info.filename,
        error=_refusal(
            "zip_twice",
            "{entry} stands twice in the archive {name}; only the first is used; rename the other.",
            shown,
            entry=info.filename,
        ),
    )


def _entry_refusal(code: str, what: str, info: zipfile.ZipInfo, shown: str) -> DatasetError:
    sentence = "The archive {name} is not opened because its entry {entry} " + what + "; pack it again without it."
    return _refusal(code, sentence, shown, entry=info.filename[:200])


def _refusal(code: str, sentence: str, shown: str, **values: str) -> DatasetError:
    quoted = {key: repr(value) if key == "entry" else value for key, value in values.items()}
    return DatasetError(sentence.format(name=repr(shown), **quoted), code=code, name=shown, **values)
