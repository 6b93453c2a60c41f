"""`lora_studio.prompt.comments`: what goes, and which line breaks stay."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_studio.prompt.comments import strip_comments
from lora_studio.prompt.source import Place, SourceText


def strip(text: str) -> str:
    """The text without comments."""
    return strip_comments(SourceText.typed(text))[0].text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a cat # red\nb", "a cat \nb"),
        ("# all\na", "\na"),
        ("a\n# one\n# two\nb", "a\n\nb"),
        ("a #", "a \n"),
        ("#", "\n"),
        ("a", "a"),
        ("color #fff, b", "color \n"),
        ("a \\# b", "a \\\n"),
    ],
)
def test_comments_leave_a_line_break(text: str, left: str) -> None:
    assert strip(text) == left


def test_places_hold_the_comment_alone() -> None:
    text = "a # red\n#blue\nb"
    left, places = strip_comments(SourceText.typed(text))
    assert [text[p.start : p.end] for p in places] == ["# red", "#blue"]
    assert left.place(len(left.text) - 1, len(left.text)) == Place(len(text) - 1, len(text))


@given(st.text(alphabet="#\nab \r", max_size=30))
def test_it_equals_two_substitutions(text: str) -> None:
    expected = re.sub("(^|\n)#[^\n]*(\n|$)", "\n", text)
    expected = re.sub("#[^\n]*(\n|$)", "\n", expected)
    left, places = strip_comments(SourceText.typed(text))
    assert left.text == expected
    assert all(text[p.start] == "#" and "\n" not in text[p.start : p.end] for p in places)
    typed = "".join(text[p.start : p.end] for p in left.places())
    assert typed == expected or typed + "\n" == expected
