"""`lora_studio.prompt.composition`: where AND parts a prompt and what its weights are."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_studio.prompt.attention import LIMIT
from lora_studio.prompt.composition import split_and
from lora_studio.prompt.source import SourceText

CASES = json.loads((Path(__file__).parent / "cases.json").read_text(encoding="utf-8"))
PIECES = [" AND ", "AND", "a", ":1.2", " : .5 ", ":", "1.", "-2", "\n", " ", "_", "1.2.3", ":+3."]


def parts(text: str) -> list[list[Any]]:
    """Text and weight of each part."""
    return [[part.words.text, part.weight] for part in split_and(SourceText.typed(text))[0]]


@pytest.mark.parametrize("case", CASES["and"], ids=lambda case: case["text"])
def test_measured_cases(case: dict[str, Any]) -> None:
    assert parts(case["text"]) == case["parts"]


def test_what_is_no_weight() -> None:
    assert parts("a:1e3 AND b:1.2.3 AND c: AND d:.") == [["a:1e3", 1], [" b:1.2.3", 1], [" c:", 1], [" d:.", 1]]
    assert parts("a:1:2. AND b : +.5") == [["a:1", 2.0], [" b", 0.5]]
    assert parts("a_AND b and c, AND.") == [["a_AND b and c,", 1.0], [".", 1.0]]


def test_a_weight_beyond_the_limit_is_held() -> None:
    found, warnings = split_and(SourceText.typed("a:99999 AND b:-" + "9" * 400))
    assert [part.weight for part in found] == [LIMIT, -LIMIT]
    assert [w.code for w in warnings] == ["weight_clamped", "weight_clamped"]


@given(st.lists(st.sampled_from(PIECES), max_size=15).map("".join) | st.text())
def test_it_equals_a_plain_regular_expression(text: str) -> None:
    weight = re.compile(r"^((?:\s|.)*?)(?:\s*:\s*([-+]?(?:\d+\.?|\d*\.\d+)))?\s*$")
    expected = []
    for part in re.split(r"\bAND\b", text):
        match = weight.search(part)
        assert match is not None
        value = float(match.group(2) or 1.0)
        expected.append([match.group(1), max(-LIMIT, min(LIMIT, value))])
    assert parts(text) == expected
    for found in split_and(SourceText.typed(text))[0]:
        assert math.isfinite(found.weight)
        assert "".join(text[p.start : p.end] for p in found.words.places()) == found.words.text


def notices(text: str) -> list[tuple[str, Any]]:
    """Code and weight of each warning."""
    return [(w.code, w.values["weight"]) for w in split_and(SourceText.typed(text))[1]]


@pytest.mark.parametrize(("text", "weight"), [("portrait, aspect ratio 16:9", 9.0), ("a : .5  ", 0.5), ("a:-1", -1.0)])
def test_the_weight_of_a_whole_prompt_is_told_with_its_place(text: str, weight: float) -> None:
    """ "16:9" at the end of an ordinary prompt multiplied guidance by nine, and nothing said so."""
    assert notices(text) == [("prompt_weighted", weight)]
    place = split_and(SourceText.typed(text))[1][0].position
    assert place is not None
    assert text[place.start : place.end].strip() == text[text.rindex(":") :].strip()


@pytest.mark.parametrize("text", ["portrait, 16:9,", "a AND b:0.5", "a", "a:1", "(a:1.2)", "16:9 photo"])
def test_what_needs_no_word(text: str) -> None:
    assert notices(text) == []
