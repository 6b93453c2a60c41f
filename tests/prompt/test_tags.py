"""`lora_studio.prompt.tags`: which tags there are, what remains, what a LoRA tag comes to."""

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
from lora_studio.prompt.notices import PromptWarning
from lora_studio.prompt.source import SourceText
from lora_studio.prompt.tags import Limit, LoraTag, find_tags, networks, read_loras, shares, take_tags

CASES = json.loads((Path(__file__).parent / "cases.json").read_text(encoding="utf-8"))
PIECES = ["<", ">", ":", "lora", "<lora:", "a", "=", "te=", "dyn=8", ":0.8", "1", "<lora:x:1>", "\n", "é", "nan", "1e5"]


def loras(text: str) -> tuple[tuple[LoraTag, ...], tuple[PromptWarning, ...]]:
    """What the tags of a text come to."""
    return read_loras(take_tags(SourceText.typed(text))[1])


@pytest.mark.parametrize("case", CASES["tags"], ids=lambda case: case["text"])
def test_measured_cases(case: dict[str, Any]) -> None:
    rest, tags = take_tags(SourceText.typed(case["text"]))
    found, warnings = read_loras(tags)
    assert rest.text == case["rest"]
    assert networks(tags) == case["networks"]
    assert [{"name": t.name, "te": t.te, "unet": t.unet, "dyn": t.dyn} for t in found] == case["loras"]
    assert case["applied"] or [w.code for w in warnings] == ["tag_not_applied"]


def test_a_tag_that_cannot_be_read_is_left_out_alone() -> None:
    found, warnings = loras("<lora:a:1> <lora:b:x> <lora:te=1> <lora:c:1:1:2.5> <lora:d:nan>")
    assert [tag.name for tag in found] == ["a"]
    assert [(w.code, w.values["part"]) for w in warnings] == [
        ("tag_not_applied", "x"),
        ("tag_not_applied", ""),
        ("tag_not_applied", "2.5"),
        ("tag_not_applied", "nan"),
    ]
    assert warnings[0].values["tag"] == "<lora:b:x>"


def test_steps_and_blocks() -> None:
    (tag,), warnings = loras("<lora:a:0.8:start=0.2:stop=12:lbw=1,0,1>")
    assert (tag.te, tag.lbw, warnings) == (0.8, "1,0,1", ())
    assert (tag.start, tag.stop) == (Limit(0.2, is_share=True), Limit(12, is_share=False))
    assert shares(tag, 22) == (0.2, 0.5)
    (tag,), _ = loras("<lora:a:step=3-1.0>")
    assert (tag.start, tag.stop) == (Limit(3, is_share=False), Limit(1, is_share=True))
    (tag,), _ = loras("<lora:a:start=9:stop=2>")
    assert shares(tag, 10) == (0.8, 0.8), "turned round: no step lies in it"


@pytest.mark.parametrize("option", ["end=soon", "start=-1", "stop=nan", "start=5.5", "step=5", "step=1-2-3", "step=-"])
def test_a_part_of_the_steps_that_cannot_be_read_is_told(option: str) -> None:
    (tag,), (warning,) = loras(f"<lora:a:0.7:{option}>")
    assert (tag.te, tag.start, tag.stop) == (0.7, None, None)
    assert (warning.code, warning.values["option"]) == ("tag_option_unreadable", option)


def test_options_that_do_nothing_are_told() -> None:
    _, warnings = loras("<lora:a:0.8:lbwe=x:x=2:foo=1>")
    assert [(w.code, w.values["option"]) for w in warnings] == [
        ("tag_option_inactive", "lbwe=x"),
        ("tag_option_inactive", "x=2"),
        ("tag_option_unknown", "foo=1"),
    ]


def test_other_kinds_are_taken_out_and_named() -> None:
    text = "x <hypernet:h:1> <locon:l:1> y"
    rest, tags = take_tags(SourceText.typed(text))
    assert rest.text == "x   y"
    assert [(w.code, w.values["kind"]) for w in read_loras(tags)[1]] == [
        ("tag_unsupported", "hypernet"),
        ("tag_unknown", "locon"),
    ]
    assert [text[t.place.start : t.place.end] for t in tags if t.place] == ["<hypernet:h:1>", "<locon:l:1>"]


def test_lyco_is_another_word_for_lora() -> None:
    """A1111 registers it as an alias; typed here, such a LoRA was left out."""
    found, warnings = loras("<lyco:a:0.8:0.5> <lora:b:1>")
    assert [(tag.name, tag.te, tag.unet) for tag in found] == [("a", 0.8, 0.5), ("b", 1.0, 1.0)]
    assert warnings == ()


def test_weights_are_held() -> None:
    (tag,), warnings = loras("<lora:a:1e9:-1e9>")
    assert (tag.te, tag.unet) == (LIMIT, -LIMIT)
    assert [w.code for w in warnings] == ["weight_clamped", "weight_clamped"]


def test_tags_can_be_found_without_taking_them() -> None:
    assert [tag.text for tag in find_tags(SourceText.typed("a <lora:b:1> c"))] == ["<lora:b:1>"]


@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join) | st.text())
def test_it_equals_a_plain_regular_expression(text: str) -> None:
    pattern = re.compile(r"<(\w+):([^>]+)>")
    rest, tags = take_tags(SourceText.typed(text))
    assert rest.text == pattern.sub("", text)
    assert [(tag.kind, ":".join(tag.items)) for tag in tags] == pattern.findall(text)
    assert "".join(text[p.start : p.end] for p in rest.places()) == rest.text
    for tag in read_loras(tags)[0]:
        assert math.isfinite(tag.te)
        assert math.isfinite(tag.unet)
        assert max(abs(tag.te), abs(tag.unet)) <= LIMIT
