"""Writing that survives a kill and a power cut, and the sentence for a disk that refuses.

A file is written beside its place, forced to the medium, renamed into place, and the folder is forced too: after
`write_atomically` returns, the whole file is there or the old state is. Without the last step the rename itself
can be lost (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014). It does not know what is written.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from lora_studio.errors import StorageError

TEMPORARY = ".tmp-"
"""What names of unfinished files begin with; whoever opens a workspace sweeps those of writers that are gone."""

FILE_MODE = 0o640
FOLDER_MODE = 0o750

_SENTENCES: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("disk_full", "{path} cannot be written because the disk is full; free some space and try again."),
    errno.EDQUOT: (
        "disk_quota",
        "{path} cannot be written because your disk quota is used up; free some space and try again.",
    ),
    errno.EFBIG: (
        "disk_file_too_big",
        "{path} cannot be written because files of this size are not allowed on this disk; raise the limit or choose "
        "another folder.",
    ),
    errno.EROFS: (
        "disk_read_only",
        "{path} cannot be written because the disk is read-only; choose a folder that can be written.",
    ),
    errno.EACCES: (
        "disk_no_permission",
        "{path} cannot be written because permission is missing; choose a folder that you may write to.",
    ),
    errno.EPERM: (
        "disk_no_permission",
        "{path} cannot be written because permission is missing; choose a folder that you may write to.",
    ),
    errno.ENOTDIR: (
        "disk_not_a_folder",
        "{path} cannot be made because a file stands where a folder is needed; choose another folder.",
    ),
    errno.EEXIST: (
        "disk_not_a_folder",
        "{path} cannot be made because a file stands where a folder is needed; choose another folder.",
    ),
}


def storage_error(error: OSError, path: Path) -> StorageError:
    """The sentence for what the system said when `path` was written."""
    code, sentence = _SENTENCES.get(
        error.errno or 0,
        (
            "disk_error",
            "{path} cannot be written (the system says: {reason}); check the disk or choose another folder.",
        ),
    )
    reason = os.strerror(error.errno) if error.errno else str(error)
    return StorageError(sentence.format(path=path, reason=reason), code=code, path=str(path), reason=reason)


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Any `OSError` inside becomes a `StorageError` about `path`."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error


def make_folder(path: Path) -> None:
    """Make a folder and its parents, forced to the medium; StorageError when that cannot be."""
    with told(path):
        missing = []
        probe = path
        while not probe.exists():
            missing.append(probe)
            probe = probe.parent
        path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        for made in reversed(missing):
            sync_folder(made.parent)


def write_atomically(target: Path, chunks: Iterable[bytes], writer: str) -> None:
    """Put `chunks` at `target`, whole or not at all; an old file there is replaced.

    Args:
        writer: name of the open workspace, a part of the temporary name, so that only its leftovers are swept.
    """
    with told(target):
        temporary = target.parent / f"{TEMPORARY}{writer}-{uuid.uuid4().hex}"
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), FILE_MODE)
            with os.fdopen(handle, "wb") as file:
                for chunk in chunks:
                    file.write(chunk)
                file.flush()
                sync_file(file.fileno())
            os.replace(temporary, target)
            sync_folder(target.parent)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def sync_file(handle: int) -> None:
    """Force an open file to the medium (macOS needs more than fsync for that)."""
    if sys.platform == "darwin":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
            return
    os.fsync(handle)


def sync_folder(folder: Path) -> None:
    """Force a folder's entries to the medium where the system can do that (Windows cannot)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)
