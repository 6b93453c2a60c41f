"""`lora_studio.engine.explain` with the embedded base's tokenizer: the demonstration's text, names, styles, limits."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_studio.engine.explain import explain_texts
from lora_studio.errors import InvalidInput
from lora_studio.store import Workspace
from lora_studio.types import AdapterEntry, AdapterWeight, EmbeddingEntry, ExplainOptions, StyleEntry
from tests.support.fake_engine import BASES, reader_of

ROOT = Path(__file__).resolve().parents[2]
TOKENIZE = reader_of(ROOT / "assets" / "base" / "tokenizer" / "tokenizer.json")
CASES = json.loads((ROOT / "tests" / "prompt" / "cases.json").read_text(encoding="utf-8"))["demonstration"]
BASE = dataclasses.replace(BASES["embedded"], text_widths={"clip_l": 128})


@pytest.fixture
def workspace(tmp_path: Path, empty_workspace: Path) -> Iterator[Workspace]:
    with Workspace.open(shutil.copytree(empty_workspace, tmp_path / "workspace")) as opened:
        yield opened


def told(workspace: Workspace, prompt: str, negative: str = "", **options: Any) -> dict[str, Any]:
    chosen = ExplainOptions(owner="ann", **options)
    return explain_texts((prompt, negative), chosen, workspace, TOKENIZE, BASE)


def codes(reading: dict[str, Any]) -> list[str]:
    return [warn["code"] for warn in reading["warnings"]]


def install(workspace: Workspace, name: str, vectors: int, width: int = 128) -> None:
    sha256 = workspace.files.put_bytes(name.encode(), ".safetensors")
    workspace.embeddings.add(EmbeddingEntry(sha256, name, "ann", 1.0, 9, vectors, {"clip_l": width}))


def test_the_demonstration_with_its_embeddings_has_nothing_to_remark(workspace: Workspace) -> None:
    for name, vectors in CASES["embeddings"].items():
        install(workspace, name, vectors)
    found = told(workspace, CASES["prompt"], CASES["negative_prompt"])
    assert (codes(found["prompt"]), codes(found["negative"])) == ([], [])
    (text,) = found["prompt"]["parts"][0]["texts"]
    assert len(text["chunks"]) >= 3
    weights = {token["weight"] for chunk in text["chunks"] for token in chunk["tokens"]}
    assert weights == {1.0, 1.1, 1.3, 1.4, 1.1 * 1.1}
    assert found["negative"]["embeddings"] == list(CASES["embeddings"])
    assert [use["name"] for use in found["embeddings"]] == list(CASES["embeddings"])
    (text,) = found["negative"]["parts"][0]["texts"]
    placed = [
        (token["embedding"], token["vectors"])
        for chunk in text["chunks"]
        for token in chunk["tokens"]
        if "embedding" in token
    ]
    assert placed == list(CASES["embeddings"].items())


def test_the_demonstration_without_them_says_so_and_nothing_else(workspace: Workspace) -> None:
    found = told(workspace, CASES["prompt"], CASES["negative_prompt"])
    assert codes(found["prompt"]) == []
    assert [warn["values"]["name"] for warn in found["negative"]["warnings"]] == list(CASES["embeddings"])
    assert set(codes(found["negative"])) == {"embedding_not_installed"}
    assert found["embeddings"] == []


def test_an_embedding_for_another_base_is_words(workspace: Workspace) -> None:
    install(workspace, "badhandv4", 6, width=768)
    found = told(workspace, "a", "badhandv4, b")
    assert codes(found["negative"]) == ["embedding_misfit"]
    assert found["embeddings"] == []


def test_tags_come_to_adapters_behind_those_of_the_mix(workspace: Workspace) -> None:
    for name in ("Cat ears", "Ink"):
        sha256 = workspace.files.put_bytes(name.encode(), ".safetensors")
        workspace.adapters.add(AdapterEntry(sha256, name, "ann", time.time(), 8))
    ink = AdapterWeight(workspace.adapters.find("Ink").sha256, "Ink", 0.5)
    found = told(workspace, "x <lora:cat_ears:0.25:0.75> <lora:ink:0.9>", adapters=(ink,))
    assert [(one["name"], one["weight"], one["text_encoder_weight"]) for one in found["adapters"]] == [
        ("Ink", 0.5, None),
        ("Cat ears", 0.75, 0.25),
    ]
    assert codes(found["prompt"]) == ["tag_overruled"]
    assert told(workspace, "x <lora:ink:0.5>", adapters=(ink,))["prompt"]["warnings"] == []


def test_styles_are_in_both_texts_and_bring_their_tags(workspace: Workspace) -> None:
    workspace.styles.save([StyleEntry("ink", "ann", "{prompt} ink <lora:nope:1>", "colour")])
    found = told(workspace, "cat", "dog", styles=("ink", "lost"))
    assert (found["prompt"]["text"], found["negative"]["text"]) == ("cat ink ", "dog, colour")
    assert sorted(codes(found["prompt"])) == ["adapter_not_found", "style_unknown"]
    assert codes(found["negative"]) == []


def test_remarks_of_tags_stand_where_they_were_typed_with_a_style_too(workspace: Workspace) -> None:
    """Their places counted the characters of the styled text: the page selected nothing, or other words."""
    sha256 = workspace.files.put_bytes(b"ink", ".safetensors")
    workspace.adapters.add(AdapterEntry(sha256, "ink", "ann", time.time(), 8))
    quality = StyleEntry("quality", "ann", "masterpiece, best quality, {prompt}", "")
    brings = StyleEntry("brings", "ann", "{prompt} <hypernet:h:1> <lora:gone:1>", "")
    workspace.styles.save([quality, brings])
    found = told(workspace, "<lora:ink:20>", styles=("quality",))
    assert [(warn["code"], warn["place"]) for warn in found["prompt"]["warnings"]] == [("tag_weight_limit", [0, 13])]
    found = told(workspace, "cat", styles=("brings",))
    gone = next(warn for warn in found["prompt"]["warnings"] if warn["code"] == "adapter_not_found")
    assert (gone["place"], gone["values"]["tag"]) == (None, "<lora:gone:1>"), "another tag of the style was quoted"


def test_without_a_base_nothing_is_counted_and_the_rest_is_said(workspace: Workspace) -> None:
    install(workspace, "Easy", 4)
    found = explain_texts(("(a:1.2) easy [b:c:3]", "("), ExplainOptions("ann", 6), workspace, None)
    assert found["counted"] is False
    assert [text["chunks"] for text in found["prompt"]["parts"][0]["texts"]] == [None, None]
    assert codes(found["negative"]) == ["bracket_unclosed"]
    assert [use["name"] for use in found["embeddings"]] == ["Easy"]


def test_only_the_owner_s_things_are_named(workspace: Workspace) -> None:
    sha256 = workspace.files.put_bytes(b"x", ".safetensors")
    workspace.adapters.add(AdapterEntry(sha256, "secret", "ben", time.time(), 8))
    found = told(workspace, "<lora:secret:1> <lora:secre:1>")
    assert codes(found["prompt"]) == ["adapter_not_found", "adapter_not_found"]
    assert found["adapters"] == []


def test_the_limit_of_length(workspace: Workspace) -> None:
    assert told(workspace, "x" * 10_000)["prompt"]["warnings"] == []
    with pytest.raises(InvalidInput, match="prompt has 10001 characters"):
        told(workspace, "x" * 10_001)


def test_half_a_character_is_refused(workspace: Workspace) -> None:
    with pytest.raises(InvalidInput, match="no valid text"):
        told(workspace, "a", "b \ud83d")
