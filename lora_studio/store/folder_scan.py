"""One look through the folders of LoRA files: what is new is read, what moved is found again, what went is missing.

A file that has the size and time it had is not opened, unless an older reader looked at it: then its header is read
once more. A new one is examined by its header and hashed once; the hash
decides which entry it is, so that a file in two places, one that was uploaded too, and one that was moved or renamed
are the entry that is there. A file that was written over is another file: the entry's label, notes and stars go with
the place, the old entry stays as one that is missing. What the files beside it say is taken over, but for what a person
changed. Embeddings and a picture that lie in a file are copied into the store; a pickle is not opened, whoever wants it
brings it in, where it is converted by a process of its own. It writes to the workspace alone.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, select, update
from sqlalchemy.dialects.sqlite import insert

from lora_studio.errors import InvalidInput, StudioError
from lora_studio.headers import header
from lora_studio.headers.adapter import READER, AdapterHeader, examine, hints_of
from lora_studio.store.bundled import COVER_SIZE, header_cover, keep_bundled
from lora_studio.store.files import shrink
from lora_studio.store.folder_state import FolderState, Rooms, ScanState
from lora_studio.store.folder_walk import Found, walk
from lora_studio.store.side_files import MAX_PICTURE, MAX_SIDE, SideFacts, read_sides, remark
from lora_studio.store.tables import adapter, folder_file
from lora_studio.store.words import MAX_NAME, displayable
from lora_studio.types import LOCAL, AdapterEntry, EmbeddingEntry
from lora_studio.types.library import ADAPTER_SUFFIX, BUNDLED, bundled_text

_CHUNK = 1 << 20
_BREATH = 64
"""Chunks that are hashed between two yields."""
_PERSONAL = ("trigger_words", "notes", "recommended_weight", "cover", "stars")


@dataclass(frozen=True)
class Read:
    """What was found out about a file: its hash ("" where it is no LoRA, and then why), what its header says, and the
    embeddings in it, which the store has."""

    sha256: str = ""
    problem: str = ""
    header: AdapterHeader | None = None
    bundled: tuple[EmbeddingEntry, ...] = ()


class Scan:
    """See `steps`; one object for one look."""

    def __init__(self, rooms: Rooms, roots: tuple[Path, ...], before: ScanState) -> None:
        self._rooms = rooms
        self._roots = roots
        self._state = replace(before, done=0, todo=0)

    def steps(self) -> Generator[ScanState, None, None]:
        """The whole look; yields how far it is."""
        known = self._known()
        found: dict[str, tuple[str, Found]] = {}
        for root in self._roots:
            self._state = replace(self._state, folders=tuple(self._look(root, found)))
            yield self._state
        unlike = {path: one for path, one in found.items() if not _is_known(one[1], known.get(path))}
        self._back([path for path in found if path not in unlike and known[path].gone is not None])
        self._state = replace(self._state, todo=len(unlike))
        for number, (path, (folder, file)) in enumerate(unlike.items(), 1):
            read = yield from self._read(file, known.get(path))
            self._enter(folder, file, read, known.get(path))
            self._state = replace(self._state, done=number)
            yield self._state
        for path in [path for path in found if path not in unlike and known[path].side != found[path][1].side]:
            self._sides(found[path][1], known[path].sha256)
            yield self._state
        self._gone([path for path, row in known.items() if path not in found and row.gone is None])
        self._state = replace(self._state, done=0, todo=0, folders=tuple(self._counted()))
        yield self._state

    # ------------------------------------------------------------ looking
    def _known(self) -> dict[str, Row[Any]]:
        with self._rooms.database.read() as connection:
            return {row.path: row for row in connection.execute(select(folder_file))}

    def _look(self, root: Path, found: dict[str, tuple[str, Found]]) -> Iterator[FolderState]:
        """Walk through one folder; what is said of all folders afterwards."""
        problem = None
        try:
            for file in walk(root):
                found[os.fspath(file.path)] = (os.fspath(root), file)
        except StudioError as error:
            problem = error.as_json()
        for state in self._state.folders:
            yield replace(state, problem=problem) if state.folder == os.fspath(root) else state

    def _counted(self) -> Iterator[FolderState]:
        with self._rooms.database.read() as connection:
            query = select(folder_file.c.folder, folder_file.c.problem).where(folder_file.c.gone.is_(None))
            rows = connection.execute(query).all()
        for state in self._state.folders:
            problems = [row.problem for row in rows if row.folder == state.folder]
            bad = sum(1 for problem in problems if problem)
            yield replace(state, files=len(problems) - bad, unusable=bad, read=True)

    # ------------------------------------------------------------ reading
    def _read(self, file: Found, before: Row[Any] | None) -> Generator[ScanState, None, Read]:
        """Examine and hash a file that is new or has changed."""
        if not file.path.name.casefold().endswith(ADAPTER_SUFFIX):
            return Read(problem="pickled")
        try:
            with file.path.open("rb") as opened:
                named = header.read(opened, file.size)
                told = examine(named)
                behind = opened.tell()
                if told.kind != "lora":
                    return Read(problem=told.kind)
                if before is not None and before.sha256 and _is_same(file, before):
                    again = tuple(keep_bundled(self._rooms.files, opened, named, behind))
                    return Read(before.sha256, "", told, again)  # a newer reader looks at it: its hash is known
                opened.seek(0)
                whole, tensors = hashlib.sha256(), hashlib.sha256()
                skip, count = behind, 0
                while chunk := opened.read(_CHUNK):
                    whole.update(chunk)
                    tensors.update(memoryview(chunk)[min(skip, len(chunk)) :])
                    skip = max(0, skip - len(chunk))
                    count += 1
                    if count % _BREATH == 0:
                        yield self._state
                after = os.fstat(opened.fileno())
                if (after.st_size, after.st_mtime_ns) != (file.size, file.modified):
                    return Read(problem="incomplete")  # somebody is writing it: its new time has it read again
                bundled = tuple(keep_bundled(self._rooms.files, opened, named, behind))
        except header.HeaderCutOffError:
            return Read(problem="incomplete")
        except header.HeaderDamagedError:
            return Read(problem="damaged")
        except (OSError, KeyError, IndexError, TypeError):
            return Read(problem="unreadable")
        self._rooms.files.keep_tensors_hash(whole.hexdigest(), tensors.hexdigest())
        return Read(whole.hexdigest(), "", told, bundled)

    # ------------------------------------------------------------ writing
    def _enter(self, folder: str, file: Found, read: Read, before: Row[Any] | None) -> None:
        """Write one file and its entry."""
        facts, cover = self._beside(file)
        row = {
            "path": os.fspath(file.path),
            "owner": LOCAL,
            "folder": folder,
            "size": file.size,
            "modified": file.modified,
            "sha256": read.sha256,
            "side": file.side,
            "problem": read.problem,
            "gone": None,
            "reader": READER,
        }
        with self._rooms.database.write() as connection:
            made = insert(folder_file).values(**row)
            connection.execute(made.on_conflict_do_update(index_elements=["path"], set_=row))
            replaced = before.sha256 if before is not None and before.sha256 != read.sha256 else ""
            if read.header is not None:
                self._entry(connection, file, read, (facts, cover), replaced)
            _touch(connection, [one for one in (read.sha256, replaced) if one])
        self._rooms.references.settle()

    def _entry(
        self, connection: Connection, file: Found, read: Read, beside: tuple[SideFacts, str | None], replaced: str
    ) -> None:
        """The entry of a file: the one that is there, or a new one."""
        told = read.header
        assert told is not None
        query = select(adapter).where(adapter.c.sha256 == read.sha256)
        shared = query.where((adapter.c.owner == LOCAL) | adapter.c.sample.is_(True))
        row = connection.execute(shared.order_by(adapter.c.number)).first()
        if row is None:
            row = self._rooms.adapters.insert(connection, _new_entry(file, read), kept=False)
            if replaced:
                self._take_over(connection, row, replaced)
                row = connection.execute(shared).one()
        elif not row.stem:
            connection.execute(update(adapter).where(adapter.c.number == row.number).values(stem=_stem(file)))
        elif not row.kept:
            connection.execute(update(adapter).where(adapter.c.number == row.number).values(**_of_header(row, read)))
        if not row.sample:
            facts, cover = beside
            cover = cover or header_cover(self._rooms.files, told.metadata)
            self._rooms.adapters.describe(connection, row, news(row, described(told, facts, cover)))

    def _take_over(self, connection: Connection, row: Row[Any], replaced: str) -> None:
        """Give a file that was written over another the label and what a person wrote for the place."""
        mine = (adapter.c.sha256 == replaced) & (adapter.c.owner == LOCAL) & adapter.c.kept.is_(False)
        old = connection.execute(select(adapter).where(mine)).first()
        lies = (folder_file.c.sha256 == replaced) & folder_file.c.gone.is_(None)
        if old is None or connection.execute(select(folder_file.c.path).where(lies)).first() is not None:
            return
        day = time.strftime("%Y-%m-%d")
        aside = f"{old.name[: MAX_NAME - 20]} ({day})"
        connection.execute(update(adapter).where(adapter.c.number == old.number).values(name=aside))
        kept = {key: getattr(old, key) for key in _PERSONAL if key in old.edited}
        values = kept | {"name": old.name, "edited": old.edited}
        connection.execute(update(adapter).where(adapter.c.number == row.number).values(**values))
        if kept.get("cover"):
            self._rooms.references.add(connection, "adapter", str(row.number), LOCAL, kept["cover"])

    def _sides(self, file: Found, sha256: str) -> None:
        """Take over what the files beside a LoRA say now."""
        facts, cover = self._beside(file)
        with self._rooms.database.write() as connection:
            mine = folder_file.c.path == os.fspath(file.path)
            connection.execute(update(folder_file).where(mine).values(side=file.side))
            query = select(adapter).where(adapter.c.sha256 == sha256, adapter.c.owner == LOCAL)
            for row in connection.execute(query).all() if sha256 else ():
                told = AdapterHeader("lora", family=_header_family(row), metadata=row.metadata)
                cover = cover or header_cover(self._rooms.files, row.metadata)
                self._rooms.adapters.describe(connection, row, news(row, described(told, facts, cover)))
        self._rooms.references.settle()

    def _back(self, paths: list[str]) -> None:
        self._mark(paths, None)

    def _gone(self, paths: list[str]) -> None:
        self._mark(paths, time.time())

    def _mark(self, paths: list[str], gone: float | None) -> None:
        """Note that files went away or came back."""
        if not paths:
            return
        with self._rooms.database.write() as connection:
            for start in range(0, len(paths), 500):
                mine = folder_file.c.path.in_(paths[start : start + 500])
                hashes = connection.scalars(select(folder_file.c.sha256).where(mine)).all()
                connection.execute(update(folder_file).where(mine).values(gone=gone))
                _touch(connection, [one for one in hashes if one])

    # ------------------------------------------------------------ files beside a LoRA
    def _beside(self, file: Found) -> tuple[SideFacts, str | None]:
        """What the files beside it say, and a small copy of its picture in the store."""
        folder = file.path.parent
        texts = {
            kind: (name, _bytes(folder / name, MAX_SIDE)) for kind, name in file.sides.items() if kind != "picture"
        }
        facts = read_sides(texts.get("plain"), texts.get("info"))
        name = file.sides.get("picture")
        if name is None:
            return facts, None
        cover = picture_cover(self._rooms, folder / name)
        if cover is None:
            return replace(facts, warnings=(*facts.warnings, remark("side_picture", name))), None
        return facts, cover


def described(told: AdapterHeader, facts: SideFacts, cover: str | None) -> dict[str, Any]:
    """What header and side files say of an entry, as its columns: a person's own text comes before the file's."""
    return {
        "trigger_words": list(facts.words or told.words),
        "recommended_weight": _default_weight(told) if facts.weight is None else facts.weight,
        "notes": facts.notes or told.metadata.get("modelspec.description", "")[:2000],
        "side": facts.as_side(),
        "family": told.family or facts.family,
        "cover": cover,
    }


def news(row: Row[Any], values: dict[str, Any]) -> dict[str, Any]:
    """Those of the values that may be written into a row: where it did not come from a folder, only what it lacks."""
    if not row.kept:
        return values
    lacking = {key for key, value in values.items() if value and not getattr(row, key)}
    if row.recommended_weight == 1.0:
        lacking.add("recommended_weight")
    return {key: value for key, value in values.items() if key in lacking}


def picture_cover(rooms: Rooms, path: Path) -> str | None:
    """sha256 of a small copy of a picture, None where it is none that can be shown."""
    try:
        if path.stat().st_size > MAX_PICTURE:
            return None
        return rooms.files.put_bytes(shrink(path, COVER_SIZE), ".webp")
    except (OSError, InvalidInput):
        return None


def _of_header(row: Row[Any], read: Read) -> dict[str, Any]:
    """The columns of an entry that only the header of its file tells; what the door found out stays."""
    told = read.header
    assert told is not None
    metadata = dict(told.metadata) | ({BUNDLED: bundled_text(read.bundled)} if read.bundled else {})
    report = row.report if "layers_matched" in row.report else told.as_report()
    return {"rank": told.rank, "report": report, "metadata": metadata, "hints": hints_of(metadata)}


def _new_entry(file: Found, read: Read) -> AdapterEntry:
    told = read.header
    assert told is not None
    return AdapterEntry(
        sha256=read.sha256,
        name=_stem(file)[:MAX_NAME].strip() or read.sha256[:12],
        owner=LOCAL,
        created=file.modified / 1e9,
        size=file.size,
        base_sha256=told.metadata.get("lora_studio_base_sha256", ""),
        family=told.family,
        rank=told.rank,
        report=told.as_report(),
        metadata=dict(told.metadata) | ({BUNDLED: bundled_text(read.bundled)} if read.bundled else {}),
        stem=_stem(file),
    )


def _stem(file: Found) -> str:
    return displayable(file.path.stem)


def _is_known(file: Found, row: Row[Any] | None) -> bool:
    """True where nothing says that the file changed; one that could not be opened is tried again."""
    return row is not None and _is_same(file, row) and row.problem != "unreadable" and row.reader >= READER


def _is_same(file: Found, row: Row[Any]) -> bool:
    return bool((row.size, row.modified) == (file.size, file.modified))


def _header_family(row: Row[Any]) -> str:
    """The family by the header, kept in the first report."""
    return str((row.report or {}).get("family", ""))


def _default_weight(told: AdapterHeader) -> float:
    """The weight that the file recommends (SwarmUI's `modelspec.lora_default_weight`), else 1."""
    try:
        weight = float(told.metadata.get("modelspec.lora_default_weight", ""))
    except ValueError:
        return 1.0
    return weight if -10 <= weight <= 10 else 1.0


def _bytes(path: Path, limit: int) -> bytes | None:
    """The beginning of a file, one byte more than the limit at most; None where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError:
        return None


def _touch(connection: Connection, hashes: Sequence[str]) -> None:
    """Let the entries of these files count as changed, so that pages look again."""
    for start in range(0, len(hashes), 500):
        mine = adapter.c.sha256.in_(list(hashes[start : start + 500]))
        connection.execute(update(adapter).where(mine).values(changed=time.time()))
