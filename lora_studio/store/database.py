"""The SQLite file: connections, transactions, migrations, and the sentence for what can go wrong.

WAL with synchronous=FULL keeps every committed transaction through kill -9 and power loss
(https://sqlite.org/pragma.html#pragma_synchronous); writers take the lock at their beginning (BEGIN IMMEDIATE), so
that reading and then writing inside one transaction cannot be overtaken. It knows no table.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from lora_studio.errors import StorageError
from lora_studio.store.disk import FILE_MODE, told

BUSY_MILLISECONDS = 5000
PATIENCE = 6
"""How often a writer waits `BUSY_MILLISECONDS` for the others before it gives up."""

_WAL_PAUSE = 50
"""Milliseconds between two attempts at switching to WAL."""

_PRAGMAS = (
    f"PRAGMA busy_timeout={BUSY_MILLISECONDS}",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA secure_delete=ON",
)

_SENTENCES: dict[str, tuple[str, str]] = {
    "SQLITE_FULL": ("disk_full", "{path} cannot be written because the disk is full; free some space and try again."),
    "SQLITE_READONLY": (
        "disk_no_permission",
        "{path} cannot be written because permission is missing; choose a folder that you may write to.",
    ),
    "SQLITE_PERM": (
        "disk_no_permission",
        "{path} cannot be written because permission is missing; choose a folder that you may write to.",
    ),
    "SQLITE_BUSY": (
        "database_busy",
        "{path} is held by another program; close it and try again.",
    ),
    "SQLITE_CORRUPT": (
        "database_damaged",
        "{path} is damaged; put back a copy of it or choose another workspace.",
    ),
    "SQLITE_NOTADB": (
        "database_damaged",
        "{path} is no database of LoRA Studio; move it away or choose another workspace.",
    ),
}


class Database:
    """Transactions on one SQLite file; safe to use from several threads and processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with told(path):
            # Made here so that it, and the -wal and -shm beside it that copy its mode, are not readable by all.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE))
        self._engine: Engine = create_engine(
            URL.create("sqlite", database=str(path)),
            connect_args={"timeout": BUSY_MILLISECONDS / 1000},
            json_serializer=_dump,
            pool_size=8,
            max_overflow=32,
        )
        event.listen(self._engine, "connect", _set_up)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one state of the database, whatever others write meanwhile."""
        with self._told(), self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            yield connection
            connection.rollback()

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: all of it or nothing, on the medium when the block has ended."""
        with self._told(), self._engine.connect() as connection:
            self._begin(connection)
            yield connection
            connection.commit()

    def migrate(self) -> None:
        """Bring the tables to the newest form (see `migrations`)."""
        from lora_studio.store.migrations.run import upgrade

        self._use_wal()
        with self.write() as connection:
            upgrade(connection, self.path)

    def _use_wal(self) -> None:
        """Switch the file to WAL, which it then keeps. SQLite does not wait for others here, so this does."""
        tries = PATIENCE * BUSY_MILLISECONDS // _WAL_PAUSE
        with self._told(), contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            for attempt in range(tries):
                try:
                    connection.execute("PRAGMA journal_mode=WAL").close()
                    return
                except sqlite3.OperationalError as error:
                    if attempt == tries - 1 or not _name(error).startswith("SQLITE_BUSY"):
                        raise
                time.sleep(_WAL_PAUSE / 1000)

    def _begin(self, connection: Connection) -> None:
        """Take the writer's lock, waiting for other writers."""
        for attempt in range(PATIENCE):
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                return
            except DBAPIError as error:
                if attempt == PATIENCE - 1 or not _name(error.orig).startswith("SQLITE_BUSY"):
                    raise

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if not isinstance(error.orig, sqlite3.OperationalError | sqlite3.DatabaseError) or isinstance(
                error.orig, sqlite3.IntegrityError | sqlite3.ProgrammingError
            ):
                raise
            raise self._sentence(error.orig) from error
        except sqlite3.OperationalError as error:
            raise self._sentence(error) from error
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
                raise
            raise self._sentence(error) from error

    def _sentence(self, error: sqlite3.Error) -> StorageError:
        name = "_".join(_name(error).split("_")[:2])
        code, sentence = _SENTENCES.get(
            name, ("database_error", "{path} cannot be used (SQLite says: {reason}); check the disk.")
        )
        return StorageError(
            sentence.format(path=self.path, reason=error), code=code, path=str(self.path), reason=str(error)
        )


def _name(error: BaseException | None) -> str:
    """SQLite's own name of an error, such as SQLITE_BUSY_SNAPSHOT."""
    return str(getattr(error, "sqlite_errorname", ""))


def _set_up(connection: Any, _record: Any) -> None:
    """Prepare a new connection: transactions are begun by hand, and the pragmas hold."""
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(pragma).close()


def _dump(value: Any) -> str:
    """JSON that browsers can read too: NaN and infinities are refused."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))
