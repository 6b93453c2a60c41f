"""Files beside a LoRA: A1111's text, Civitai's, the picture; what is damaged is told and left out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lora_studio.store.side_files import MAX_SIDE, plain_text, read_sides, side_names, side_of

A1111 = {
    "description": "Ears for everybody",
    "sd version": "SD1",
    "activation text": "cat ears, (animal ears, fluffy:1.2)",
    "preferred weight": 0.7,
    "negative text": "dog ears",
    "notes": "works best at 512",
}
CIVITAI = {
    "id": 1,
    "name": "v2",
    "baseModel": "SDXL 1.0",
    "trainedWords": ["nekomimi, tail", "cat ears"],
    "description": "<p>Better <b>ears</b></p><script>alert(1)</script>",
    "model": {"name": "Cat ears XL", "description": "<h1>About</h1>all &amp; sundry<br>line"},
}


def named(value: Any, name: str = "x.json") -> tuple[str, bytes]:
    return name, json.dumps(value).encode()


def test_a1111s_text() -> None:
    found = read_sides(named(A1111), None)
    assert found.words == ("cat ears", "(animal ears, fluffy:1.2)")
    assert (found.weight, found.negative, found.family) == (0.7, "dog ears", "sd1")
    assert found.notes == "Ears for everybody\n\nworks best at 512"
    assert found.warnings == ()


def test_civitais_text_as_plain_words() -> None:
    found = read_sides(None, named(CIVITAI))
    assert found.words == ("nekomimi", "tail", "cat ears")
    assert (found.title, found.family, found.weight) == ("Cat ears XL · v2", "sdxl", None)
    assert found.notes == "Better ears\n\nAbout\nall & sundry\nline"


def test_a_persons_own_text_comes_before_civitais() -> None:
    found = read_sides(named(A1111), named(CIVITAI))
    assert found.words[0] == "cat ears"
    assert found.family == "sd1"
    assert found.as_side() == {"title": "Cat ears XL · v2", "negative": "dog ears"}


@pytest.mark.parametrize(
    ("weight", "read"), [(0, None), (0.0, None), ("0.8", 0.8), (-1, -1.0), ("strong", None), (99, None), (True, None)]
)
def test_preferred_weights(weight: Any, read: float | None) -> None:
    """A1111 writes 0 where none was chosen."""
    assert read_sides(named({"preferred weight": weight}), None).weight == read


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"\xff\xfe", b"null", b"[" * 100_000, None])
def test_damaged_ones_are_told_by_name(data: bytes | None) -> None:
    found = read_sides(("cat.json", data), named(CIVITAI))
    assert [(one["code"], one["values"]) for one in found.warnings] == [("side_damaged", {"file": "cat.json"})]
    assert found.words, "the other one is read all the same"


def test_what_is_too_large_is_not_read() -> None:
    assert read_sides(("x.json", b" " * (MAX_SIDE + 1)), None).warnings[0]["code"] == "side_too_large"


@pytest.mark.parametrize("value", [{"model": 3, "trainedWords": "x", "description": [1]}, {"activation text": 7}, {}])
def test_values_of_the_wrong_kind_say_nothing(value: Any) -> None:
    found = read_sides(named(value), named(value, "x.civitai.info"))
    assert (found.words, found.notes, found.title, found.warnings) == ((), "", "", ())


def test_halves_of_characters_can_be_stored() -> None:
    assert read_sides(named({"notes": "a\ud800b"}), None).notes == "a?b"


def test_html_becomes_words() -> None:
    assert plain_text("<ul><li>a</li><li>b &lt;c&gt;</li></ul><img src=x onerror=alert(1)>") == "a\n\nb <c>"
    assert plain_text("<style>p{}</style>x") == "x"


def test_which_files_lie_beside() -> None:
    names = ["Cat.json", "cat.civitai.info", "cat.png", "cat.preview.JPG", "cat2.png", "cat.safetensors", "cat.txt"]
    lower = {name.casefold(): name for name in names}
    assert side_names("cat", lower) == {"plain": "Cat.json", "info": "cat.civitai.info", "picture": "cat.preview.JPG"}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.b.json", ("a.b", "plain")),
        ("a.CIVITAI.info", ("a", "info")),
        ("a.preview.png", ("a", "picture")),
        ("a.webp", ("a", "picture")),
        ("a.safetensors.json", ("a", "plain")),
        ("a.safetensors", None),
        (".json", None),
    ],
)
def test_names_of_side_files(name: str, found: tuple[str, str] | None) -> None:
    assert side_of(name) == found
