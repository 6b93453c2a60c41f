"""Opening a workspace: tables as they should be, and one sentence for everything that can stand in the way."""

from __future__ import annotations

import os
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from lora_studio.errors import StorageError
from lora_studio.store import Workspace
from lora_studio.store.migrations.run import config
from lora_studio.store.tables import metadata
from lora_studio.types import JobSpec


def test_the_migrations_make_exactly_the_tables(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as opened, opened.database.read() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True, "target_metadata": metadata}
        )
        assert compare_metadata(context, metadata) == []
        made = inspect(connection)
        assert set(made.get_table_names()) == {*metadata.tables, "alembic_version"}
        for name, table in metadata.tables.items():
            assert {key["constrained_columns"][0]: key["options"] for key in made.get_foreign_keys(name)} == {
                key.parent.name: {"ondelete": "CASCADE"} for key in table.foreign_keys
            }
            assert made.get_pk_constraint(name)["constrained_columns"] == [key.name for key in table.primary_key]


def test_the_migrations_are_one_line(workspace: Workspace) -> None:
    with workspace.database.read() as connection:
        script = ScriptDirectory.from_config(config(connection))
    assert len(script.get_heads()) == 1
    assert len(script.get_bases()) == 1


def test_every_table_says_whose_its_rows_are() -> None:
    assert [name for name, table in metadata.tables.items() if "owner" not in table.columns] == []


def test_the_database_is_set_up_to_lose_nothing(workspace: Workspace) -> None:
    with workspace.database.read() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys", "secure_delete")
        }
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "busy_timeout": 5000,
        "foreign_keys": 1,
        "secure_delete": 1,
    }


def test_everything_survives_closing(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as first:
        name = first.id
        first.jobs.create(JobSpec("a", "train", "ann", {"x": 1}))
        sha256 = first.files.put_bytes(b"x")
    first.close()
    with Workspace.open(tmp_path) as again:
        assert again.id == name
        assert again.jobs.get("a").payload == {"x": 1}
        assert again.files.read(sha256) == b"x"


def test_two_workspaces_have_two_names(tmp_path: Path) -> None:
    with Workspace.open(tmp_path / "a") as one, Workspace.open(tmp_path / "b") as other:
        assert one.id != other.id


@pytest.mark.parametrize("name", ["100% cats", "猫", "a b'c\"d", "x?mode=ro", "deep/er/est"])
def test_odd_paths_are_only_paths(tmp_path: Path, name: str) -> None:
    with Workspace.open(tmp_path / name) as opened:
        assert opened.root == tmp_path / name
        assert (tmp_path / name / "workspace.db").stat().st_size > 0


def test_a_relative_path_means_the_folder_it_meant_when_it_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Workspace.open(Path("w")) as opened:
        monkeypatch.chdir("/")
        assert opened.files.path(opened.files.put_bytes(b"x")).is_relative_to(tmp_path / "w")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_others_cannot_read_what_is_kept(tmp_path: Path) -> None:
    with Workspace.open(tmp_path / "w") as opened:
        opened.files.put_bytes(b"x")
        opened.jobs.create(JobSpec("a", "train", "ann", {}))
        paths = [opened.root, *opened.root.rglob("*")]
        assert any(path.name.endswith("-wal") for path in paths)
        assert [path for path in paths if stat.S_IMODE(path.stat().st_mode) & 0o007] == []


def test_many_may_open_a_new_one_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: Workspace.open(tmp_path / "w"), range(4)))
    assert len({each.id for each in opened}) == 1
    for each in opened:
        each.close()
    assert list((tmp_path / "w" / "openers").iterdir()) == []


@pytest.mark.parametrize("inside", ["", "deeper", "deeper/still"])
def test_a_file_where_a_folder_is_needed_is_named(tmp_path: Path, inside: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError) as caught:
        Workspace.open(tmp_path / "file" / inside)
    assert str(tmp_path / "file") in caught.value.message
    assert caught.value.code == "disk_not_a_folder"
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("data", [b"not a database, but long enough to look like one" * 50, bytes(5000)])
def test_a_foreign_or_damaged_database_is_named_and_left_alone(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "workspace.db").write_bytes(data)
    with pytest.raises(StorageError) as caught:
        Workspace.open(tmp_path)
    assert str(tmp_path / "workspace.db") in caught.value.message
    assert caught.value.code == "database_damaged"
    assert (tmp_path / "workspace.db").read_bytes() == data
    assert list((tmp_path / "openers").iterdir()) == []


def test_a_database_of_a_newer_version_is_named_and_left_alone(tmp_path: Path) -> None:
    Workspace.open(tmp_path).close()
    with sqlite3.connect(tmp_path / "workspace.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StorageError, match=r"newer LoRA Studio \(9999\)") as caught:
        Workspace.open(tmp_path)
    assert str(tmp_path / "workspace.db") in caught.value.message


def test_a_database_that_somebody_holds_is_named(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lora_studio.store.database.PATIENCE", 2)
    holder = sqlite3.connect(workspace.root / "workspace.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with workspace.database.read() as connection:
        connection.exec_driver_sql("SELECT 1")
    with workspace.database._engine.connect() as quick:
        quick.exec_driver_sql("PRAGMA busy_timeout=50")
    with pytest.raises(StorageError, match="held by another program"):
        workspace.jobs.create(JobSpec("a", "train", "ann", {}))
    holder.rollback()
    holder.close()
    assert workspace.jobs.create(JobSpec("a", "train", "ann", {})).state == "queued"


def test_a_failed_transaction_leaves_nothing_and_the_next_one_works(workspace: Workspace) -> None:
    def fail_half_way() -> None:
        with workspace.database.write() as connection:
            connection.exec_driver_sql("INSERT INTO dataset (id, owner, name, created) VALUES ('d', 'ann', 'n', 0)")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert workspace.datasets.list("ann") == []
    workspace.datasets.create("n", "ann")
    assert len(workspace.datasets.list("ann")) == 1


def test_one_reader_sees_one_state_while_others_write(workspace: Workspace) -> None:
    workspace.jobs.create(JobSpec("a", "train", "ann", {}))
    with workspace.database.read() as connection:
        count = "SELECT count(*) FROM job"
        before = connection.exec_driver_sql(count).scalar()
        workspace.jobs.create(JobSpec("b", "train", "ann", {}))
        assert connection.exec_driver_sql(count).scalar() == before == 1
    assert len(workspace.jobs.list()) == 2
