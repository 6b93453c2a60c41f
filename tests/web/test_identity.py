"""The browser's id: given once, kept, never readable by scripts, never guessed."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from lora_studio.web.identity import COOKIE
from tests.web.conftest import ORIGIN, Browser, call


def test_the_cookie(app: Any) -> None:
    cookie = TestClient(app, base_url=ORIGIN).get("/").headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert len(cookie.split("=")[1].split(";")[0]) == 32
    for part in ("HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=34560000"):
        assert part in cookie


def test_it_is_kept(browser: Browser) -> None:
    client = browser()
    before = client.cookies[COOKIE]
    client.get("/")
    assert client.cookies[COOKIE] == before
    assert "set-cookie" not in call(client, "sets").headers


def test_two_browsers_are_two(browser: Browser) -> None:
    one, two = browser(), browser()
    assert one.cookies[COOKIE] != two.cookies[COOKIE]
    made = call(one, "new_set", name="mine").json()["set"]
    assert [entry["id"] for entry in call(one, "sets").json()["sets"]] == [made["id"]]
    assert call(two, "sets").json()["sets"] == []
    assert call(two, "view_set", set=made["id"]).status_code == 404


@pytest.mark.parametrize("value", ["", "local", "samples", "A" * 32, "a" * 31, "a" * 33, "../" * 10, "%00"])
def test_a_cookie_that_is_none_of_ours_is_replaced(app: Any, value: str) -> None:
    """An id like `local` would have been the owner of what the command line made."""
    client = TestClient(app, base_url=ORIGIN)
    answer = client.post("/studio/call/sets", json={}, headers={"origin": ORIGIN, "cookie": f"{COOKIE}={value}"})
    assert answer.headers["set-cookie"].split("=")[1].split(";")[0] != value
