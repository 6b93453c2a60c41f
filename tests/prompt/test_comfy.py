"""`lora_studio.prompt.comfy`: ComfyUI's reading of weights, its two odd habits included."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_studio.prompt.attention import LIMIT
from lora_studio.prompt.comfy import parse_comfy
from lora_studio.prompt.source import SourceText

CASES = json.loads((Path(__file__).parent / "cases.json").read_text(encoding="utf-8"))
PIECES = ["(", ")", ":", "1.3", ":1.2)", "\\(", "\\)", "\\", "a", " b", "nan", "1e9", "[", "]"]


def spans(text: str) -> list[list[Any]]:
    """Text and weight of each span."""
    return [[span.text, span.weight] for span in parse_comfy(SourceText.typed(text))[0]]


def slowly(text: str, weight: float = 1.0) -> list[list[Any]]:
    """The language by its definition, recursing into each group (escapes left out)."""
    groups, level, start = [], 0, 0
    for at, character in enumerate(text):
        if character == "(":
            if level == 0 and at > start:
                groups.append(text[start:at])
                start = at
            level += 1
        elif character == ")":
            level -= 1
            if level == 0:
                groups.append(text[start : at + 1])
                start = at + 1
    found: list[list[Any]] = []
    for group in [*groups, text[start:]]:
        if len(group) > 1 and group[0] == "(" and group[-1] == ")":
            inner, inside = group[1:-1], weight * 1.1
            colon = inner.rfind(":")
            number = inner[colon + 1 :]
            if colon > 0 and number.replace(".", "", 1).isdigit():
                inner, inside = inner[:colon], float(number)
            found += slowly(inner, inside)
        elif group:
            found.append([group, weight])
    return found


@pytest.mark.parametrize("case", CASES["comfy"], ids=lambda case: case["text"])
def test_measured_cases(case: dict[str, Any]) -> None:
    assert spans(case["text"]) == case["spans"]


@given(st.lists(st.sampled_from(["(", ")", ":", "1.3", ":1.2)", "a", " b", "[", "]"]), max_size=20).map("".join))
def test_it_equals_the_slow_definition(text: str) -> None:
    assert spans(text) == slowly(text)


def test_after_a_stray_bracket_the_next_one_is_a_character() -> None:
    assert spans("a) (b) (c)") == [["a) (b) (c)", 1.0]]
    assert spans("a) ((b)) c") == [["a) (", 1.0], ["b", 1.1], [") c", 1.0]]


def test_an_unclosed_bracket_may_borrow_the_last_one() -> None:
    assert spans("((a)") == [["(a", 1.1]]
    assert spans("((a:1.5)") == [["(a", 1.5]]
    assert spans("((a) b") == [["((a) b", 1.0]]


def test_escapes_and_limits() -> None:
    assert spans("\\(a\\) (b\\):1.2)") == [["(a) ", 1.0], ["b)", 1.2]]
    assert spans("(a:nan) (b:inf)") == [["a:nan", 1.1], [" ", 1.0], ["b:inf", 1.1]]
    assert spans("(a:1e9)") == [["a", LIMIT]]
    assert spans("(" * 5000 + "a" + ")" * 5000) == [["a", LIMIT]]
    assert spans("") == []


@given(st.text() | st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_any_text_gives_finite_weights_and_true_places(text: str) -> None:
    for span in parse_comfy(SourceText.typed(text))[0]:
        assert math.isfinite(span.weight)
        assert abs(span.weight) <= LIMIT
        assert "".join(text[p.start : p.end] for p in span.places) == span.text
