"""`lora_studio.prompt.dynamic`: what is drawn, how often, what stays as it is, and that no text makes it run long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_studio.prompt.dynamic import DRAWS, LONGEST, expand, has_alternatives

LINES = {
    "colour": ["red", "blue"],
    "thing": ["__colour__ hat", "{big|small} ball"],
    "loop": ["a __loop__ b"],
    "heavy": ["3::often", "1::seldom"],
    "endless": ["__endless2__ __endless2__ __endless2__"],
    "endless2": ["__endless__ __endless__ __endless__"],
}


THINGS = (("red hat", "blue hat"), ("big ball", "small ball"))


def permutations(pairs: tuple[tuple[str, str], tuple[str, str]]) -> list[tuple[str, str]]:
    """One of each pair, in either order."""
    first, second = pairs
    made = [(one, other) for one in first for other in second]
    return [*made, *((other, one) for one, other in made)]


def lines(name: str) -> Sequence[str]:
    return LINES.get(name, ())


def drawn(text: str, count: int = 400) -> Counter[str]:
    return Counter(expand(text, lines, seed)[0] for seed in range(count))


def codes(text: str) -> list[str]:
    return [warn.code for warn in expand(text, lines, 1)[1]]


@pytest.mark.parametrize(
    ("text", "all_of_it"),
    [
        ("a {red|blue} hat", {"a red hat", "a blue hat"}),
        ("{a|{b|c}} d", {"a d", "b d", "c d"}),
        ("x{|, y}", {"x", "x, y"}),
        ("{2$$a|b}", {"a, b", "b, a"}),
        ("{2$$ and $$a|b}", {"a and b", "b and a"}),
        ("{0-1$$a}", {"", "a"}),
        ("{-1$$a}", {"a"}),
        ("{-2$$a|b}", {"a", "b", "a, b", "b, a"}),
        ("{2$$__colour__}", {"red, blue", "blue, red"}),
        ("{9$$ and $$ __heavy__ }", {"often and seldom", "seldom and often"}),
        ("{2$$__thing__}", {f"{a}, {b}" for a, b in permutations(THINGS)}),
        ("{1$$a __colour__}", {"a red", "a blue"}),
        ("{2$$__loop__}", {"a __loop__ b"}),
        ("{2$$__nothing__}", {"__nothing__"}),
        ("${c=!{x|y}} {${c}} {a|b}", {"${c=!{x|y}} ${c} a", "${c=!{x|y}} ${c} b"}),
        ("{5$$a|b}", {"a, b", "b, a"}),
        ("{0::a|b}", {"b"}),
        ("__colour__", {"red", "blue"}),
        ("__thing__", {"red hat", "blue hat", "big ball", "small ball"}),
        (r"\{a\|b\} (c:1.2) \(d\)", {r"{a|b} (c:1.2) \(d\)"}),
        ("a | b, [c|d]", {"a | b, [c|d]"}),
        ("snake_case __ ___ a__b", {"snake_case __ ___ a__b"}),
        ("{$$a|b}", {"$$a", "b"}),
    ],
)
def test_every_text_that_it_stands_for_comes_up(text: str, all_of_it: set[str]) -> None:
    assert set(drawn(text)) == all_of_it


def test_weights_are_shares() -> None:
    assert 0.68 < drawn("{3::a|b}", 2000)["a"] / 2000 < 0.82
    assert 0.68 < drawn("__heavy__", 2000)["often"] / 2000 < 0.82


def test_the_same_seed_draws_the_same() -> None:
    text = "{a|b|c|d|e} __colour__ {2-3$$f|g|h|i}"
    assert all(expand(text, lines, seed) == expand(text, lines, seed) for seed in range(20))


def test_what_cannot_be_read_stays_and_is_told() -> None:
    assert expand("a { b", lines, 1)[0] == "a { b"
    assert codes("a { b } }") == ["dynamic_brace"]
    assert expand("__nothing__", lines, 1)[0] == "__nothing__"
    assert codes("__nothing__") == ["wildcard_unknown"]
    assert expand("__loop__", lines, 1)[0] == "a __loop__ b"
    assert codes("__loop__") == ["wildcard_in_itself"]
    assert codes("{2$$__nothing__}") == ["wildcard_unknown"]
    assert codes("${a=red} {b|${a}}") == ["dynamic_variable"]
    assert codes("$ {a|b}") == []


def test_wildcards_that_name_each_other_end() -> None:
    found, _ = expand("__endless__ " * 500, lines, 1)
    assert len(found) < 4 * LONGEST


def test_too_much_to_draw_is_told() -> None:
    found, warnings = expand("{a|b}" * (DRAWS + 5), lines, 1)
    assert found.endswith("{a|b}" * 5)
    assert not found.startswith("{")
    assert [warn.code for warn in warnings] == ["dynamic_limit"]


def test_deep_nesting_is_no_trouble() -> None:
    deep = "{" * 5000 + "a" + "}" * 5000
    assert len(expand(deep, lines, 1)[0]) <= len(deep)


def test_it_is_known_whether_there_is_anything_to_draw() -> None:
    assert has_alternatives("a {b|c}")
    assert has_alternatives("__colour__")
    assert not has_alternatives("(a:1.2) [b|c] { d")


def test_a_weight_of_hundreds_of_digits_is_a_large_one() -> None:
    """No float holds it; the drawing raised, and left a cell behind that nothing ever filled."""
    huge = "9" * 400
    assert set(drawn("{" + huge + "::a|b}", 50)) == {"a"}
    assert set(drawn("{" + huge + "::a|" + huge + "::b}", 50)) == {"a", "b"}
    found, _ = expand("__heavy__", lambda name: [f"{huge}::often", "seldom"], 1)
    assert found == "often"


PIECES = st.lists(
    st.sampled_from(["{", "}", "|", "::", "9" * 400, "0", ".5", "2$$", "1-3$$", "__thing__", "a", "\\", " "]),
    max_size=20,
).map("".join)


@given(st.text("{}|_$-:\\a 0123", max_size=60) | PIECES, st.integers(0, 9))
def test_it_never_raises_and_never_grows_without_end(text: str, seed: int) -> None:
    found, _ = expand(text, lines, seed)
    assert len(found) <= len(text) + LONGEST * 4


@given(st.text("abc ,()[]:.|", max_size=60))
def test_texts_without_braces_and_wildcards_stay(text: str) -> None:
    assert expand(text, lines, 3) == (text, ())
