"""What really happens to disks and processes: kill -9 while writing, a full disk, one that may not be written.

Nothing that was acknowledged may be lost, no file may be torn, and what cannot be done is told in one sentence.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from lora_studio.store import Workspace

SCRIPT = Path(__file__).with_name("hard_life.py")
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals, limits and mounts are different there")


def started(action: str, root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(SCRIPT), action, str(root)],
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def told(action: str, root: Path, prepare: str | None = None) -> dict[str, Any]:
    """What a subprocess says; `prepare` runs before it in a mount namespace of its own."""
    command = [sys.executable, "-W", "error", str(SCRIPT), action, str(root)]
    if prepare is not None:
        command = ["unshare", "-rm", "sh", "-ec", f"{prepare}; exec {shlex.join(command)}"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def small_disk(tmp_path: Path) -> str:
    """A command that mounts 4 MB on `tmp_path/disk`; skipped where nobody may mount."""
    (tmp_path / "disk").mkdir()
    mount = f"mount -t tmpfs -o size=4m none {shlex.quote(str(tmp_path / 'disk'))}"
    probe = shutil.which("unshare") and subprocess.run(["unshare", "-rm", "sh", "-ec", mount], capture_output=True)
    if not probe or probe.returncode:
        pytest.skip("this system does not let tests mount a small disk")
    return mount


@pytest.mark.slow
def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    rng = random.Random(3)
    acknowledged: list[dict[str, Any]] = []
    for _ in range(6):
        child = started("scribble", tmp_path)
        assert child.stdout is not None
        acknowledged += [json.loads(child.stdout.readline()) for _ in range(6)]  # however busy the machine is
        time.sleep(rng.uniform(0.02, 0.25))
        child.send_signal(signal.SIGKILL)
        rest, _ = child.communicate(timeout=30)
        acknowledged += [json.loads(line) for line in rest.splitlines() if line.endswith("}")]
        assert child.returncode == -signal.SIGKILL
    assert len(acknowledged) > 30, "the children did something"
    with Workspace.open(tmp_path) as opened:
        _check(opened, acknowledged)
    assert list((tmp_path / "files").rglob(".tmp-*")) == []


def test_kill_9_in_the_middle_of_a_file_leaves_no_half_of_it(tmp_path: Path) -> None:
    child = started("stall", tmp_path)
    assert child.stdout is not None
    assert json.loads(child.stdout.readline()) == {"half": True}
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=30)
    sha256 = hashlib.sha256(bytes(6_000_000)).hexdigest()
    (left,) = [path for path in (tmp_path / "files").rglob("*") if path.is_file()]
    assert left.name.startswith(".tmp-")
    with Workspace.open(tmp_path) as opened:
        assert not opened.files.has(sha256)
        assert not left.exists()
        assert opened.files.put_bytes(bytes(6_000_000), ".bin") == sha256
        assert opened.files.read(sha256) == bytes(6_000_000)


def _check(opened: Workspace, acknowledged: list[dict[str, Any]]) -> None:
    """Everything acknowledged is there, and nothing is torn."""
    job = ""
    checkpoints: dict[str, dict[str, Any]] = {}
    for line in acknowledged:
        job = line.get("job", job)
        if "file" in line:
            assert opened.files.has(line["file"])
            assert opened.jobs.events(job, line["seq"])[0].data == {"sha256": line["file"]}
        elif "checkpoint" in line:
            checkpoints[job] = line
        elif "done" in line:
            assert opened.jobs.get(line["done"]).result == {"n": 1}
    for found in opened.jobs.list(limit=10_000):
        events = opened.jobs.events(found.id)
        assert [event.seq for event in events] == list(range(len(events)))
        assert (found.state == "done") == bool(events and events[-1].type == "done")
        kept = opened.jobs.checkpoint(found.id)
        if kept is not None:
            assert opened.files.has(kept[1])
            assert kept[0] >= checkpoints.get(found.id, {"step": 0})["step"]
        else:
            assert found.id not in checkpoints
    for path in (opened.root / "files").rglob("*"):
        if path.is_file():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem


def test_a_full_disk_is_told_and_costs_nothing_that_is_there(tmp_path: Path, small_disk: str) -> None:
    said = told("fill", tmp_path / "disk" / "w", small_disk)
    assert said["kept"] > 10
    assert said["files"]["code"] == "disk_full"
    assert str(tmp_path / "disk" / "w" / "files") in said["files"]["message"]
    assert "the disk is full; free some space" in said["files"]["message"]
    assert said["events"]["type"] == "StorageError"
    assert said["events"]["code"] == "disk_full"
    assert str(tmp_path / "disk" / "w" / "workspace.db") in said["events"]["message"]
    assert (said["whole"], said["left"], said["acknowledged"], said["goes on"]) == (True, [], True, True)


def test_no_room_for_even_an_empty_workspace(tmp_path: Path, small_disk: str) -> None:
    disk = tmp_path / "disk"
    fill = f"{small_disk}; dd if=/dev/zero of={shlex.quote(str(disk))}/fill bs=4096 status=none 2>&- || true"
    said = told("attempt", disk / "w", fill)
    assert said["type"] == "StorageError"
    assert said["code"] == "disk_full"
    assert str(disk / "w") in said["message"]


@pytest.mark.parametrize("there", [False, True])
def test_a_read_only_disk_is_told(tmp_path: Path, small_disk: str, there: bool) -> None:
    disk = tmp_path / "disk"
    first = shlex.join([sys.executable, str(SCRIPT), "attempt", str(disk / "w")]) if there else "true"
    said = told("attempt", disk / "w", f"{small_disk}; {first} >&2; mount -o remount,ro {shlex.quote(str(disk))}")
    assert said["code"] == "disk_read_only"
    assert str(disk / "w") in said["message"]
    assert "read-only; choose a folder that can be written" in said["message"]


def test_a_folder_without_permission_is_told() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        said = told("as_nobody" if os.geteuid() == 0 else "attempt", folder / "w")
    assert said["code"] == "disk_no_permission"
    assert str(folder / "w") in said["message"]
    assert "permission is missing" in said["message"]


def test_files_larger_than_may_be_written_leave_nothing_half(tmp_path: Path) -> None:
    said = told("limited", tmp_path)
    for name in ("bytes", "file"):
        assert said[name]["code"] == "disk_file_too_big"
        assert str(tmp_path / "files") in said[name]["message"]
    assert said["event"]["type"] == "StorageError"
    assert str(tmp_path / "workspace.db") in said["event"]["message"]
    assert (said["left"], said["small"], said["seq"], said["has"]) == ([], True, 0, True)
