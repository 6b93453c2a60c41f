"""Calls over HTTP: JSON in and out, errors with their sentence, nothing of the inside."""

from __future__ import annotations

import dataclasses

import pytest

from tests.support.fake_engine import FakeEngine, adapter_entry, safetensors
from tests.web.conftest import ORIGIN, Browser, call, uid


def test_errors_say_their_sentence(browser: Browser) -> None:
    client = browser()
    answer = call(client, "make", cell=uid(), job=uid(), form={"prompt": "x", "seed": "abc"})
    error = answer.json()["error"]
    assert answer.status_code == 422
    assert (error["code"], error["values"]["field"], error["values"]["given"]) == ("field_number", "seed", "abc")
    assert "'abc'" in error["message"]


def test_what_is_not_there(browser: Browser) -> None:
    client = browser()
    for name, data in (("view_set", {"set": "x"}), ("note", {"cell": "x", "note": ""}), ("no_such_call", {})):
        assert call(client, name, **data).status_code == 404
    assert client.get("/studio/call/hello").status_code in (404, 405)


@pytest.mark.parametrize("body", [b"{", b"[]", b"5", b"\xff\xfe", b'{"a": NaN}', b"[" * 100_000, b"null"])
def test_what_is_no_json_object(browser: Browser, body: bytes) -> None:
    answer = browser().post("/studio/call/hello", content=body, headers={"origin": ORIGIN})
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "call_not_json"


def test_a_call_is_not_too_long(browser: Browser) -> None:
    answer = browser().post("/studio/call/hello", content=b" " * 1_000_001, headers={"origin": ORIGIN})
    assert answer.json()["error"]["code"] == "call_too_long"


def test_nothing_that_is_written_is_read_as_something_else(browser: Browser) -> None:
    client = browser()
    names = ["${alert(1)}", "<img src=x onerror=alert(1)>", "C:\\users", "猫", "\u202eabc"]
    for name in names:
        assert call(client, "new_set", name=name).json()["set"]["name"] == name
    assert [entry["name"] for entry in call(client, "sets").json()["sets"]] == names[::-1]
    assert not any(name in client.get("/").text for name in names)


HALF = b'"a cat \\ud83d"'


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("make", b'{"form": {"prompt": %s}}', "prompt"),
        ("explain", b'{"prompt": "a", "negative": %s}', "negative"),
        ("poll", b'{"watch": {%s: 0}}', "watch"),
        ("train", b'{"form": {"preview_prompts": ["fine", %s]}}', "preview_prompts"),
    ],
)
def test_half_a_character_does_not_come_in(browser: Browser, name: str, body: bytes, field: str) -> None:
    """A cut emoji was written into the notebook, which then could not be sent any more, for good."""
    client = browser()
    answer = client.post(f"/studio/call/{name}", content=body % HALF, headers={"origin": ORIGIN})
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "text_invalid"
    assert answer.json()["error"]["values"]["field"] == field
    assert call(client, "cells").json()["cells"] == []


def test_what_is_stored_can_always_be_sent(browser: Browser, engine: FakeEngine) -> None:
    """A LoRA whose header said half a character as its trigger word made the library unreadable for everybody."""
    client = browser()
    owner = client.cookies["lora_studio_browser"]
    entry = adapter_entry(engine.workspace, safetensors({"half": "x"}), "half", owner)
    engine.workspace.adapters.add(dataclasses.replace(entry, trigger_words=("\ud83d",)))
    listed = call(client, "library")
    assert listed.status_code == 200
    assert ["\ud83d"] in [one["trigger_words"] for one in listed.json()["adapters"]]
