"""`lora_studio.store.recall`: files are found by any of their hashes, by name only where no hash says otherwise."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from lora_studio.prompt.readers import NamedFile, Reading, read_pasted
from lora_studio.prompt.readers.reading import REMARKS
from lora_studio.store import Workspace
from lora_studio.store.recall import SENTENCES, Recalled, recall
from lora_studio.types import AdapterEntry, AdapterWeight, BaseDefaults, BaseInfo, UNetBlocks
from lora_studio.ui.texts import strings

Make = Callable[..., AdapterEntry]

BASE = BaseInfo(
    ref="embedded", title="My base v1.5", sha256="a" * 64, unet_file_sha256="c" * 64, family="sd1", size_step=64,
    bucket_step=64, parameters=1, prediction_type="epsilon", defaults=BaseDefaults(512, 512, 20, 7.0, "euler", 1),
)  # fmt: skip


def lora(tensors: bytes = b"tensors", **metadata: str) -> bytes:
    """A file in safetensors' layout, as far as hashing goes."""
    header = json.dumps({"__metadata__": metadata}).encode()
    return len(header).to_bytes(8, "little") + header + tensors


def keep(workspace: Workspace, entry: Make, name: str, data: bytes, **changes: Any) -> AdapterEntry:
    """A file in the library."""
    sha256 = workspace.files.put_bytes(data, ".safetensors")
    return workspace.adapters.add(entry(sha256, name, **changes))


def found(workspace: Workspace, *wanted: NamedFile, **reading: Any) -> Recalled:
    """What these LoRAs of a picture come to."""
    asked = Reading(program="a1111", adapters=wanted, **reading)
    return recall(asked, workspace.adapters.list("ann"), workspace.files.tensors_hash, BASE)


@pytest.mark.parametrize("digits", [8, 10, 12, 64])
def test_a_renamed_file_is_found_by_each_of_its_hashes(workspace: Workspace, entry: Make, digits: int) -> None:
    kohya, legacy = "1" * 64, "22222222"
    data = lora(sshs_model_hash=kohya)
    one = keep(workspace, entry, "renamed", data, metadata={"sshs_model_hash": kohya, "sshs_legacy_hash": legacy})
    tensors = hashlib.sha256(b"tensors").hexdigest()
    for known in (one.sha256, kohya, tensors, *([legacy] if digits == 8 else [])):
        result = found(workspace, NamedFile("as it was called", known[:digits], 0.7))
        assert result.adapters == (AdapterWeight(one.sha256, "renamed", 0.7),)
        assert result.missing == ()


def test_a_name_with_another_hash_is_another_file(workspace: Workspace, entry: Make) -> None:
    one = keep(workspace, entry, "cat ears", lora())
    result = found(workspace, NamedFile("Cat_Ears", "f" * 12, 0.7))
    assert result.adapters == ()
    assert (result.missing[0].wanted.hash, result.missing[0].near) == ("f" * 12, one)
    assert result.as_json()["missing"] == [
        {"name": "Cat_Ears", "hash": "f" * 12, "weight": 0.7, "text_encoder_weight": None, "start": 0.0,
         "stop": 1.0, "lbw": "", "blocks": (), "near": {"sha256": one.sha256, "name": "cat ears"}}
    ]  # fmt: skip


def test_steps_and_blocks_come_with_the_file(workspace: Workspace, entry: Make) -> None:
    one = keep(workspace, entry, "ink", lora())
    parts = dataclasses.replace(BASE, blocks=UNetBlocks(("IN00", "M00", "OUT00"), ("M00",)))
    text = (
        "cat <lora:ink:0.8:start=6:stop=0.75:lbw=0.5,1>\nSteps: 20, Sampler: Euler, Seed: 2, RNG: CPU, Version: v1.10.1"
    )
    made = recall(read_pasted(text), [one], workspace.files.tensors_hash, parts)
    assert made.adapters == (AdapterWeight(one.sha256, "ink", 0.8, 0.4, 0.25, 0.75, (0.0, 1.0, 0.0)),)
    assert [remark.code for remark in made.remarks if remark.code != "model"] == []
    made = recall(read_pasted(text.replace("0.5,1", "0.5,1,1")), [one], workspace.files.tensors_hash, parts)
    assert made.adapters == (AdapterWeight(one.sha256, "ink", 0.8, None, 0.25, 0.75),)
    assert ("not_acting", {"names": "ink: lbw=0.5,1,1"}) in [(one.code, one.values) for one in made.remarks]
    twice = recall(read_pasted(text.replace("cat", "cat <lora:ink:0.1>")), [one], workspace.files.tensors_hash, parts)
    assert [(a.weight, a.start) for a in twice.adapters] == [(pytest.approx(0.9), 0.25)]
    assert "lora_places" in [remark.code for remark in twice.remarks]


@pytest.mark.parametrize("name", ["cat ears", "CAT EARS", "cat_ears", "neko_v3", "Neko title"])
def test_without_a_hash_the_name_counts(workspace: Workspace, entry: Make, name: str) -> None:
    header = {"ss_output_name": "neko_v3", "modelspec.title": "Neko title"}
    one = keep(workspace, entry, "cat ears", lora(**header), metadata=header)
    assert [a.sha256 for a in found(workspace, NamedFile(name)).adapters] == [one.sha256]


@pytest.mark.parametrize("name", ["ears_v2", "EARS_V2.safetensors", "anime/ears_v2", "anime\\ears_v2.safetensors"])
def test_a_file_is_found_by_its_own_name_and_folder(workspace: Workspace, entry: Make, name: str) -> None:
    """A tag found it, and a picture whose graph named the file was told that the library had none."""
    places = ("Lora/anime/ears_v2.safetensors",)
    one = keep(workspace, entry, "Cat ears", lora(), stem="ears_v2", places=places)
    library = [dataclasses.replace(one, stem="ears_v2", places=places)]
    asked = Reading(program="comfyui", adapters=(NamedFile(name),))
    result = recall(asked, library, workspace.files.tensors_hash, BASE)
    assert [adapter.sha256 for adapter in result.adapters] == [one.sha256]


def test_of_several_files_of_one_name_none_is_guessed(workspace: Workspace, entry: Make) -> None:
    library = [
        dataclasses.replace(keep(workspace, entry, label, lora(label.encode())), stem="cat") for label in ("a", "b")
    ]
    asked = Reading(program="comfyui", adapters=(NamedFile("cat"),))
    result = recall(asked, library, workspace.files.tensors_hash, BASE)
    assert (result.adapters, [one.wanted.name for one in result.missing]) == ((), ["cat"])


def test_what_is_nowhere_is_missing(workspace: Workspace, entry: Make) -> None:
    keep(workspace, entry, "other", lora())
    result = found(workspace, NamedFile("ears", "0" * 12), NamedFile(""), NamedFile("hat"))
    assert [one.wanted.name for one in result.missing] == ["ears", "", "hat"]
    assert [one.near for one in result.missing] == [None, None, None]


def test_an_entry_whose_file_is_gone_stops_nothing(workspace: Workspace, entry: Make) -> None:
    workspace.adapters.add(entry("9" * 64, "gone"))
    one = keep(workspace, entry, "here", lora())
    tensors = hashlib.sha256(b"tensors").hexdigest()
    assert found(workspace, NamedFile("x", tensors[:12])).adapters[0].sha256 == one.sha256


def test_a_lora_that_is_named_twice_acts_twice(workspace: Workspace, entry: Make) -> None:
    one = keep(workspace, entry, "ears", lora())
    result = found(workspace, NamedFile("ears", "", 0.5), NamedFile("EARS", "", 9.75))
    assert result.adapters == (AdapterWeight(one.sha256, "ears", 10.0),), "within what is allowed"
    assert [dict(remark.values) for remark in result.remarks] == [{"name": "ears", "given": 10.25, "allowed": 10.0}]
    result = found(workspace, NamedFile("ears", "", 0.5), NamedFile("ears", "", 0.25, 0.125))
    assert result.adapters == (AdapterWeight(one.sha256, "ears", 0.75, 0.625),)


# ------------------------------------------------------------ remarks
def codes(result: Recalled) -> list[str]:
    """The codes of what was not taken over."""
    return [remark.code for remark in result.remarks]


@pytest.mark.parametrize(
    ("model", "same"),
    [
        (None, True),
        (NamedFile("whatever", "c" * 10), True),
        (NamedFile("", "a" * 64), True),
        (NamedFile("my_base_v1.5"), True),
        (NamedFile("My base v1.5", "d" * 10), False),
        (NamedFile("another"), False),
    ],
)
def test_another_base_is_told(workspace: Workspace, model: NamedFile | None, same: bool) -> None:
    assert codes(found(workspace, model=model)) == ([] if same else ["model"])


def test_a_size_that_this_base_cannot_make_is_told(workspace: Workspace) -> None:
    assert codes(found(workspace, settings={"width": 512, "height": 100})) == ["size_step"]
    assert codes(found(workspace, settings={"width": 512, "height": 128})) == []


def test_embeddings_that_are_not_installed_are_told() -> None:
    reading = read_pasted(
        'cat\nSteps: 1, Seed: 2, RNG: CPU, TI hashes: "bad: aabbccddeeff, ok: 112233445566, Kept: aaaaaaaaaaaa"'
    )
    installed = (NamedFile("renamed", "112233445566" + "0" * 52), NamedFile("kept", "b" * 64))
    result = recall(reading, (), str, None, installed)
    assert [dict(remark.values) for remark in result.remarks] == [{"name": "bad", "hash": "aabbccddeeff"}]


def test_remarks_are_said_in_both_languages() -> None:
    """Each with the values that the English sentence has."""
    assert set(REMARKS) < set(SENTENCES)
    english, chinese = strings("en"), strings("zh")
    assert {code: english[f"recall.{code}"] for code in SENTENCES} == SENTENCES
    assert [code for code in SENTENCES if chinese[f"recall.{code}"] == SENTENCES[code]] == []


def test_an_embedding_that_is_only_named_is_told_without_a_hash(workspace: Workspace) -> None:
    """ComfyUI's graphs name embeddings and hold no hashes."""
    wanted = (NamedFile("EasyNegative"), NamedFile("bad", "ab" * 6), NamedFile("There"))
    asked = Reading(program="comfyui", embeddings=wanted)
    result = recall(asked, (), workspace.files.tensors_hash, None, [NamedFile("there", "c" * 64)])
    assert [(remark.code, remark.values) for remark in result.remarks] == [
        ("embedding_missing_named", {"name": "EasyNegative"}),
        ("embedding_missing", {"name": "bad", "hash": "ab" * 6}),
    ]
