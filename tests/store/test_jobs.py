"""Jobs: states, events without gaps, checkpoints, what is left after a crash."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import select, update

from lora_studio.errors import InvalidInput, NotAllowed, NotFound, StorageError
from lora_studio.store import Workspace
from lora_studio.store.database import Database
from lora_studio.store.migrations.run import config
from lora_studio.store.tables import job, job_adapter
from lora_studio.types import AdapterEntry, EventType, JobSpec, JobState
from lora_studio.types.jobs import FINAL

Make = Callable[..., JobSpec]
Crash = Callable[[Workspace], None]


def test_creating_twice_is_one_job(workspace: Workspace, spec: Make) -> None:
    asked = spec("generate", request={"prompt": "猫 \ud83d", "adapters": ()})
    made = workspace.jobs.create(asked)
    workspace.jobs.set_state(asked.id, "running")
    again = workspace.jobs.create(JobSpec(asked.id, "train", "bob", {}))
    assert (again.kind, again.owner, again.state) == ("generate", "ann", "running")
    assert made.payload == again.payload == {"request": {"prompt": "猫 \ud83d", "adapters": []}}
    assert abs(made.created - time.time()) < 60
    assert len(workspace.jobs.list()) == 1


def test_hashes_of_base_and_adapters_are_kept_beside_the_job(workspace: Workspace, spec: Make) -> None:
    mix = [{"sha256": "a" * 64, "name": "x", "weight": 0.5}, {"sha256": "b" * 64, "name": "y", "weight": -1}]
    single = spec(request={"base": "c" * 64, "adapters": mix})
    both = spec(requests=[{"adapters": mix[:1], "base": "d" * 64}, {"adapters": [mix[0] | {"weight": 0}]}])
    training = spec("train", config={"base": "e" * 64})
    for each in (single, both, training):
        workspace.jobs.create(each)
    with workspace.database.read() as connection:
        bases = {row.id: row.base_sha256 for row in connection.execute(select(job.c.id, job.c.base_sha256))}
        rows = connection.execute(select(job_adapter)).all()
    assert bases == {single.id: "c" * 64, both.id: "d" * 64, training.id: "e" * 64}
    assert {(row.job_id, row.sha256, row.weight, row.owner) for row in rows} == {
        (single.id, "a" * 64, 0.5, "ann"),
        (single.id, "b" * 64, -1.0, "ann"),
        (both.id, "a" * 64, 0.5, "ann"),
    }


def test_the_list_is_newest_first_and_filtered(workspace: Workspace, spec: Make) -> None:
    made = [workspace.jobs.create(spec(kind, owner)) for kind, owner in (("train", "ann"), ("generate", "bob")) * 3]
    workspace.jobs.set_state(made[0].id, "running")
    workspace.jobs.set_state(made[1].id, "done", result={"images": []})
    workspace.jobs.hide(made[5].id)
    order = [found.id for found in reversed(made[:5])]
    assert [found.id for found in workspace.jobs.list()] == order
    assert [found.id for found in workspace.jobs.list(limit=2)] == order[:2]
    assert {found.owner for found in workspace.jobs.list(owner="bob")} == {"bob"}
    assert {found.id for found in workspace.jobs.list(kinds=["train"])} == {made[0].id, made[2].id, made[4].id}
    assert [found.id for found in workspace.jobs.list(states=["running", "done"])] == [made[1].id, made[0].id]
    assert workspace.jobs.list(kinds=[]) == []
    assert workspace.jobs.get(made[5].id).id == made[5].id, "a hidden job is there all the same"


@pytest.mark.parametrize("final", FINAL)
@pytest.mark.parametrize("then", ["queued", "running", "stopping", "done", "failed", "cancelled", "interrupted"])
def test_a_final_state_stays_and_interrupted_may_go_on(
    workspace: Workspace, spec: Make, final: JobState, then: JobState
) -> None:
    made = workspace.jobs.create(spec("train"))
    workspace.jobs.set_state(made.id, "running")
    workspace.jobs.set_state(made.id, final, result={"a": 1}, error={"code": "x"})
    ended = workspace.jobs.get(made.id)
    assert ended.finished is not None
    assert (ended.state, ended.result, ended.error) == (final, {"a": 1}, {"code": "x"})
    workspace.jobs.set_state(made.id, then)
    now = workspace.jobs.get(made.id)
    if final == "interrupted" and then in ("queued", "running"):
        assert (now.state, now.finished, now.result, now.error) == (then, None, None, None)
    else:
        assert now == ended


def test_events_count_from_zero_and_come_back_as_they_were(workspace: Workspace, spec: Make) -> None:
    one, other = workspace.jobs.create(spec()), workspace.jobs.create(spec())
    made = [workspace.jobs.append(one.id, "progress", {"step": step, "猫": (1.5, None)}) for step in range(5)]
    assert workspace.jobs.append(other.id, "started", {}).seq == 0
    assert [event.seq for event in made] == [0, 1, 2, 3, 4]
    assert workspace.jobs.events(one.id) == made
    assert made[2].data == {"step": 2, "猫": [1.5, None]}
    assert workspace.jobs.events(one.id, 3) == made[3:]
    assert workspace.jobs.events(one.id, 5) == []


def test_numbers_that_no_browser_can_read_are_refused(workspace: Workspace, spec: Make) -> None:
    made = workspace.jobs.create(spec())
    with pytest.raises(Exception, match="not JSON compliant"):
        workspace.jobs.append(made.id, "step", {"loss": float("nan")})
    assert workspace.jobs.append(made.id, "step", {"loss": 1.0}).seq == 0


def test_finishing_writes_state_and_event_together(
    workspace: Workspace, spec: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = workspace.jobs.create(spec())
    workspace.jobs.append(made.id, "started", {})
    with monkeypatch.context() as patched:
        patched.setattr(workspace.jobs, "_append", lambda *a: (_ for _ in ()).throw(RuntimeError("in between")))
        with pytest.raises(RuntimeError, match="in between"):
            workspace.jobs.finish_with(made.id, "done", "done", {})
    assert workspace.jobs.get(made.id).state == "queued", "half of it must not be there"
    last = workspace.jobs.finish_with(made.id, "done", "done", {"images": []}, result={"images": []})
    assert last.seq == 1
    assert workspace.jobs.get(made.id).result == {"images": []}


def test_finishing_twice_is_finishing_once(workspace: Workspace, spec: Make) -> None:
    made = workspace.jobs.create(spec())
    first = workspace.jobs.finish_with(made.id, "cancelled", "cancelled", {})
    assert workspace.jobs.finish_with(made.id, "done", "done", {}, result={"a": 1}) == first
    assert workspace.jobs.events(made.id) == [first]
    assert workspace.jobs.get(made.id).state == "cancelled"


@pytest.mark.parametrize(
    "call",
    [
        lambda jobs: jobs.get("nobody"),
        lambda jobs: jobs.events("nobody"),
        lambda jobs: jobs.append("nobody", "step", {}),
        lambda jobs: jobs.set_state("nobody", "running"),
        lambda jobs: jobs.finish_with("nobody", "done", "done", {}),
        lambda jobs: jobs.checkpoint("nobody"),
        lambda jobs: jobs.save_checkpoint("nobody", 1, "a" * 64),
        lambda jobs: jobs.hide("nobody"),
        lambda jobs: jobs.delete("nobody"),
    ],
)
def test_a_job_that_is_not_there_is_named(workspace: Workspace, call: Callable[[object], object]) -> None:
    with pytest.raises(NotFound, match="'nobody'"):
        call(workspace.jobs)


def test_threads_leave_no_gaps(workspace: Workspace, spec: Make) -> None:
    ids = [workspace.jobs.create(spec()).id for _ in range(2)]
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda n: workspace.jobs.append(ids[n % 2], "step", {"step": n}), range(120)))
    for each in ids:
        found = workspace.jobs.events(each)
        assert [event.seq for event in found] == list(range(60))
        assert found == sorted((event for event in made if event.job_id == each), key=lambda event: event.seq)


def test_threads_that_ask_for_one_job_make_one(workspace: Workspace, spec: Make) -> None:
    asked = spec()
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda _: workspace.jobs.create(asked), range(12)))
    assert len(set(map(str, made))) == 1
    assert len(workspace.jobs.list()) == 1


def _left_by_a_crash(root: Path, spec: Make, crash: Crash) -> dict[str, str]:
    """Jobs of every kind and state whose process is gone; their ids by kind and state."""
    made = {}
    with Workspace.open(root) as crashed:
        for kind in ("generate", "train", "load_base"):
            for state in ("queued", "running", "stopping", *FINAL):
                made[f"{kind} {state}"] = crashed.jobs.create(spec(kind)).id
                crashed.jobs.append(made[f"{kind} {state}"], "started", {})
                if state != "queued":
                    crashed.jobs.set_state(made[f"{kind} {state}"], state)
        crash(crashed)
    return made


def test_recovery_puts_right_what_a_crash_left(tmp_path: Path, spec: Make, crash: Crash) -> None:
    made = _left_by_a_crash(tmp_path, spec, crash)
    with Workspace.open(tmp_path) as opened:
        assert opened.jobs.get(made["train running"]).state == "running", "opening alone changes nothing"
        kinds, states = ("generate", "train", "load_base"), ("running", "stopping")
        left = [made[f"{kind} {state}"] for kind in kinds for state in states]
        assert sorted(opened.jobs.abandoned()) == sorted(left)
        again = opened.jobs.recover()
        assert [found.id for found in again] == [
            made[key]
            for key in (
                "generate queued",
                "generate running",
                "train queued",
                "load_base queued",
            )
        ]
        assert {found.state for found in again} == {"queued"}
        for state in ("running", "stopping"):
            found = opened.jobs.get(made[f"train {state}"])
            assert (found.state, found.finished is not None) == ("interrupted", True)
            assert [event.type for event in opened.jobs.events(found.id)] == ["started", "interrupted"]
        for gone in ("generate stopping", "load_base running", "load_base stopping"):
            assert opened.jobs.get(made[gone]).state == "cancelled"
        for final in FINAL:
            assert opened.jobs.get(made[f"generate {final}"]).state == final
        assert [found.id for found in opened.jobs.recover()] == [found.id for found in again]


def test_recovery_leaves_the_work_of_another_living_process_alone(tmp_path: Path, spec: Make) -> None:
    """A command line beside a running server must not call the server's training interrupted."""
    with Workspace.open(tmp_path) as server, Workspace.open(tmp_path) as command:
        made = server.jobs.create(spec("train"))
        server.jobs.set_state(made.id, "running")
        stranger = f"1-{server._presence.name.partition('-')[2]}"  # the same lock, under another process' number
        (tmp_path / "openers" / server._presence.name).rename(tmp_path / "openers" / stranger)
        with command.database.write() as connection:
            connection.execute(update(job).values(opener=stranger))
        assert (command.jobs.abandoned(), command.jobs.recover()) == ([], [])
        assert command.jobs.get(made.id).state == "running"
        server._presence.close()
        assert command.jobs.abandoned() == [made.id]
        command.jobs.recover()
        assert command.jobs.get(made.id).state == "interrupted"


def test_the_newest_checkpoint_is_kept_and_the_one_before_goes(workspace: Workspace, spec: Make) -> None:
    made = workspace.jobs.create(spec("train"))
    assert workspace.jobs.checkpoint(made.id) is None
    first, second = workspace.files.put_bytes(b"one"), workspace.files.put_bytes(b"two")
    for step, sha256 in ((10, first), (20, second), (20, second)):
        workspace.jobs.save_checkpoint(made.id, step, sha256)
        workspace.jobs.append(made.id, "checkpoint", {"step": step, "sha256": sha256})
    assert workspace.jobs.checkpoint(made.id) == (20, second)
    assert not workspace.files.has(first)
    assert workspace.files.has(second)


def test_the_old_checkpoint_goes_after_the_new_row_is_written(
    workspace: Workspace, spec: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = workspace.jobs.create(spec("train"))
    first, second = workspace.files.put_bytes(b"one"), workspace.files.put_bytes(b"two")
    workspace.jobs.save_checkpoint(made.id, 10, first)
    seen = []
    monkeypatch.setattr(
        workspace.files, "delete", lambda sha256: seen.append((sha256, workspace.jobs.checkpoint(made.id)))
    )
    workspace.jobs.save_checkpoint(made.id, 20, second)
    assert seen == [(first, (20, second))]


def test_a_crash_before_the_old_checkpoint_goes_is_made_up_for(
    tmp_path: Path, spec: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Workspace.open(tmp_path) as crashed:
        made = crashed.jobs.create(spec("train"))
        first, second = crashed.files.put_bytes(b"one"), crashed.files.put_bytes(b"two")
        crashed.jobs.save_checkpoint(made.id, 10, first)
        monkeypatch.setattr(crashed.references, "settle", lambda: None)
        crashed.jobs.save_checkpoint(made.id, 20, second)
        assert crashed.files.has(first)
    with Workspace.open(tmp_path) as opened:
        assert not opened.files.has(first)
        assert opened.jobs.checkpoint(made.id) == (20, second)


def test_deleting_a_run_takes_what_nobody_else_refers_to(
    workspace: Workspace, spec: Make, entry: Callable[..., AdapterEntry]
) -> None:
    files, jobs = workspace.files, workspace.jobs
    names = ("preview", "shared preview", "checkpoint", "adapter", "unrelated")
    put = {name: files.put_bytes(name.encode()) for name in names}
    made = jobs.create(spec("train"))
    jobs.append(made.id, "preview", {"step": 1, "sha256": put["preview"]})
    jobs.append(made.id, "preview", {"step": 2, "sha256": put["shared preview"]})
    jobs.save_checkpoint(made.id, 2, put["checkpoint"])
    workspace.adapters.add(entry(put["adapter"], run=made.id, cover=put["shared preview"]))
    book = workspace.notebooks.default("ann")
    cell = workspace.notebooks.add(book.id, "training", {}, job=made.id)
    jobs.finish_with(made.id, "done", "done", {}, result={"adapter": put["adapter"]})
    jobs.delete(made.id)
    with pytest.raises(NotFound):
        jobs.get(made.id)
    with pytest.raises(NotFound):
        jobs.events(made.id)
    assert {name for name in names if files.has(put[name])} == {"shared preview", "adapter", "unrelated"}
    assert workspace.adapters.get(put["adapter"]).run is None
    assert workspace.notebooks.cell(cell.id).job is None


@pytest.mark.parametrize("state", ["queued", "running", "stopping"])
def test_a_job_that_has_not_ended_cannot_be_deleted(workspace: Workspace, spec: Make, state: JobState) -> None:
    made = workspace.jobs.create(spec())
    workspace.jobs.set_state(made.id, state)
    with pytest.raises(NotAllowed, match=f"is {state}.*stop it first"):
        workspace.jobs.delete(made.id)
    assert workspace.jobs.get(made.id).state == state


def test_what_crashes_the_app_twice_is_not_begun_again(tmp_path: Path, spec: Make, crash: Crash) -> None:
    """A picture too large for the machine ended the app at each start, for ever."""
    with Workspace.open(tmp_path) as first:
        job = first.jobs.create(spec("generate")).id
    for start in range(2):
        with Workspace.open(tmp_path) as opened:
            again = opened.jobs.recover()
            assert [found.id for found in again] == [job], start
            opened.jobs.set_state(job, "running")
            opened.jobs.append(job, "started", {})
            crash(opened)
    with Workspace.open(tmp_path) as opened:
        assert opened.jobs.recover() == []
        assert opened.jobs.get(job).state == "failed"
        assert opened.jobs.events(job)[-1].data["code"] == "crashed_twice"


def test_what_is_closed_in_good_order_counts_as_no_crash(tmp_path: Path, spec: Make, crash: Crash) -> None:
    """A server that was stopped by Ctrl-C twice during a long grid said that the grid had crashed it."""
    with Workspace.open(tmp_path) as first:
        job = first.jobs.create(spec("generate")).id

    def begin(opened: Workspace) -> None:
        assert [found.id for found in opened.jobs.recover()] == [job]
        opened.jobs.set_state(job, "running")
        opened.jobs.append(job, "started", {})

    for _ in range(3):
        with Workspace.open(tmp_path) as opened:
            begin(opened)
        with Workspace.open(tmp_path) as opened:
            assert opened.jobs.get(job).state == opened.jobs.events(job)[-1].type == "queued"
    for _ in range(2):
        with Workspace.open(tmp_path) as opened:
            begin(opened)
            crash(opened)
    with Workspace.open(tmp_path) as opened:
        assert opened.jobs.recover() == [], "two crashes are two, whatever was before"


def test_closing_gives_back_what_ran_here_alone(tmp_path: Path, spec: Make) -> None:
    """A training is recovered with its checkpoint, and what another process runs goes on there."""
    server, command_line = Workspace.open(tmp_path), Workspace.open(tmp_path)
    with Workspace.open(tmp_path) as reader:
        made = {kind: server.jobs.create(spec(kind)).id for kind in ("generate", "train", "load_base")}
        for job_id in made.values():
            server.jobs.set_state(job_id, "running")
        command_line.close()
        assert {reader.jobs.get(job_id).state for job_id in made.values()} == {"running"}
        server.close()
        server.close()
        states = {kind: reader.jobs.get(job_id).state for kind, job_id in made.items()}
        assert states == {"generate": "queued", "train": "running", "load_base": "running"}
        assert [event.type for event in reader.jobs.events(made["generate"])] == ["queued"]


def test_a_job_and_its_first_events_are_entered_together_once(
    workspace: Workspace, spec: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, other = spec(), spec()
    first = [("queued", {"ahead": 2}), ("warning", {"code": "x"})]
    made, new = workspace.jobs.enter(asked, first)
    assert (made.state, new) == ("queued", True)
    assert workspace.jobs.enter(asked, first) == (made, False)
    assert [(event.type, event.data) for event in workspace.jobs.events(asked.id)] == first
    with monkeypatch.context() as patched:
        patched.setattr(workspace.jobs, "_append", lambda *a: (_ for _ in ()).throw(RuntimeError("in between")))
        with pytest.raises(RuntimeError, match="in between"):
            workspace.jobs.enter(other, first)
    with pytest.raises(NotFound):
        workspace.jobs.get(other.id)


# ---------------------------------------------------------------- going on
def failed(workspace: Workspace, job_id: str) -> None:
    """Let a running job meet a full disk."""
    workspace.jobs.set_state(job_id, "running")
    workspace.jobs.finish_with(job_id, "failed", "error", {"code": "disk_full"}, error={"code": "disk_full"})


def test_a_failed_training_goes_on_from_its_checkpoint(workspace: Workspace, spec: Make) -> None:
    """A full disk, or somebody else's picture that took all memory, ended hours of training for good."""
    jobs = workspace.jobs
    run = jobs.create(spec("train")).id
    jobs.save_checkpoint(run, 10, workspace.files.put_bytes(b"state"))
    failed(workspace, run)
    for asker in ("bob", ""):
        with pytest.raises(InvalidInput, match=f"{run}.*of your own"):
            jobs.resume(run, asker)
    again = jobs.resume(run, "ann")
    assert (again.state, again.error, again.finished) == ("queued", None, None)
    assert jobs.checkpoint(run) == (10, workspace.files.put_bytes(b"state"))
    with pytest.raises(InvalidInput, match="is queued"):
        jobs.resume(run, "ann")
    failed(workspace, run)
    assert jobs.resume(run, "local").state == "queued", "the command line goes on with anybody's"
    jobs.set_state(run, "running")
    assert jobs.finish_with(run, "done", "done", {}).type == "done"
    with pytest.raises(InvalidInput, match="is done"):
        jobs.resume(run, "ann")


def test_what_cannot_go_on_is_told(workspace: Workspace, spec: Make) -> None:
    """A training that failed before its first checkpoint, and a picture, are begun anew."""
    bare, picture = workspace.jobs.create(spec("train")).id, workspace.jobs.create(spec("generate")).id
    for job_id in (bare, picture):
        failed(workspace, job_id)
        with pytest.raises(InvalidInput, match=r"is failed.*failed after a checkpoint") as caught:
            workspace.jobs.resume(job_id, "ann")
        assert (caught.value.code, caught.value.values) == ("resume_state", {"given": job_id, "state": "failed"})
        assert workspace.jobs.get(job_id).state == "failed"
    with pytest.raises(NotFound):
        workspace.jobs.resume("nobody", "ann")
    workspace.jobs.finish_with(workspace.jobs.create(spec("train")).id, "interrupted", "interrupted", {})
    (interrupted,) = workspace.jobs.list(states=["interrupted"])
    assert workspace.jobs.resume(interrupted.id, "ann").state == "queued", "it starts from its beginning"


def test_a_run_that_is_taken_out_of_the_queue_can_still_go_on(workspace: Workspace, spec: Make) -> None:
    """Who asked an interrupted run to go on and changed their mind, as others were before it, lost it."""
    kept, fresh = (workspace.jobs.create(spec("train")).id for _ in range(2))
    workspace.jobs.save_checkpoint(kept, 10, workspace.files.put_bytes(b"state"))
    failed(workspace, kept)
    workspace.jobs.resume(kept, "ann")
    for job_id, state in ((kept, "interrupted"), (fresh, "cancelled")):
        told = workspace.jobs.finish_with(job_id, "cancelled", "cancelled", {}, result={})
        assert (told.type, workspace.jobs.get(job_id).state) == (state, state)
    assert workspace.jobs.get(kept).result is None
    assert workspace.jobs.resume(kept, "ann").state == "queued"
    workspace.jobs.set_state(kept, "running")
    assert workspace.jobs.finish_with(kept, "cancelled", "cancelled", {}).type == "cancelled", "that is discarding it"
    assert workspace.jobs.checkpoint(kept) is None


@pytest.mark.parametrize(
    ("state", "kind", "stays"),
    [
        ("done", "done", False),
        ("cancelled", "cancelled", False),
        ("failed", "error", True),
        ("interrupted", "interrupted", True),
    ],
)
def test_a_checkpoint_stays_as_long_as_its_run_can_go_on(
    workspace: Workspace, spec: Make, state: JobState, kind: EventType, stays: bool
) -> None:
    """Six times the adapter's size stayed on the disk for every run, discarded ones too."""
    run = workspace.jobs.create(spec("train")).id
    kept = workspace.files.put_bytes(b"state")
    workspace.jobs.save_checkpoint(run, 10, kept)
    workspace.jobs.set_state(run, "running")
    workspace.jobs.finish_with(run, state, kind, {})
    assert (workspace.jobs.checkpoint(run) is not None, workspace.files.has(kept)) == (stays, stays)


def test_an_end_is_written_also_where_nothing_can_be_removed(
    workspace: Workspace, spec: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = workspace.jobs.create(spec("train")).id
    workspace.jobs.save_checkpoint(run, 10, workspace.files.put_bytes(b"state"))

    def full() -> None:
        raise StorageError("the disk is full", code="disk_full", path="x")

    monkeypatch.setattr(workspace.references, "settle", full)
    assert workspace.jobs.finish_with(run, "done", "done", {}).type == "done"
    assert workspace.jobs.get(run).state == "done"


def test_checkpoints_that_an_older_version_left_are_removed(tmp_path: Path, spec: Make) -> None:
    with Workspace.open(tmp_path) as opened:
        runs = {state: opened.jobs.create(spec("train")).id for state in ("done", "cancelled", "failed")}
        files = {state: opened.files.put_bytes(state.encode()) for state in runs}
        for state, run in runs.items():
            opened.jobs.save_checkpoint(run, 10, files[state])
            opened.jobs.set_state(run, state)
    database = Database(tmp_path / "workspace.db")
    with database.write() as connection:
        command.downgrade(config(connection), "0005")
    database.close()
    with Workspace.open(tmp_path) as opened:
        assert {state for state in runs if opened.files.has(files[state])} == {"failed"}
        assert {state for state in runs if opened.jobs.checkpoint(runs[state])} == {"failed"}
