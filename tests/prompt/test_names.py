"""`lora_studio.prompt.names`: which adapter a tag means."""

from __future__ import annotations

import difflib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_studio.prompt import names
from lora_studio.prompt.names import Named, Names

LIBRARY = Names((Named("1", "Cat ears"), Named("2", "cat ears"), Named("3", "Miko: Tsuki, v2", ("miko_tsuki_old",))))


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
    found = LIBRARY.find(asked)
    assert (found.key if found else None) == key


FILES = Names(
    (
        Named("1", "Kitty", (), "cat", ("Lora/animals/cat.safetensors",)),
        Named("2", "Tiger", (), "cat", ("Lora/big/cat.safetensors", "More/cat.safetensors")),
        Named("3", "ink", (), "wash_v2", ("Lora/ink/wash_v2.safetensors",)),
        Named("4", "Ink drawing", (), "ink"),
    )
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
    found, named = FILES.find_all(asked)
    assert (found.key if found else None) == key
    assert "".join(one.key for one in named) == every


def test_near_names_are_those_of_the_library() -> None:
    assert LIBRARY.near("cat_eras")[0] == "Cat ears"
    assert LIBRARY.near("zzz") == []
    assert FILES.near("wash_v3") == ["wash_v2"], "of the files too"


def test_the_first_of_a_name_is_meant_and_no_name_is_nothing() -> None:
    twice = Names((Named("1", "ink"), Named("2", "ink"), Named("3", "x", ("", "old"))))
    assert twice.find("ink") == Named("1", "ink")
    assert twice.find("OLD") == Named("3", "x", ("", "old"))
    assert Names().find("ink") is None
    assert Names().near("ink") == []


def test_a_library_is_walked_once_however_many_tags_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each unknown tag walked it some sixty times, and compared all names with it twice: of ten thousand files and five
    tags that took seconds at every pause in typing."""
    walked, compared = [0], [0]
    plain, close = names._safe, difflib.get_close_matches

    def safe(name: str) -> str:
        walked[0] += 1
        return plain(name)

    def matches(*args: Any, **options: Any) -> list[str]:
        compared[0] += 1
        return close(*args, **options)

    monkeypatch.setattr(names, "_safe", safe)
    monkeypatch.setattr(difflib, "get_close_matches", matches)
    library = Names(Named(str(n), f"file {n}", (), f"stem {n}") for n in range(300))
    for n in range(50):
        assert library.find(f"nothing {n}") is None
        assert library.near(f"file  {n % 20} ") == library.near(f"file  {n % 20} ")
    assert walked[0] < 4 * 300 + 50 * 10
    assert compared[0] <= 16


@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    library = Names(LIBRARY.known)
    found = library.find(text)
    assert found is None or found in library.known
    assert set(library.near(text)) <= {one.name for one in library.known}
