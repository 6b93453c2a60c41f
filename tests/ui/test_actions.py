"""What pages may ask for, on the pretended engine: pictures, sets, trainings, and whose they are."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_studio.errors import InvalidInput, NotAllowed, NotFound, StudioError
from lora_studio.settings import Settings
from lora_studio.types import RECIPES, AdapterEntry, Event, JobSpec
from lora_studio.ui.actions import (
    actions,
    bases,
    embeddings,
    library,
    notebook,
    recall,
    runs,
    sets,
    status,
    words,
    workbench,
)
from lora_studio.ui.studio import Ask, Studio
from tests.support.fake_engine import adapter_entry
from tests.ui.conftest import Call, ended, uid, wait_until

FORM: dict[str, Any] = {"prompt": "1girl, brown hair", "negative_prompt": "", "seed": "7", "adapters": []}


def stack(studio: Studio, *names: str, weight: Any = "0.8") -> list[dict[str, Any]]:
    """LoRAs as a page sends them."""
    entries = [studio.workspace.adapters.find(name, "samples") for name in names]
    return [{"sha256": entry.sha256, "name": entry.name, "weight": weight} for entry in entries]


def made(studio: Studio, call: Call, owner: str = "ann", compare: bool = False, **form: Any) -> dict[str, Any]:
    """A cell whose job has ended, as the notebook shows it."""
    cell = call("make", owner, cell=uid(), job=uid(), form=FORM | form, compare=compare)["cell"]
    ended(studio, cell["job"])
    return next(one for one in call("cells", owner)["cells"] if one["id"] == cell["id"])


# ---------------------------------------------------------------- pictures
def test_a_picture_is_a_cell_from_the_first_moment(studio: Studio, call: Call) -> None:
    (studio.workspace.root / "fake.json").write_text('{"hold": "queued"}', encoding="utf-8")
    asked = {"cell": uid(), "job": uid(), "form": FORM}
    first = call("make", **asked)["cell"]
    assert first["state"] == "queued"
    assert call("make", **asked)["cell"] == first, "asking twice after an outage makes one cell and one job"
    assert [cell["id"] for cell in call("cells")["cells"]] == [asked["cell"]]
    (studio.workspace.root / "fake.json").write_text("{}", encoding="utf-8")
    assert ended(studio, asked["job"]).state == "done"
    cell = call("cells")["cells"][0]
    assert (cell["state"], len(cell["images"])) == ("done", 1)
    assert cell["request"]["base"] == "a" * 64
    assert (cell["request"]["width"], cell["request"]["sampler"]) == (128, "dpmpp_2m"), "the base's own defaults"


def test_again_repeats_the_request_and_a_new_seed_changes_only_that(studio: Studio, call: Call) -> None:
    cell = made(studio, call, adapters=stack(studio, "Cat ears"))
    once_more = call("again", source=cell["id"], cell=uid(), job=uid())["cell"]
    assert once_more["request"] == cell["request"]
    assert once_more["id"] != cell["id"]
    other = call("again", source=cell["id"], cell=uid(), job=uid(), seed=99)["cell"]
    assert other["request"] == cell["request"] | {"seed": 99}
    ended(studio, once_more["job"])
    images = {one["id"]: one["images"] for one in call("cells")["cells"]}
    assert images[once_more["id"]][0]["sha256"] == cell["images"][0]["sha256"]


def test_a_comparison_is_one_job_with_the_same_seed(studio: Studio, call: Call) -> None:
    cell = made(studio, call, compare=True, adapters=stack(studio, "Cat ears", "Papercut style"))
    assert cell["kind"] == "compare"
    with_them, without = cell["images"]
    assert with_them["seed"] == without["seed"] == 7
    assert with_them["sha256"] != without["sha256"]


def test_a_comparison_of_nothing_is_refused(studio: Studio, call: Call) -> None:
    for adapters in ([], stack(studio, "Cat ears", weight="0")):
        with pytest.raises(InvalidInput, match="at least 1") as caught:
            call("make", cell=uid(), job=uid(), form=FORM | {"adapters": adapters}, compare=True)
        assert caught.value.values["given"] == str(len(adapters))
    assert call("cells")["cells"] == []


def test_notes_and_deleting_with_undo(studio: Studio, call: Call) -> None:
    cell = made(studio, call)
    call("note", cell=cell["id"], note="${alert(1)} <b>")
    assert call("cells")["cells"][0]["note"] == "${alert(1)} <b>"
    call("delete_cell", cell=cell["id"])
    assert call("cells")["cells"] == []
    assert call("restore_cell", cell=cell["id"])["cell"]["images"] == cell["images"]
    assert [one["id"] for one in call("cells")["cells"]] == [cell["id"]]


def test_a_cell_says_that_its_lora_is_gone_or_its_base_another(studio: Studio, call: Call) -> None:
    data = b"\x02\x00\x00\x00\x00\x00\x00\x00{}"
    studio.workspace.adapters.add(adapter_entry(studio.workspace, data, "mine", "ann"))
    entry = call("library")["adapters"][0]
    cell = made(studio, call, adapters=[{"sha256": entry["sha256"], "name": "mine", "weight": "1"}])
    assert (cell["missing"], cell["base_changed"]) == ([], False)
    assert call("adapter_uses", sha256=entry["sha256"])["cells"] == 1
    call("delete_adapter", sha256=entry["sha256"])
    job = call("load_base", job=uid(), base="other")["job"]
    ended(studio, job)
    cell = call("cells")["cells"][0]
    assert (cell["missing"], cell["base_changed"]) == (["mine"], True)


def test_stopping(studio: Studio, call: Call) -> None:
    (studio.workspace.root / "fake.json").write_text('{"hold": "step"}', encoding="utf-8")
    cell = call("make", cell=uid(), job=uid(), form=FORM)["cell"]
    wait_until(lambda: studio.engine.job(cell["job"]).state == "running")
    call("stop", job=cell["job"])
    assert ended(studio, cell["job"]).state == "cancelled"
    assert call("cells")["cells"][0]["state"] == "stopped"


# ---------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("changes", "part", "field"),
    [
        ({"seed": "abc"}, "'abc'", "seed"),
        ({"seed": "-1"}, "-1", "seed"),
        ({"width": "broad"}, "'broad'", "width"),
        ({"width": "100"}, "100", "width"),
        ({"height": "8"}, "8", "height"),
        ({"num_inference_steps": "many"}, "'many'", "num_inference_steps"),
        ({"guidance_scale": "inf"}, "inf", "guidance_scale"),
        ({"num_images": "0"}, "0", "num_images"),
        ({"sampler": "magic"}, "'magic'", "sampler"),
        ({"prompt": ""}, "''", None),
        ({"prompt": "  "}, "'  '", None),
        ({"prompt": "x" * 10_001}, "10001", "prompt"),
        ({"negative_prompt": "x" * 10_001}, "10001", "negative_prompt"),
        ({"wings": "2"}, "'wings'", None),
        ({"adapters": "all"}, "all", "adapters"),
        ({"adapters": [{"sha256": "f" * 64, "weight": 1}]}, "f" * 64, None),
    ],
)
def test_a_bad_form_is_one_sentence_and_leaves_no_cell(
    studio: Studio, call: Call, changes: dict[str, Any], part: str, field: str | None
) -> None:
    with pytest.raises(StudioError) as caught:
        call("make", cell=uid(), job=uid(), form=FORM | changes)
    assert part in caught.value.message
    assert caught.value.message.endswith(".")
    assert caught.value.values.get("field") == field
    assert call("cells")["cells"] == []
    assert studio.workspace.jobs.list() == []


@pytest.mark.parametrize("weight", ["strong", "", "99", "nan", None, [1]])
def test_a_bad_weight_names_the_lora(studio: Studio, call: Call, weight: Any) -> None:
    adapters = stack(studio, "Cat ears", weight=weight)
    with pytest.raises(InvalidInput, match="Cat ears") as caught:
        call("make", cell=uid(), job=uid(), form=FORM | {"adapters": adapters})
    assert str(weight) in caught.value.message
    assert caught.value.values["field"] == f"weight:{adapters[0]['sha256']}"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("make", {"cell": "../x", "job": "y", "form": FORM}),
        ("make", {"cell": 5, "job": "y", "form": FORM}),
        ("make", {"form": "text"}),
        ("again", {"source": None}),
        ("poll", {"watch": []}),
        ("poll", {"watch": {str(number): 0 for number in range(1001)}}),
        ("caption", {"set": 1}),
        ("train", {"form": []}),
        ("rename_adapter", {"sha256": 3}),
        ("replace_captions", {}),
        ("restore_captions", {"set": "nobody", "undo": {}}),
        ("stop", {"job": "nobody"}),
        ("view_set", {"set": "../../etc"}),
    ],
)
def test_calls_that_no_page_makes_are_refused_with_a_sentence(call: Call, name: str, data: dict[str, Any]) -> None:
    with pytest.raises((InvalidInput, NotFound)):
        call(name, **data)


# ---------------------------------------------------------------- news
def test_poll_tells_of_own_jobs_and_only_that_others_run(studio: Studio, call: Call) -> None:
    (studio.workspace.root / "fake.json").write_text('{"hold": "step"}', encoding="utf-8")
    cell = call("make", cell=uid(), job=uid(), form=FORM | {"prompt": "a secret"})["cell"]
    wait_until(lambda: call("poll")["running"])
    mine, others = call("poll"), call("poll", "ben", watch={cell["job"]: 0})
    assert mine["running"] == [{"kind": "generate", "mine": True, "job": cell["job"]}]
    assert list(mine["jobs"]) == [cell["job"]]
    assert others["running"] == [{"kind": "generate", "mine": False, "job": None}]
    assert others["jobs"] == {}
    assert "secret" not in json.dumps(others)


def test_a_job_that_ends_while_it_is_asked_for_is_told_whole(
    studio: Studio, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """State and events are two questions: an end between them was told as done, but without its result, for ever."""
    job = made(studio, call)["job"]
    finished = studio.engine.job(job)
    answers = [dataclasses.replace(finished, state="running", result=None, finished=None), finished]
    monkeypatch.setattr(studio.engine, "job", lambda job_id: answers.pop(0))
    news = call("poll", watch={job: 0})["jobs"][job]
    assert (news["state"], news["result"]) == ("done", finished.result)


def test_an_end_that_cannot_be_written_is_told(studio: Studio, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page showed a running job for ever and never why; whoever has not asked for it hears it once it asks."""
    (studio.workspace.root / "fake.json").write_text('{"hold": "step"}', encoding="utf-8")
    job = call("make", cell=uid(), job=uid(), form=FORM)["cell"]["job"]
    wait_until(lambda: call("poll")["running"])
    stored = list(studio.workspace.jobs.events(job))
    problem = {"type": "StorageError", "code": "disk_full", "message": "The disk is full.", "values": {"path": "x"}}

    def events(job_id: str, since: int = 0, timeout: float | None = None) -> Iterator[Event]:
        yield from (event for event in stored if event.seq >= since)
        yield Event(job_id, -1, time.time(), "error", problem)

    monkeypatch.setattr(studio.engine, "events", events)
    news = call("poll", watch={job: 0})["jobs"][job]
    assert (news["state"], news["error"], news["since"]) == ("failed", problem, len(stored))
    assert call("poll", watch={job: len(stored)})["jobs"][job]["since"] == len(stored)
    assert call("poll")["jobs"] == {}


def test_what_waits_for_its_base_says_so(studio: Studio, call: Call) -> None:
    (studio.workspace.root / "fake.json").write_text('{"hold": "queued"}', encoding="utf-8")
    job = uid()
    remark = {"code": "waits_for_base", "message": "It waits.", "values": {}}
    request = {"prompt": "x", "base": "b" * 64}
    studio.workspace.jobs.enter(JobSpec(job, "generate", "ann", {"requests": [request]}), [("warning", remark)])
    news = call("poll", watch={job: 0})["jobs"][job]
    assert (news["state"], news["warnings"]) == ("queued", [remark])


def test_while_a_base_is_loaded_that_is_said(studio: Studio, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not that one has to be chosen."""
    for loading, code in (("other", "base_loading"), (None, "no_base")):
        info = dataclasses.replace(studio.engine.info(), base=None, loading=loading)
        monkeypatch.setattr(studio.engine, "info", lambda info=info: info)
        with pytest.raises(StudioError) as caught:
            call("make", cell=uid(), job=uid(), form=FORM)
        assert caught.value.code == code


def test_poll_tells_how_the_base_is_read(studio: Studio, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base that was loaded again and read otherwise has the same weights: pages took it for the one before."""
    before = call("poll")["base"]
    base = studio.base()
    monkeypatch.setattr(studio.engine, "_base", dataclasses.replace(base, prediction_type="epsilon"))
    after = call("poll")["base"]
    assert (before["sha256"], before["ref"]) == (after["sha256"], after["ref"])
    assert before != after


def test_those_who_wait_know_their_place(studio: Studio, call: Call) -> None:
    (studio.workspace.root / "fake.json").write_text('{"hold": "queued"}', encoding="utf-8")
    jobs = [call("make", owner, cell=uid(), job=uid(), form=FORM)["cell"]["job"] for owner in ("ann", "ben", "ann")]
    news = call("poll")["jobs"]
    assert {job: news[job]["ahead"] for job in news} == {jobs[0]: 0, jobs[2]: 2}
    assert call("poll")["waiting"] == 3


def test_poll_goes_on_where_a_page_stands(studio: Studio, call: Call) -> None:
    cell = made(studio, call)
    job = cell["job"]
    assert call("poll")["jobs"] == {}, "a job that has ended is told only to who watches it"
    news = call("poll", watch={job: 0})["jobs"][job]
    assert news["state"] == "done"
    assert news["pictures"][0]["sha256"] == cell["images"][0]["sha256"]
    later = call("poll", watch={job: news["since"]})["jobs"][job]
    assert "pictures" not in later
    assert later["since"] == news["since"]


# ---------------------------------------------------------------- sets and trainings
def a_set(call: Call, owner: str = "ann") -> dict[str, Any]:
    """A sample set of the caller's own."""
    found: dict[str, Any] = call("sample_set", owner, name="cat-ears")["set"]
    return found


def test_a_sample_set_is_complete_and_nothing_is_refused(call: Call) -> None:
    found = a_set(call)
    assert len(found["items"]) == 16
    assert found["refused"] == []
    assert all("cat ears" in item["caption"] for item in found["items"])
    with pytest.raises(NotFound, match="'dogs'"):
        call("sample_set", name="dogs")


def test_captions_pictures_and_their_undo(call: Call) -> None:
    found = a_set(call)
    first = found["items"][0]
    call("caption", set=found["id"], sha256=first["sha256"], caption="C:\\users ${x}")
    assert call("view_set", set=found["id"])["set"]["items"][0]["caption"] == "C:\\users ${x}"
    answer = call("replace_captions", set=found["id"], find="cat ears", replace="kitty ears")
    assert (answer["changed"], len(answer["undo"])) == (15, 15)
    second = found["items"][1]
    call("caption", set=found["id"], sha256=second["sha256"], caption="written since")
    with pytest.raises(InvalidInput, match="two texts"):
        call("restore_captions", set=found["id"], undo={second["sha256"]: ["one"]})
    undone = call("restore_captions", set=found["id"], undo=json.loads(json.dumps(answer["undo"])))
    assert undone["restored"] == 14
    captions = [item["caption"] for item in undone["set"]["items"]]
    assert captions[:2] == ["C:\\users ${x}", "written since"]
    assert captions[2:] == [item["caption"] for item in found["items"][2:]]
    gone = call("drop_picture", set=found["id"], sha256=first["sha256"])
    assert len(gone["set"]["items"]) == 15
    back = call("put_back", set=found["id"], item=gone["item"], index=gone["index"])
    assert [item["sha256"] for item in back["set"]["items"]] == [item["sha256"] for item in found["items"]]
    assert call("rename_set", set=found["id"], name="cats")["set"]["name"] == "cats"
    call("delete_set", set=found["id"])
    assert call("sets")["sets"] == []


def test_nothing_of_anybody_else_is_put_into_ones_own_set(call: Call) -> None:
    """The page sends what it takes back: whoever knew the hash of a picture had it in a set of his own, and so could
    read it."""
    mine, theirs = call("new_set", name="mine")["set"], a_set(call, "ben")
    with pytest.raises(NotFound):
        call("put_back", set=mine["id"], item=theirs["items"][0], index=0)
    assert call("view_set", set=mine["id"])["set"]["items"] == []
    found = a_set(call)
    gone = call("drop_picture", set=found["id"], sha256=found["items"][0]["sha256"])
    for change in ({"caption": "\ud83d"}, {"caption": 5}, {"sha256": ["a"]}, {"source": None}):
        with pytest.raises(InvalidInput):
            call("put_back", set=found["id"], item=gone["item"] | change, index=0)
    back = call("put_back", set=found["id"], item=gone["item"] | {"width": 9, "warnings": ["x"]}, index=0)
    assert back["set"]["items"] == found["items"]


def run(studio: Studio, call: Call, **form: Any) -> str:
    """A short training that has ended."""
    found = a_set(call)
    values = {"name": "kitty", "recipe": "quick", "steps": "30", "preview_every": "10"} | form
    job: str = call("train", job=uid(), set=found["id"], form=values)["job"]
    ended(studio, job)
    return job


def test_a_training_ends_in_the_library_and_can_be_read_from_the_start(studio: Studio, call: Call) -> None:
    job = run(studio, call, trigger="kitty ears")
    news = call("poll", watch={job: 0})["jobs"][job]
    assert news["state"] == "done"
    assert [step for step, _, _ in news["losses"]] == list(range(1, 31))
    assert [preview["step"] for preview in news["previews"]] == [10, 20, 30]
    entry = call("library")["adapters"][0]
    assert (entry["name"], entry["trigger_words"]) == ("kitty", ["kitty ears"])
    assert news["result"]["adapter"] == entry["sha256"]
    [listed] = call("runs")["runs"]
    assert (listed["state"], listed["adapter"], listed["config"]["steps"]) == ("done", "kitty", 30)
    assert call("runs")["seconds_per_step"] > 0


def test_the_form_starts_from_its_recipe(studio: Studio, call: Call) -> None:
    found = a_set(call)
    form = {"name": "x", "recipe": "quick", "preview_prompts": "one\n\n two "}
    job = call("train", job=uid(), set=found["id"], form=form)["job"]
    config = studio.engine.job(job).payload["config"]
    quick = RECIPES["quick"]
    assert (config["steps"], config["preview_every"]) == (quick["steps"], quick["preview_every"])
    assert config["recipe"] == "quick"
    assert config["preview_prompts"] == ["one", "two"]
    assert config["base"] == "a" * 64
    call("stop", job=job)


@pytest.mark.parametrize(
    ("form", "part", "field"),
    [
        ({"name": "x", "steps": "some"}, "'some'", "steps"),
        ({"name": "x", "rank": "0"}, "0", "rank"),
        ({"name": "x", "learning_rate": "0,001"}, "'0,001'", "learning_rate"),
        ({"name": "x", "alpha": "big"}, "'big'", "alpha"),
        ({"name": "x", "seed": ""}, "''", "seed"),
        ({"name": " "}, "' '", None),
        ({"name": "n" * 101}, "101", None),
        ({"name": "x", "recipe": "wild"}, "'wild'", None),
        ({"name": "x", "layers": "none"}, "'none'", "layers"),
    ],
)
def test_a_bad_recipe_is_one_sentence(call: Call, form: dict[str, Any], part: str, field: str | None) -> None:
    found = a_set(call)
    with pytest.raises(InvalidInput) as caught:
        call("train", job=uid(), set=found["id"], form=form)
    assert part in caught.value.message
    assert caught.value.values.get("field") == field
    assert call("runs")["runs"] == []


def test_a_set_without_pictures_cannot_be_trained_on(call: Call) -> None:
    empty = call("new_set", name="none")["set"]
    with pytest.raises(InvalidInput, match="'none' has 0 pictures"):
        call("train", job=uid(), set=empty["id"], form={"name": "x"})


def test_an_interrupted_run_goes_on_and_asking_twice_is_asking_once(studio: Studio, call: Call) -> None:
    found = a_set(call)
    (studio.workspace.root / "fake.json").write_text('{"hold": "saving"}', encoding="utf-8")
    form = {"name": "x", "steps": "20", "checkpoint_every": "10", "preview_every": "0"}
    job = call("train", job=uid(), set=found["id"], form=form)["job"]
    wait_until(lambda: (studio.workspace.jobs.checkpoint(job) or (0, ""))[0] == 20)
    studio.workspace.jobs.finish_with(job, "interrupted", "interrupted", {})
    [listed] = call("runs")["runs"]
    assert (listed["state"], listed["checkpoint"]) == ("interrupted", 20)
    assert call("resume", run=job, job=uid()) == {"job": job}
    assert call("resume", run=job, job=uid()) == {"job": job}


def test_a_failed_run_goes_on_from_its_checkpoint(studio: Studio, call: Call) -> None:
    """A full disk was the end of a training, although its error said to free some space and try again."""
    found = a_set(call)
    (studio.workspace.root / "fake.json").write_text('{"step_seconds": 0.001, "full": 15}', encoding="utf-8")
    form = {"name": "x", "steps": "20", "checkpoint_every": "10", "preview_every": "0"}
    kept, lost = (
        call("train", job=uid(), set=found["id"], form=form | more)["job"] for more in ({}, {"checkpoint_every": "0"})
    )
    for job in (kept, lost):
        assert list(studio.engine.events(job))[-1].data["code"] == "disk_full"
    listed = {run["id"]: (run["state"], run["checkpoint"]) for run in call("runs")["runs"]}
    assert listed == {kept: ("failed", 10), lost: ("failed", None)}
    with pytest.raises(InvalidInput, match="failed after a checkpoint"):
        call("resume", run=lost, job=uid())
    (studio.workspace.root / "fake.json").write_text('{"step_seconds": 0.001}', encoding="utf-8")
    assert call("resume", run=kept, job=uid()) == {"job": kept}
    wait_until(lambda: studio.engine.job(kept).state == "done")
    assert [event.data["step"] for event in studio.engine.events(kept) if event.type == "resumed"] == [10]
    assert studio.workspace.jobs.checkpoint(kept) is None, "it is done and needs none any more"


def test_a_run_is_continued_on_its_own_base_alone(studio: Studio, call: Call) -> None:
    """On another one it is refused and stays as it was: Continue ended it for good."""
    found = a_set(call)
    (studio.workspace.root / "fake.json").write_text('{"hold": "saving"}', encoding="utf-8")
    form = {"name": "x", "steps": "20", "checkpoint_every": "10", "preview_every": "0"}
    job = call("train", job=uid(), set=found["id"], form=form)["job"]
    wait_until(lambda: (studio.workspace.jobs.checkpoint(job) or (0, ""))[0] == 20)
    studio.workspace.jobs.finish_with(job, "interrupted", "interrupted", {})
    (studio.workspace.root / "fake.json").write_text("{}", encoding="utf-8")
    assert ended(studio, call("load_base", job=uid(), base="other")["job"]).state == "done"
    with pytest.raises(InvalidInput) as caught:
        call("resume", run=job, job=uid())
    assert caught.value.code == "train_base_changed"
    assert call("runs")["runs"][0]["state"] == "interrupted"
    assert ended(studio, call("load_base", job=uid(), base="embedded")["job"]).state == "done"
    assert call("resume", run=job, job=uid()) == {"job": job}
    assert ended(studio, job).state == "done"


def test_deleting_a_run_and_what_belongs_to_it(studio: Studio, call: Call) -> None:
    job = run(studio, call)
    sha256 = call("library")["adapters"][0]["sha256"]
    call("delete_run", run=job, pictures=True, adapter=True)
    assert call("runs")["runs"] == []
    assert call("sets")["sets"] == []
    assert sha256 not in [entry["sha256"] for entry in call("library")["adapters"]]
    studio.workspace.adapters.purge(time.time() + 1)
    assert not studio.workspace.files.has(sha256)


def test_a_run_whose_lora_is_gone_already_is_deleted_whole(studio: Studio, call: Call) -> None:
    """The run went, then the LoRA was not found: the pictures stayed, and the page said that nothing was deleted."""
    job = run(studio, call)
    call("delete_adapter", sha256=call("library")["adapters"][0]["sha256"])
    call("delete_run", run=job, pictures=True, adapter=True)
    assert (call("runs")["runs"], call("sets")["sets"]) == ([], [])


def test_a_run_goes_with_the_word_that_it_learnt(studio: Studio, call: Call) -> None:
    """The word is shown with its run, its name is free again after both are gone, and it can be brought back."""
    found = a_set(call)
    job = call("train", job=uid(), set=found["id"], form={"name": "x", "steps": "3", "embedding": "zxq"})["job"]
    assert list(studio.engine.events(job))[-1].type == "done"
    assert call("runs")["runs"][0]["word"] == "zxq"
    with pytest.raises(InvalidInput) as caught:
        call("train", job=uid(), set=found["id"], form={"name": "y", "embedding": "ZXQ"})
    assert (caught.value.code, caught.value.values["field"]) == ("embedding_name_taken", "embedding")
    sha256 = call("library")["embeddings"][0]["sha256"]
    call("delete_run", run=job, pictures=False, adapter=False, word=True)
    assert call("library")["embeddings"] == []
    studio.workspace.embeddings.check_free("zxq", "ann")
    assert studio.workspace.embeddings.restore(sha256).name == "zxq"


def test_a_running_run_cannot_be_deleted(studio: Studio, call: Call) -> None:
    found = a_set(call)
    (studio.workspace.root / "fake.json").write_text('{"hold": "step"}', encoding="utf-8")
    job = call("train", job=uid(), set=found["id"], form={"name": "x"})["job"]
    with pytest.raises(NotAllowed):
        call("delete_run", run=job)
    call("stop", job=job)


# ---------------------------------------------------------------- whose things
def test_nobody_reaches_another_ones_things(studio: Studio, call: Call) -> None:
    cell = made(studio, call)
    job = run(studio, call)
    found = call("sets")["sets"][0]["id"]
    adapter = call("library")["adapters"][0]["sha256"]
    item = call("view_set", set=found)["set"]["items"][0]
    tries: list[tuple[str, dict[str, Any]]] = [
        ("again", {"source": cell["id"], "cell": uid(), "job": uid()}),
        ("note", {"cell": cell["id"], "note": "mine now"}),
        ("delete_cell", {"cell": cell["id"]}),
        ("restore_cell", {"cell": cell["id"]}),
        ("make", {"cell": cell["id"], "job": uid(), "form": FORM}),
        ("stop", {"job": cell["job"]}),
        ("finish", {"job": job}),
        ("resume", {"run": job, "job": uid()}),
        ("delete_run", {"run": job}),
        ("view_set", {"set": found}),
        ("caption", {"set": found, "sha256": item["sha256"], "caption": "x"}),
        ("replace_captions", {"set": found, "find": "a", "replace": "b"}),
        ("restore_captions", {"set": found, "undo": {item["sha256"]: [item["caption"], "x"]}}),
        ("drop_picture", {"set": found, "sha256": item["sha256"]}),
        ("put_back", {"set": found, "item": item, "index": 0}),
        ("rename_set", {"set": found, "name": "x"}),
        ("delete_set", {"set": found}),
        ("train", {"job": uid(), "set": found, "form": {"name": "x"}}),
        ("rename_adapter", {"sha256": adapter, "name": "x"}),
        ("delete_adapter", {"sha256": adapter}),
        ("adapter_uses", {"sha256": adapter}),
        ("make", {"cell": uid(), "job": uid(), "form": FORM | {"adapters": [{"sha256": adapter, "weight": 1}]}}),
    ]
    for name, data in tries:
        with pytest.raises(NotFound):
            call(name, "ben", **data)
    for name, key in (("cells", "cells"), ("sets", "sets"), ("runs", "runs")):
        assert call(name, "ben")[key] == []
    assert [entry["sample"] for entry in call("library", "ben")["adapters"]] == [True] * 3
    assert call("cells")["cells"][0]["note"] == ""
    assert call("view_set", set=found)["set"]["items"][0] == item


def test_what_the_command_line_made_is_in_every_library(studio: Studio, call: Call) -> None:
    data = b"\x02\x00\x00\x00\x00\x00\x00\x00{}"
    studio.workspace.adapters.add(adapter_entry(studio.workspace, data, "from the shell", "local"))
    assert call("library")["adapters"][0]["name"] == "from the shell"


def test_renaming_gives_a_free_name(studio: Studio, call: Call) -> None:
    data = b"\x02\x00\x00\x00\x00\x00\x00\x00{}"
    entry: AdapterEntry = studio.workspace.adapters.add(adapter_entry(studio.workspace, data, "mine", "ann"))
    assert call("rename_adapter", sha256=entry.sha256, name="Cat ears")["adapter"]["name"] == "Cat ears 2"
    with pytest.raises(InvalidInput):
        call("rename_adapter", sha256=entry.sha256, name=" ")


def test_hello_tells_what_a_page_needs(call: Call, tmp_path: Path) -> None:
    hello = call("hello")
    assert hello["base"]["defaults"]["num_inference_steps"] == 18
    assert {example["name"] for example in hello["examples"]} >= {"cat-ears"}
    assert hello["recipes"]["quick"]["steps"] == RECIPES["quick"]["steps"]
    assert hello["samplers"]["dpmpp_2m_karras"] == "DPM++ 2M Karras"
    assert str(tmp_path) not in json.dumps(hello), "no path of this machine leaves it"
    tags = call("vocabulary")["tags"]
    assert tags[0][1] >= tags[-1][1]


def test_bases_to_choose_from(studio: Studio, tmp_path: Path) -> None:
    """Files of the operator's folder with their sizes; without a folder none, and the form all the same."""
    folder = tmp_path / "models"
    (folder / "xl").mkdir(parents=True)
    (folder / "b.safetensors").write_bytes(b"12345")
    (folder / "xl" / "A model.safetensors").write_bytes(b"1")
    (folder / "old.ckpt").write_bytes(b"1")
    settings = Settings(workspace=studio.workspace.root, assets=studio.settings.assets, checkpoints=folder)
    asked = actions()["bases"]
    found = asked(Ask(Studio(studio.engine, studio.workspace, settings), "ann", {}))
    assert found["files"] == [{"name": "b.safetensors", "size": 5}, {"name": "xl/A model.safetensors", "size": 1}]
    assert found["folder"] == "models", "no path of this machine leaves it"
    assert [field["name"] for field in found["form"]] == ["prediction_type", "zero_terminal_snr"]
    assert asked(Ask(studio, "ann", {})) == {"folder": None, "files": [], "form": found["form"]}


def test_how_a_base_is_read_is_checked(call: Call) -> None:
    with pytest.raises(InvalidInput, match="velocity"):
        call("load_base", job=uid(), base="other", prediction_type="velocity")
    with pytest.raises(InvalidInput, match="safetensors"):
        call("load_base", job=uid(), base="  ")


def test_every_action_has_a_name_of_its_own() -> None:
    rooms = (status, bases, notebook, library, embeddings, sets, runs, words, recall, workbench)
    assert len(actions()) == sum(len(room.ACTIONS) for room in rooms)


def test_a_job_of_another_one_fills_no_cell(studio: Studio, call: Call) -> None:
    """Whoever named somebody else's job as the job of an own cell was shown its state and its pictures."""
    theirs = made(studio, call)
    with pytest.raises(NotFound):
        call("make", "ben", cell=uid(), job=theirs["job"], form=FORM)
    assert call("cells", "ben")["cells"] == []


def test_whoever_names_a_file_gets_nothing_of_it(studio: Studio, call: Call) -> None:
    """Every shared picture says the sha256 of its LoRAs; whoever wrote it as a prompt became a holder of the file."""
    theirs = made(studio, call)["images"][0]["sha256"]
    for field in ("init_image", "mask"):
        with pytest.raises(NotFound, match=theirs):
            call("make", "ben", cell=uid(), job=uid(), form=FORM | {field: theirs})
    assert call("cells", "ben")["cells"] == []
    own = made(studio, call, "ben", prompt=theirs, negative_prompt=theirs)
    call("note", "ben", cell=own["id"], note=theirs)
    call("new_set", "ben", name=theirs)
    call("save_style", "ben", name=theirs, prompt=theirs)
    ended(studio, call("load_base", "ben", job=uid(), base=theirs)["job"])
    with pytest.raises(NotFound):
        call("edit_adapter", "ben", sha256=theirs, changes={"cover": theirs})
    assert not studio.workspace.references.held(theirs, ("ben",))
    assert studio.workspace.references.held(own["images"][0]["sha256"], ("ben",))
