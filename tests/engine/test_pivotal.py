"""A word that is learnt with a LoRA, through the engine: library, prompts, what is refused and what is told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load

from lora_studio.engine.inline import InlineEngine
from lora_studio.engine.jobs import examples_of
from lora_studio.errors import InvalidInput
from lora_studio.pipeline.device import describe
from lora_studio.store import Workspace
from lora_studio.types import AdapterWeight, BaseChoice, EmbeddingEntry, TrainConfig, from_json, to_json
from lora_studio.types.generate import GenerateRequest
from tests.support.contract import draw, ended, make_dataset, pictures, request, submit
from tests.support.tiny import EXACT, load_tiny, write_tiny_base

NAME = "zxqears"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("tiny"), "v_prediction", zero_snr=True)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    opened = Workspace.open(tmp_path / "workspace")
    yield opened
    opened.close()


@pytest.fixture
def engine(workspace: Workspace, folder: Path) -> Iterator[InlineEngine]:
    made = InlineEngine(workspace, lambda choice: load_tiny(folder), BaseChoice(str(folder)), lambda: describe(EXACT))
    yield made
    made.close()


def settings(dataset: str, **changes: object) -> TrainConfig:
    given = {
        "name": "ears",
        "dataset": dataset,
        "steps": 3,
        "rank": 2,
        "batch_size": 1,
        "learning_rate": 3e-2,
        "preview_every": 0,
        "checkpoint_every": 0,
        "embedding": NAME,
        "embedding_rate": 0.1,
    }
    return TrainConfig(**(given | changes))


def taken(sha256: str, name: str, owner: str) -> EmbeddingEntry:
    return EmbeddingEntry(sha256, name, owner, time.time(), 9, 2, {"clip_l": 32})


@pytest.mark.slow
def test_from_pictures_to_a_prompt_with_the_word(engine: InlineEngine, workspace: Workspace, tmp_path: Path) -> None:
    """Train; the word is in the library with its hash; a prompt that names it, with the LoRA, draws by both; deleting
    the word changes nothing while the LoRA is in the stack, in whose file it came, and makes it ordinary words else,
    also after the time to bring it back is over."""
    job = submit(engine, "train", {"config": to_json(settings(make_dataset(workspace, tmp_path / "p")))})
    end = ended(engine, job)
    assert end.type == "done", end.data
    word = end.data["embedding"]
    assert (word["name"], word["vectors"]) == (NAME, 2)
    entry = workspace.embeddings.find(NAME.upper(), "ann")
    assert (entry.sha256, entry.vectors, entry.widths) == (word["sha256"], 2, {"clip_l": 32})
    assert entry.metadata["step"] == "3"
    rows = load(workspace.files.read(entry.sha256))["emb_params"]
    bundle = load(workspace.files.read(end.data["adapter"]))[f"bundle_emb.{NAME}.string_to_param.*"]
    assert torch.equal(rows, bundle)
    assert workspace.adapters.get(end.data["adapter"]).trigger_words == (NAME,)
    assert not [event for event in engine.events(job) if event.type == "warning"]

    mix = (AdapterWeight(end.data["adapter"], "ears", 1.0),)
    wanted = request(engine, f"{NAME}, blue hair", adapters=mix)
    with_word = draw(engine, wanted)
    assert ended(engine, with_word).type == "done"
    asked = from_json(GenerateRequest, workspace.jobs.get(with_word).payload["request"])
    assert [(use.name, use.sha256) for use in asked.embeddings] == [(NAME, entry.sha256)]
    told = {event.data["code"] for event in engine.events(with_word) if event.type == "warning"}
    assert told <= {"layers_ignored"}, "the name is found; the LoRA's door may not know bundles"
    workspace.embeddings.delete(entry.sha256)
    without = draw(engine, wanted)
    assert ended(engine, without).type == "done"
    workspace.embeddings.purge(time.time() + 1)
    assert workspace.embeddings.list() == []
    much_later = draw(engine, wanted)
    assert ended(engine, much_later).type == "done"
    one, two, three = (pictures(workspace, workspace.jobs.get(job))[0] for job in (with_word, without, much_later))
    assert np.array_equal(one, two)
    assert np.array_equal(one, three)
    alone = draw(engine, request(engine, f"{NAME}, blue hair"))
    assert ended(engine, alone).type == "done"
    assert from_json(GenerateRequest, workspace.jobs.get(alone).payload["request"]).embeddings == ()


def test_captions_get_the_word_in_the_triggers_place(
    engine: InlineEngine, workspace: Workspace, tmp_path: Path
) -> None:
    dataset = make_dataset(workspace, tmp_path / "p")
    plain = [one.caption for one in examples_of(workspace, settings(dataset, embedding=""), "ann")]
    named = [one.caption for one in examples_of(workspace, settings(dataset), "ann")]
    assert named == [f"{NAME}, {caption}" for caption in plain]
    trigger = plain[0].split(",")[0].strip()
    both = [one.caption for one in examples_of(workspace, settings(dataset, trigger=trigger.upper()), "ann")]
    assert all(NAME in caption and trigger not in caption for caption in both)
    assert both[0] == plain[0].replace(trigger, NAME)


def test_a_taken_name_is_refused_before_anything_is_done(
    engine: InlineEngine, workspace: Workspace, tmp_path: Path
) -> None:
    """In any case of letters; another owner's embedding is not in the way, the command line's is."""
    dataset = make_dataset(workspace, tmp_path / "p")
    payload = {"config": to_json(settings(dataset))}
    workspace.embeddings.add(taken("1" * 64, NAME, "ben"))
    workspace.embeddings.check_free(NAME, "ann")
    workspace.embeddings.add(taken("2" * 64, NAME.upper(), "local"))
    with pytest.raises(InvalidInput) as caught:
        submit(engine, "train", payload)
    assert (caught.value.code, caught.value.values["field"]) == ("embedding_name_taken", "embedding")
    assert workspace.jobs.list(kinds=["train"]) == []


@pytest.mark.slow
def test_a_name_that_was_taken_meanwhile_is_told(engine: InlineEngine, workspace: Workspace, tmp_path: Path) -> None:
    """Nothing is lost: the word enters the library under the next name, and the run says so."""
    config = settings(make_dataset(workspace, tmp_path / "p"), steps=30)
    job = submit(engine, "train", {"config": to_json(config)})
    workspace.embeddings.add(taken("1" * 64, NAME, "ann"))
    end = ended(engine, job)
    assert end.type == "done", end.data
    assert end.data["embedding"]["name"] == f"{NAME} 2"
    told = [event.data["code"] for event in engine.events(job) if event.type == "warning"]
    assert told == ["embedding_renamed"]
    assert workspace.embeddings.get(end.data["embedding"]["sha256"]).name == f"{NAME} 2"


@pytest.mark.slow
def test_a_run_that_goes_on_is_not_asked_for_its_name_again(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    """Stopped with the engine and continued by the next one, it ends as if it had never stopped."""

    def start() -> InlineEngine:
        return InlineEngine(
            workspace, lambda choice: load_tiny(folder), BaseChoice(str(folder)), lambda: describe(EXACT)
        )

    config = settings(make_dataset(workspace, tmp_path / "p"), steps=60, checkpoint_every=2)
    first = start()
    job = submit(first, "train", {"config": to_json(config)})
    for event in first.events(job):
        if event.type == "checkpoint":
            break
    first.close()
    assert workspace.jobs.get(job).state == "interrupted"
    second = start()
    try:
        assert submit(second, "train", {"resume": job}) == job
        end = ended(second, job)
        assert end.type == "done", end.data
        stopped = load(workspace.files.read(end.data["embedding"]["sha256"]))["emb_params"]
        workspace.embeddings.delete(end.data["embedding"]["sha256"])
        whole = ended(second, submit(second, "train", {"config": to_json(config)}))
        unbroken = load(workspace.files.read(whole.data["embedding"]["sha256"]))["emb_params"]
        assert torch.equal(stopped, unbroken)
    finally:
        second.close()
