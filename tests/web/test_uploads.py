"""Uploads: one file per request, streamed, judged by the rooms that read it, nothing left behind."""

from __future__ import annotations

import errno
import io
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lora_studio.web import uploads
from tests.support.fake_engine import FakeEngine, safetensors
from tests.web.conftest import ORIGIN, Browser, call, uid, upload


def png(colour: tuple[int, int, int], size: int = 64) -> bytes:
    """A picture with some structure, so that it is not taken for blurred."""
    picture = Image.effect_noise((size, size), 60).convert("RGB")
    picture.paste(colour, (8, 8, size // 2, size // 2))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def test_pictures_captions_and_zips(browser: Browser) -> None:
    client = browser()
    found = call(client, "new_set", name="s").json()["set"]["id"]
    assert upload(client, "picture", png((255, 0, 0)), set=found, name="a.png").status_code == 200
    answer = upload(client, "picture", b"red, square", set=found, name="a.txt").json()["set"]
    assert [(item["source"], item["caption"]) for item in answer["items"]] == [("a.png", "red, square")]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("b.png", png((0, 255, 0)))
        archive.writestr("b.txt", "green")
        archive.writestr("note.md", "?")
    answer = upload(client, "picture", packed.getvalue(), set=found, name="more.zip").json()["set"]
    assert [item["caption"] for item in answer["items"]] == ["red, square", "green"]


def test_one_broken_among_good_ones(browser: Browser) -> None:
    client = browser()
    found = call(client, "new_set", name="s").json()["set"]["id"]
    upload(client, "picture", png((1, 2, 3)), set=found, name="good.png")
    answer = upload(client, "picture", png((9, 9, 9))[:200], set=found, name="<b>broken.png").json()["set"]
    assert len(answer["items"]) == 1
    assert "<b>broken.png" in answer["refused"][0]["message"]


def test_a_path_that_leads_elsewhere_is_only_a_name(browser: Browser) -> None:
    client = browser()
    found = call(client, "new_set", name="s").json()["set"]["id"]
    answer = upload(client, "picture", png((1, 2, 3)), set=found, name="..\\..\\etc/../x.png").json()["set"]
    assert answer["items"][0]["source"] == "x.png"


def test_files_of_folders_keep_their_folders_as_names(browser: Browser, engine: FakeEngine) -> None:
    """`cats/1.txt` and `dogs/1.txt` were one name, and each picture called 1 got the last caption."""
    client = browser()
    found = call(client, "new_set", name="s").json()["set"]["id"]
    for name, data in (
        ("cats/1.png", png((255, 0, 0))),
        ("dogs/./1.png", png((0, 0, 255))),
        ("cats/.DS_Store", b"junk"),
        ("cats/1.txt", b"a cat"),
        ("dogs\\1.txt", b"a dog"),
    ):
        answer = upload(client, "picture", data, set=found, name=name).json()["set"]
    assert [(item["source"], item["caption"]) for item in answer["items"]] == [
        ("cats/1.png", "a cat"),
        ("dogs/1.png", "a dog"),
    ]
    assert answer["refused"] == []
    assert not list(engine.workspace.root.rglob("cats*"))
    long = "f/" * 600 + "2.png"
    answer = upload(client, "picture", png((0, 255, 0)), set=found, name=long).json()["set"]
    assert answer["items"][2]["source"] == long[-uploads.MAX_PATH :]


def test_a_damaged_zip_is_one_sentence(browser: Browser) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("猫.png", png((0, 255, 0)))
    data, name = packed.getvalue(), "猫.png".encode()
    place = data.rindex(name)
    client = browser()
    found = call(client, "new_set", name="s").json()["set"]["id"]
    answer = upload(client, "picture", data[:place] + b"\xff" + data[place + 1 :], set=found, name="cats.zip")
    assert answer.status_code == 200
    assert [entry["code"] for entry in answer.json()["set"]["refused"]] == ["zip_broken"]


def test_somebody_elses_set(browser: Browser) -> None:
    ann, ben = browser(), browser()
    found = call(ann, "new_set", name="s").json()["set"]["id"]
    assert upload(ben, "picture", png((1, 1, 1)), set=found, name="a.png").status_code == 404
    assert call(ann, "view_set", set=found).json()["set"]["items"] == []


def test_a_damaged_lora_is_one_sentence(browser: Browser, engine: FakeEngine) -> None:
    client = browser()
    job = uid()
    assert upload(client, "adapter", b"not a lora at all", job=job, name="bad one.safetensors").status_code == 200
    *_, last = engine.events(job)
    assert last.type == "error"
    assert "bad one" in last.data["message"]
    answer = upload(client, "adapter", safetensors({}), job=uid(), name="model.zip")
    assert answer.status_code == 422
    assert "'model.zip'" in answer.json()["error"]["message"]


def test_the_same_upload_twice_is_one_lora(browser: Browser, engine: FakeEngine) -> None:
    client = browser()
    job = uid()
    for _ in range(2):
        assert upload(client, "adapter", safetensors({"a": "b"}), job=job, name="x.safetensors").json() == {"job": job}
    list(engine.events(job))
    assert [entry["name"] for entry in call(client, "library").json()["adapters"]].count("x") == 1


def test_too_large(browser: Browser, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_write", _limited(uploads._write))
    client = browser()
    found = call(client, "new_set", name="s").json()["set"]["id"]
    answer = upload(client, "picture", b"x" * 2000, set=found, name="huge.png")
    assert answer.json()["error"]["code"] == "upload_too_large"
    assert "'huge.png'" in answer.json()["error"]["message"]
    assert list((engine.workspace.root / "uploads").iterdir()) == []


def _limited(write: object) -> object:
    """The writer with a bound of 1000 bytes."""

    async def limited(request: object, path: Path, bounds: tuple[str, int]) -> None:
        await write(request, path, (bounds[0], 1000))  # type: ignore[operator]

    return limited


def test_a_full_disk_is_one_sentence(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    client = browser()
    found = call(client, "new_set", name="s").json()["set"]["id"]

    async def full(request: object, path: Path, bounds: tuple[str, int]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(uploads, "_write", full)
    answer = upload(client, "picture", png((0, 0, 0)), set=found, name="a.png")
    assert answer.status_code == 507
    assert answer.json()["error"]["code"] == "disk_full"
    assert "uploads" in answer.json()["error"]["message"]


def test_only_the_page_uploads(browser: Browser) -> None:
    client = browser()
    found = call(client, "new_set", name="s").json()["set"]["id"]
    answer = client.post(
        f"/studio/upload/picture?set={found}&name=a.png", content=b"x", headers={"origin": "http://evil.example"}
    )
    assert answer.status_code == 403
    assert ORIGIN != "http://evil.example"


def test_a_picture_is_read_and_not_kept(browser: Browser, engine: FakeEngine) -> None:
    info = PngInfo()
    info.add_text("parameters", "cat\nSteps: 3, Sampler: Euler, Seed: 4")
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=info)
    before = sorted(engine.workspace.root.rglob("*.png"))
    page = browser()
    answer = upload(page, "recall", out.getvalue(), name="a.png")
    assert answer.status_code == 200
    assert (answer.json()["prompt"], answer.json()["form"]["seed"]) == ("cat", 4)
    answer = upload(page, "recall", b"no picture", name="b.png")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "recall_no_picture")
    assert sorted(engine.workspace.root.rglob("*.png")) == before
    assert list((engine.workspace.root / "uploads").iterdir()) == []
