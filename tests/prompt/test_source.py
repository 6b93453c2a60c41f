"""`lora_studio.prompt.source`: every character keeps its place through cutting, taking and joining."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lora_studio.prompt.source import Place, SourceText, join


def origin(text: SourceText) -> list[int]:
    """The source offset of each character, -1 where there is none, by the definition of runs."""
    return [
        next(source if source < 0 else source + index - at for at, source in reversed(text.runs) if at <= index)
        for index in range(len(text.text))
    ]


def test_a_typed_text_is_its_own_place() -> None:
    text = SourceText.typed("abcdef")
    assert text.places() == (Place(0, 6),)
    assert text.place(2, 4) == Place(2, 4)
    assert text.cut(1, 3) == SourceText("bc", ((0, 1),))


def test_foreign_text_has_no_place() -> None:
    text = join([SourceText.foreign("masterpiece, "), SourceText.typed("cat")])
    assert text.text == "masterpiece, cat"
    assert text.places() == (Place(0, 3),)
    assert text.place(0, 5) is None
    assert text.place(10, 14) == Place(0, 1)


def test_an_empty_cut_keeps_its_place() -> None:
    text = SourceText.typed("abc").cut(2, 2)
    assert text.text == ""
    assert text.place() == Place(2, 2)


def test_pieces_that_touch_become_one_run() -> None:
    text = SourceText.typed("abcdef")
    assert join([text.cut(0, 2), text.cut(2, 5)]).runs == ((0, 0),)
    assert text.take([(0, 1), (1, 1), (3, 6)]).runs == ((0, 0), (1, 3))


@given(st.text(max_size=20), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=6))
def test_each_character_stands_where_its_place_says(typed: str, edges: list[tuple[int, int]]) -> None:
    text = join([SourceText.typed(typed), SourceText.foreign("xyz"), SourceText.typed(typed)])
    before = origin(text)
    length = len(text.text)
    cuts = [tuple(sorted((a % (length + 1), b % (length + 1)))) for a, b in edges]
    expected = [number for a, b in cuts for number in before[a:b]]
    joined = join([text.cut(a, b) for a, b in cuts])
    assert origin(joined) == expected
    points = sorted(point for cut in cuts for point in cut)
    slices = list(zip(points[::2], points[1::2], strict=True))
    taken = text.take(slices)
    assert origin(taken) == [number for a, b in slices for number in before[a:b]]
    for number, character in zip(origin(taken), taken.text, strict=True):
        assert number < 0 or typed[number] == character
