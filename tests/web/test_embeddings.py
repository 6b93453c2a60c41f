"""Embeddings over HTTP: files go in by their names' endings, come out as they were, and to their owners alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import embeddings as made
from tests.support.fake_engine import FakeEngine
from tests.web.conftest import Browser, call, uid, upload

WIDTH = 768


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".PNG"])
def test_a_file_goes_in_and_comes_out(suffix: str, browser: Browser, engine: FakeEngine, tmp_path: Path) -> None:
    path = tmp_path / f"Bad 手{suffix}"
    if suffix == ".PNG":
        made.write_text_picture(path, made.vectors(2, WIDTH))
    else:
        {".pt": made.write_pt, ".safetensors": made.write_safetensors}[suffix](path, 2, WIDTH)
    client, job = browser(), uid()
    assert upload(client, "embedding", path.read_bytes(), job=job, name=path.name).json() == {"job": job}
    *_, last = engine.events(job)
    assert (last.type, last.data.get("name"), last.data.get("vectors")) == ("done", "Bad 手", 2)
    listed = call(client, "library").json()["embeddings"]
    assert [(one["name"], one["vectors"]) for one in listed] == [("Bad 手", 2)]
    answer = client.get(f"/studio/embedding/{listed[0]['sha256']}")
    assert answer.content == path.read_bytes()
    assert answer.headers["content-disposition"].endswith(f"Bad%20%E6%89%8B{suffix.lower()}")
    assert browser().get(f"/studio/embedding/{listed[0]['sha256']}").status_code == 404


def test_an_embedding_among_loras_becomes_one(browser: Browser, engine: FakeEngine, tmp_path: Path) -> None:
    path = made.write_safetensors(tmp_path / "words.safetensors", 2, WIDTH)
    client, job = browser(), uid()
    assert upload(client, "adapter", path.read_bytes(), job=job, name=path.name).status_code == 200
    *_, last = engine.events(job)
    assert last.data["embedding"] == call(client, "library").json()["embeddings"][0]["sha256"]


@pytest.mark.slow
def test_what_is_refused_is_one_sentence(browser: Browser, engine: FakeEngine, tmp_path: Path) -> None:
    client = browser()
    answer = upload(client, "embedding", b"x", job=uid(), name="notes.txt")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "embedding_suffix")
    assert upload(client, "embedding", b"x", job="no id", name="a.pt").status_code == 422
    job = uid()
    evil = made.write_code(tmp_path / "evil.pt", tmp_path / "ran")
    assert upload(client, "embedding", evil.read_bytes(), job=job, name="evil.pt").status_code == 200
    *_, last = engine.events(job)
    assert (last.type, last.data["code"]) == ("error", "embedding_code")
    assert not (tmp_path / "ran").exists()
    assert call(client, "library").json()["embeddings"] == []
