"""The whole application on the pretended engine, asked over HTTP in this process."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from lora_studio.settings import Settings
from lora_studio.store import Workspace
from lora_studio.web.app import create_app
from tests.support.fake_engine import FakeEngine, add_samples
from tests.support.loops import in_own_loop

ROOT = Path(__file__).resolve().parents[2]
ORIGIN = "http://127.0.0.1:7860"

Browser = Callable[[], TestClient]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeEngine]:
    workspace = Workspace.open(tmp_path_factory.mktemp("ws"))
    add_samples(workspace)
    (workspace.root / "fake.json").write_text('{"step_seconds": 0.001}', encoding="utf-8")
    engine = FakeEngine(workspace, ROOT / "assets")
    yield engine
    engine.close()
    workspace.close()


@pytest.fixture(scope="module")
def app(engine: FakeEngine) -> Any:
    settings = Settings(workspace=engine.workspace.root, assets=ROOT / "assets")
    return in_own_loop(lambda: create_app(settings, engine.workspace, engine))


@pytest.fixture
def browser(app: Any) -> Iterator[Browser]:
    """Another browser: its own cookie, which it gets with the page."""

    with contextlib.ExitStack() as opened:

        def make() -> TestClient:
            client = opened.enter_context(TestClient(app, base_url=ORIGIN))
            assert client.get("/").status_code == 200
            return client

        yield make


def call(client: TestClient, name: str, /, headers: dict[str, str] | None = None, **data: Any) -> httpx.Response:
    """A call as the page makes it."""
    return client.post(f"/studio/call/{name}", json=data, headers={"origin": ORIGIN} | (headers or {}))


def upload(client: TestClient, where: str, data: bytes, **query: str) -> httpx.Response:
    """An upload as the page makes it."""
    return client.post(f"/studio/upload/{where}", content=data, params=query, headers={"origin": ORIGIN})


def uid() -> str:
    """An id as pages choose them."""
    return uuid.uuid4().hex


def picture(client: TestClient, engine: FakeEngine, **form: Any) -> str:
    """sha256 of a finished picture of this browser."""
    asked = {"cell": uid(), "job": uid(), "form": {"prompt": "1girl", "seed": "1"} | form}
    assert call(client, "make", **asked).status_code == 200
    *_, last = engine.events(asked["job"])
    assert last.type == "done"
    return str(last.data["images"][0]["sha256"])
