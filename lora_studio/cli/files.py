"""Writing results where people asked for them: found out early, written atomically, never half.

It does not know what the files hold; the writing itself and its sentences are the store's (`lora_studio.store.disk`).
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from uuid import uuid4

from lora_studio.errors import InvalidInput
from lora_studio.store.disk import told, write_atomically

CHUNK = 1 << 20
"""Bytes that are copied at a time."""


def target_file(out: Path, suffix: str) -> Path:
    """`out` as an absolute path that can be written; its folder is made.

    Raises:
        InvalidInput: it does not end in `suffix`, or it is a folder.
        StorageError: its folder cannot be made or written to.
    """
    path = Path(os.path.abspath(out.expanduser()))
    if os.path.isdir(path):
        raise InvalidInput(
            f"--out was given as {str(out)!r}, which is a folder; give the name of a {suffix} file in it.",
            code="out_is_folder",
            given=str(out),
        )
    if path.suffix.lower() != suffix:
        raise InvalidInput(
            f"--out was given as {str(out)!r}; it must end in {suffix}; change it and try again.",
            code="out_suffix",
            given=str(out),
            allowed=suffix,
        )
    target_folder(path.parent)
    return path


def target_folder(out: Path) -> Path:
    """`out` as an absolute path of a folder that is there and can be written to.

    Raises:
        StorageError: it cannot be made or written to, or a file stands in its place.
    """
    path = Path(os.path.abspath(out.expanduser()))
    with told(path):
        path.mkdir(parents=True, exist_ok=True)
        handle, probe = tempfile.mkstemp(prefix=".lora-studio-", dir=path)
        os.close(handle)
        os.unlink(probe)
    return path


def copy_atomically(source: Path, target: Path) -> None:
    """Put the bytes of `source` at `target`: all of them or none; an older file there is replaced.

    Raises:
        StorageError: the disk is full, read-only, or without permission.
    """
    with source.open("rb") as reading:
        write_atomically(target, iter(lambda: reading.read(CHUNK), b""), "cli")


def copy_anew(source: Path, target: Path) -> bool:
    """Put the bytes of `source` at `target` whole, or leave what stands there, whoever put it there just now.

    Returns:
        False where something stands at `target` already.

    Raises:
        StorageError: as `copy_atomically`.
    """
    part = target.with_name(f".lora-studio-{uuid4().hex}")
    copy_atomically(source, part)
    try:
        return _named_anew(part, target)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _named_anew(part: Path, target: Path) -> bool:
    """Give the file `part` the name `target` too; a second name fails where the name is taken, a new name does not."""
    try:
        os.link(part, target)
    except FileExistsError:
        return False
    except OSError:  # FAT and some network disks know no second names
        if os.path.lexists(target):
            return False
        with told(target):
            os.replace(part, target)
    return True
