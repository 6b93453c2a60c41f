"""Notebooks: cells in their order, undo after delete, and pictures that go when a cell goes for good."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select

from lora_studio.errors import InvalidInput, NotFound
from lora_studio.store import Workspace
from lora_studio.store.references import UNDO_SECONDS
from lora_studio.store.tables import cell, cell_adapter
from lora_studio.types import AdapterEntry, EmbeddingEntry, JobSpec


def test_the_default_notebook_is_made_once(workspace: Workspace) -> None:
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda _: workspace.notebooks.default("ann"), range(8)))
    assert len({book.id for book in made}) == 1
    other = workspace.notebooks.create("ann", "second")
    assert workspace.notebooks.default("ann") == made[0]
    assert workspace.notebooks.list("ann") == [made[0], other]
    assert workspace.notebooks.default("bob").id != made[0].id


def test_renaming(workspace: Workspace) -> None:
    book = workspace.notebooks.default("ann")
    workspace.notebooks.rename(book.id, " cats ")
    assert workspace.notebooks.default("ann").name == "cats"
    with pytest.raises(InvalidInput, match="name of the notebook"):
        workspace.notebooks.rename(book.id, " ")


def test_cells_come_newest_first(workspace: Workspace) -> None:
    book = workspace.notebooks.default("ann").id
    made = [workspace.notebooks.add(book, "picture", {"prompt": f"猫 {n}"}, note=str(n)) for n in range(4)]
    assert workspace.notebooks.cells(book) == made[::-1]
    assert [one.position for one in made] == [0.0, 1.0, 2.0, 3.0]
    assert workspace.notebooks.cell(made[1].id) == made[1]


def test_adding_twice_is_adding_once(workspace: Workspace) -> None:
    book = workspace.notebooks.default("ann").id
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: workspace.notebooks.add(book, "picture", {"n": n}, cell_id="mine"), range(8)))
    assert len(workspace.notebooks.cells(book)) == 1
    assert {str(one.request) for one in made} == {str(workspace.notebooks.cell("mine").request)}


def test_results_notes_and_jobs(workspace: Workspace) -> None:
    book = workspace.notebooks.default("ann").id
    first = workspace.notebooks.add(book, "picture", {}, job="job")
    assert workspace.notebooks.by_job("job") == first
    assert workspace.notebooks.by_job("other") is None
    workspace.notebooks.finish(first.id, {"images": [{"seed": 1}], "seconds": (1.5,)})
    workspace.notebooks.set_note(first.id, "<b>猫</b>")
    now = workspace.notebooks.cell(first.id)
    assert (now.result, now.note) == ({"images": [{"seed": 1}], "seconds": [1.5]}, "<b>猫</b>")
    second = workspace.notebooks.add(book, "picture", {}, job="job")
    assert workspace.notebooks.by_job("job") == second


def test_hashes_of_base_and_adapters_are_kept_beside_the_cell(workspace: Workspace) -> None:
    book = workspace.notebooks.default("ann").id
    side = {"base": "a" * 64, "adapters": [{"sha256": "b" * 64, "name": "x", "weight": 0.7}]}
    made = workspace.notebooks.add(book, "compare", {"with": side, "without": {"base": "a" * 64, "adapters": []}})
    with workspace.database.read() as connection:
        assert connection.scalars(select(cell.c.base_sha256)).all() == ["a" * 64]
        assert connection.execute(select(cell_adapter)).all() == [(made.id, "b" * 64, "ann", 0.7)]


def test_deleting_can_be_undone_in_place(workspace: Workspace) -> None:
    book = workspace.notebooks.default("ann").id
    made = [workspace.notebooks.add(book, "note", {}, note=str(n)) for n in range(3)]
    workspace.notebooks.delete(made[1].id)
    assert workspace.notebooks.cells(book) == [made[2], made[0]]
    assert [one.id for one in workspace.notebooks.cells(book, include_deleted=True)] == [one.id for one in made[::-1]]
    assert workspace.notebooks.cell(made[1].id).deleted is not None
    workspace.notebooks.restore(made[1].id)
    assert workspace.notebooks.cells(book) == made[::-1]


def test_purging_takes_the_pictures_that_no_other_cell_shows(
    workspace: Workspace, spec: Callable[..., JobSpec]
) -> None:
    book = workspace.notebooks.default("ann").id
    shown = {name: workspace.files.put_bytes(name.encode(), ".png") for name in ("old", "shared", "kept")}
    made = {}
    for name, pictures in (("old", ("old", "shared")), ("kept", ("shared", "kept"))):
        job = workspace.jobs.create(spec())
        made[name] = workspace.notebooks.add(book, "picture", {}, job=job.id)
        result = {"images": [{"sha256": shown[picture]} for picture in pictures]}
        for picture in result["images"]:
            workspace.jobs.append(job.id, "picture", picture)
        workspace.jobs.finish_with(job.id, "done", "done", result, result=result)
        workspace.notebooks.finish(made[name].id, result)
    training = workspace.jobs.create(spec("train"))
    workspace.jobs.finish_with(training.id, "done", "done", {})
    trained = workspace.notebooks.add(book, "training", {}, job=training.id)
    workspace.notebooks.delete(made["old"].id)
    workspace.notebooks.delete(trained.id)
    workspace.notebooks.purge(time.time() - 60)
    assert len(workspace.notebooks.cells(book, include_deleted=True)) == 3, "deleted only just now"
    workspace.notebooks.purge(time.time() + 1)
    assert [one.id for one in workspace.notebooks.cells(book, include_deleted=True)] == [made["kept"].id]
    assert {name for name in shown if workspace.files.has(shown[name])} == {"shared", "kept"}
    assert {job.id for job in workspace.jobs.list()} == {made["kept"].job, training.id}


def test_purging_leaves_a_running_job_alone(workspace: Workspace, spec: Callable[..., JobSpec]) -> None:
    book = workspace.notebooks.default("ann").id
    job = workspace.jobs.create(spec())
    workspace.jobs.set_state(job.id, "running")
    workspace.notebooks.delete(workspace.notebooks.add(book, "picture", {}, job=job.id).id)
    workspace.notebooks.purge(time.time() + 1)
    assert workspace.jobs.get(job.id).state == "running"


@pytest.mark.parametrize(
    "call",
    [
        lambda books: books.rename("nobody", "x"),
        lambda books: books.cells("nobody"),
        lambda books: books.add("nobody", "picture", {}),
        lambda books: books.cell("nobody"),
        lambda books: books.finish("nobody", {}),
        lambda books: books.set_note("nobody", ""),
        lambda books: books.delete("nobody"),
        lambda books: books.restore("nobody"),
    ],
)
def test_what_is_not_there_is_named(workspace: Workspace, call: Callable[[object], object]) -> None:
    with pytest.raises(NotFound, match="'nobody'"):
        call(workspace.notebooks)


def test_opening_removes_what_was_deleted_long_ago(
    tmp_path: Path, picture: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who deleted private pictures and closed the app kept them on the disk for ever."""
    with Workspace.open(tmp_path) as opened:
        book = opened.notebooks.default("ann").id
        shown = [opened.files.put_bytes(picture(seed), ".png") for seed in range(2)]
        cells = [opened.notebooks.add(book, "picture", {}, result={"images": [{"sha256": one}]}) for one in shown]
        thumb = opened.files.thumbnail(shown[0])
        now = time.time
        with monkeypatch.context() as earlier:
            earlier.setattr(time, "time", lambda: now() - UNDO_SECONDS - 60)
            opened.notebooks.delete(cells[0].id)
        opened.notebooks.delete(cells[1].id)
    with Workspace.open(tmp_path) as again:
        assert [one.id for one in again.notebooks.cells(book, include_deleted=True)] == [cells[1].id]
        assert ([again.files.has(one) for one in shown], thumb.exists()) == ([False, True], False)
        again.notebooks.restore(cells[1].id)
        assert [one.id for one in again.notebooks.cells(book)] == [cells[1].id]


def test_what_was_deleted_goes_from_all_rooms_at_once(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    put = workspace.files.put_bytes
    book = workspace.notebooks.default("ann").id
    cell = workspace.notebooks.add(book, "picture", {}, result={"images": [{"sha256": put(b"picture")}]})
    workspace.adapters.add(AdapterEntry(put(b"lora"), "cat", "ann", 1.0, 4))
    workspace.embeddings.add(EmbeddingEntry(put(b"word"), "zxq", "ann", 1.0, 4, 2, {"clip_l": 8}))
    workspace.notebooks.delete(cell.id)
    workspace.adapters.delete(put(b"lora"))
    workspace.embeddings.delete(put(b"word"))
    workspace.purge()
    files = workspace.root / "files"
    assert len([path for path in files.rglob("*") if path.is_file()]) == 3, "deleted only just now"
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + UNDO_SECONDS + 60)
    workspace.purge()
    assert [path for path in files.rglob("*") if path.is_file()] == []
