"""`lora_studio.ui.actions.recall`: what a page gets for a picture, for pasted text, and for LoRAs that were missing."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lora_studio.errors import InvalidInput
from lora_studio.prompt.infotext import CHUNK, request_chunk
from lora_studio.types import AdapterWeight, GenerateRequest
from lora_studio.ui.actions.recall import recall_picture
from lora_studio.ui.studio import Ask, Studio
from tests.support.fake_engine import adapter_entry
from tests.ui.conftest import Call

TEXT = (
    "1girl, cat ears <lora:nekomimi:0.6>\nNegative prompt: hat\nSteps: 12, Sampler: Euler a, CFG scale: 3, Seed: 99, "
    'Size: 128x192, RNG: CPU, Lora hashes: "nekomimi: {hash}"'
)

EVERYWHERE: dict[str, Any] = {"start": 0.0, "stop": 1.0, "blocks": ()}


def picture(folder: Path, **texts: str) -> Path:
    """A PNG with these texts."""
    info = PngInfo()
    for key, text in texts.items():
        info.add_itxt(key, text)
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=info)
    path = folder / "upload"
    path.write_bytes(out.getvalue())
    return path


def test_a_picture_of_our_own(studio: Studio, tmp_path: Path) -> None:
    entry = studio.workspace.adapters.find("Cat ears", "samples")
    asked = GenerateRequest(
        prompt="cat", width=128, height=192, num_inference_steps=5, guidance_scale=2.5, sampler="euler_a", seed=10,
        num_images=4, adapters=(AdapterWeight(entry.sha256, "old name", 0.5, 0.25),), base="a" * 64, clip_skip=2,
    )  # fmt: skip
    path = picture(tmp_path, **{CHUNK: request_chunk(asked, 3)})
    found = recall_picture(Ask(studio, "ann", {}), path, "mine.png")
    assert (found["program"], found["prompt"], found["negative"]) == ("lora_studio", "cat", "")
    assert found["form"]["seed"] == 13
    assert found["form"]["clip_skip"] == 2
    assert found["adapters"] == [
        {"sha256": entry.sha256, "name": "Cat ears", "weight": 0.5, "text_encoder_weight": 0.25, **EVERYWHERE}
    ]
    assert (found["missing"], found["remarks"]) == ([], [])


def test_a_lora_comes_back_after_it_was_renamed(studio: Studio, call: Call) -> None:
    entry = adapter_entry(studio.workspace, b"\x02\x00\x00\x00\x00\x00\x00\x00{}tensors", "first name", "ann")
    studio.workspace.adapters.add(entry)
    call("rename_adapter", sha256=entry.sha256, name="second name")
    text = TEXT.format(hash=studio.workspace.adapters.short_hash(entry.sha256))
    found = call("recall_text", text=text)
    assert found["adapters"][0] | {"text_encoder_weight": 0} == {
        "sha256": entry.sha256, "name": "second name", "weight": 0.6, "text_encoder_weight": 0,
        **EVERYWHERE,
    }  # fmt: skip
    assert found["prompt"] == "1girl, cat ears"
    assert call("recall_text", "bob", text=text)["adapters"] == [], "nobody finds a file of somebody else's"


def test_a_missing_lora_is_found_when_it_has_come(studio: Studio, call: Call) -> None:
    data = b"\x02\x00\x00\x00\x00\x00\x00\x00{}other tensors"
    entry = adapter_entry(studio.workspace, data, "ears", "ann")
    wanted = [{"name": "nekomimi", "hash": studio.workspace.adapters.short_hash(entry.sha256)}, {"name": "x"}, 5]
    assert call("recall_text", text=TEXT.format(hash=wanted[0]["hash"]))["missing"][0]["name"] == "nekomimi"
    assert call("find_missing", wanted=wanted) == {"found": [None, None, None]}
    studio.workspace.adapters.add(entry)
    found = call("find_missing", wanted=wanted)["found"]
    assert found == [{"sha256": entry.sha256, "name": "ears"}, None, None]


def test_words_alone_have_no_program(call: Call) -> None:
    assert call("recall_text", text="a cat\nwith a hat")["program"] == ""


def test_what_cannot_be_taken_over_is_refused_in_a_sentence(studio: Studio, tmp_path: Path, call: Call) -> None:
    ask = Ask(studio, "ann", {})
    with pytest.raises(InvalidInput, match="does not say how it was made"):
        recall_picture(ask, picture(tmp_path, Comment="holiday"), "a.png")
    (tmp_path / "b").write_bytes(b"GIF89a")
    with pytest.raises(InvalidInput, match="not a picture whose texts are read"):
        recall_picture(ask, tmp_path / "b", "b.gif")
    for wanted in (None, "x", [{}] * 101):
        with pytest.raises(InvalidInput, match="a list of at most 100"):
            call("find_missing", wanted=wanted)


def test_damaged_texts_are_told(studio: Studio, tmp_path: Path) -> None:
    path = picture(tmp_path, parameters=TEXT.format(hash="0" * 12))
    path.write_bytes(path.read_bytes()[:-8])
    found = recall_picture(Ask(studio, "ann", {}), path, "a.png")
    assert [remark["code"] for remark in found["remarks"]] == ["texts_damaged"]
    assert [one["hash"] for one in found["missing"]] == ["0" * 12]
