"""`lora_studio.prompt.styles`: A1111's file both ways, and how styles are put around a prompt."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lora_studio.prompt.source import SourceText
from lora_studio.prompt.styles import LONGEST, Style, apply_styles, choose_styles, read_styles, write_styles

FILE = (
    "\ufeffname,prompt,negative_prompt\r\n"
    'Ink,"{prompt}, ink, (lineart:1.2)","color, photo"\r\n'
    "# heading,,\r\n"
    "Soft, pastel,\r\n"
    '"Two\nlines","a\nb"\r\n'
)


def applied(prompt: str, *styles: Style, negative: bool = False) -> str:
    """The prompt with these styles."""
    return apply_styles(SourceText.typed(prompt), styles, negative=negative)[0].text


def test_the_file_is_read() -> None:
    styles, warnings = read_styles(FILE)
    assert warnings == ()
    assert styles == (
        Style("Ink", "{prompt}, ink, (lineart:1.2)", "color, photo"),
        Style("Soft", "pastel", ""),
        Style("Two\nlines", "a\nb", ""),
    )


def test_old_files_and_broken_ones() -> None:
    assert read_styles("name,text\nA,b\n")[0] == (Style("A", "b"),)
    assert read_styles("") == ((), ())
    found, warnings = read_styles("prompt,other\na,b\n")
    assert found == ()
    assert (warnings[0].code, dict(warnings[0].values)) == ("style_file_columns", {"columns": "prompt, other"})
    found, warnings = read_styles("name,prompt\n,nameless\nA,b\n")
    assert found == (Style("A", "b"),)
    assert (warnings[0].code, dict(warnings[0].values)) == ("style_file_row", {"line": 2, "problem": "name"})
    found, warnings = read_styles("name,prompt\nA,b\nB," + "x" * 200_000)
    assert found == (Style("A", "b"),)
    assert warnings[0].values["problem"] == "csv"


def test_a_later_row_of_a_name_wins() -> None:
    assert read_styles("name,prompt\nA,1\nB,2\nA,3\n")[0] == (Style("B", "2"), Style("A", "3"))


def test_placeholders_and_appending() -> None:
    assert applied("a cat", Style("s", "big {prompt}, {prompt}!")) == "big a cat, a cat!"
    assert applied(" a cat ", Style("s", " red ")) == "a cat, red"
    assert applied("  ", Style("s", "red")) == "red"
    assert applied(" a ", Style("s", "")) == "a"
    assert applied("a", Style("1", "b"), Style("2", "<{prompt}>"), Style("3", "c")) == "<a, b>, c"
    assert applied("a", Style("s", "x", "y"), negative=True) == "a, y"


def test_typed_words_keep_their_place() -> None:
    words, _ = apply_styles(SourceText.typed(" cat "), [Style("s", "red"), Style("t", "{prompt} and {prompt}")])
    assert words.text == "cat, red and cat, red"
    assert [(p.start, p.end) for p in words.places()] == [(1, 4), (1, 4)]


def test_styles_that_double_the_text_stop_in_time() -> None:
    double = Style("double", "{prompt}{prompt}")
    words, warnings = apply_styles(SourceText.typed("a" * 1000), [double] * 40)
    assert len(words.text) <= LONGEST
    assert len(words.text) == 64_000
    assert warnings[0].code == "style_too_long"
    assert warnings[0].values["length"] == 2 * 64_000 + len(double.prompt)


def test_unknown_names_are_told() -> None:
    chosen, warnings = choose_styles([Style("A", "a")], ["A", "Z"])
    assert chosen == (Style("A", "a"), Style("Z"))
    assert [(w.code, dict(w.values)) for w in warnings] == [("style_unknown", {"name": "Z"})]


NAMES = st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=12).filter(
    lambda name: not name.startswith("#") and name == name.lstrip()
)
WORDS = st.text(alphabet=st.characters(codec="utf-8"), max_size=20).filter(lambda words: words == words.lstrip())


@given(st.lists(st.builds(Style, NAMES, WORDS, WORDS), max_size=4, unique_by=lambda style: style.name))
def test_what_is_written_is_read_back(styles: list[Style]) -> None:
    assert read_styles(write_styles(styles)) == (tuple(styles), ())


@given(st.text())
def test_any_file_is_read_without_raising(text: str) -> None:
    styles, warnings = read_styles("name,prompt,negative_prompt\n" + text)
    assert all(style.name for style in styles)
    assert {w.code for w in warnings} <= {"style_file_row"}
