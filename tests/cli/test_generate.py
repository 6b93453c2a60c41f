"""`python -m lora_studio generate` from words to PNGs, without a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from lora_studio.cli.generate import find_adapter, parse_size, read_prompts, split_weight
from lora_studio.errors import InvalidInput, NotFound
from lora_studio.prompt.infotext import CHUNK, read_request_chunk
from lora_studio.store import Workspace
from lora_studio.types import AdapterEntry
from tests.cli.conftest import Studio
from tests.cli.fake import Faults


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


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("cat", ("cat", None)),
        ("cat:0.5", ("cat", 0.5)),
        ("cat:-1e-1", ("cat", -0.1)),
        ("my:cat:2", ("my:cat", 2.0)),
        ("my:cat", ("my:cat", None)),
        ("C:\\loras\\cat.safetensors", ("C:\\loras\\cat.safetensors", None)),
        ("C:\\loras\\cat.safetensors:0.5", ("C:\\loras\\cat.safetensors", 0.5)),
        ("cat:nan", ("cat:nan", None)),
        ("cat:inf", ("cat:inf", None)),
        ("cat:", ("cat:", None)),
        (":0.5", (":0.5", None)),
    ],
)
def test_a_weight_is_what_stands_behind_the_last_colon(text: str, wanted: tuple[str, float | None]) -> None:
    assert split_weight(text) == wanted


@pytest.fixture
def library(tmp_path: Path) -> Workspace:
    """A workspace with LoRAs whose names hold colons."""
    workspace = Workspace.open(tmp_path / "library")
    for name in ("cat", "my:cat", "style:2"):
        sha256 = workspace.files.put_bytes(name.encode(), ".safetensors")
        workspace.adapters.add(AdapterEntry(sha256=sha256, name=name, owner="local", created=1.0, size=3))
    return workspace


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("cat", ("cat", 1.0)),
        ("cat:0.5", ("cat", 0.5)),
        ("my:cat", ("my:cat", 1.0)),
        ("my:cat:0.25", ("my:cat", 0.25)),
        ("style:2", ("style:2", 1.0)),
        ("style:2:0.5", ("style:2", 0.5)),
    ],
)
def test_names_may_hold_colons(library: Workspace, text: str, wanted: tuple[str, float]) -> None:
    asked = find_adapter(library, text)
    assert (asked.name, asked.weight) == wanted
    library.close()


@pytest.mark.parametrize(
    ("text", "kind", "part"),
    [
        ("cat:strong", InvalidInput, "'strong'"),
        ("cat:", InvalidInput, "''"),
        ("cat:1,5", InvalidInput, "'1,5'"),
        ("cat:nan", InvalidInput, "'nan'"),
        ("dog", NotFound, "'dog'"),
        ("dog:0.5", NotFound, "'dog'"),
        ("./dog.safetensors:0.5", NotFound, "'./dog.safetensors'"),
        ("C:\\loras\\dog.safetensors", NotFound, "dog.safetensors"),
        ("", NotFound, "''"),
        ("x" * 5000, NotFound, "xxx"),
    ],
)
def test_what_is_not_there_or_no_number(library: Workspace, text: str, kind: type[Exception], part: str) -> None:
    with pytest.raises(kind) as caught:
        find_adapter(library, text)
    assert part in str(caught.value)
    library.close()


def test_a_drive_letter_is_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: Workspace) -> None:
    """On Windows `C:\\a.safetensors:0.5` splits behind the path; here a file of that odd name stands in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "C:").mkdir()
    (tmp_path / "C:" / "a.safetensors").write_bytes(b"x")
    assert find_adapter(library, "C:/a.safetensors").weight == 1.0
    asked = find_adapter(library, "C:/a.safetensors:0.5")
    assert (asked.file, asked.weight) == (Path("C:/a.safetensors"), 0.5)
    library.close()


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
