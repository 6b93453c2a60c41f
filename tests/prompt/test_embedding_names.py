"""`lora_studio.prompt.embedding_names`: which words are names of embeddings or look like one, in time."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_studio.prompt.embedding_names import LONGEST, find_unknown_embeddings, find_words
from lora_studio.prompt.source import Place, SourceText

NAMES = (
    "EasyNegativeV2",
    "ng_deepnegative_v1_75t",
    "badhandv4",
    "bad_prompt_version2",
    "negative_hand-neg",
    "EasyNegative",
    "verybadimagenegative_v1.3",
    "bad-hands-5",
    "badhands_a-b",
    "UnrealisticDream",
)
ORDINARY = (
    "light_brown hair",
    "score_9",
    "score_8_up",
    "1girl",
    "blue_eyes",
    "cowboy_shot",
    "crescent-shaped",
    "negative space",
    "DeviantArt",
    "unreal engine 5",
    "bad hands",
    "bad_anatomy",
    "rx-78-2",
    "v-neck",
    "canon_eos-r5",
    "negligee",
    "猫耳",
)


@pytest.mark.parametrize("name", NAMES)
def test_words_that_look_like_an_embedding(name: str) -> None:
    words = SourceText.typed(f"a, ({name}:1.2), {name.upper()}")
    assert find_unknown_embeddings(words, []) == [(name, Place(4, 4 + len(name)))], "each once, in any case"
    assert find_unknown_embeddings(words, [name.lower()]) == [], "an installed one is read there"


@pytest.mark.parametrize("words", ORDINARY)
def test_ordinary_words(words: str) -> None:
    assert find_unknown_embeddings(SourceText.typed(words), []) == []


def test_words_of_the_text_are_found_in_any_case() -> None:
    words = SourceText.typed("a, EASY, easy, easyX")
    assert find_words(words, ["Easy", "x"]) == [("Easy", Place(3, 7))]
    assert find_words(words, []) == []


HOSTILE = (
    "av1" + "_a" * 36 + "..b",
    "av1" + "_" * (LONGEST - 8) + "..b",
    "badhands" + "_a" * 33 + "..b",
    "badhands" + "_" * (LONGEST - 13) + "..b",
    "neg_" + "_a" * 36 + "..b",
    "v1" * 38 + "..b",
)


@pytest.mark.parametrize("word", HOSTILE)
def test_no_word_takes_long(word: str) -> None:
    """Underscores are letters too: such a word could be parted in 2^36 ways, each of which was tried.

    The search holds the interpreter, so that all pages and trainings stood still for years.
    """
    assert len(word) <= LONGEST
    began = time.monotonic()
    find_unknown_embeddings(SourceText.typed(word), [])
    assert time.monotonic() - began < 1


PIECES = st.lists(
    st.sampled_from(["av1", "badhands", "neg", "Negative", "_", "__", "_a", "-", ".", "..", "75t", "v", "1", " "]),
    max_size=60,
).map("".join)


@settings(deadline=1000)
@given(st.text(max_size=200) | PIECES)
def test_any_text(text: str) -> None:
    assert all(name in text for name, _ in find_unknown_embeddings(SourceText.typed(text), ["x"]))
