"""Writing down how jobs end: with what is not there any more, and with what cannot be stored."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_studio.engine.ends import RETRY, End, Ends, failure
from lora_studio.errors import StorageError
from lora_studio.store import Workspace
from lora_studio.types import Event, JobSpec


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.open(tmp_path / "workspace") as opened:
        yield opened


@pytest.fixture
def job(workspace: Workspace) -> str:
    made = workspace.jobs.create(JobSpec("1" * 32, "generate", "ann", {}))
    workspace.jobs.set_state(made.id, "running")
    return made.id


def test_a_cell_that_was_deleted_for_good_keeps_no_job_open(workspace: Workspace) -> None:
    """That was taken for a fault of the disk, and the job stood as running for ever."""
    cell = workspace.notebooks.add(workspace.notebooks.default("ann").id, "picture", {})
    made = workspace.jobs.create(JobSpec("2" * 32, "generate", "ann", {"cell": cell.id}))
    workspace.notebooks.delete(cell.id)
    workspace.notebooks.purge(time.time() + 1)
    told: list[Event] = []
    ends = Ends(workspace, told.append)
    ends.write(End(made.id, "done", {"images": []}))
    assert workspace.jobs.get(made.id).state == "done"
    assert [event.type for event in told] == ["done"]
    assert ends.unwritten == {}


def test_a_result_that_cannot_be_stored_is_a_failure(workspace: Workspace, job: str) -> None:
    """NaN is no JSON: that was an error without a sentence, and ended the worker's thread."""
    Ends(workspace, lambda event: None).write(End(job, "done", {"loss": float("nan")}))
    ended = workspace.jobs.get(job)
    assert (ended.state, (ended.error or {}).get("code")) == ("failed", "internal")


def test_a_job_that_is_gone_is_left_alone(workspace: Workspace) -> None:
    ends = Ends(workspace, lambda event: pytest.fail("there is nobody to tell"))
    ends.write(End("3" * 32, "done"))
    assert ends.unwritten == {}


def test_what_cannot_be_written_is_tried_again_now_and_then(
    workspace: Workspace, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at every turn: SQLite may take its time to say no."""
    tries: list[str] = []
    finish = workspace.jobs.finish_with

    def refuse(job_id: str, *given: Any, **named: Any) -> Event:
        tries.append(job_id)
        if len(tries) < 3:
            raise StorageError("workspace.db cannot be written.", code="disk_full", path="workspace.db")
        return finish(job_id, *given, **named)

    monkeypatch.setattr(workspace.jobs, "finish_with", refuse)
    told: list[Event] = []
    ends = Ends(workspace, told.append)
    ends.write(failure(job, MemoryError()))
    assert ends.unwritten[job].data["code"] == "disk_full"
    ends.again(at_once=True)
    for _ in range(20):
        ends.again()
    assert len(tries) == 2
    monkeypatch.setattr(ends, "_tried", time.monotonic() - RETRY)
    ends.again()
    assert ends.unwritten == {}
    assert (workspace.jobs.get(job).state, told[-1].type, told[-1].data["code"]) == ("failed", "error", "out_of_memory")
