"""What one person may take of a shared machine: refused before anything is begun, by one sentence; off by default."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from lora_studio.errors import NotAllowed, NotFound, StorageError
from lora_studio.store import Workspace, allowance
from lora_studio.types import JobSpec, Limits

Make = Callable[..., JobSpec]
Open = Callable[..., Workspace]


@pytest.fixture
def opened(tmp_path: Path, empty_workspace: Path) -> Iterator[Open]:
    """Opens a workspace with such limits."""
    made: list[Workspace] = []

    def start(**limits: int) -> Workspace:
        shutil.copytree(empty_workspace, tmp_path / "workspace")
        made.append(Workspace.open(tmp_path / "workspace", limits=Limits(**limits)))
        return made[0]

    yield start
    for one in made:
        one.close()


def free_space(monkeypatch: pytest.MonkeyPatch, megabytes: int) -> None:
    """A disk with so much left."""
    monkeypatch.setattr(allowance.shutil, "disk_usage", lambda _: SimpleNamespace(free=megabytes * 1_000_000))


def test_without_limits_nothing_is_refused_or_even_counted(
    opened: Open, spec: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = opened()
    monkeypatch.setattr(allowance.shutil, "disk_usage", lambda _: pytest.fail("the disk was asked"))
    monkeypatch.setattr(workspace.files, "size", lambda _: pytest.fail("files were counted"))
    for kind in ("train", "generate", "download_adapter", "workbench", "load_base") * 5:
        workspace.jobs.create(spec(kind))
    assert len(workspace.jobs.list()) == 25


def test_jobs_of_one_person_at_once(opened: Open, spec: Make) -> None:
    workspace = opened(jobs=2)
    first, second = (workspace.jobs.create(spec()) for _ in range(2))
    workspace.jobs.set_state(first.id, "running")
    asked = spec("train")
    with pytest.raises(NotAllowed, match=r"2 of your jobs wait or run, and 2 is the most.*; wait") as caught:
        workspace.jobs.create(asked)
    assert (caught.value.code, caught.value.values) == ("too_many_jobs", {"given": "2", "allowed": "2"})
    with pytest.raises(NotFound):
        workspace.jobs.get(asked.id)
    assert workspace.jobs.create(JobSpec(second.id, "generate", "ann", {})).id == second.id, "asked for twice"
    for owner, kind in (("bob", "generate"), ("local", "generate"), ("ann", "load_base")):
        workspace.jobs.finish_with(workspace.jobs.create(spec(kind, owner)).id, "done", "done", {})
    workspace.jobs.finish_with(first.id, "cancelled", "cancelled", {})
    assert workspace.jobs.create(asked).state == "queued"


def test_a_run_that_goes_on_is_a_job_too(opened: Open, spec: Make) -> None:
    workspace = opened(jobs=1)
    run = workspace.jobs.create(spec("train")).id
    workspace.jobs.finish_with(run, "interrupted", "interrupted", {})
    other = workspace.jobs.create(spec()).id
    with pytest.raises(NotAllowed):
        workspace.jobs.resume(run, "ann")
    assert workspace.jobs.get(run).state == "interrupted"
    workspace.jobs.finish_with(other, "done", "done", {})
    assert workspace.jobs.resume(run, "ann").state == "queued"


def test_bytes_of_one_persons_files(opened: Open, spec: Make, tmp_path: Path, picture: Callable[..., bytes]) -> None:
    """Pictures that are brought into sets are refused too; what is there can be deleted and put back."""
    workspace = opened(megabytes=1)
    for name, seed in (("a.png", 1), ("b.png", 2)):
        (tmp_path / name).write_bytes(picture(seed))
    dataset = workspace.datasets.create("set", "ann").id
    (item,) = workspace.datasets.add_files(dataset, [tmp_path / "a.png"]).items
    large = workspace.files.put_bytes(os.urandom(1_200_000), ".png")
    jobs = [workspace.jobs.create(spec("generate", owner)).id for owner in ("ann", "bob")]
    workspace.jobs.append(jobs[0], "picture", {"index": 0, "seed": 1, "sha256": large})
    workspace.jobs.finish_with(jobs[0], "done", "done", {"images": [{"sha256": large}]})
    with pytest.raises(NotAllowed, match=r"take 1 MB, and 1 MB is the most.*counts for another hour") as caught:
        workspace.jobs.create(spec("generate"))
    assert (caught.value.code, caught.value.values) == ("too_many_bytes", {"given": "1", "allowed": "1"})
    with pytest.raises(NotAllowed):
        workspace.datasets.add_files(dataset, [tmp_path / "b.png"])
    assert workspace.datasets.get(dataset).items == (item,)
    workspace.datasets.restore(dataset, workspace.datasets.remove(dataset, item.sha256), 0)
    assert workspace.datasets.get(dataset).items == (item,), "what was there comes back"
    for owner, kind in (("bob", "generate"), ("local", "generate"), ("ann", "load_base")):
        assert workspace.jobs.create(spec(kind, owner)).state == "queued"
    workspace.jobs.delete(jobs[0])
    assert workspace.jobs.create(spec("generate")).state == "queued"
    assert len(workspace.datasets.add_files(dataset, [tmp_path / "b.png"]).items) == 2


def test_a_file_counts_once_however_many_rows_refer_to_it(opened: Open, spec: Make) -> None:
    workspace = opened(megabytes=1)
    shown = workspace.files.put_bytes(os.urandom(600_000), ".png")
    for _ in range(3):
        job = workspace.jobs.create(spec()).id
        workspace.jobs.append(job, "picture", {"index": 0, "seed": 1, "sha256": shown})
    assert workspace.jobs.create(spec()).state == "queued"


def test_space_that_must_be_free_before_something_large(
    opened: Open, spec: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that began on a nearly full disk failed hours later, at its first checkpoint."""
    free_space(monkeypatch, 1000)
    workspace = opened(free_megabytes=500)
    run = workspace.jobs.create(spec("train")).id
    workspace.jobs.finish_with(run, "interrupted", "interrupted", {})
    free_space(monkeypatch, 499)
    for ask in (
        lambda: workspace.jobs.create(spec("train")),
        lambda: workspace.jobs.create(spec("train", "local")),
        lambda: workspace.jobs.create(spec("download_adapter")),
        lambda: workspace.jobs.create(spec("workbench")),
        lambda: workspace.jobs.resume(run, "ann"),
    ):
        with pytest.raises(StorageError, match=r"499 MB are free .* and 500 MB must be.*; free some space") as caught:
            ask()
        assert (caught.value.code, caught.value.values) == ("disk_low", {"given": "499", "allowed": "500"})
    assert workspace.jobs.create(spec("generate")).state == "queued", "a picture is small"
    free_space(monkeypatch, 500)
    assert workspace.jobs.create(spec("train")).state == "queued"
    assert workspace.jobs.resume(run, "ann").state == "queued"
