"""`lora_studio.prompt.readers.a1111`: the same pairs and fields as A1111's own reader, in linear time."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_studio.prompt.readers.a1111 import Infotext, a1111_fields, find_pairs, unquote, version_of

CASES = json.loads(Path(__file__).with_name("infotext_cases.json").read_text(encoding="utf-8"))
THEIRS = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
"""The pattern of A1111's reader, as its documentation of the format."""


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_published_cases(case: dict[str, Any]) -> None:
    assert a1111_fields(Infotext(case["input"])) == case["expected"]


@settings(deadline=None, max_examples=500)
@given(st.text(alphabet='ab1 :,"\\-/.x_\t猫', max_size=40))
def test_the_pairs_are_those_of_a1111_s_expression(line: str) -> None:
    assert find_pairs(line) == THEIRS.findall(line)


@pytest.mark.parametrize("piece", ['ab:"', "a ", " ", 'ab:"\\",', "a:", "-/", "ab: c,"])
def test_time_grows_with_the_length_alone(piece: str) -> None:
    """A1111's expression takes minutes for a line of a megabyte without a colon."""
    took = []
    for count in (20_000, 200_000):
        line = piece * count
        before = time.process_time()
        find_pairs(line)
        took.append(time.process_time() - before)
    assert took[1] < 15 * took[0] + 0.2


def test_only_the_last_line_counts_and_only_with_three_pairs() -> None:
    info = Infotext("cat\nSteps: 1, Sampler: Euler, Seed: 2\nSteps: 20, Seed: 3")
    assert info.pairs == []
    assert info.prompt == "cat\nSteps: 1, Sampler: Euler, Seed: 2\nSteps: 20, Seed: 3"
    info = Infotext("cat\nSteps: 1, Sampler: Euler, Seed: 2\nSteps: 20, Seed: 3, Size: 4x5")
    assert info.prompt == "cat\nSteps: 1, Sampler: Euler, Seed: 2"
    assert info.pairs == [("Steps", "20"), ("Seed", "3"), ("Size", "4x5")]


def test_lines_are_trimmed_and_the_negative_prompt_begins_at_its_first_line() -> None:
    info = Infotext("\n  a  \n\n b\nNegative prompt:  x \n y\nNegative prompt: z\nSteps: 1, Seed: 2, Size: 3x4\n")
    assert (info.prompt, info.negative) == ("a\n\nb", "x\ny\nz")


def test_quoted_values_and_empty_ones() -> None:
    info = Infotext('a\nSteps: 1, Lora hashes: "x: 1, \\"y\\": 2", Style: , Note: "half, Seed: 3')
    assert dict(info.pairs) == {"Steps": "1", "Lora hashes": 'x: 1, "y": 2', "Note": '"half', "Seed": "3"}


@pytest.mark.parametrize(
    ("value", "wanted"),
    [('"a\\nb"', "a\nb"), ('"', '"'), ('""', ""), ('"\\x"', '"\\x"'), ('"\\ud800"', "?"), ("a", "a")],
)
def test_unquoting(value: str, wanted: str) -> None:
    assert unquote(value) == wanted


def fields_of(last: str, prompt: str = "a") -> dict[str, Any]:
    """The fields of a text with this last line."""
    return a1111_fields(Infotext(f"{prompt}\n{last}"))


def test_weights_say_emphasis() -> None:
    assert "Emphasis" not in fields_of("Steps: 1, Seed: 2, Size: 3x4", "a (b:1.0) BREAK c")
    assert fields_of("Steps: 1, Seed: 2, Size: 3x4", "a (b:1.2)")["Emphasis"] == "Original"
    assert fields_of("Steps: 1, Seed: 2, Emphasis: No norm", "a (b:1.2)")["Emphasis"] == "No norm"


def test_hypernetworks_become_a_tag() -> None:
    assert fields_of("Steps: 1, Seed: 2, Hypernet: x")["Prompt"] == "a<hypernet:x:1.0>"


@pytest.mark.parametrize(
    ("version", "old", "downcast"),
    [
        ("v1.5.2", True, True),
        ("1.6.0", False, True),
        ("v1.6.0-RC-12-gabc", True, True),
        ("v1.7.0-224-gabcdef12", False, True),
        ("v1.7.0-225-gabcdef12", False, False),
        ("v1.10.1", False, False),
        ("f2.0.1v1.10.1-previous-659-gc055f2d4", False, False),
        ("lora-studio 0.1", False, False),
        ("9" * 500, False, False),
    ],
)
def test_older_versions_switch_things_on(version: str, old: bool, downcast: bool) -> None:
    fields = fields_of(f"Steps: 1, Sampler: DDIM, Version: {version}", "[a:b:3]")
    assert fields.get("Old prompt editing timelines", False) is old
    assert fields.get("Pad conds v0", False) is old
    assert fields.get("Downcast alphas_cumprod", False) is downcast


def test_schedules_count_in_the_old_way_only_where_there_are_some() -> None:
    assert "Old prompt editing timelines" not in fields_of("Steps: 1, Seed: 2, Version: v1.5.0")


def test_versions_are_ordered() -> None:
    texts = ["1.5", "v1.6.0-rc", "1.6.0", "v1.6.0-2-gab", "1.10.0"]
    assert sorted(texts, key=lambda text: version_of(text) or ((), 0, 0)) == texts
    assert version_of("latest") is None


def test_the_first_pass_of_2022() -> None:
    fields = fields_of("Steps: 1, Size: 1024x768, First pass size: 512x384")
    assert (fields["Size-1"], fields["Size-2"], fields["Hires resize-1"]) == (512, 384, 1024)
    fields = fields_of("Steps: 1, Size: 1024x768, First pass size: 0x0")
    assert (fields["Size-1"], fields["Size-2"]) == (640, 448)


def test_forge_s_modules() -> None:
    fields = fields_of("Steps: 1, VAE: x, Hires Module 1: Use same choices")
    assert ("VAE" in fields, fields["VAE/TE"], fields["Hires VAE/TE"]) == (False, ["x"], ["Use same choices"])
    fields = fields_of("Steps: 1, Module 1: a, Module 2: b, Hires Module 1: c")
    assert (fields["VAE/TE"], fields["Hires VAE/TE"]) == (["a", "b"], [])
