"""`runs`, and what `train --continue` says of the runs that are there: after a stop, and after a crash."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from lora_studio.store import Workspace
from lora_studio.store.presence import Presence
from lora_studio.store.tables import job
from lora_studio.types import JobSpec
from tests.cli.conftest import Studio
from tests.cli.fake import Faults, write_pictures


def told(studio: Studio) -> list[dict[str, Any]]:
    """What `runs --json` lists."""
    answer = studio("runs", "--json")
    assert (answer.code, answer.engines) == (0, []), answer.err
    return list(json.loads(answer.out)["runs"])


def begun(tmp_path: Path, opener: str, run: str = "c0ffee" * 5 + "ab") -> str:
    """A training that stands as running and belongs to `opener`, as the database has it while a process trains."""
    with Workspace.open(tmp_path / "ws") as workspace:
        workspace.jobs.create(JobSpec(run, "train", "local", {"config": {"name": "my cat ears", "steps": 500}}))
        workspace.jobs.set_state(run, "running")
        with workspace.database.write() as connection:
            connection.execute(update(job).where(job.c.id == run).values(opener=opener))
    return run


def test_trainings_are_listed_with_the_way_on(studio: Studio, tmp_path: Path) -> None:
    pictures = str(write_pictures(tmp_path / "cats", 2))
    assert studio("runs").out == ""
    assert studio("train", pictures, "--name", "one", "--out", "a.safetensors").code == 0
    studio("train", pictures, "--name", "two", "--out", "b.safetensors", faults=Faults(interrupt="train"))
    two, one = told(studio)
    assert (one["name"], one["state"], one["step"], one["continue"]) == ("one", "done", 5, None)
    assert len(one["adapter"]) == 64
    assert (two["name"], two["state"], two["adapter"], two["error"]) == ("two", "interrupted", None, None)
    where = f" --workspace {tmp_path / 'ws'}"
    assert two["continue"] == f"python -m lora_studio train --continue {two['run'][:12]} --out F.safetensors{where}"
    lines = studio("runs").out.splitlines()
    assert [line.split()[0] for line in lines] == [two["run"][:12], one["run"][:12]]
    assert lines[0].endswith(two["continue"])
    assert "done  step 5 of " in lines[1]
    assert studio("train", "--continue", two["run"][:12], "--out", "b.safetensors").code == 0
    assert [run["state"] for run in told(studio)] == ["done", "done"]


def test_after_a_crash_a_run_is_found_and_goes_on(studio: Studio, tmp_path: Path) -> None:
    """`train --continue` looked before an engine had put the states right, and said that there was no run."""
    run = begun(tmp_path, "1-gone")
    [listed] = told(studio)
    assert (listed["run"], listed["state"], listed["steps"]) == (run, "interrupted", 500)
    assert f"--continue {run[:12]}" in listed["continue"]
    answer = studio("train", "--continue", "zzzz", "--out", "a.safetensors")
    assert f"'zzzz' is not known; runs that can go on are {run[:12]}." in answer.err


def test_a_failed_run_goes_on_from_its_checkpoint_alone(studio: Studio, tmp_path: Path) -> None:
    kept, lost = "c0ffee" * 5 + "ab", "decade" * 5 + "ab"
    with Workspace.open(tmp_path / "ws") as workspace:
        for run in (lost, kept):
            workspace.jobs.create(JobSpec(run, "train", "local", {"config": {"name": run[:6], "steps": 500}}))
            workspace.jobs.set_state(run, "running")
        workspace.jobs.save_checkpoint(kept, 10, workspace.files.put_bytes(b"state"))
        for run in (lost, kept):
            workspace.jobs.finish_with(run, "failed", "error", {"message": "The disk is full."})
    listed = {one["run"]: one for one in told(studio)}
    assert (listed[kept]["state"], listed[kept]["step"]) == ("failed", 10)
    assert f"--continue {kept[:12]}" in listed[kept]["continue"]
    assert (listed[lost]["state"], listed[lost]["continue"]) == ("failed", None)
    answer = studio("train", "--continue", "zzzz", "--out", "a.safetensors")
    assert f"runs that can go on are {kept[:12]}." in answer.err


@pytest.mark.skipif(os.name == "nt", reason="a lock of this process stands in for another process's")
def test_a_run_of_a_process_that_lives_is_running(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ws").mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpid", lambda: 1)
        other = Presence(tmp_path / "ws" / "openers")
    begun(tmp_path, other.name)
    [listed] = told(studio)
    assert (listed["state"], listed["continue"]) == ("running", None)
    assert "there is none that could go on" in studio("train", "--continue", "zzzz", "--out", "a.safetensors").err
    other.close()


def test_a_failed_run_says_why(studio: Studio, tmp_path: Path) -> None:
    run = begun(tmp_path, "1-gone")
    with Workspace.open(tmp_path / "ws") as workspace:
        problem = {"type": "OutOfMemory", "code": "out_of_memory", "message": "Too little memory.", "values": {}}
        workspace.jobs.finish_with(run, "failed", "error", problem, error=problem)
    assert told(studio)[0]["error"] == "Too little memory."
    assert studio("runs").out.strip().endswith("my cat ears  Too little memory.")
