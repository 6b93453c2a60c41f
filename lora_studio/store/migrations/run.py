"""Brings a database to the newest revision; no alembic.ini, the scripts lie beside this file.

Source: Alembic's "Sharing a connection across one or more programmatic migration commands"
(https://alembic.sqlalchemy.org/en/latest/cookbook.html).
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from lora_studio.errors import StorageError


def config(connection: Connection) -> Config:
    """Alembic's settings for one open connection."""
    made = Config()
    # configparser reads % as the start of a variable.
    made.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    made.set_main_option("path_separator", "os")
    made.attributes["connection"] = connection
    return made


def upgrade(connection: Connection, path: Path) -> None:
    """Run what is missing inside the connection's transaction.

    Raises:
        StorageError: the database at `path` was made by a newer version of the app.
    """
    settings = config(connection)
    script = ScriptDirectory.from_config(settings)
    current = MigrationContext.configure(connection).get_current_revision()
    if current == script.get_current_head():
        return
    if current is not None and current not in {revision.revision for revision in script.walk_revisions()}:
        raise StorageError(
            f"{path} was written by a newer LoRA Studio ({current}); update the app or choose another workspace.",
            code="database_newer",
            path=str(path),
            revision=current,
        )
    command.upgrade(settings, "head")
