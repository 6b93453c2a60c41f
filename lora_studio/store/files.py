"""Content-addressed, immutable files: `files/ab/abcdef...<suffix>`, named by their sha256.

Nothing is ever changed in place: what a process has mapped into memory stays what it was (a truncated mapped file
kills the process that reads it). Thumbnails are made when they are asked for and can be made again. It knows
neither what the files mean nor who refers to them.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageOps, UnidentifiedImageError

from lora_studio.errors import InvalidInput, NotFound, StorageError
from lora_studio.store.disk import make_folder, told, write_atomically
from lora_studio.store.presence import Presence

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SUFFIX = re.compile(r"(\.[a-z0-9]{1,16})?")
_CHUNK = 1 << 20
_HASH_SUFFIX = ".tensors"
_COMMON = (".png", ".safetensors", ".webp", ".json", "")
THUMBNAIL_SIZES = (16, 1024)
MAX_PIXELS = 80_000_000
_OLD_SECONDS = 3600.0
"""Files that have lain for longer count as new again when they are put once more."""


class FileStore:
    """Bytes by their hash."""

    def __init__(self, root: Path, presence: Presence) -> None:
        self._elsewhere: Callable[[str], Path] | None = None
        self._files = root / "files"
        self._thumbs = root / "thumbs"
        self._lost = root / "lost"
        self.latents = root / "latents"
        """What was computed from files; a name starts with the file's sha256, and goes with it."""
        self._presence = presence
        self._sizes: dict[str, int] = {}
        make_folder(self._files)
        make_folder(self._thumbs)

    def look_elsewhere(self, locate: Callable[[str], Path]) -> None:
        """From now on ask `locate` where a file lies that is not here; it raises `NotFound`."""
        self._elsewhere = locate

    def put_bytes(self, data: bytes, suffix: str = "") -> str:
        """Keep `data` and return its sha256; what is there already is left untouched.

        Args:
            suffix: "" or a dot and up to 16 lower-case letters and digits.

        Raises:
            StorageError: the disk is full, read-only or without permission.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        if not self._met_again(sha256):
            self._write(sha256, suffix, iter((data,)))
        return sha256

    def put_file(self, path: Path, suffix: str | None = None) -> str:
        """Keep a copy of a file and return its sha256; `suffix` None takes the file's own where it is a plain one.

        Raises:
            NotFound: `path` is not a file that can be read.
            StorageError: the disk refuses, or the file changed while it was copied.
        """
        if suffix is None:
            suffix = path.suffix.lower() if _SUFFIX.fullmatch(path.suffix.lower()) else ""
        sha256 = self.hash_of(path)
        if not self._met_again(sha256):
            self._write(sha256, suffix, _chunks(path))
        return sha256

    def hash_of(self, path: Path) -> str:
        """The sha256 of a file outside the store. Raises `NotFound` when it cannot be read."""
        digest = hashlib.sha256()
        for chunk in _chunks(path):
            digest.update(chunk)
        return digest.hexdigest()

    def path(self, sha256: str) -> Path:
        """Where the file lies, here or in a folder that is read in place; it must never be written to. Raises
        `NotFound`, for anything but 64 hex digits too."""
        valid = _SHA256.fullmatch(sha256) is not None
        found = self._find(sha256) if valid else None
        if found is None and valid and self._elsewhere is not None:
            return self._elsewhere(sha256)
        if found is None:
            raise NotFound(
                f"The file {sha256[:80]!r} is not in the workspace; it may have been deleted.",
                code="file_missing",
                sha256=sha256[:80],
            )
        return found

    def read(self, sha256: str) -> bytes:
        """The bytes. Raises `NotFound`."""
        try:
            return self.path(sha256).read_bytes()
        except FileNotFoundError:
            self.path(sha256)
            raise

    def has(self, sha256: str) -> bool:
        """True when the file is there."""
        return _SHA256.fullmatch(sha256) is not None and self._find(sha256) is not None

    def tensors_hash(self, sha256: str) -> str:
        """sha256 of what stands behind the header of a safetensors file: A1111 and Civitai know LoRA files by it, since
        it stays when the header is edited (kohya's "AutoV3"). Computed once and kept; a file without such a header is
        hashed whole.

        Raises:
            NotFound: the file is not there, or `sha256` is none.
        """
        if _SHA256.fullmatch(sha256):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                known = self._tensors_file(sha256).read_text(encoding="ascii")
                if _SHA256.fullmatch(known):
                    return known
        found = _tensors_hash(self.path(sha256))
        self.keep_tensors_hash(sha256, found)
        return found

    def keep_tensors_hash(self, sha256: str, found: str) -> None:
        """Remember the answer of `tensors_hash` for a file that was hashed anyway."""
        kept = self._tensors_file(sha256)
        with contextlib.suppress(StorageError):  # a full disk costs time, not the answer
            make_folder(kept.parent)
            write_atomically(kept, (found.encode(),), self._presence.name)

    def _tensors_file(self, sha256: str) -> Path:
        return self.latents / sha256[:2] / f"{sha256}{_HASH_SUFFIX}"

    def delete(self, sha256: str) -> None:
        """Remove a file and all that was made of it for good; one that is not there is no error."""
        if not _SHA256.fullmatch(sha256):
            return
        self._sizes.pop(sha256, None)
        for folder in (self._files, self._thumbs, self.latents):
            for path in (folder / sha256[:2]).glob(f"{sha256}*"):
                with told(path), contextlib.suppress(FileNotFoundError):
                    path.unlink()

    def set_aside(self, sha256: str) -> None:
        """Move a file out of the store into `lost`, and remove all that was made of it. Raises `StorageError`."""
        make_folder(self._lost)
        for path in (self._files / sha256[:2]).glob(f"{sha256}*"):
            with told(path), contextlib.suppress(FileNotFoundError):
                os.utime(path)  # it is kept from now on for as long as lost files are
                os.replace(path, self._lost / path.name)
        self.delete(sha256)

    def thumbnail(self, sha256: str, size: int = 256) -> Path:
        """A WebP picture at most `size` pixels wide and high (16 to 1024); small pictures are not enlarged.

        Raises:
            NotFound: the file is not there.
            InvalidInput: the file is no picture, or the size is out of range.
        """
        low, high = THUMBNAIL_SIZES
        if isinstance(size, bool) or not low <= size <= high:
            raise InvalidInput(
                f"A thumbnail of {size!r} pixels was asked for; allowed are {low} to {high}.",
                code="thumbnail_size",
                given=str(size),
                allowed=f"{low} to {high}",
            )
        source = self.path(sha256)
        target = self._thumbs / sha256[:2] / f"{sha256}-{size}.webp"
        if not target.is_file():
            data = shrink(source, size)
            make_folder(target.parent)
            write_atomically(target, (data,), self._presence.name)
        return target

    def listing(self) -> Collection[str]:
        """The hashes of all files that lie here, in no order."""
        found: set[str] = set()
        for folder in self._files.iterdir():
            with contextlib.suppress(OSError):  # no folder, or none that may be read
                found.update(name[:64] for name in os.listdir(folder) if _SHA256.fullmatch(name[:64]))
        return found

    def came(self, sha256: str) -> float:
        """When a file came, in seconds since 1970; now, where it is not here (any more)."""
        with contextlib.suppress(OSError):
            found = self._find(sha256)
            if found is not None:
                return found.stat().st_mtime
        return time.time()

    def size(self, sha256: str) -> int:
        """Bytes of a file that lies here; 0 for one that does not."""
        if sha256 not in self._sizes:
            found = self._find(sha256) if _SHA256.fullmatch(sha256) else None
            if found is None:
                return 0
            with contextlib.suppress(OSError):
                self._sizes[sha256] = found.stat().st_size
        return self._sizes.get(sha256, 0)

    def _met_again(self, sha256: str) -> bool:
        """True when the file is here.

        One that has lain for long is new again: whoever puts it is about to refer to it, and old files without a
        reference are taken for lost (`References.set_lost_aside`).
        """
        found = self._find(sha256)
        if found is None:
            return False
        with contextlib.suppress(OSError):
            if time.time() - found.stat().st_mtime > _OLD_SECONDS:
                os.utime(found)
        return True

    def _find(self, sha256: str) -> Path | None:
        folder = self._files / sha256[:2]
        for suffix in _COMMON:
            path = folder / f"{sha256}{suffix}"
            if path.is_file():
                return path
        return next(iter(sorted(folder.glob(f"{sha256}.*"))), None)

    def _write(self, sha256: str, suffix: str, chunks: Iterator[bytes]) -> None:
        if not _SUFFIX.fullmatch(suffix):
            raise InvalidInput(
                f"The file ending {suffix!r} is not allowed; it must be a dot and up to 16 small letters or digits.",
                code="file_suffix",
                given=suffix,
            )
        target = self._files / sha256[:2] / f"{sha256}{suffix}"
        make_folder(target.parent)
        write_atomically(target, _checked(chunks, sha256, target), self._presence.name)


def _chunks(path: Path) -> Iterator[bytes]:
    """The bytes of a file, a megabyte at a time. Raises `NotFound` when it cannot be read."""
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise NotFound(
            f"The file {str(path)!r} cannot be read ({reason}); check that it is there and may be read.",
            code="file_unreadable",
            path=str(path),
            reason=reason,
        ) from error


def _tensors_hash(path: Path) -> str:
    """sha256 of the bytes behind a safetensors header, of all bytes where there is none."""
    digest = hashlib.sha256()
    skip = None
    for chunk in _chunks(path):
        if skip is None:
            end = int.from_bytes(chunk[:8], "little") + 8
            skip = end if chunk[8:9] == b"{" and end <= path.stat().st_size else 0
        passed = min(skip, len(chunk))
        digest.update(chunk[passed:])
        skip -= passed
    return digest.hexdigest()


def _checked(chunks: Iterator[bytes], sha256: str, target: Path) -> Iterator[bytes]:
    """`chunks` as they are; a `StorageError` at their end when they are not what the name says."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != sha256:
        raise StorageError(
            f"{target} was not written because its source changed while it was read; try again.",
            code="file_changed",
            path=str(target),
        )


def shrink(source: Path | BinaryIO, size: int) -> bytes:
    """The picture as WebP bytes, at most `size` pixels on its longer side.

    Raises:
        InvalidInput: it is no picture that can be shown, or has more than `MAX_PIXELS`.
    """
    try:
        with Image.open(source, formats=("PNG", "JPEG", "WEBP", "BMP")) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError("too many pixels")
            upright = ImageOps.exif_transpose(image)
            small = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidInput(
            f"The file {_name(source)!r} is not a picture that can be shown; only pictures have thumbnails.",
            code="thumbnail_not_a_picture",
            given=_name(source),
        ) from error
    small.thumbnail((size, size), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "WEBP", quality=85, method=4)
    return out.getvalue()


def _name(source: Path | BinaryIO) -> str:
    return source.name if isinstance(source, Path) else "picture"
