"""Stored files leave as they were stored, to their owner alone, under names that can do no harm."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from lora_studio.prompt.infotext import CHUNK
from tests.support.fake_engine import FakeEngine, safetensors
from tests.web.conftest import Browser, call, picture, uid, upload


def test_a_picture_keeps_its_texts_and_is_only_its_owners(browser: Browser, engine: FakeEngine) -> None:
    ann, ben = browser(), browser()
    sha256 = picture(ann, engine)
    answer = ann.get(f"/studio/picture/{sha256}.png")
    assert answer.content == engine.workspace.files.read(sha256)
    assert answer.headers["content-type"] == "image/png"
    assert "immutable" in answer.headers["cache-control"]
    assert "private" in answer.headers["cache-control"]
    assert CHUNK in Image.open(io.BytesIO(answer.content)).info
    assert ann.get(f"/studio/thumb/{sha256}.webp?size=64").headers["content-type"] == "image/webp"
    for path in (f"/studio/picture/{sha256}.png", f"/studio/thumb/{sha256}.webp"):
        refused = ben.get(path)
        assert refused.status_code == 404
        assert refused.json()["error"]["code"] == "file_missing"


def test_saving_under_a_name(browser: Browser, engine: FakeEngine) -> None:
    client = browser()
    sha256 = picture(client, engine)
    header = client.get(f"/studio/picture/{sha256}.png", params={"name": '猫/../"x\r\n'}).headers["content-disposition"]
    assert header.startswith('attachment; filename="')
    assert header.isprintable()
    assert "filename*=UTF-8''%E7%8C%AB_" in header
    assert "/" not in header.replace("UTF-8''", "")
    assert header.endswith(".png")


@pytest.mark.parametrize("sha256", ["x", "..%2f..%2fworkspace.db", "a" * 64, "A" * 64, "a" * 63 + "/"])
def test_what_is_no_file_of_ours(browser: Browser, sha256: str) -> None:
    assert browser().get(f"/studio/picture/{sha256}.png").status_code == 404


@pytest.mark.parametrize("size", ["0", "99999", "big", "-5", "64.5"])
def test_sizes_of_thumbnails(browser: Browser, engine: FakeEngine, size: str) -> None:
    client = browser()
    answer = client.get(f"/studio/thumb/{picture(client, engine)}.webp", params={"size": size})
    assert answer.status_code == 422
    assert size in answer.json()["error"]["message"]


def test_adapters(browser: Browser, engine: FakeEngine) -> None:
    ann, ben = browser(), browser()
    sample = call(ann, "library").json()["adapters"][0]
    answer = ben.get(f"/studio/adapter/{sample['sha256']}.safetensors")
    assert answer.content == engine.workspace.files.read(sample["sha256"])
    assert sample["name"] in answer.headers["content-disposition"]
    job = uid()
    assert upload(ann, "adapter", safetensors({"who": "ann"}), job=job, name="mine.safetensors").json() == {"job": job}
    *_, last = engine.events(job)
    path = f"/studio/adapter/{last.data['adapter']}.safetensors"
    assert ann.get(path).status_code == 200
    assert ben.get(path).status_code == 404
    assert ann.get(f"/studio/picture/{last.data['adapter']}.png").status_code == 404, "a LoRA is no picture"


def test_covers_of_samples_are_for_everybody(browser: Browser) -> None:
    client = browser()
    cover = call(client, "library").json()["adapters"][0]["cover"]
    assert client.get(f"/studio/thumb/{cover}.webp").status_code == 200


def test_examples(browser: Browser) -> None:
    client = browser()
    example = call(client, "hello").json()["examples"][0]
    assert client.get(f"/studio/example/{example['name']}/{example['show'][0]}").headers["content-type"] == "image/png"
    for path in ("cat-ears/README.md", "cat-ears/..%2fREADME.md", "nobody/01.png"):
        assert client.get(f"/studio/example/{path}").status_code == 404


def test_our_scripts_are_kept_by_browsers_and_are_all_there(browser: Browser) -> None:
    client = browser()
    text = client.get("/").text
    root = text.split('src="')[1].split("/js/")[0]
    assert call(client, "poll").json()["page"] == root.split("/")[-1], "by it a page knows another version"
    for name in ("js/boot.js", "js/main.js", "css/studio.css", "strings/en.json", "strings/zh.json", "icon.svg"):
        answer = client.get(f"{root}/{name}")
        assert answer.status_code == 200, name
        assert "immutable" in answer.headers["cache-control"]


def test_what_the_workbench_made_is_for_whoever_asked(browser: Browser, engine: FakeEngine) -> None:
    ann, ben = browser(), browser()
    sample = call(ann, "library").json()["adapters"][0]
    request = {"file": sample["sha256"], "put": {"note": "x"}, "write": True}
    job = call(ann, "workbench", tool="meta", request=request, job=uid()).json()["job"]
    list(engine.events(job))
    (made,) = (engine.job(job).result or {})["files"]
    answer = ann.get(f"/studio/made/{made['sha256']}", params={"name": "my cat.safetensors"})
    assert answer.content == engine.workspace.files.read(made["sha256"])
    assert 'filename="my cat.safetensors"' in answer.headers["content-disposition"]
    assert ben.get(f"/studio/made/{made['sha256']}").status_code == 404
    assert ann.get(f"/studio/made/{picture(ann, engine)}").status_code == 404


def test_a_hash_opens_nothing_for_whoever_writes_it(browser: Browser, engine: FakeEngine) -> None:
    """A prompt that was another one's hash gave that file out: LoRAs, pictures and their small copies."""
    ann, ben = browser(), browser()
    job = uid()
    upload(ann, "adapter", safetensors({"whose": "ann's own"}), job=job, name="own.safetensors")
    *_, last = engine.events(job)
    for sha256 in (str(last.data["adapter"]), picture(ann, engine)):
        picture(ben, engine, prompt=sha256, negative_prompt=sha256)
        for path in ("made/{}", "picture/{}.png", "thumb/{}.webp", "adapter/{}.safetensors", "embedding/{}"):
            assert ben.get(f"/studio/{path.format(sha256)}").status_code == 404, path


def test_what_may_be_renamed_is_asked_for_again(browser: Browser, engine: FakeEngine) -> None:
    """A browser that kept the answer for a year saved the file under the name that it had before."""
    client = browser()
    job = uid()
    upload(client, "adapter", safetensors({"named": "twice"}), job=job, name="before.safetensors")
    *_, last = engine.events(job)
    sha256 = last.data["adapter"]
    path = f"/studio/adapter/{sha256}.safetensors"
    assert client.get(path).headers["cache-control"] == "private, no-cache"
    call(client, "rename_adapter", sha256=sha256, name="after")
    assert 'filename="after.safetensors"' in client.get(path).headers["content-disposition"]
