"""A real training that is killed without a word goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from lora_studio.engine.inline import InlineEngine
from lora_studio.errors import InvalidInput, StorageError
from lora_studio.pipeline.device import describe
from lora_studio.store import Workspace
from lora_studio.types import BaseChoice, to_json
from tests.support.contract import ended, make_dataset, new_id, settings, submit, teach
from tests.support.tiny import EXACT, load_tiny, write_tiny_base

ROOT = Path(__file__).resolve().parents[2]
STEPS, EVERY = 120, 10

LEARN = """
import json, sys
from pathlib import Path
from lora_studio.engine.inline import InlineEngine
from lora_studio.errors import InvalidInput, StorageError
from lora_studio.pipeline.device import describe
from lora_studio.store import Workspace
from lora_studio.types import BaseChoice, JobSpec
from tests.support.tiny import EXACT, load_tiny

root, folder, job, config = sys.argv[1:]
engine = InlineEngine(
    Workspace.open(Path(root)), lambda _: load_tiny(Path(folder)), BaseChoice(folder), lambda: describe(EXACT)
)
engine.submit(JobSpec(job, "train", "ann", {"config": json.loads(config)}))
for event in engine.events(job):
    print(json.dumps([event.type, event.data.get("step")]), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_kill_9_between_two_checkpoints_changes_no_weight(tmp_path: Path) -> None:
    """From the store of the killed process: interrupted, continued from the newest checkpoint, the same file."""
    folder = write_tiny_base(tmp_path / "tiny", "v_prediction", zero_snr=True)
    root, job = tmp_path / "workspace", new_id()
    with Workspace.open(root) as workspace:
        dataset = make_dataset(workspace, tmp_path / "set")
    config = settings(dataset, steps=STEPS, preview_every=0, checkpoint_every=EVERY)
    command = [sys.executable, "-c", LEARN, str(root), str(folder), job, json.dumps(to_json(config))]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert child.stdout is not None
    last, saved = ["", None], 0
    for line in child.stdout:
        last = json.loads(line)
        saved += last[0] == "checkpoint"
        if saved >= 2 and last[0] == "step":
            break
    assert last[0] == "step", f"it ended by itself: {last}"
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL

    with Workspace.open(root) as workspace:
        assert workspace.jobs.get(job).state == "running", "nobody could say goodbye"
        engine = InlineEngine(workspace, lambda _: load_tiny(folder), BaseChoice(str(folder)), lambda: describe(EXACT))
        try:
            assert workspace.jobs.get(job).state == "interrupted"
            kept = workspace.jobs.checkpoint(job)
            assert kept is not None
            assert 2 * EVERY <= kept[0] < STEPS
            assert kept[0] % EVERY == 0
            assert submit(engine, "train", {"resume": job}) == job
            assert ended(engine, job).type == "done"
            resumed = [event.data["step"] for event in engine.events(job, timeout=0) if event.type == "resumed"]
            assert resumed == [kept[0]]
            whole = teach(engine, config)
            assert ended(engine, whole).type == "done"
            made = [dict(engine.job(each).result or {})["adapter"] for each in (job, whole)]
            one, two = (load(workspace.files.read(sha256)) for sha256 in made)
            assert one.keys() == two.keys()
            assert all(torch.equal(one[key], two[key]) for key in one)
        finally:
            engine.close()


@pytest.mark.slow
def test_a_full_disk_at_a_checkpoint_costs_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was the end of the run, although its own words said to free some space and try again."""
    folder = write_tiny_base(tmp_path / "tiny", "v_prediction", zero_snr=True)
    with Workspace.open(tmp_path / "workspace") as workspace:
        config = settings(make_dataset(workspace, tmp_path / "set"), steps=40, preview_every=0, checkpoint_every=10)
        save, refused = workspace.jobs.save_checkpoint, []

        def full_once(job_id: str, step: int, sha256: str) -> None:
            if step == 20 and not refused:
                refused.append(step)
                raise StorageError("the disk is full", code="disk_full", path="x")
            save(job_id, step, sha256)

        monkeypatch.setattr(workspace.jobs, "save_checkpoint", full_once)
        engine = InlineEngine(workspace, lambda _: load_tiny(folder), BaseChoice(str(folder)), lambda: describe(EXACT))
        try:
            job = teach(engine, config)
            last = ended(engine, job)
            assert (last.type, last.data["code"], workspace.jobs.get(job).state) == ("error", "disk_full", "failed")
            kept = workspace.jobs.checkpoint(job)
            assert kept is not None
            assert kept[0] == 10
            with pytest.raises(InvalidInput):
                submit(engine, "train", {"resume": job}, "bob")
            assert submit(engine, "train", {"resume": job}) == job
            assert ended(engine, job).type == "done"
            whole = teach(engine, config)
            assert ended(engine, whole).type == "done"
            made = [dict(engine.job(each).result or {})["adapter"] for each in (job, whole)]
            one, two = (load(workspace.files.read(sha256)) for sha256 in made)
            assert all(torch.equal(one[key], two[key]) for key in one)
            assert workspace.jobs.checkpoint(job) is None
        finally:
            engine.close()
