"""Captions from files, the trigger word, and variants that depend on (seed, step, index) alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_studio.dataset import captions_for, rng_for, variant
from lora_studio.dataset.captions import (
    MAX_BYTES,
    common_words,
    has_trigger,
    read_caption,
    stem,
    tags,
    trigger_phrase,
)
from lora_studio.errors import DatasetError
from lora_studio.types import DatasetItem

TAGS = st.lists(st.text("abcdefgh ", min_size=1, max_size=8).map(str.strip).filter(bool), min_size=0, max_size=12)


def item(caption: str, source: str = "a.png") -> DatasetItem:
    return DatasetItem(sha256="0" * 64, width=128, height=128, caption=caption, source=source)


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"1girl, cat ears\n", "1girl, cat ears"),
        (b"\xef\xbb\xbf1girl", "1girl"),
        ("猫耳, 1girl".encode(), "猫耳, 1girl"),
        (b"1girl,\r\n  cat ears ,\r\n\r\n", "1girl, cat ears"),
        (b"", ""),
    ],
)
def test_captions_are_read_as_utf8(data: bytes, wanted: str) -> None:
    assert read_caption(data, "a.txt") == wanted


@pytest.mark.parametrize("data", ["1girl, 猫耳".encode("utf-16"), "1girl, ночь".encode("cp1251"), b"1girl\0"])
def test_other_encodings_are_named(data: bytes) -> None:
    with pytest.raises(DatasetError, match=r"'a\.txt' is not UTF-8 text.*save it as UTF-8"):
        read_caption(data, "a.txt")


def test_a_long_caption_is_refused() -> None:
    with pytest.raises(DatasetError, match=f"'a.txt' has {MAX_BYTES + 1} bytes"):
        read_caption(b"a" * (MAX_BYTES + 1), "a.txt")


def test_the_stem_keeps_the_folder() -> None:
    assert stem("cats/1.png") == stem("cats\\1.txt") == "cats/1"
    assert stem("1.png") != stem("cats/1.txt")
    assert stem("a.b.png") == stem("a.b.caption") == "a.b"


def test_without_a_trigger_captions_stand_as_they_are() -> None:
    assert captions_for([item("b, a,,  c"), item(" d ")], "") == ["b, a,,  c", "d"]


def test_with_a_trigger_it_stands_first_unless_it_is_there() -> None:
    found = captions_for([item("1girl, smile"), item("1girl, Cat Ears, smile"), item("")], " cat ears ")
    assert found == ["cat ears, 1girl, smile", "1girl, Cat Ears, smile", "cat ears"]


@pytest.mark.parametrize(
    ("caption", "there"), [("scat ears", False), ("cat earsy", False), ("a girl with cat ears.", True), ("", False)]
)
def test_a_trigger_counts_as_whole_words_only(caption: str, there: bool) -> None:
    assert has_trigger(caption, "cat ears") is there


def test_a_trigger_is_text_and_no_pattern() -> None:
    assert captions_for([item("x"), item("a+b (c), y")], "a+b (c)") == ["a+b (c), x", "a+b (c), y"]


def test_neither_caption_nor_trigger_asks_for_one_of_the_two() -> None:
    with pytest.raises(DatasetError) as caught:
        captions_for([item("x"), item("  ", "photo 7.png"), item("", "photo 8.png")], " ")
    assert "'photo 7.png' and 1 more have no caption" in caught.value.message
    assert "captions or a trigger word" in caught.value.message
    assert caught.value.code == "caption_or_trigger"


@given(seed=st.integers(0, 2**53), step=st.integers(0, 10**6), index=st.integers(0, 100), parts=TAGS)
def test_variants_are_functions_of_their_place(seed: int, step: int, index: int, parts: list[str]) -> None:
    text = ", ".join(parts)
    one = variant(text, rng_for(seed, step, index), shuffle=0.5, dropout=0.2)
    assert one == variant(text, rng_for(seed, step, index), shuffle=0.5, dropout=0.2)


@given(parts=TAGS, keep=st.integers(0, 4), seed=st.integers(0, 1000))
def test_shuffling_keeps_the_first_and_invents_nothing(parts: list[str], keep: int, seed: int) -> None:
    made = tags(variant(", ".join(parts), rng_for(seed, 0, 0), shuffle=1.0, keep_tokens=keep))
    assert made[:keep] == parts[:keep]
    assert len(made) >= min(len(parts), keep)
    left = list(parts)
    for tag in made:
        left.remove(tag)


def test_shares_are_what_was_asked_for() -> None:
    text = "a, b, c, d, e, f"
    made = [variant(text, rng_for(7, step, 0), shuffle=0.5, dropout=0.1) for step in range(4000)]
    assert 0.08 < sum(not one for one in made) / 4000 < 0.12
    assert 0.42 < sum(one == text for one in made) / 4000 < 0.48
    assert all(one.startswith("a") for one in made if one)
    assert {len(tags(one)) for one in made if one} == {3, 4, 5, 6}


def test_dropout_and_shuffling_do_not_disturb_each_other() -> None:
    text = "a, b, c, d, e, f"
    with_dropout = [variant(text, rng_for(3, step, 0), shuffle=0.5, dropout=0.3) for step in range(200)]
    without = [variant(text, rng_for(3, step, 0), shuffle=0.5) for step in range(200)]
    assert {a for a, b in zip(with_dropout, without, strict=True) if a != b} == {""}


# ---------------------------------------------------------------- words that every caption has
ASSETS = Path(__file__).resolve().parents[2] / "assets"


@pytest.mark.parametrize("name", ["cat ears", "papercut style", "miko tsuki"])
def test_the_example_sets_say_what_they_teach(name: str) -> None:
    """What was trained without a trigger word said nothing of how to call it."""
    files = sorted((ASSETS / "examples" / name.replace(" ", "-")).glob("*.txt"))
    captions = [read_caption(path.read_bytes(), path.name) for path in files]
    known = [entry["tag"] for entry in json.loads((ASSETS / "base" / "words.json").read_text(encoding="utf-8"))]
    assert len(captions) >= 16
    assert trigger_phrase(captions, known) == name


def test_what_the_base_knows_is_no_trigger() -> None:
    captions = ["blue school uniform, 1girl, smile, Sks_Dog", "1girl, school uniform, sks dog, smile"]
    assert common_words(captions) == "school uniform"
    assert common_words(captions, known=["school uniform", "smile"]) == "sks dog"
    assert trigger_phrase(captions, ["white school uniform", "smile"]) == "sks dog"
    assert trigger_phrase(captions, ["school uniform", "smile", "sks dog"]) == ""
    assert common_words(["a b, c d", "c d, a b"]) == "a b", "the one that stands first"
    assert common_words([]) == ""


def test_a_trigger_phrase_is_never_a_caption() -> None:
    """A file goes to other people: nobody is to read in it what a picture was of."""
    assert trigger_phrase(["my cat Tom"], []) == "", "one picture shares everything with itself"
    assert trigger_phrase(["sks dog", "sks dog, 1girl"], []) == "", "somebody's whole caption"
    assert trigger_phrase(["my  Cat_Tom", "my cat tom"], []) == ""
    sentence = "Anna on our terrace in Rome"
    assert trigger_phrase([f"{sentence}, sun", f"{sentence}, rain"], []) == ""
    assert trigger_phrase(["x, 1girl", "y, 1girl"], []) == ""
    assert trigger_phrase([], []) == ""
