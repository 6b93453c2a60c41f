"""The inline engine keeps the contract; and what only an engine in this process lets us see."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lora_studio.engine.inline import InlineEngine
from lora_studio.engine.protocol import Engine
from lora_studio.errors import BaseUnavailable, EngineStopped
from lora_studio.pipeline.device import describe
from lora_studio.pipeline.source import find_base
from lora_studio.store import Workspace
from lora_studio.types import BaseChoice, ExplainOptions, JobSpec, to_json
from tests.support.contract import (
    EngineContract,
    draw,
    ended,
    make_dataset,
    new_id,
    request,
    settings,
    submit,
    teach,
    wait_for,
)
from tests.support.tiny import EXACT, load_tiny, write_tiny_base


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("tiny"), "v_prediction", zero_snr=True)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    opened = Workspace.open(tmp_path / "workspace")
    yield opened
    opened.close()


def start(workspace: Workspace, folder: Path, base: str = "") -> InlineEngine:
    def load(choice: BaseChoice):
        return load_tiny(find_base(choice.base, folder).path)

    return InlineEngine(workspace, load, BaseChoice(base or str(folder)), lambda: describe(EXACT))


@pytest.fixture
def engine(workspace: Workspace, folder: Path) -> Iterator[Engine]:
    made = start(workspace, folder)
    yield made
    made.close()


class TestInlineEngine(EngineContract):
    """The contract."""


def test_explaining_goes_on_while_a_base_is_loaded(workspace: Workspace, folder: Path) -> None:
    """Then there is no tokenizer: what the text alone says is told, and nothing waits for the base."""
    loads, free = threading.Event(), threading.Event()

    def load(choice: BaseChoice):
        if choice.base == "slow":
            loads.set()
            assert free.wait(60)
        return load_tiny(folder)

    engine = InlineEngine(workspace, load, BaseChoice(str(folder)), lambda: describe(EXACT))
    try:
        assert engine.explain("(a:1.2)", "", ExplainOptions())["counted"] is True
        job = submit(engine, "load_base", {"base": "slow"})
        assert loads.wait(60)
        told = engine.explain("(a:1.2) [b:c:3]", "", ExplainOptions())
        assert told["counted"] is False
        assert [text["text"] for text in told["prompt"]["parts"][0]["texts"]] == ["(a:1.2) b", "(a:1.2) c"]
        free.set()
        assert ended(engine, job).type == "done"
        assert engine.explain("a", "", ExplainOptions())["counted"] is True
    finally:
        free.set()
        engine.close()


@pytest.mark.slow
def test_close_interrupts_and_continue_equals_never_stopped(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load

    engine = start(workspace, folder)
    dataset = make_dataset(workspace, tmp_path / "set")
    whole = teach(engine, settings(dataset, steps=30, preview_every=0, checkpoint_every=0))
    ended(engine, whole)
    job = teach(engine, settings(dataset, steps=30, preview_every=0, checkpoint_every=0))
    wait_for(engine, job, "step")
    engine.close()
    assert workspace.jobs.get(job).state == "interrupted"
    kept = workspace.jobs.checkpoint(job)
    assert kept is not None
    assert 0 < kept[0] < 30
    engine = start(workspace, folder)
    assert submit(engine, "train", {"resume": job}) == job
    last = ended(engine, job)
    assert last.type == "done"
    assert [e.data["step"] for e in engine.events(job, timeout=0) if e.type == "resumed"] == [kept[0]]
    one, two = (load(workspace.files.read(engine.job(j).result["adapter"])) for j in (whole, job))  # type: ignore[index]
    assert all(torch.equal(one[key], two[key]) for key in one)
    engine.close()


@pytest.mark.slow
def test_a_queued_picture_survives_a_restart(workspace: Workspace, folder: Path) -> None:
    """What was queued or running when the process ended is made after the next start, cell included."""
    engine = start(workspace, folder)
    notebook = workspace.notebooks.default("ann")
    job_id, wanted = new_id(), to_json(request(engine, num_inference_steps=300))
    cell = workspace.notebooks.add(notebook.id, "picture", wanted, job=job_id)
    engine.submit(JobSpec(job_id, "generate", "ann", {"request": wanted, "cell": cell.id}))
    wait_for(engine, job_id, "started")
    engine.close()
    assert workspace.jobs.get(job_id).state not in ("done", "failed", "cancelled")
    engine = start(workspace, folder)
    assert ended(engine, job_id).type == "done"
    finished = workspace.notebooks.cell(cell.id)
    assert finished.result is not None
    assert workspace.files.has(finished.result["images"][0]["sha256"])
    engine.close()


@pytest.mark.slow
def test_a_change_of_base_waits_and_frees_the_old_one(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    other = write_tiny_base(tmp_path / "other", seed=1)
    engine = start(workspace, folder)
    long = draw(engine, request(engine, num_inference_steps=150))
    wait_for(engine, long, "started")
    change = submit(engine, "load_base", {"base": str(other)})
    assert engine.info().loading == str(other)
    before = engine.info().base
    after = submit(engine, "generate", {"request": to_json(request(engine))}, "bob")
    assert ended(engine, change).type == "done"
    assert workspace.jobs.get(long).state == "done"
    assert engine.info().base != before
    assert engine.info().loading is None
    assert ended(engine, after).type == "done"
    stale = request(engine, base=before.sha256)  # type: ignore[union-attr]
    with pytest.raises(Exception, match=before.sha256[:10]):  # type: ignore[union-attr]
        draw(engine, stale)
    engine.close()


def test_an_engine_without_a_base_does_not_start(workspace: Workspace, folder: Path) -> None:
    with pytest.raises(BaseUnavailable, match="/no/base"):
        start(workspace, folder, "/no/base")


def test_nothing_is_taken_after_close(workspace: Workspace, folder: Path) -> None:
    engine = start(workspace, folder)
    wanted = request(engine)
    engine.close()
    with pytest.raises(EngineStopped):
        draw(engine, wanted)


def test_close_frees_the_base(workspace: Workspace, folder: Path) -> None:
    """Who opens and closes an engine many times in one process keeps none of its weights."""
    engine = start(workspace, folder)
    base = engine._worker.base
    assert base is not None
    engine.close()
    assert engine.info().base is None
    assert {parameter.device.type for parameter in base.unet.parameters()} == {"meta"}


TEAMS = """
import os, sys, threading
from pathlib import Path
import torch
from lora_studio.engine.inline import build_engine
from lora_studio.settings import load_settings
from lora_studio.store import Workspace

torch.set_num_threads(2)
before = len(os.listdir("/proc/self/task"))
with Workspace.open(Path(sys.argv[1]) / "workspace") as workspace:
    engine = build_engine(load_settings(workspace=workspace.root, base=sys.argv[2], threads=2), workspace)
    engine.close()
print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts the threads of a process as Linux lists them")
def test_only_the_workers_thread_keeps_a_team_of_openmp(tmp_path: Path, folder: Path) -> None:
    """Two teams are more threads than processors: then all of them sleep between two operations, at half the speed."""
    command = [sys.executable, "-c", TEAMS, str(tmp_path), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["0"]
