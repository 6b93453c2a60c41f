"""The inline engine keeps the contract; and what only an engine in this process lets us see."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_studio.engine.arbiter import Running
from lora_studio.engine.inline import InlineEngine, build_engine
from lora_studio.engine.protocol import Engine
from lora_studio.engine.worker import Worker
from lora_studio.errors import BaseUnavailable, EngineStopped, InvalidInput, StorageError
from lora_studio.pipeline.calls import Turn
from lora_studio.pipeline.device import describe
from lora_studio.pipeline.source import find_base, find_local
from lora_studio.settings import load_settings
from lora_studio.store import Workspace
from lora_studio.train import Paused
from lora_studio.types import BaseChoice, Event, EventType, ExplainOptions, JobKind, JobSpec, to_json
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


def start(workspace: Workspace, folder: Path, base: str = "", remember: bool = False) -> InlineEngine:
    def load(choice: BaseChoice):
        return load_tiny(find_base(choice.base, folder).path)

    def look(ref: str, hub: bool):
        return find_base(ref, folder) if hub else find_local(ref, folder)

    first = BaseChoice(base or str(folder))
    return InlineEngine(workspace, load, first, lambda: describe(EXACT), look=look, remember=remember)


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
    old = engine._worker.base
    assert old is not None
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
    assert {parameter.device.type for parameter in old.unet.parameters()} == {"meta"}
    assert ended(engine, after).type == "done"
    stale = request(engine, base=before.sha256)  # type: ignore[union-attr]
    with pytest.raises(Exception, match=before.sha256[:10]):  # type: ignore[union-attr]
        draw(engine, stale)
    engine.close()


@pytest.mark.slow
def test_what_is_asked_for_on_the_loaded_base_does_not_wait_for_a_change(
    workspace: Workspace, folder: Path, tmp_path: Path
) -> None:
    """As a page asks: it names the base. It waited for somebody's training of hours, and then failed."""
    other = write_tiny_base(tmp_path / "other", seed=1)
    engine = start(workspace, folder)
    here = engine.info().base.sha256  # type: ignore[union-attr]
    long = draw(engine, request(engine, num_inference_steps=150))
    wait_for(engine, long, "started")
    change = submit(engine, "load_base", {"base": str(other)})
    wanted = to_json(request(engine, base=here))
    drawn = [submit(engine, "generate", {"request": wanted}, owner) for owner in ("bob", "carl")]
    for job in drawn:
        assert ended(engine, job).type == "done"
        assert engine.job(change).state == "queued"
    assert ended(engine, change).type == "done"
    assert workspace.jobs.get(long).state == "done"
    engine.close()


def test_a_wrong_name_is_refused_before_anybody_waits_for_it(workspace: Workspace, folder: Path) -> None:
    engine = start(workspace, folder)
    long = draw(engine, request(engine, num_inference_steps=400))
    wait_for(engine, long, "started")
    with pytest.raises(BaseUnavailable, match="/no/such"):
        submit(engine, "load_base", {"base": "/no/such"})
    assert engine.info().loading is None
    assert workspace.jobs.list(kinds=["load_base"]) == []
    engine.cancel(long)
    engine.close()


def test_a_base_that_the_hub_does_not_have_frees_nothing(workspace: Workspace, folder: Path) -> None:
    """Only the hub knows that: it is asked while the base before is still there."""

    def look(ref: str, hub: bool) -> None:
        if hub:
            raise BaseUnavailable("The hub has no 'owner/model'.", code="base_not_on_hub", given=ref)

    choice = BaseChoice(str(folder))
    engine = InlineEngine(workspace, lambda _: load_tiny(folder), choice, lambda: describe(EXACT), look=look)
    before = engine._worker.base
    last = ended(engine, submit(engine, "load_base", {"base": "owner/model"}))
    assert (last.type, last.data["code"]) == ("error", "base_not_on_hub")
    assert engine._worker.base is before
    engine.close()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"), "base_memory"),
        (MemoryError(), "base_memory"),
        (AttributeError("'list' object has no attribute 'get'"), "internal"),
    ],
)
def test_a_base_that_fails_in_whatever_way_leaves_the_one_before(
    workspace: Workspace, folder: Path, error: Exception, code: str
) -> None:
    """What was no error with a sentence ended the thread that does all the work."""

    def load(choice: BaseChoice):
        if choice.base == "heavy":
            raise error
        return load_tiny(folder)

    engine = InlineEngine(workspace, load, BaseChoice(str(folder)), lambda: describe(EXACT))
    before = engine.info().base
    last = ended(engine, submit(engine, "load_base", {"base": "heavy"}))
    assert (last.type, last.data["code"]) == ("error", code)
    assert engine.info().base == before
    assert ended(engine, draw(engine, request(engine))).type == "done"
    engine.close()


def full() -> StorageError:
    return StorageError("workspace.db cannot be written: the disk is full.", code="disk_full", path="workspace.db")


def test_a_full_disk_ends_no_thread(workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot even be begun fails with the disk's sentence; when there is space again the next one is made."""
    engine = start(workspace, folder)
    append, refusing = workspace.jobs.append, [True]

    def refuse(job_id: str, type: EventType, data: dict[str, Any]) -> Event:
        if refusing and type == "started":
            raise full()
        return append(job_id, type, data)

    monkeypatch.setattr(workspace.jobs, "append", refuse)
    for job in (submit(engine, "load_base", {"base": str(folder)}), draw(engine, request(engine))):
        last = ended(engine, job)
        assert (last.type, last.data["code"]) == ("error", "disk_full")
    refusing.clear()
    assert ended(engine, draw(engine, request(engine))).type == "done"
    engine.close()


def test_what_goes_wrong_outside_of_every_job_ends_no_thread(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last line of defence: what ran fails, and the next one is made."""
    engine = start(workspace, folder)
    turn, broken = engine._worker._arbiter.turn, [True]

    def break_once() -> Any:
        if broken:
            broken.clear()
            raise RuntimeError("outside")
        return turn()

    monkeypatch.setattr(engine._worker._arbiter, "turn", break_once)
    last = ended(engine, draw(engine, request(engine)))
    assert (last.type, last.data["code"]) == ("error", "internal")
    assert ended(engine, draw(engine, request(engine))).type == "done"
    engine.close()


def test_an_end_that_cannot_be_written_is_told_and_written_later(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told to whoever asks and not to the first alone; the job stood as running for ever."""
    engine = start(workspace, folder)
    finish, refusing = workspace.jobs.finish_with, [True]

    def refuse(*given: Any, **named: Any) -> Event:
        if refusing:
            raise full()
        return finish(*given, **named)

    monkeypatch.setattr(workspace.jobs, "finish_with", refuse)
    job = draw(engine, request(engine))
    for last in (ended(engine, job), ended(engine, job)):
        assert (last.seq, last.type, last.data["code"]) == (-1, "error", "disk_full")
    assert engine.job(job).state == "running"
    refusing.clear()
    until = time.monotonic() + 30
    while engine.job(job).state == "running" and time.monotonic() < until:
        time.sleep(0.05)
    assert engine.job(job).state == "done"
    assert ended(engine, job).data["images"]
    engine.close()


def test_a_job_that_nobody_runs_can_be_stopped(workspace: Workspace, folder: Path) -> None:
    """Left by an end that was never written: it stood as stopping for ever, and could not be deleted."""
    engine = start(workspace, folder)
    job = workspace.jobs.create(JobSpec(new_id(), "generate", "ann", {})).id
    workspace.jobs.set_state(job, "running")
    engine.cancel(job)
    assert ended(engine, job).type == "cancelled"
    workspace.jobs.delete(job)
    engine.close()


def test_a_job_that_cannot_be_entered_whole_is_not_entered(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row without its first event was one that no worker knew, and was made at the next start, unasked."""
    engine = start(workspace, folder)
    with monkeypatch.context() as patched:
        patched.setattr(workspace.jobs, "_append", lambda *_: (_ for _ in ()).throw(full()))
        with pytest.raises(StorageError):
            draw(engine, request(engine))
    assert workspace.jobs.list() == []
    engine.close()


def test_a_wait_for_events_ends_in_time_whatever_others_tell(workspace: Workspace, folder: Path) -> None:
    """Every event of another job began the wait anew."""
    engine = start(workspace, folder)
    quiet = workspace.jobs.create(JobSpec(new_id(), "generate", "ann", {})).id
    over = threading.Event()

    def tell() -> None:
        while not over.wait(0.02):
            engine._told(Event("another", 0, time.time(), "step", {}))

    telling = threading.Thread(target=tell)
    telling.start()
    limit = threading.Timer(20, over.set)
    limit.start()
    assert list(engine.events(quiet, timeout=1.0)) == []
    assert not over.is_set(), "it waited for as long as the other one told something"
    limit.cancel()
    over.set()
    telling.join()
    engine.close()


def interrupted(workspace: Workspace, folder: Path, tmp_path: Path, base: str = "") -> str:
    """A run on the base in `folder` that ended before its time; `base` is what its settings name."""
    engine = start(workspace, folder)
    config = settings(make_dataset(workspace, tmp_path / "set"), steps=60, preview_every=0, checkpoint_every=0)
    job = teach(engine, replace(config, base=engine.info().base.sha256 if base else ""))  # type: ignore[union-attr]
    wait_for(engine, job, "step")
    engine.close()
    assert workspace.jobs.get(job).state == "interrupted"
    return job


@pytest.mark.slow
@pytest.mark.parametrize("base", ["named", ""], ids=["a page's", "one that names no base"])
def test_a_run_goes_on_on_its_own_base_alone(workspace: Workspace, folder: Path, tmp_path: Path, base: str) -> None:
    """On another one it was begun, failed, and could never go on again; or went on silently on the wrong one."""
    job = interrupted(workspace, folder, tmp_path, base)
    engine = start(workspace, write_tiny_base(tmp_path / "other", seed=1))
    events = workspace.jobs.events(job)
    with pytest.raises(InvalidInput) as caught:
        submit(engine, "train", {"resume": job})
    assert caught.value.code == "train_base_changed"
    assert workspace.jobs.get(job).state == "interrupted"
    assert workspace.jobs.events(job) == events
    assert ended(engine, submit(engine, "load_base", {"base": str(folder)})).type == "done"
    assert submit(engine, "train", {"resume": job}) == job
    assert ended(engine, job).type == "done"
    engine.close()


@pytest.mark.slow
def test_a_run_that_meets_another_base_is_as_it_was(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    """Continued while a change of base waited: what it meets is known only when its turn comes."""
    job = interrupted(workspace, folder, tmp_path)
    engine = start(workspace, folder)
    long = draw(engine, request(engine, num_inference_steps=100), "bob")
    wait_for(engine, long, "started")
    change = submit(engine, "load_base", {"base": str(write_tiny_base(tmp_path / "other", seed=1))})
    seen = len(workspace.jobs.events(job))
    submit(engine, "train", {"resume": job})
    assert ended(engine, change).type == "done"
    *_, told, last = engine.events(job, seen, timeout=60)
    assert (told.type, told.data["code"], last.type) == ("warning", "train_base_changed", "interrupted")
    assert workspace.jobs.get(job).state == "interrupted"
    assert workspace.jobs.checkpoint(job) is not None
    engine.close()


@pytest.mark.slow
def test_the_base_chosen_last_is_loaded_again(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    """What a person chose on a page; not what the command line loaded, nor what is gone."""
    other = write_tiny_base(tmp_path / "other", seed=1)
    engine = start(workspace, folder)
    first = engine.info().base
    assert ended(engine, submit(engine, "load_base", {"base": str(other)})).type == "done"
    chosen = engine.info().base
    assert ended(engine, submit(engine, "load_base", {"base": str(folder)}, "local")).type == "done"
    engine.close()
    for remember, base in ((True, chosen), (False, first)):
        engine = start(workspace, folder, remember=remember)
        assert engine.info().base == base
        engine.close()
    named = load_settings(workspace=workspace.root, base=str(folder), device="cpu", dtype="float32", offline=True)
    built = build_engine(named, workspace, remember=True)
    assert built.info().base.ref == str(folder), "the settings name it"  # type: ignore[union-attr]
    built.close()
    shutil.rmtree(other)
    engine = start(workspace, folder, remember=True)
    assert engine.info().base == first
    engine.close()


@pytest.mark.slow
def test_work_for_another_base_waits_for_it(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    """Queued for a base that was chosen, it failed at the next start; the command line could fail a server's so."""
    other = write_tiny_base(tmp_path / "other", seed=1)
    engine = start(workspace, other)
    wanted = to_json(request(engine, base=engine.info().base.sha256))  # type: ignore[union-attr]
    engine.close()
    jobs = [JobSpec(new_id(), "generate", "ann", {"request": wanted}) for _ in range(2)]
    for job in jobs:
        workspace.jobs.create(job)
    for _ in range(2):  # told once, however often it starts
        engine = start(workspace, folder)
        assert [workspace.jobs.get(job.id).state for job in jobs] == ["queued", "queued"]
        told = [event.data["code"] for job in jobs for event in workspace.jobs.events(job.id)]
        assert told == ["waits_for_base", "waits_for_base"]
        engine.close()
    engine = start(workspace, folder)
    engine.cancel(jobs[1].id)
    assert ended(engine, jobs[1].id).type == "cancelled"
    assert ended(engine, draw(engine, request(engine))).type == "done"
    assert ended(engine, submit(engine, "load_base", {"base": str(other)})).type == "done"
    assert ended(engine, jobs[0].id).type == "done"
    engine.close()


def test_closing_gives_all_its_time_to_trainings(workspace: Workspace) -> None:
    """Beside pictures on a slow device a training did not get to its checkpoint within that time."""

    def nothing(choice: BaseChoice):
        raise BaseUnavailable("There is none.", code="base_missing", given=choice.base)

    drawn: list[int] = []

    def picture() -> Iterator[Turn]:
        while True:
            drawn.append(1)
            yield Turn()

    def training() -> Iterator[Turn]:
        for _ in range(5):
            yield Turn()
        raise Paused

    worker = Worker(workspace, nothing, lambda event: None)
    kinds: dict[JobKind, Any] = {"generate": picture(), "train": training()}
    for kind, job in kinds.items():
        workspace.jobs.create(JobSpec(kind, kind, "ann", {}))
        workspace.jobs.set_state(kind, "running")
        worker._arbiter.add(Running(kind, "ann", kind, [job]))
    worker.pause(60)
    assert drawn == []
    assert workspace.jobs.get("train").state == "interrupted"
    assert not worker.busy


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
