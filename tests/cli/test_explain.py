"""`generate --explain`, styles and tags on the command line, without a model."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lora_studio.store import Workspace
from lora_studio.types import LOCAL, AdapterEntry, StyleEntry
from tests.cli.conftest import Studio


@pytest.fixture
def stocked(tmp_path: Path) -> str:
    """A workspace with one LoRA and one style; the LoRA's sha256."""
    with Workspace.open(tmp_path / "ws") as workspace:
        sha256 = workspace.files.put_bytes(b"adapter cats", ".safetensors")
        workspace.adapters.add(AdapterEntry(sha256, "Cat ears", LOCAL, time.time(), 12))
        workspace.styles.save([StyleEntry("ink", LOCAL, "{prompt}, ink", "colour")])
    return sha256


def test_json_says_everything_and_makes_nothing(studio: Studio, stocked: str, tmp_path: Path) -> None:
    answer = studio(
        "generate", "--explain", "--json", "--prompt", "a (cat:1.3) <lora:cat_ears:0.5> <lora:no:1>", "--negative",
        "badhandv4", "--style", "ink",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    (told,) = json.loads(answer.out)["explained"]
    assert told["steps"] == 7, "the base's own"
    assert told["prompt"]["text"] == "a (cat:1.3)  , ink"
    assert [one["sha256"] for one in told["adapters"]] == [stocked]
    (warn,) = told["prompt"]["warnings"]
    assert (warn["code"], warn["message"][:28]) == ("adapter_not_found", "<lora:no:1> does nothing: th")
    assert [warn["values"]["name"] for warn in told["negative"]["warnings"]] == ["badhandv4"]
    with Workspace.open(tmp_path / "ws") as workspace:
        assert workspace.jobs.list(kinds=["generate"]) == []


def test_lines_for_people(studio: Studio, stocked: str) -> None:
    answer = studio("generate", "--explain", "--prompt", "(red:1.3) [a:b:3] AND c :0.5 <lora:Cat ears:0.5>")
    lines = [line.strip() for line in answer.out.splitlines()]
    assert "part 2, weight 0.5" in lines
    assert "steps 4-7: (red:1.3) b" in lines
    assert "2 tokens in chunks of 2/75" in lines
    assert "1.3  red" in lines
    assert "LoRA: Cat ears 0.5" in lines


def test_a_tag_in_the_prompt_acts_and_is_told(studio: Studio, stocked: str) -> None:
    answer = studio("generate", "--prompt", "a <lora:cat_ears:0.5> <lora:no:1>", "--out", "p", "--json")
    assert answer.code == 0, answer.err
    (image,) = json.loads(answer.out)["images"]
    assert image["prompt"] == "a <lora:cat_ears:0.5> <lora:no:1>"
    assert [(one["name"], one["weight"]) for one in image["adapters"]] == [("Cat ears", 0.5)]
    assert "note: <lora:no:1> does nothing" in answer.err


def test_an_option_wins_over_a_tag(studio: Studio, stocked: str) -> None:
    answer = studio(
        "generate", "--prompt", "a <lora:cat_ears:0.5>", "--lora", "Cat ears:0.9", "--out", "p", "--json"
    )  # fmt: skip
    (image,) = json.loads(answer.out)["images"]
    assert [one["weight"] for one in image["adapters"]] == [0.9]
    assert "Cat ears is in the stack at 0.9" in answer.err


def test_a_style_acts(studio: Studio, stocked: str, tmp_path: Path) -> None:
    assert studio("generate", "--prompt", "a", "--style", "ink", "--style", "no", "--out", "p").code == 0
    with Workspace.open(tmp_path / "ws") as workspace:
        (job,) = workspace.jobs.list(kinds=["generate"])
    assert (job.payload["request"]["prompt"], job.payload["request"]["negative_prompt"]) == ("a, ink", "colour")


def explained(studio: Studio, *argv: str) -> tuple[dict[str, Any], str]:
    """What is told of one prompt, and what stands on standard error."""
    answer = studio("generate", "--explain", "--json", *argv)
    assert answer.code == 0, answer.err
    [told] = json.loads(answer.out)["explained"]
    return told, answer.err


def test_a_mode_of_emphasis_is_read_in_any_case(studio: Studio, stocked: str) -> None:
    """Pictures were drawn with comfy for `Comfy`, and explained as A1111 reads brackets."""
    small, _ = explained(studio, "--prompt", "[red] ((b))", "--emphasis", "comfy")
    large, _ = explained(studio, "--prompt", "[red] ((b))", "--emphasis", " Comfy")
    plain, _ = explained(studio, "--prompt", "[red] ((b))")
    assert large == small
    assert plain != small


def test_the_text_encoder_s_weight_of_a_picture_is_told(studio: Studio, stocked: str, tmp_path: Path) -> None:
    """It was dropped on the way: the LoRA was told with one weight and acted with two."""
    info = PngInfo()
    info.add_text("parameters", "a <lora:Cat ears:0.3:0.6>\nSteps: 12, Sampler: Euler a, Seed: 9, Version: v1.10.1")
    Image.new("RGB", (8, 8)).save(tmp_path / "a1111.png", pnginfo=info)
    told, _ = explained(studio, "--from-picture", str(tmp_path / "a1111.png"))
    [adapter] = told["adapters"]
    assert (adapter["sha256"], adapter["weight"], adapter["text_encoder_weight"]) == (stocked, 0.6, 0.3)
    lines = studio("generate", "--explain", "--from-picture", str(tmp_path / "a1111.png")).out.splitlines()
    assert "LoRA: Cat ears 0.6 (text encoder 0.3)" in lines


def test_where_a_lora_acts_is_told(studio: Studio, stocked: str, tmp_path: Path) -> None:
    """Of a tag and of a picture; a list for another base is told of, and the steps act all the same."""
    line = "LoRA: Cat ears 0.6 (text encoder 0.3; steps 4-6; blocks 0, 1, 0)"
    tag = "<lora:Cat ears:0.6:step=4-7:lbw=0.5,1>"
    assert line in studio("generate", "--explain", "--steps", "12", "--prompt", f"a {tag}").out.splitlines()
    for text, wanted in ((tag, line), (tag.replace("0.5,1", "1,1,1"), "LoRA: Cat ears 0.6 (steps 4-6)")):
        info = PngInfo()
        info.add_text("parameters", f"a {text}\nSteps: 12, Sampler: Euler a, Seed: 9, RNG: CPU, Version: v1.10.1")
        Image.new("RGB", (8, 8)).save(tmp_path / "a1111.png", pnginfo=info)
        asked = ("generate", "--from-picture", str(tmp_path / "a1111.png"))
        assert wanted in studio(*asked, "--explain").out.splitlines()
        answer = studio(*asked, "--out", "p", "--json")
        assert ("no counterpart here: Cat ears: lbw=1,1,1" in answer.err) == (wanted != line)
        (adapter,) = json.loads(answer.out)["images"][0]["adapters"]
        assert (adapter["sha256"], adapter["start"], adapter["stop"]) == (stocked, 0.25, 0.5)
        assert adapter["blocks"] == ([0.0, 1.0, 0.0] if wanted == line else [])


def test_files_that_are_left_out_are_named(studio: Studio, stocked: str, tmp_path: Path) -> None:
    """Nothing is taken into the library for an explanation, which therefore is none of what these files would do."""
    (tmp_path / "here" / "new.safetensors").write_bytes(b"adapter new")
    (tmp_path / "here" / "bad.pt").write_bytes(b"embedding bad")
    files = ("--lora", "new.safetensors:0.5", "--embedding", "bad.pt")
    told, said = explained(studio, "--prompt", "a, bad", *files)
    assert (told["adapters"], told["embeddings"]) == ([], [])
    assert "note: the LoRA file 'new.safetensors' is left out here" in said
    assert "note: the embedding file 'bad.pt' is left out here" in said
    with Workspace.open(tmp_path / "ws") as workspace:
        assert workspace.embeddings.list() == []
        assert [entry.name for entry in workspace.adapters.list()] == ["Cat ears"]
