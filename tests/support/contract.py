"""What every engine must keep, whatever runs behind it: import `EngineContract` into a test of an engine.

The test gives `engine` (an `Engine` on `workspace`) with a small real base and fixtures of this module's names.
"""

from __future__ import annotations

import io
import json
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from lora_studio.engine.protocol import Engine
from lora_studio.errors import InvalidInput, NotAllowed, NotFound, StudioError
from lora_studio.store import Workspace
from lora_studio.types import (
    AdapterWeight,
    Event,
    ExplainOptions,
    GenerateRequest,
    JobSpec,
    StyleEntry,
    TrainConfig,
    to_json,
)
from tests.support import embeddings

PATIENCE = 600.0
"""Seconds for a job that starts another process, which loads torch: long on a machine that is busy with trainings."""


def new_id() -> str:
    return uuid.uuid4().hex


def request(engine: Engine, prompt: str = "1girl, blue hair", **changes: Any) -> GenerateRequest:
    base = engine.info().base
    assert base is not None
    given = {
        "prompt": prompt,
        "width": base.defaults.width,
        "height": base.defaults.height,
        "num_inference_steps": 4,
        "guidance_scale": 3.0,
        "sampler": "dpmpp_2m",
        "seed": 7,
    }
    return GenerateRequest(**(given | changes))


def submit(engine: Engine, kind: Any, payload: dict[str, Any], owner: str = "ann", job_id: str = "") -> str:
    return engine.submit(JobSpec(job_id or new_id(), kind, owner, payload))


def draw(engine: Engine, wanted: GenerateRequest, owner: str = "ann") -> str:
    return submit(engine, "generate", {"request": to_json(wanted)}, owner)


def ended(engine: Engine, job_id: str, timeout: float = 120.0) -> Event:
    """The last event of a job."""
    events = list(engine.events(job_id, timeout=timeout))
    assert events
    return events[-1]


def pictures(workspace: Workspace, job: Any) -> list[np.ndarray]:
    found = [workspace.files.read(image["sha256"]) for image in job.result["images"]]
    return [np.asarray(Image.open(io.BytesIO(png)).convert("RGB")) for png in found]


def make_dataset(workspace: Workspace, folder: Path, owner: str = "ann", count: int = 3) -> str:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = np.kron(rng.integers(0, 255, (4, 4, 3)), np.ones((12, 12, 1))).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"cat ears, 1girl, number {number}")
    made = workspace.datasets.create("set", owner)
    return workspace.datasets.add_folder(made.id, folder).id


def settings(dataset: str, **changes: Any) -> TrainConfig:
    given = {
        "name": "ears",
        "dataset": dataset,
        "steps": 6,
        "rank": 2,
        "batch_size": 2,
        "preview_every": 3,
        "checkpoint_every": 2,
        "learning_rate": 1e-3,
        "warmup_steps": 0,
    }
    return TrainConfig(**(given | changes))


def teach(engine: Engine, config: TrainConfig, owner: str = "ann") -> str:
    return submit(engine, "train", {"config": to_json(config)}, owner)


def wait_for(engine: Engine, job_id: str, kind: str, timeout: float = 60.0) -> Event:
    """The first event of this kind."""
    for event in engine.events(job_id, timeout=timeout):
        if event.type == kind:
            return event
    raise AssertionError(f"the job told of no {kind}")


class EngineContract:
    """Every test here holds for every engine."""

    def test_events_run_from_queued_to_done_without_gaps(self, engine: Engine, workspace: Workspace) -> None:
        job = draw(engine, request(engine, num_images=2))
        events = list(engine.events(job, timeout=60))
        assert [event.seq for event in events] == list(range(len(events)))
        assert (events[0].type, events[-1].type) == ("queued", "done")
        assert len(events[-1].data["images"]) == 2
        assert engine.job(job).state == "done"
        assert list(engine.events(job, since=len(events) - 1, timeout=0)) == events[-1:]

    def test_a_job_that_ends_between_two_looks_is_told_to_its_end(
        self, engine: Engine, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever has seen all events and asks for more, just when the last one is written, gets that one."""
        look = workspace.jobs.events
        job = JobSpec(new_id(), "generate", "ann", {})
        workspace.jobs.create(job)

        def look_too_early(job_id: str, since: int = 0) -> list[Event]:
            found = look(job_id, since)
            if not found:
                workspace.jobs.finish_with(job_id, "done", "done", {})
            return found

        monkeypatch.setattr(workspace.jobs, "events", look_too_early)
        assert ended(engine, job.id, timeout=0.01).type == "done"

    def test_the_same_id_twice_is_one_job(self, engine: Engine) -> None:
        job_id, payload = new_id(), {"request": to_json(request(engine))}
        assert submit(engine, "generate", payload, job_id=job_id) == submit(engine, "generate", payload, job_id=job_id)
        ended(engine, job_id)
        assert submit(engine, "generate", payload, job_id=job_id) == job_id
        assert len([e for e in engine.events(job_id, timeout=0) if e.type == "started"]) == 1

    def test_the_same_request_gives_the_same_bytes(self, engine: Engine) -> None:
        one, two = draw(engine, request(engine)), draw(engine, request(engine), "bob")
        for job in (one, two):
            ended(engine, job)
        assert engine.job(one).result["images"] == engine.job(two).result["images"]  # type: ignore[index]

    def test_bad_requests_are_refused_when_submitted(self, engine: Engine) -> None:
        step = engine.info().base.size_step  # type: ignore[union-attr]
        odd = request(engine, width=step * 16 + 1)
        with pytest.raises(InvalidInput, match=str(step * 16 + 1)):
            draw(engine, odd)
        with pytest.raises(InvalidInput):
            submit(engine, "generate", {"request": {"prompt": "x", "no such field": 1}})
        with pytest.raises(NotFound):
            draw(engine, request(engine, adapters=(AdapterWeight("0" * 64, "gone", 1.0),)))
        with pytest.raises(InvalidInput):
            submit(engine, "generate", {})
        with pytest.raises(NotFound):
            list(engine.events("no-such-job", timeout=0))
        assert not engine.info().queued

    @pytest.mark.slow
    def test_a_training_ends_in_the_library_and_draws(
        self, engine: Engine, workspace: Workspace, tmp_path: Path
    ) -> None:
        config = settings(make_dataset(workspace, tmp_path / "set"), learning_rate=3e-2, steps=12)
        job = teach(engine, config)
        events = list(engine.events(job, timeout=120))
        assert events[-1].type == "done", events[-1]
        assert [e.data["step"] for e in events if e.type == "step"] == list(range(1, 13))
        assert {e.data["step"] for e in events if e.type == "preview"} == {0, 3, 6, 9, 12}
        entry = workspace.adapters.get(events[-1].data["adapter"])
        assert (entry.name, entry.run, entry.rank) == ("ears", job, 2)
        # An adapter of so few steps moves a picture little; at ten times its weight it must be seen.
        jobs = [
            draw(engine, request(engine, adapters=(AdapterWeight(entry.sha256, "ears", weight),)))
            for weight in (0.0, 10.0)
        ]
        for drawn in jobs:
            assert ended(engine, drawn).type == "done"
        plain, mixed = (pictures(workspace, engine.job(drawn))[0] for drawn in jobs)
        bare = draw(engine, request(engine))
        ended(engine, bare)
        assert np.array_equal(plain, pictures(workspace, engine.job(bare))[0])
        assert not np.array_equal(plain, mixed)

    @pytest.mark.slow
    def test_work_of_others_changes_no_training(self, engine: Engine, workspace: Workspace, tmp_path: Path) -> None:
        """Alone or among pictures, cancels and another training: the very same weights."""
        dataset = make_dataset(workspace, tmp_path / "set")
        other = make_dataset(workspace, tmp_path / "other", owner="bob", count=2)
        alone = teach(engine, settings(dataset))
        ended(engine, alone)
        among = teach(engine, settings(dataset))
        beside = teach(engine, settings(other, steps=4, seed=3), "bob")
        drawn = [draw(engine, request(engine, seed=seed), "carl") for seed in range(4)]
        engine.cancel(drawn[1])
        for job in (among, beside, *drawn):
            ended(engine, job)
        from safetensors.torch import load

        one, two = (load(workspace.files.read(engine.job(job).result["adapter"])) for job in (alone, among))  # type: ignore[index]
        assert all(bool((one[key] == two[key]).all()) for key in one)

    def test_cancel_queued_and_running(self, engine: Engine, workspace: Workspace) -> None:
        long = draw(engine, request(engine, num_inference_steps=400))
        waiting = draw(engine, request(engine, num_inference_steps=400))
        wait_for(engine, long, "started")
        engine.cancel(waiting)
        engine.cancel(long)
        assert ended(engine, long).type == ended(engine, waiting).type == "cancelled"
        assert engine.job(long).state == "cancelled"
        after = draw(engine, request(engine))
        assert ended(engine, after).type == "done"
        engine.cancel(after)
        assert engine.job(after).state == "done"

    def test_stop_and_keep(self, engine: Engine, workspace: Workspace, tmp_path: Path) -> None:
        dataset = make_dataset(workspace, tmp_path / "set")
        job = teach(engine, settings(dataset, steps=5000, preview_every=0, learning_rate=1e-2))
        wait_for(engine, job, "step")
        engine.finish(job)
        last = ended(engine, job)
        assert last.type == "done"
        assert 1 <= last.data["steps"] < 5000
        assert workspace.adapters.get(last.data["adapter"]).run == job

    def test_a_failure_stays_in_its_job(self, engine: Engine, workspace: Workspace, tmp_path: Path) -> None:
        dataset = make_dataset(workspace, tmp_path / "set")
        bad = teach(engine, settings(dataset, learning_rate=0.0))
        good = draw(engine, request(engine), "bob")
        last = ended(engine, bad)
        assert (last.type, last.data["code"]) == ("error", "adapter_does_nothing")
        assert engine.job(bad).error is not None
        assert ended(engine, good).type == "done"

    def test_a_file_that_is_no_adapter(self, engine: Engine, workspace: Workspace) -> None:
        sha256 = workspace.files.put_bytes(b"no tensors at all", ".safetensors")
        job = submit(engine, "import_adapter", {"file": sha256, "name": "my file"})
        last = ended(engine, job)
        assert last.type == "error"
        assert "my file" in last.data["message"]

    def test_the_workbench_edits_a_header_and_says_what_garbage_is(
        self, engine: Engine, workspace: Workspace, tmp_path: Path
    ) -> None:
        path = tmp_path / "a.safetensors"
        save_file({"lora_unet_conv_in.lora_down.weight": torch.ones(1, 4)}, path, metadata={"ss_output_name": "x"})
        request = {"file": workspace.files.put_file(path), "put": {"note": "猫"}, "strip": True, "write": True}
        last = ended(engine, submit(engine, "workbench", {"tool": "meta", "request": request}))
        assert last.type == "done", last
        assert last.data["metadata"] == {"note": "猫"}
        (made,) = last.data["files"]
        assert torch.equal(*(t for f in (path, workspace.files.path(made["sha256"])) for t in load_file(f).values()))
        garbage = workspace.files.put_bytes(b"no tensors at all", ".safetensors")
        told = ended(engine, submit(engine, "workbench", {"tool": "inspect", "request": {"file": garbage}}))
        assert told.type == "done", told
        assert told.data["report"]["refused"].endswith(".")
        with pytest.raises(InvalidInput, match="The workbench has no tool 'melt'"):
            submit(engine, "workbench", {"tool": "melt", "request": {}})

    @pytest.mark.parametrize("kind", ["import_embedding", "import_adapter"])
    def test_an_embedding_enters_the_library(
        self, engine: Engine, workspace: Workspace, tmp_path: Path, kind: str
    ) -> None:
        """Also where its file was taken for a LoRA's: nobody need know what a .safetensors holds."""
        path = embeddings.write_safetensors(tmp_path / "e.safetensors", 16)
        sha256 = workspace.files.put_file(path)
        last = ended(engine, submit(engine, kind, {"file": sha256, "name": "EasyThing"}))
        assert last.type == "done", last
        assert last.data == {"embedding": sha256, "name": "EasyThing", "vectors": 16, "warnings": []}
        entry = workspace.embeddings.get(sha256, "ann")
        assert (entry.name, entry.vectors, entry.widths) == ("EasyThing", 16, engine.info().base.text_widths)  # type: ignore[union-attr]
        assert entry.readable == sha256
        again = ended(engine, submit(engine, "import_embedding", {"file": sha256, "name": "another name"}))
        assert again.data["name"] == "EasyThing"
        assert workspace.embeddings.list("ann") == [entry]
        assert workspace.adapters.list("ann") == []

    @pytest.mark.slow
    def test_a_pickle_is_opened_once_and_pictures_are_made_meanwhile(
        self, engine: Engine, workspace: Workspace, tmp_path: Path
    ) -> None:
        sha256 = workspace.files.put_file(embeddings.write_pt(tmp_path / "e.pt", 5))
        job = submit(engine, "import_embedding", {"file": sha256, "name": "pickled"})
        drawn = draw(engine, request(engine), "bob")
        assert ended(engine, drawn, PATIENCE).type == "done"
        assert ended(engine, job, PATIENCE).type == "done"
        assert workspace.jobs.get(drawn).finished < workspace.jobs.get(job).finished  # type: ignore[operator]
        entry = workspace.embeddings.get(sha256)
        assert entry.metadata["sd_checkpoint_name"] == "v1-5-pruned"
        assert workspace.files.path(entry.readable).suffix == ".safetensors"
        again = submit(engine, "import_embedding", {"file": sha256, "name": "bobs"}, "bob")
        assert ended(engine, again, PATIENCE).data["name"] == "bobs"
        assert workspace.embeddings.get(sha256, "bob").tensors == entry.tensors, "one form for all"

    def test_embeddings_that_are_refused(self, engine: Engine, workspace: Workspace, tmp_path: Path) -> None:
        wide = workspace.files.put_file(embeddings.write_safetensors(tmp_path / "w.safetensors", width=768))
        evil = workspace.files.put_file(embeddings.write_code(tmp_path / "e.pt", tmp_path / "ran"))
        for sha256, code in ((wide, "embedding_width"), (evil, "embedding_code")):
            job = submit(engine, "import_embedding", {"file": sha256, "name": "my words"})
            last = ended(engine, job, PATIENCE)
            assert (last.type, last.data["code"]) == ("error", code)
            assert "my words" in last.data["message"]
        assert not (tmp_path / "ran").exists()
        assert workspace.embeddings.list() == []
        with pytest.raises(NotFound):
            submit(engine, "import_embedding", {"file": "0" * 64, "name": "gone"})

    def test_an_import_that_is_cancelled_leaves_nothing(
        self, engine: Engine, workspace: Workspace, tmp_path: Path
    ) -> None:
        sha256 = workspace.files.put_file(embeddings.write_pt(tmp_path / "e.pt"))
        job = submit(engine, "import_embedding", {"file": sha256, "name": "pickled"})
        wait_for(engine, job, "started")
        engine.cancel(job)
        assert ended(engine, job).type == "cancelled"
        assert workspace.embeddings.list() == []

    def test_other_peoples_pictures_cannot_be_trained_on(
        self, engine: Engine, workspace: Workspace, tmp_path: Path
    ) -> None:
        dataset = make_dataset(workspace, tmp_path / "set", owner="ann")
        with pytest.raises(NotAllowed):
            teach(engine, settings(dataset), "bob")

    @pytest.mark.parametrize("base", ["/no/such/base", "none", "~nobody-of-this-name/x", "x" * 300, "a b/c"])
    def test_a_base_that_cannot_be_loaded_leaves_the_one_before(self, engine: Engine, base: str) -> None:
        """Some of these names ended the thread that does all the work: nothing was ever made again."""
        before = engine.info().base
        try:
            job = submit(engine, "load_base", {"base": base})
        except StudioError as error:
            message = error.message
        else:
            last = ended(engine, job)
            assert last.type == "error"
            message = last.data["message"]
        assert base in message
        info = engine.info()
        assert (info.base, info.loading) == (before, None)
        assert ended(engine, draw(engine, request(engine))).type == "done"

    def test_one_owners_pictures_come_one_after_the_other(self, engine: Engine) -> None:
        """By turns among each other none was ready before nearly all were; others' pictures come meanwhile."""
        own = [draw(engine, request(engine, num_inference_steps=30, seed=seed)) for seed in range(3)]
        other = draw(engine, request(engine), "bob")
        times = []
        for job in own:
            assert ended(engine, job).type == "done"
            events = {event.type: event.time for event in engine.events(job, timeout=0)}
            times += [events["started"], events["done"]]
        assert times == sorted(times)
        assert ended(engine, other).time < times[-1]

    def test_glimpses_show_while_it_runs_and_are_not_kept(self, engine: Engine) -> None:
        job = draw(engine, request(engine, num_inference_steps=200))
        seen, until = None, time.monotonic() + 60
        while seen is None and time.monotonic() < until:
            seen = engine.glimpse(job)
            time.sleep(0.005)
        assert seen is not None
        assert seen.data["image"].startswith("data:image/")
        engine.cancel(job)
        ended(engine, job)
        assert engine.glimpse(job) is None
        assert all(event.type != "glimpse" for event in engine.events(job, timeout=0))

    def test_explaining_counts_weighs_and_warns(self, engine: Engine) -> None:
        told = engine.explain("a (cat:1.3), [b:c:2] EasyNegativeV2", "(bad", ExplainOptions(steps=4))
        assert (told["steps"], told["counted"]) == (4, True)
        (part,) = told["prompt"]["parts"]
        assert [(one["first"], one["last"]) for one in part["timeline"]] == [(1, 2), (3, 4)]
        first = part["texts"][0]
        assert [(span["text"], span["weight"]) for span in first["spans"]][1] == ("cat", 1.3)
        (chunk,) = first["chunks"]
        assert (chunk["count"], chunk["size"]) == (first["token_count"], 75)
        weights = {token["text"].strip(): token["weight"] for token in chunk["tokens"]}
        assert weights["cat"] == 1.3
        assert {warn["code"] for warn in told["prompt"]["warnings"]} == {"embedding_not_installed"}
        assert {warn["code"] for warn in told["negative"]["warnings"]} == {"bracket_unclosed"}
        assert json.loads(json.dumps(told, allow_nan=False)) == told

    def test_explaining_waits_for_nobody(self, engine: Engine) -> None:
        """It is asked while somebody types: a running picture must not hold it up."""
        job = draw(engine, request(engine, num_inference_steps=400))
        wait_for(engine, job, "started")
        for number in range(20):
            assert engine.explain(f"cat {number}", "", ExplainOptions())["prompt"]["text"] == f"cat {number}"
        assert engine.job(job).state == "running"
        engine.cancel(job)
        ended(engine, job)

    def test_too_long_a_text_is_refused_by_name(self, engine: Engine) -> None:
        with pytest.raises(InvalidInput, match="negative_prompt has 10001"):
            engine.explain("", "x" * 10_001, ExplainOptions())

    def test_tags_and_styles_are_completed_when_submitted(self, engine: Engine, workspace: Workspace) -> None:
        workspace.styles.save([StyleEntry("ink", "ann", "{prompt}, ink", "colour")])
        wanted = request(engine, "cat <lora:nowhere:0.5>", styles=("ink", "lost"))
        job = draw(engine, wanted)
        assert ended(engine, job).type == "done"
        made = engine.job(job).payload["request"]
        assert (made["prompt"], made["negative_prompt"]) == ("cat <lora:nowhere:0.5>, ink", "colour")
        assert (made["styles"], made["adapters"]) == ([], [])
        said = [event.data for event in engine.events(job, timeout=0) if event.type == "warning"]
        assert [data["code"] for data in said] == ["style_unknown", "adapter_not_found"]
        assert "<lora:nowhere:0.5>" in said[1]["message"]

    def test_an_embedding_acts_where_it_is_named(self, engine: Engine, workspace: Workspace, tmp_path: Path) -> None:
        prompt = "1girl, marks_v2"
        before = draw(engine, request(engine, prompt))
        ended(engine, before)
        path = embeddings.write_safetensors(tmp_path / "marks_v2.safetensors", count=2)
        stored = workspace.files.put_file(path)
        assert ended(engine, submit(engine, "import_embedding", {"file": stored, "name": "Marks_v2"})).type == "done"
        after = draw(engine, request(engine, prompt))
        assert ended(engine, after).type == "done"
        said = [
            [event.data["code"] for event in engine.events(job, timeout=0) if event.type == "warning"]
            for job in (before, after)
        ]
        assert said == [["embedding_not_installed"], []]
        used = engine.job(after).payload["request"]["embeddings"]
        assert [use["name"] for use in used] == ["Marks_v2"]
        plain, marked = (pictures(workspace, engine.job(job))[0] for job in (before, after))
        assert not np.array_equal(plain, marked)

    def test_errors_are_studio_errors(self, engine: Engine) -> None:
        for call in (engine.job, engine.cancel, engine.finish):
            with pytest.raises(StudioError):
                call("no-such-job")
