"""`python -m lora_studio generate` from words to PNGs, without a model."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from lora_studio.cli.generate import parse_size, read_prompts
from lora_studio.errors import InvalidInput
from lora_studio.prompt.infotext import CHUNK, read_request_chunk
from lora_studio.store import Workspace
from tests.cli.conftest import Studio
from tests.cli.fake import Faults
from tests.support import lora_files as made


def test_one_prompt_with_the_base_s_defaults(studio: Studio, tmp_path: Path) -> None:
    answer = studio("generate", "--prompt", "a cat", "--seed", "7", "--count", "2", "--out", "p", "--json")
    assert answer.code == 0, answer.err
    images = json.loads(answer.out)["images"]
    assert images[1] == {
        "file": str(tmp_path / "here" / "p" / "00001-8.png"),
        "prompt": "a cat",
        "negative": "",
        "seed": 8,
        "width": 128,
        "height": 96,
        "steps": 7,
        "sampler": "euler",
        "guidance_scale": 3.5,
        "adapters": [],
    }
    assert [path.name for path in sorted((tmp_path / "here" / "p").iterdir())] == ["00000-7.png", "00001-8.png"]
    with Image.open(images[1]["file"]) as picture:
        request, index = read_request_chunk(picture.info[CHUNK])
    assert (request.prompt, request.seed, index) == ("a cat", 7, 1)


def test_everything_that_is_given_is_used(studio: Studio) -> None:
    answer = studio(
        "generate", "--prompt", "a", "--negative", "b", "--seed", "1", "--steps", "3", "--cfg", "2.5", "--sampler",
        "DPM++ 2M Karras", "--size", "64x32", "--clip-skip", "2", "--emphasis", "No Norm", "--pad-prompts",
        "--old-scheduling", "--guidance-rescale", "0.6", "--out", "p", "--json",
    )  # fmt: skip
    image = json.loads(answer.out)["images"][0]
    with Image.open(image["file"]) as picture:
        request, _ = read_request_chunk(picture.info[CHUNK])
    words = (request.clip_skip, request.emphasis, request.pad_prompts, request.old_scheduling)
    assert words == (2, "no norm", True, True)
    assert (image["negative"], image["steps"], image["guidance_scale"]) == ("b", 3, 2.5)
    assert request.guidance_rescale == 0.6
    assert (image["sampler"], image["width"], image["height"]) == ("dpmpp_2m_karras", 64, 32)


def test_every_picture_draws_its_own_alternatives(studio: Studio) -> None:
    given = ("generate", "--prompt", "{a|b|c|d}", "--dynamic", "--count", "12", "--seed", "5", "--out", "p", "--json")
    images = json.loads(studio(*given).out)["images"]
    assert [image["seed"] for image in images] == list(range(5, 17))
    prompts = [image["prompt"] for image in images]
    assert set(prompts) <= set("abcd")
    assert len(set(prompts)) > 1
    assert [image["prompt"] for image in json.loads(studio(*given).out)["images"]] == prompts
    with Image.open(images[3]["file"]) as picture:
        request, _ = read_request_chunk(picture.info[CHUNK])
    assert (request.prompt, request.dynamic) == (prompts[3], False)


def test_prompts_from_a_file_count_seeds_on(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "here" / "prompts.txt").write_bytes("\ufeffa cat\r\n猫耳, 红发\r\n  a dog  \r\n".encode())
    answer = studio("generate", "--prompts-from", "prompts.txt", "--seed", "10", "--count", "2", "--out", "p", "--json")
    images = json.loads(answer.out)["images"]
    assert [(i["prompt"], i["seed"]) for i in images] == [
        ("a cat", 10), ("a cat", 11), ("猫耳, 红发", 12), ("猫耳, 红发", 13), ("a dog", 14), ("a dog", 15),
    ]  # fmt: skip
    files = [image["file"] for image in images]
    assert files == sorted(files)
    workspace = Workspace.open(tmp_path / "ws")
    (job,) = workspace.jobs.list(kinds=["generate"])
    workspace.close()
    assert len(job.payload["requests"]) == 3, "one job, so that prompts can share batches"


def test_without_a_seed_one_is_drawn_and_told(studio: Studio) -> None:
    first = json.loads(studio("generate", "--prompt", "a", "--out", "p", "--json").out)["images"][0]["seed"]
    second = json.loads(studio("generate", "--prompt", "a", "--out", "p", "--json").out)["images"][0]["seed"]
    assert first != second


def test_pictures_that_are_there_stay(studio: Studio, tmp_path: Path) -> None:
    folder = tmp_path / "here" / "p"
    folder.mkdir()
    (folder / "holiday.jpg").write_bytes(b"mine")
    for _ in range(2):
        assert studio("generate", "--prompt", "a", "--seed", "3", "--out", "p").code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["00000-3.png", "00001-3.png", "holiday.jpg"]


@pytest.mark.parametrize("links", [True, False], ids=["second names", "a disk without second names"])
def test_two_at_once_keep_each_other_s_pictures(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """Both had asked for the next number before either wrote: with one seed the second replaced the first's picture."""
    other = tmp_path / "here" / "p" / "00000-3.png"

    def late(out: Path) -> int:
        """The other command writes between the question and our picture."""
        other.write_bytes(b"the other's")
        return 0

    def none(*_: object) -> None:
        raise OSError(errno.EPERM, "no second names here")

    monkeypatch.setattr("lora_studio.cli.generate.next_number", late)
    if not links:
        monkeypatch.setattr(os, "link", none)
    answer = studio("generate", "--prompt", "a", "--seed", "3", "--out", "p")
    assert answer.out == f"{other.with_name('00001-3.png')}\n"
    assert other.read_bytes() == b"the other's"
    assert sorted(path.name for path in other.parent.iterdir()) == ["00000-3.png", "00001-3.png"]
    with Image.open(other.with_name("00001-3.png")) as picture:
        assert CHUNK in picture.info


def test_where_the_base_runs_and_where_loras_lie_are_options(studio: Studio, tmp_path: Path) -> None:
    """`generate` and `train` had refused --device, --dtype, --threads and --offline, which the README names."""
    made.write(tmp_path / "here" / "loras" / "cat.safetensors", seed=1)
    given = ("--device", "cpu", "--dtype", "float32", "--threads", "3", "--offline", "--lora-folders", "loras")
    answer = studio("generate", "--prompt", "a", "--lora", "cat", "--out", "p", *given, "--json")
    assert answer.code == 0, answer.err
    settings = answer.engines[0].settings
    assert (settings.device, settings.dtype, settings.threads, settings.offline) == ("cpu", "float32", 3, True)
    assert settings.lora_folders == (tmp_path / "here" / "loras",)
    assert json.loads(answer.out)["images"][0]["adapters"][0]["name"] == "cat"


def test_without_json_the_files_are_listed(studio: Studio, tmp_path: Path) -> None:
    answer = studio("generate", "--prompt", "a", "--seed", "3", "--count", "2", "--out", "p")
    assert answer.out.splitlines() == [str(tmp_path / "here" / "p" / name) for name in ("00000-3.png", "00001-4.png")]


def test_a_lora_file_is_taken_into_the_library(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "here" / "cats.safetensors").write_bytes(b"adapter cats")
    answer = studio("generate", "--prompt", "a", "--lora", "cats.safetensors:0.5", "--out", "p", "--json")
    (adapter,) = json.loads(answer.out)["images"][0]["adapters"]
    assert (adapter["name"], adapter["weight"]) == ("cats", 0.5)
    again = studio("generate", "--prompt", "a", "--lora", "cats", "--lora", "CATS:-1", "--out", "p", "--json")
    both = json.loads(again.out)["images"][0]["adapters"]
    assert [(a["sha256"], a["weight"]) for a in both] == [(adapter["sha256"], 1.0), (adapter["sha256"], -1.0)]


def test_the_samples_that_come_with_the_app_are_there(studio: Studio, tmp_path: Path) -> None:
    samples = tmp_path / "assets" / "examples" / "adapters"
    samples.mkdir(parents=True)
    (samples / "neon.safetensors").write_bytes(b"adapter neon")
    answer = studio("generate", "--prompt", "a", "--lora", "neon:0.5", "--out", "p", "--json")
    assert json.loads(answer.out)["images"][0]["adapters"][0]["name"] == "neon"


def test_the_base_is_loaded_where_it_is_not_yet(studio: Studio) -> None:
    answer = studio("generate", "--prompt", "a", "--out", "p", "--json", faults=Faults(slow_base=True))
    assert json.loads(answer.out)["images"][0]["steps"] == 7


def test_ctrl_c_cancels_the_job(studio: Studio, tmp_path: Path) -> None:
    answer = studio("generate", "--prompt", "a", "--out", "p", "--json", faults=Faults(interrupt="generate"))
    assert (answer.code, answer.out) == (130, "")
    assert len(answer.engines[0].cancelled) == 1
    assert answer.engines[0].closed
    assert list((tmp_path / "here" / "p").iterdir()) == []


@pytest.mark.parametrize(("text", "wanted"), [("128x192", (128, 192)), (" 64 X 32 ", (64, 32)), ("64×64", (64, 64))])
def test_sizes_are_read(text: str, wanted: tuple[int, int]) -> None:
    assert parse_size(text) == wanted


@pytest.mark.parametrize("text", ["12", "x", "128x", "1.5x2", "-1x3", "128x128x128", "²x2", ""])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_size(text)
    assert repr(text) in caught.value.message


def test_an_empty_line_in_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("a\n\nb\n\n\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="Line 2"):
        read_prompts(path)
    path.write_text("a\nb\n\n\n", encoding="utf-8")
    assert read_prompts(path) == ("a", "b")
