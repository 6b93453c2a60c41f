"""Who may come in, by which name, from where, through which door; and what goes out with every answer."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from starlette.testclient import TestClient

from lora_studio.web.guard import is_loopback_host
from tests.web.conftest import ORIGIN, Browser, call


def test_the_page_has_a_policy_and_names_its_scripts(browser: Browser) -> None:
    answer = browser().get("/")
    policy = answer.headers["content-security-policy"]
    nonce = policy.split("'nonce-")[1].split("'")[0]
    script = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert "unsafe-inline" not in script
    assert answer.text.count("<script") == answer.text.count(f'<script nonce="{nonce}"') > 3
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'self'" in policy
    assert nonce not in browser().get("/").text, "each page has a nonce of its own"


def test_language_and_theme_come_first(browser: Browser) -> None:
    text = browser().get("/").text
    assert text.index("js/boot.js") < text.index("gradio_config") < text.index("index-")
    head = text[text.index("<head>") :]
    assert head.startswith('<head><script nonce="')
    assert "/js/boot.js" in head[:120]


@pytest.mark.parametrize(
    "path", ["/", "/studio/call/hello", "/studio/picture/x.png", "/nothing", "/gradio_api/queue/join"]
)
def test_every_answer_carries_the_headers(browser: Browser, path: str) -> None:
    headers = browser().get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("127.0.0.1:7860", True),
        ("localhost", True),
        ("LOCALHOST:1", True),
        ("127.0.0.2", True),
        ("[::1]:7860", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("192.168.0.5:7860", False),
        ("0.0.0.0:7860", False),
        ("", False),
        ("[", False),
    ],
)
def test_host_names(app: Any, host: str, inside: bool) -> None:
    """A foreign site can point its own name at 127.0.0.1; the Host header then still says the foreign name."""
    assert is_loopback_host(host) is inside
    client = TestClient(app, base_url=ORIGIN, follow_redirects=False)
    assert (client.get("/", headers={"host": host}).status_code != 421) is inside


def test_localhost_is_sent_to_the_one_name(app: Any) -> None:
    client = TestClient(app, base_url=ORIGIN, follow_redirects=False)
    answer = client.get("/", headers={"host": "localhost:7860"})
    assert (answer.status_code, answer.headers["location"]) == (307, "http://127.0.0.1:7860/")
    assert client.get("/", headers={"host": "127.0.0.1:7860"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": ORIGIN, "sec-fetch-site": "cross-site"},
        {"origin": ORIGIN, "sec-fetch-site": "same-site"},
    ],
)
def test_calls_from_elsewhere_change_nothing(browser: Browser, headers: dict[str, str]) -> None:
    client = browser()
    assert call(client, "new_set", headers=headers, name="x").status_code == 403
    assert call(client, "sets").json() == {"sets": []}


def test_calls_of_the_page_are_answered(browser: Browser) -> None:
    client = browser()
    assert call(client, "sets", headers={"sec-fetch-site": "same-origin"}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/queue/join",
        "/gradio_api/queue/data",
        "/gradio_api/run/predict",
        "/gradio_api/call/x",
        "/gradio_api/upload",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/component_server",
        "/gradio_api/cancel",
        "/gradio_api/reset",
        "/gradio_api/info",
        "/gradio_api/runs",
        "/gradio_api/proxy=http://127.0.0.1/",
        "/config",
        "/login",
        "/openapi.json",
        "/docs",
        "/monitoring",
        "/monitoring/summary",
        "/gradio_api/deep_link",
        "/gradio_api/heartbeat/abc",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_gradio_has_no_open_door(browser: Browser, path: str, method: str) -> None:
    answer: httpx.Response = browser().request(method, path, headers={"origin": ORIGIN})
    assert answer.status_code == 404


def as_written(app: Any, path: str) -> tuple[int, bytes]:
    """Status and body of a path asked for as it is written: clients tidy `..` away before they send it."""
    sent: list[Any] = []
    asked = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, Any]:
        for message in asked:
            return message
        await asyncio.sleep(60)  # nobody leaves
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1:7860")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 7860),
    }
    with ThreadPoolExecutor(1) as pool:  # another loop may run in this thread
        pool.submit(asyncio.run, app(scope, receive, send)).result()
    body = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
    return sent[0]["status"], body


@pytest.mark.parametrize(
    "path",
    [
        "/studio/static/{}/../texts.py",
        "/studio/static/{}/js/../../texts.py",
        "/studio/static/{}/%2e%2e/texts.py",
        "/studio/static/{}/strings/../texts.py",
        "/studio/static/{}//etc/passwd",
        "/studio/../config",
        "/studio/call/../../config",
        "/assets/%2e%2e/%2e%2e/config",
        "/studio/example/cat-ears/../README.md",
        "/studio/example/../base/words.json",
        "/studio/example/cat-ears/%2e%2e%2fREADME.md",
        "/studio/picture/../../workspace.db.png",
    ],
)
def test_paths_do_not_climb(app: Any, browser: Browser, path: str) -> None:
    root = browser().get("/").text.split('src="/studio/static/')[1].split("/")[0]
    assert as_written(app, f"/studio/static/{root}/js/main.js")[0] == 200
    status, body = as_written(app, path.format(root))
    assert status in (403, 404)
    assert b"root:" not in body
    assert b"FOLDER" not in body
