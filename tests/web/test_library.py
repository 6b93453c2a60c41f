"""The library over HTTP: files beside a LoRA, downloads of what lies in a folder, covers, a doubtful caller."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_studio.engine.download import Web
from lora_studio.store import Workspace
from tests.support import lora_files as made
from tests.support.fake_engine import FakeEngine, safetensors
from tests.web.conftest import Browser, call, uid, upload


@pytest.fixture
def workspace(engine: FakeEngine, tmp_path: Path) -> Iterator[Workspace]:
    """The server's workspace, which for this test reads a folder."""
    workspace = engine.workspace
    made.write(tmp_path / "Lora" / "cat.safetensors", seed=77)
    made.write_picture(tmp_path / "Lora" / "cat.png", "teal")
    workspace.folders.roots = (tmp_path / "Lora",)
    list(workspace.folders.scan())
    yield workspace
    workspace.folders.roots = ()
    list(workspace.folders.scan())


def named(client: Any, name: str) -> dict[str, Any]:
    return next(entry for entry in call(client, "library").json()["adapters"] if entry["name"] == name)


def test_a_file_of_a_folder_is_given_out_and_its_cover_shown(browser: Browser, workspace: Workspace) -> None:
    client = browser()
    cat = named(client, "cat")
    answer = client.get(f"/studio/adapter/{cat['sha256']}.safetensors")
    assert answer.content == workspace.files.path(cat["sha256"]).read_bytes()
    assert 'filename="cat.safetensors"' in answer.headers["content-disposition"]
    assert client.get(f"/studio/thumb/{cat['cover']}.webp").headers["content-type"] == "image/webp"
    assert client.get(f"/studio/picture/{cat['sha256']}.png").status_code == 404


def test_a_missing_file_is_one_sentence(browser: Browser, workspace: Workspace) -> None:
    client = browser()
    cat = named(client, "cat")
    workspace.files.path(cat["sha256"]).unlink()
    answer = client.get(f"/studio/adapter/{cat['sha256']}.safetensors")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "adapter_away")


def test_files_beside_a_lora(browser: Browser, engine: FakeEngine) -> None:
    client, other = browser(), browser()
    job = uid()
    assert upload(client, "adapter", safetensors({"which": job}), job=job, name="mine.safetensors").status_code == 200
    *_, last = engine.events(job)
    sha256 = last.data["adapter"]
    text = json.dumps({"activation text": "word", "notes": "<b>"}).encode()
    answer = upload(client, "side", text, sha256=sha256, name="mine.json")
    assert answer.json()["adapter"]["trigger_words"] == ["word"]
    assert upload(other, "side", text, sha256=sha256, name="mine.json").status_code == 404
    assert upload(client, "side", b"x", sha256=sha256, name="mine.exe").json()["error"]["code"] == "side_unknown"
    assert upload(client, "side", b"x", sha256=sha256, name="mine.png").status_code == 422
    assert upload(client, "side", text, sha256="../../etc", name="mine.json").status_code == 404


@pytest.mark.parametrize("sha256", ["", "x", "../../x", "0" * 64, "0" * 64 + "/..", "\u0000"])
def test_names_of_files_are_no_paths(browser: Browser, sha256: str) -> None:
    client = browser()
    for name in ("adapter", "delete_adapter", "restore_adapter", "edit_adapter", "examine_adapter"):
        answer = call(client, name, sha256=sha256, changes={"stars": 1}, job=uid())
        assert answer.status_code == 404, name


def test_fetching_is_refused_where_it_is_off(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Web, "get", lambda *_: pytest.fail("somebody was asked"))
    answer = call(browser(), "download_adapter", job=uid(), source="owner/repo")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "download_off")
