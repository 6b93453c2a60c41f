"""`lora_studio.prompt.names`: which adapter a tag means, and which words look like an embedding's name."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_studio.prompt.names import Named, find_all, find_named, find_unknown_embeddings, near_names
from lora_studio.prompt.source import Place, SourceText

LIBRARY = (Named("1", "Cat ears"), Named("2", "cat ears"), Named("3", "Miko: Tsuki, v2", ("miko_tsuki_old",)))


@pytest.mark.parametrize(
    ("asked", "key"),
    [
        ("Cat ears", "1"),
        ("cat ears", "2"),
        ("CAT EARS", "1"),
        ("cat_ears", "1"),
        (" Cat ears ", "1"),
        ("anime/cat_ears.safetensors", "1"),
        ("Miko Tsuki v2", "3"),
        ("miko_tsuki_v2", "3"),
        ("Miko_Tsuki_Old", "3"),
        ("cat", None),
        ("", None),
    ],
)
def test_a_tag_finds_its_adapter(asked: str, key: str | None) -> None:
    found = find_named(asked, LIBRARY)
    assert (found.key if found else None) == key


FILES = (
    Named("1", "Kitty", (), "cat", ("Lora/animals/cat.safetensors",)),
    Named("2", "Tiger", (), "cat", ("Lora/big/cat.safetensors", "More/cat.safetensors")),
    Named("3", "ink", (), "wash_v2", ("Lora/ink/wash_v2.safetensors",)),
    Named("4", "Ink drawing", (), "ink"),
)


@pytest.mark.parametrize(
    ("asked", "key", "every"),
    [
        ("Kitty", "1", "1"),
        ("wash_v2", "3", "3"),
        ("WASH_V2", "3", "3"),
        ("wash v2.safetensors", "3", "3"),
        ("cat", None, "12"),
        ("Cat", None, "12"),
        ("animals/cat", "1", "1"),
        ("Animals\\cat.safetensors", "1", "1"),
        ("more/cat", "2", "2"),
        ("elsewhere/cat", None, "12"),
        ("ink", "3", "34"),
        ("nothing", None, ""),
    ],
)
def test_files_go_by_their_own_names_too(asked: str, key: str | None, every: str) -> None:
    """A1111's prompts name the file; a label comes first, and among several files nothing is guessed."""
    found, named = find_all(asked, FILES)
    assert (found.key if found else None) == key
    assert "".join(one.key for one in named) == every


def test_near_names_are_those_of_the_library() -> None:
    assert near_names("cat_eras", LIBRARY)[0] == "Cat ears"
    assert near_names("zzz", LIBRARY) == []
    assert near_names("wash_v3", FILES) == ["wash_v2"], "of the files too"


NAMES = (
    "EasyNegativeV2",
    "ng_deepnegative_v1_75t",
    "badhandv4",
    "bad_prompt_version2",
    "negative_hand-neg",
    "EasyNegative",
    "verybadimagenegative_v1.3",
    "bad-hands-5",
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


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    assert all(name in text for name, _ in find_unknown_embeddings(SourceText.typed(text), ["x"]))
    found = find_named(text, LIBRARY)
    assert found is None or found in LIBRARY
