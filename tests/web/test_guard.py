"""Who may come in, by which name, from where, through which door; and what goes out with every answer."""

from __future__ import annotations

from typing import Any

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


def test_paths_do_not_climb(browser: Browser) -> None:
    for path in ("/studio/static/../../etc/passwd", "/studio/../config", "/assets/%2e%2e/%2e%2e/config"):
        answer = browser().get(path)
        assert answer.status_code in (403, 404), path
        assert "root:" not in answer.text
