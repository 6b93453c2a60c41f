"""`lora_studio.prompt.language`: the order of the stages, the demonstration, any text at all, and linear work."""

from __future__ import annotations

import gc
import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_studio.prompt import notices
from lora_studio.prompt.attention import LIMIT, parse_attention
from lora_studio.prompt.chunks import Token, cut_chunks, vocabulary
from lora_studio.prompt.language import READINGS, ParsedPrompt, escape, parse
from lora_studio.prompt.schedules import Counting
from lora_studio.prompt.source import SourceText
from lora_studio.prompt.styles import Style

CASES = json.loads((Path(__file__).parent / "cases.json").read_text(encoding="utf-8"))
TEN = Counting(10)
PIECES = [
    *"()[]:|<>#\\=,\n ",
    *(
        "a",
        "b c",
        "AND",
        "BREAK",
        "1.3",
        "5",
        ".5",
        ":1.2)",
        "<lora:x:0.8>",
        "[a:b:3]",
        "[x|y]",
        "（",
        "：",
        "{prompt}",
    ),
]
TEXTS = st.text() | st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


def codes(parsed: ParsedPrompt) -> list[str]:
    """The warnings' codes."""
    return [found.code for found in parsed.warnings]


def test_the_stages_come_in_a1111s_order() -> None:
    text = "a <lora:x:0.5> cat # no\n [red:blue:5] AND (dog:1.2) :0.7"
    parsed = parse(text, TEN, styles=[Style("s", "{prompt}, <lora:y:1> fine # style's comment")])
    assert [(tag.name, tag.unet) for tag in parsed.loras] == [("x", 0.5), ("y", 1.0)]
    assert parsed.text == "a  cat \n [red:blue:5] AND (dog:1.2) :0.7,  fine \n"
    first, second = parsed.parts
    assert (first.weight, [(s.last_step, s.text) for s in first.segments]) == (
        1.0,
        [(5, "a  cat \n red"), (10, "a  cat \n blue")],
    )
    assert (second.weight, second.segments[0].text) == (1.0, " (dog:1.2) :0.7,  fine")
    assert [(s.text, s.weight) for s in second.segments[0].spans] == [(" ", 1), ("dog", 1.2), (" :0.7,  fine", 1)]
    assert [text[p.start : p.end] for p in parsed.comments] == ["# no"]
    assert parsed.loras[1].place is None, "a style's tag was not typed"
    assert parsed.warnings == ()


def test_a_comment_hides_a_tag_and_a_tag_hides_nothing_else() -> None:
    parsed = parse("a # <lora:x:1>\n<lora:y:1>", TEN)
    assert [tag.name for tag in parsed.loras] == ["y"]


def test_the_negative_prompt_keeps_tags_and_and() -> None:
    parsed = parse("bad AND <lora:x:1> worse:2", TEN, negative=True, styles=[Style("s", "no", "blurry")])
    assert parsed.loras == ()
    assert [part.words.text for part in parsed.parts] == ["bad AND <lora:x:1> worse:2, blurry"]
    assert codes(parsed) == ["tag_in_negative"]


def test_the_demonstration_is_read_without_a_warning() -> None:
    demonstration = CASES["demonstration"]
    positive = parse(demonstration["prompt"], Counting(20))
    negative = parse(demonstration["negative_prompt"], Counting(20), negative=True)
    assert positive.warnings == negative.warnings == ()
    assert positive.text == demonstration["prompt"]
    weights = {span.text: span.weight for span in positive.parts[0].segments[0].spans}
    assert weights["masterpiece"] == 1.3
    assert weights["red hair"] == 1.1
    assert weights["red inner hair"] == 1.4
    assert weights[",long_hair,single braid "] == 1.4
    assert weights[",best quality,"] == 1.1 * 1.1
    assert weights["Ahoge"] == 1.1
    assert len([w for w in weights.values() if w != 1.0]) == 16
    assert {s.text: s.weight for s in negative.parts[0].segments[0].spans}["bad hands"] == 1.1 * 1.1


def test_the_reading_of_weights_can_be_chosen() -> None:
    for reading, weight in (("a1111", 1.2 * 1.5), ("comfy", 1.5)):
        (segment,) = parse("(a (b:1.5):1.2)", TEN, reading=reading).parts[0].segments
        assert {s.text: s.weight for s in segment.spans}["b"] == pytest.approx(weight)


def test_a_part_knows_its_text_at_each_step() -> None:
    (part,) = parse("[a:b:3]", TEN).parts
    assert [part.at_step(step).text for step in (1, 3, 4, 10, 99)] == ["a", "a", "b", "b", "b"]


def test_full_width_is_pointed_out() -> None:
    assert codes(parse("（a：1.2）", TEN)) == ["full_width"]


def test_every_code_is_listed() -> None:
    """Texts that bring out each warning of a prompt; a code that the list lacks would be said by no page."""
    texts = [
        *(
            "（",
            "<lora:a:x>",
            "<lora:a:x=1:foo=2:end=x>",
            "<hypernet:a>",
            "<b:c>",
            "(a:99999)",
            "(a:1.2.3)",
            "((",
            "))",
        ),
        *("(BREAK)", "a, 16:9", "[a:b]", "[a:b:1e999]", "| [a:b:3]", "[a:b:99]", "(a:1.1.1)" * 20),
    ]
    found = {code for text in texts for code in codes(parse(text, TEN))}
    found |= set(codes(parse("<lora:a:1>", TEN, negative=True)))
    found |= set(codes(parse("a" * 60_000, TEN, styles=[Style("s", "{prompt}{prompt}")])))
    listed = {line.split()[0] for line in (notices.__doc__ or "").splitlines() if line.startswith("    ")}
    assert found <= listed
    elsewhere = {
        *("style_unknown", "style_file_columns", "style_file_row", "embedding_too_long"),
        *(
            "adapter_not_found",
            "adapter_not_found_near",
            "adapter_several",
            "adapter_also",
            "tag_overruled",
            "tag_weight_limit",
            "tag_places_differ",
            "tag_places_overruled",
            "tag_steps_none",
            "tag_blocks_unreadable",
        ),
        *("embedding_not_installed", "embedding_misfit"),
        *("dynamic_brace", "dynamic_limit", "dynamic_variable", "wildcard_unknown", "wildcard_in_itself"),
    }
    assert listed - found == elsewhere


@given(
    TEXTS,
    st.booleans(),
    st.sampled_from(READINGS),
    st.lists(st.builds(Style, st.just("s"), TEXTS, TEXTS), max_size=2),
    st.builds(Counting, st.integers(1, 8), st.none() | st.integers(1, 8), st.booleans()),
)
@settings(max_examples=300)
def test_any_text_is_read(text: str, negative: bool, reading: str, styles: list[Style], counting: Counting) -> None:
    parsed = parse(text, counting, negative=negative, styles=styles, reading=reading)
    assert parsed.parts
    for part in parsed.parts:
        assert abs(part.weight) <= LIMIT
        assert [s.last_step for s in part.segments] == sorted({s.last_step for s in part.segments})
        assert part.segments[-1].last_step == counting.total
        for segment in part.segments:
            for span in segment.spans:
                assert math.isfinite(span.weight)
                assert abs(span.weight) <= LIMIT
                assert all(0 <= p.start <= p.end <= len(text) for p in span.places)
                if not styles and "#" not in text:
                    assert "".join(text[p.start : p.end] for p in span.places) == span.text
    for found in parsed.warnings:
        assert found.position is None or 0 <= found.position.start <= found.position.end <= len(text)


@given(st.text(alphabet="abc ,猫.'\n", max_size=60))
def test_text_without_marks_stays_as_it_is(text: str) -> None:
    (segment,) = parse(text, TEN, negative=True).parts[0].segments
    (span,) = segment.spans
    assert (span.text, span.weight) == (text, 1.0)


def steps_of(text: str, reading: str) -> int:
    """How many lines of the parser run for a text: work that does not depend on the machine."""
    count = 0

    def local(_frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return local

    def trace(frame: FrameType, _event: str, _arg: Any) -> Any:
        return local if "prompt" in frame.f_code.co_filename and "lora_studio" in frame.f_code.co_filename else None

    def words(text: str) -> list[Token]:
        return [Token(1 + ord(c) % 7, n, n + 1) for n, c in enumerate(text)]

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        parsed = parse(text, Counting(4), reading=reading)
        for segment in parsed.parts[0].segments:
            cut_chunks(segment.spans, vocabulary(words))
    finally:
        sys.settrace(before)
    return count


def adversaries(size: int) -> Iterator[tuple[str, str]]:
    """Texts of about `size` characters that are hard on careless parsers, by name."""
    units = {
        "unclosed round": "(",
        "stray round": ")",
        "unclosed square": "[",
        "mixed": "([)]",
        "open schedules": "[a:",
        "many alternations": "[a|b]",
        "many switches": "[a:b:3]",
        "open tags": "<lora:a",
        "many tags": "<lora:a:1>",
        "empty tags": "<a:>",
        "comments": "#\n",
        "breaks": "BREAK ",
        "ands": "a:1 AND ",
        "backslashes": "\\",
        "colons": "a: ",
        "bad weights": "(a:1.1.1)",
        "back to back": ")(",
        "full width": "（",
    }
    for name, unit in units.items():
        yield name, unit * (size // len(unit))
    pairs = {
        "nested round": ("(", "a", ")"),
        "nested weights": ("(", "a", ":1.1)"),
        "nested schedules": ("[a:", "b", ":3]"),
        "nested alternations": ("[a|", "b", "]"),
        "nested both": ("([", "a", "])"),
        "crossed": ("([", "a", ")]"),
    }
    for name, (left, middle, right) in pairs.items():
        depth = size // (len(left) + len(right))
        yield name, left * depth + middle + right * depth


@pytest.mark.slow
@pytest.mark.parametrize("reading", READINGS)
def test_work_grows_linearly(reading: str) -> None:
    """Five times the text takes at most about five times the steps, and no text takes more than so many a character."""
    small, large = 600, 3_000
    for (name, short), (_, long) in zip(adversaries(small), adversaries(large), strict=True):
        few, many = steps_of(short, reading), steps_of(long, reading)
        assert many <= 5.5 * few + 500, name
        assert many <= 500 * len(long), name


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_long_texts_end() -> None:
    """Quadratic work inside a regular expression, which no count of lines sees, would not end here."""
    for name, text in adversaries(20_000):
        parsed = parse(text, Counting(2))
        assert parsed.parts, name
    blanks = " " * 1_000_000
    for text in (
        blanks + "BREAK",
        "(a:" + blanks + "1",
        "[a:" + blanks + "x]",
        "a:" + blanks + "AND",
        "(a:" + "1" * 10**6,
    ):
        assert parse(text, TEN).parts
        assert parse_attention(SourceText.typed(text))[0]


@settings(deadline=None)
@given(st.text(alphabet="()[]\\\\:|a .1,"))
def test_an_escaped_text_is_read_as_it_stands(text: str) -> None:
    """A caption that is shown as a preview says what the training read, whatever its brackets."""
    (part,) = parse(escape(text), TEN).parts
    (segment,) = part.segments
    assert "".join(span.text for span in segment.spans) == text.rstrip()
    assert {span.weight for span in segment.spans} == {part.weight} == {1.0}


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["(", "[", "([)]", "[a:", "(a:1.1)"])
def test_ten_times_the_brackets_take_ten_times_as_long(unit: str) -> None:
    """In processor time, best of some, 10,000 against 100,000; 15 leaves room for the collector of garbage, which made
    unclosed brackets 15 times as long when each of them was five objects. What other tests left behind is kept from
    the collector, which would visit it again and again."""

    def seconds(count: int, tries: int) -> float:
        text = unit * (count // sum(c in "()[]" for c in unit))
        found = []
        for _ in range(tries):
            began = time.process_time()
            parse(text, Counting(20))
            found.append(time.process_time() - began)
        return min(found)

    gc.collect()
    gc.freeze()
    try:
        assert seconds(100_000, 5) < 15 * seconds(10_000, 9)
    finally:
        gc.unfreeze()
