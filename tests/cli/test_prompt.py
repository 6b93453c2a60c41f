"""`prompt`: the stages of the language through the command line, and both tokenizers."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lora_studio.cli.app import main
from lora_studio.cli.vocabulary import counter_at_hand
from lora_studio.settings import default_assets
from tests.support.fake_engine import FakeEngine

CASES = json.loads((Path(__file__).parents[1] / "prompt" / "cases.json").read_text(encoding="utf-8"))
CLIP = pytest.mark.skipif(importlib.util.find_spec("open_clip") is None, reason="open-clip-torch is not installed")


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """ask(text, *arguments): exit code and answer."""

    def call(text: str | bytes, *arguments: str) -> tuple[int, Any]:
        data = text if isinstance(text, bytes) else text.encode()
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
        code = main(["prompt", *arguments, "--json"], FakeEngine, lambda settings: None)
        return code, json.loads(capsys.readouterr().out)

    return call


def test_all_stages(ask: Any) -> None:
    code, found = ask("a (cat:1.2) [b:c:0.5] AND dog:2 <lora:x:0.8:0.5>\n# no word", "--steps", "10")
    assert code == 0
    assert list(found) == [
        "text", "networks", "lora", "and", "schedule", "attention", "token_count", "chunks", "warnings",
    ]  # fmt: skip
    assert found["text"].split() == ["a", "(cat:1.2)", "[b:c:0.5]", "AND", "dog:2"]
    assert [[text.strip(), weight] for text, weight in found["and"]] == [["a (cat:1.2) [b:c:0.5]", 1.0], ["dog", 2.0]]
    assert [[step, text.strip()] for step, text in found["schedule"]] == [[5, "a (cat:1.2) b"], [10, "a (cat:1.2) c"]]
    assert [pair for pair in found["attention"] if pair[1] != 1] == [["cat", 1.2]]
    assert found["lora"] == [{"name": "x", "te": 0.8, "unet": 0.5, "dyn": None}]
    assert found["token_count"] == found["chunks"][0]["tokens_used"] == 3
    assert found["chunks"][0]["weights"] == [1.0, 1.2]
    assert found["warnings"] == []


@pytest.mark.parametrize("case", CASES["tags"], ids=lambda case: case["text"])
def test_the_stage_of_tags(case: dict[str, Any], ask: Any) -> None:
    _, found = ask(case["text"], "--stage", "networks")
    assert found == {"text": case["rest"], "networks": case["networks"], "lora": case["loras"]}


def test_each_stage_reads_the_raw_text_and_prints_its_keys_alone(ask: Any) -> None:
    raw = "[a:b:3] AND (c:1.5):2\n"
    assert ask(raw, "--stage", "schedule", "--steps", "4")[1] == {
        "schedule": [[3, "a AND (c:1.5):2\n"], [4, "b AND (c:1.5):2\n"]]
    }
    assert ask(raw, "--stage", "and")[1] == {"and": [["[a:b:3]", 1.0], [" (c:1.5)", 2.0]]}
    assert ask("a BREAK (b:1.5)", "--stage", "attention")[1] == {
        "attention": [["a", 1.0], ["BREAK", -1], ["", 1.0], ["b", 1.5]]
    }
    assert ask("(a)", "--stage", "attention", "--emphasis", "comfy")[1] == {"attention": [["a", 1.1]]}
    assert set(ask("a", "--stage", "chunks")[1]) == {"token_count", "chunks"}


def test_options_of_schedules_and_chunks(ask: Any) -> None:
    assert ask("[a:b:0.5]", "--stage", "schedule", "--steps", "20")[1]["schedule"][0] == [10, "a"]
    assert ask("[a:b:1.5]", "--stage", "schedule", "--hires-steps", "10")[1]["schedule"][0] == [5, "a"]
    long = "cat " * 60 + "," + " dog" * 20
    assert ask(long, "--stage", "chunks")[1]["chunks"][0]["tokens_used"] == 61
    assert ask(long, "--stage", "chunks", "--comma-backtrack", "0")[1]["chunks"][0]["tokens_used"] == 75
    found = ask("cat, (bad hands:1.2)", "--stage", "chunks", "--embedding", "Bad Hands=6")[1]
    assert found["token_count"] == 8
    assert found["chunks"][0]["embeddings"] == [[2, "Bad Hands"]]
    assert found["chunks"][0]["weights"] == [1.0, 1.2]


@CLIP
def test_clips_own_numbers() -> None:
    """The numbers are those of the published vocabulary: `openai/clip-vit-large-patch14` says the same."""
    counter = counter_at_hand(default_assets())
    assert counter.name == "CLIP-L's"
    assert [token.id for token in counter.tokenize("a photo of a cat")] == [320, 1125, 539, 320, 2368]
    assert [token.id for token in counter.tokenize(",")] == [267]
    assert [token.id for token in counter.tokenize("Hello  World!")] == [3306, 1002, 256]
    assert counter.say([320, 2368, 267]) == "a cat ,"
    assert [(t.start, t.end) for t in counter.tokenize("a  Cat")] == [(0, 1), (3, 6)]


def test_without_clip_the_base_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    counter = counter_at_hand(default_assets())
    assert counter.name == "the embedded base's"
    assert counter.say([token.id for token in counter.tokenize("girl, cat ears")]) == "girl , cat ears"


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (["--stage", "magic"], "magic"),
        (["--emphasis", "loud"], "loud"),
        (["--embedding", "bad"], "bad"),
        (["--embedding", "bad=0"], "bad=0"),
        (["--steps", "many"], "many"),
        (["--comma-backtrack", "-1"], "-1"),
    ],
)
def test_bad_options_are_one_sentence(arguments: list[str], given: str, ask: Any) -> None:
    code, found = ask("a", *arguments)
    assert code == 2
    assert given in found["error"]["message"]


def test_what_is_no_utf_8(ask: Any) -> None:
    code, found = ask(b"a \xff")
    assert code == 2
    assert "0xff" in found["error"]["message"]
