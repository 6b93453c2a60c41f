"""`generate --from-picture` and `infotext`, without a model."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lora_studio.dataset.texts import MAX_TEXTS
from lora_studio.store import Workspace
from lora_studio.types import AdapterEntry
from tests.cli.conftest import Studio

TEXT = (
    "a cat, (hat:1.2) <lora:nekomimi:0.3:0.6>\nNegative prompt: dog\nSteps: 12, Sampler: Euler a, CFG scale: 3.5, "
    'Seed: 99, Size: 128x192, Clip skip: 2, Lora hashes: "nekomimi: {hash}", Version: v1.10.1'
)


def picture(folder: Path, text: str) -> Path:
    """A PNG as A1111 saves it."""
    info = PngInfo()
    info.add_text("parameters", text)
    path = folder / "a1111.png"
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


EVERYWHERE: dict[str, Any] = {"start": 0.0, "stop": 1.0, "blocks": []}


def library(tmp_path: Path) -> tuple[str, str]:
    """A workspace with one LoRA, called otherwise than in the picture: its sha256 and A1111's hash."""
    with Workspace.open(tmp_path / "ws") as workspace:
        data = b"\x02\x00\x00\x00\x00\x00\x00\x00{}adapter"
        sha256 = workspace.files.put_bytes(data, ".safetensors")
        workspace.adapters.add(AdapterEntry(sha256=sha256, name="my ears", owner="local", created=0.0, size=len(data)))
        return sha256, workspace.adapters.short_hash(sha256)


def test_everything_comes_from_the_picture(studio: Studio, tmp_path: Path) -> None:
    sha256, known_as = library(tmp_path)
    path = picture(tmp_path, TEXT.format(hash=known_as))
    answer = studio("generate", "--from-picture", str(path), "--out", "p", "--json")
    assert answer.code == 0, answer.err
    (image,) = json.loads(answer.out)["images"]
    del image["file"]
    assert image == {
        "prompt": "a cat, (hat:1.2)",
        "negative": "dog",
        "seed": 99,
        "width": 128,
        "height": 192,
        "steps": 12,
        "sampler": "euler_a",
        "guidance_scale": 3.5,
        "adapters": [{"sha256": sha256, "name": "my ears", "weight": 0.6, "text_encoder_weight": 0.3} | EVERYWHERE],
    }
    assert "another way (GPU)" in answer.err
    with Workspace.open(tmp_path / "ws") as workspace:
        (job,) = workspace.jobs.list(kinds=["generate"])
    assert job.payload["request"]["clip_skip"] == 2


def test_options_override_the_picture(studio: Studio, tmp_path: Path) -> None:
    path = picture(tmp_path, TEXT.format(hash="0" * 12))
    library(tmp_path)
    answer = studio(
        "generate", "--from-picture", str(path), "--prompt", "a dog", "--negative", "", "--seed", "1", "--steps", "3",
        "--cfg", "2", "--sampler", "ddim", "--size", "64x64", "--lora", "my ears:0.9", "--count", "2", "--out", "p",
        "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    images = json.loads(answer.out)["images"]
    assert [image["seed"] for image in images] == [1, 2]
    one = images[0]
    assert (one["prompt"], one["negative"], one["steps"], one["guidance_scale"]) == ("a dog", "", 3, 2.0)
    assert (one["sampler"], one["width"], one["adapters"][0]["weight"]) == ("ddim", 64, 0.9)


def test_a_picture_that_we_made_makes_itself_again(studio: Studio, tmp_path: Path) -> None:
    sha256, _ = library(tmp_path)
    asked = ["--prompt", "猫, x", "--lora", "my ears:0.4", "--seed", "5", "--count", "3", "--out", "p"]
    first = studio("generate", *asked, "--json")
    images = json.loads(first.out)["images"]
    again = studio("generate", "--from-picture", images[2]["file"], "--out", "q", "--json")
    (image,) = json.loads(again.out)["images"]
    assert image | {"file": ""} == images[2] | {"file": ""}
    assert image["adapters"][0]["sha256"] == sha256
    assert Path(image["file"]).read_bytes()[:24] == Path(images[2]["file"]).read_bytes()[:24]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda folder: folder / "none.png", "cannot be read"),
        (lambda folder: picture(folder, "holiday"), "does not say how it was made"),
        (lambda folder: picture(folder, TEXT.format(hash="f" * 12)), "the LoRA 'nekomimi' (hash ffffffffffff)"),
    ],
)
def test_what_cannot_be_taken_over(studio: Studio, tmp_path: Path, make: object, sentence: str) -> None:
    assert callable(make)
    library(tmp_path)
    answer = studio("generate", "--from-picture", str(make(tmp_path)), "--out", "p")
    assert answer.code == 2
    assert sentence in answer.err


# ------------------------------------------------------------ infotext
def test_infotext_of_a_picture_and_of_a_text(studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = TEXT.format(hash="0" * 12)
    path = picture(tmp_path, text)
    answer = json.loads(studio("infotext", str(path), "--json").out)
    assert (answer["program"], answer["prompt"], answer["negative"]) == ("a1111", "a cat, (hat:1.2)", "dog")
    assert answer["fields"]["Prompt"] == "a cat, (hat:1.2) <lora:nekomimi:0.3:0.6>"
    assert (answer["fields"]["Size-2"], answer["fields"]["Emphasis"], answer["fields"]["RNG"]) == (
        "192",
        "Original",
        "GPU",
    )
    named = {"name": "nekomimi", "hash": "0" * 12, "weight": 0.6, "text_encoder_weight": 0.3, "lbw": ""}
    assert answer["adapters"] == [named | EVERYWHERE]
    assert answer["settings"]["seed"] == 99
    assert answer["warnings"] == [{"code": "noise", "values": {"given": "GPU"}}]
    (tmp_path / "a.txt").write_text("\ufeff" + text, encoding="utf-8")
    assert json.loads(studio("infotext", str(tmp_path / "a.txt"), "--json").out) == answer
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
    assert json.loads(studio("infotext", "-", "--json").out) == answer


def test_infotext_for_people(studio: Studio, tmp_path: Path) -> None:
    answer = studio("infotext", str(picture(tmp_path, TEXT.format(hash="0" * 12))))
    assert answer.out.splitlines()[:3] == [
        "a cat, (hat:1.2)",
        "Negative prompt: dog",
        "LoRA: nekomimi 0.6 000000000000",
    ]
    assert "another way (GPU)" in answer.err


def test_infotext_of_what_is_none(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00")
    assert "neither a PNG" in studio("infotext", str(tmp_path / "x")).err
    assert "cannot be read" in studio("infotext", str(tmp_path / "none")).err
    assert studio("infotext").code == 2
    (tmp_path / "x").write_text("words alone", encoding="utf-8")
    answer = json.loads(studio("infotext", str(tmp_path / "x"), "--json").out)
    assert (answer["prompt"], answer["program"], answer["settings"]) == ("words alone", "", {})


def test_infotext_says_what_is_damaged_or_cut(studio: Studio, tmp_path: Path) -> None:
    """A picture that was cut off was answered by an empty line, as if it had said nothing."""
    path = picture(tmp_path, TEXT.format(hash="0" * 12))
    torn = tmp_path / "torn.png"
    torn.write_bytes(path.read_bytes()[:45])
    answer = studio("infotext", str(torn))
    assert answer.code == 0
    assert answer.err == "A part of the file's texts is damaged and was not read.\n"
    told = json.loads(studio("infotext", str(torn), "--json").out)
    assert told["warnings"] == [{"code": "texts_damaged", "values": {}}]
    info = PngInfo()
    info.add_text("parameters", "a" * (MAX_TEXTS + 1), zip=True)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    assert "longer than what is read" in studio("infotext", str(path)).err


def test_infotext_reads_no_more_than_it_says(studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file was read whole whatever its size, standard input cut off without a word."""
    path = tmp_path / "words.txt"
    path.write_text("words " * 30, encoding="utf-8")
    monkeypatch.setattr("lora_studio.cli.infotext.MAX_FILE", 180)
    assert studio("infotext", str(path)).code == 0
    path.write_text("words " * 30 + "!", encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(path.read_bytes())))
    for given in (str(path), "-"):
        answer = studio("infotext", given)
        assert (answer.code, answer.out) == (2, "")
        assert f"{given!r}, which has more than" in answer.err
