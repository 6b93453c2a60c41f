"""Who is there is told from who is gone by locks, however processes are numbered and whoever looks at the moment."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_studio.store import presence
from lora_studio.store.presence import Presence


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Presence]:
    """Another opener of the same folder."""
    made = Presence(tmp_path)
    yield made
    made.close()


def test_an_opener_is_there_until_it_closes(tmp_path: Path, other: Presence) -> None:
    assert other.alone()
    mine = Presence(tmp_path)
    assert mine.name != other.name
    assert (mine.alive(mine.name), other.alive(mine.name)) == (True, True)
    assert not other.alone()
    mine.close()
    assert (mine.alive(mine.name), other.alive(mine.name)) == (False, False)
    assert other.alone()
    for name in ("", "nobody", "../x"):
        assert not other.alive(name)


@pytest.mark.parametrize("removed", [False, True])
def test_a_sweeper_that_holds_the_new_file_leaves_nobody_without_a_lock(
    tmp_path: Path, other: Presence, monkeypatch: pytest.MonkeyPatch, removed: bool
) -> None:
    """The opener went on without a lock, its file was removed, and its running jobs were taken for a dead one's."""
    lock, tried = presence._lock, []

    def held_at_first(handle: int) -> bool | None:
        tried.append(handle)
        if len(tried) > 1:
            return lock(handle)
        if removed:
            for path in tmp_path.iterdir():
                if path.name != other.name:
                    path.unlink()
        return False

    with monkeypatch.context() as patched:
        patched.setattr(presence, "_lock", held_at_first)
        mine = Presence(tmp_path)
    assert len(tried) == 2
    other.sweep()
    assert other.alive(mine.name)
    mine.close()


def test_the_same_number_on_another_machine_is_another_process(
    tmp_path: Path, other: Presence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two containers on one volume both have a process 1: the second called the first one's trainings interrupted."""
    same = Presence(tmp_path)
    assert other.recoverable(same.name), "an engine that was closed in this very process"
    monkeypatch.setattr(platform, "node", lambda: "another-container")
    far = Presence(tmp_path)
    assert not far.recoverable(other.name)
    assert not other.recoverable(far.name)
    far.close()
    assert other.recoverable(far.name)
    same.close()


def test_a_disk_without_locks_takes_everybody_for_living(
    tmp_path: Path, other: Presence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "_lock", lambda handle: None)
    mine = Presence(tmp_path)
    assert mine.alive(other.name)
    mine.close()
