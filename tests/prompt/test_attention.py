"""`lora_studio.prompt.attention`: A1111's weights, to the last digit where brackets are not deep beyond use."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_studio.prompt.attention import EXACT, LIMIT, parse_attention
from lora_studio.prompt.source import SourceText

CASES = json.loads((Path(__file__).parent / "cases.json").read_text(encoding="utf-8"))
PIECES = ["(", ")", "[", "]", ":1.2)", ": .5 )", ":-1)", ":.)", "\\", "\\(", "a", " b", ":", "BREAK", " BREAK ", "1.3"]


def spans(text: str) -> list[list[Any]]:
    """Text and weight of each span."""
    return [[span.text, span.weight] for span in parse_attention(SourceText.typed(text))[0]]


def codes(text: str) -> list[str]:
    """The warnings' codes."""
    return [found.code for found in parse_attention(SourceText.typed(text))[1]]


def slowly(text: str) -> list[list[Any]]:
    """The language by its definition: each bracket multiplies all that stands between it and its partner, in turn."""
    found: list[list[Any]] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def times(start: int, factor: float) -> None:
        for item in found[start:]:
            item[1] *= factor

    token = r"\\[()\[\]\\]?|:\s*[+-]?[.\d]+\s*\)|[()\[\]:]|[^\\()\[\]:]+"
    for word in re.findall(token, text):
        if word[0] == "\\":
            found.append([word[1:], 1.0])
        elif word in opened:
            opened[word].append(len(found))
        elif word[0] == ":" and len(word) > 1 and opened["("]:
            times(opened["("].pop(), float(word[1:-1]))
        elif word in (")", "]") and opened["(" if word == ")" else "["]:
            times(opened["(" if word == ")" else "["].pop(), 1.1 if word == ")" else 1 / 1.1)
        else:
            for number, part in enumerate(re.split(r"\s*\bBREAK\b\s*", word)):
                found.extend([["BREAK", -1.0]] * 0 + ([["BREAK", -1.0]] if number else []) + [[part, 1.0]])
    for bracket, factor in (("(", 1.1), ("[", 1 / 1.1)):
        for start in opened[bracket]:
            times(start, factor)
    merged: list[list[Any]] = []
    for word, weight in found:
        if merged and merged[-1][1] == weight:
            merged[-1][0] += word
        else:
            merged.append([word, weight])
    return merged or [["", 1.0]]


@pytest.mark.parametrize("case", CASES["attention"] + CASES["attention_doctests"], ids=lambda case: case["text"][:40])
def test_published_and_measured_cases(case: dict[str, Any]) -> None:
    assert spans(case["text"]) == case["spans"]


@given(st.lists(st.sampled_from([p for p in PIECES if p != ":.)"]), max_size=25).map("".join))
def test_it_equals_the_slow_definition(text: str) -> None:
    if not re.search(r":\s*[+-]?[.\d]*[.][.\d]*[.][.\d]*\s*\)", text) and "BREAKBREAK" not in text:
        assert spans(text) == slowly(text)


def test_a_number_that_is_none_is_words_at_the_brackets_weight() -> None:
    assert spans("((a:1.2.3):2)") == [["a:1.2.3", 2.2]]
    assert spans("(a: . )") == [["a: . ", 1.1]]
    (found,) = parse_attention(SourceText.typed("x (a:1.2.3)"))[1]
    assert found.code == "weight_not_number"
    assert found.values == {"text": "(a:1.2.3)", "number": "1.2.3"}
    assert found.position is not None
    assert "x (a:1.2.3)"[found.position.start : found.position.end] == "1.2.3"


def test_products_beyond_the_limit_are_held_and_named() -> None:
    assert spans("((a:200):200)") == [["a", LIMIT]]
    assert spans("((a:-200):200), b") == [["a", -LIMIT], [", b", 1.0]]
    assert spans("((a:20000):0.001)") == [["a", 20.0]], "only the product counts"
    (found,) = parse_attention(SourceText.typed("((a:200):200)"))[1]
    assert (found.code, dict(found.values)) == ("weight_clamped", {"given": "40000", "used": LIMIT})


def test_numbers_no_float_holds_stay_finite() -> None:
    big = "9" * 400
    assert spans(f"(a:{big})") == [["a", LIMIT]]
    assert spans(f"((a:{big}):0)") == [["a", 0.0]]
    assert spans(f"(((a:{big}):-{big}):{big})") == [["a", -LIMIT]]


def test_the_break_that_breaks_and_the_one_that_does_not() -> None:
    plain = parse_attention(SourceText.typed("a BREAK b"))[0]
    assert [span.is_break for span in plain] == [False, True, False]
    weighted, warnings = parse_attention(SourceText.typed("(a BREAK b:1.2)"))
    assert [span.is_break for span in weighted] == [False, False, False]
    assert [(found.code, dict(found.values)) for found in warnings] == [("break_weighted", {"weight": -1.2})]


def test_brackets_without_a_partner_are_counted() -> None:
    assert codes("((a") == ["bracket_unclosed"]
    (found,) = parse_attention(SourceText.typed("a :) b :)"))[1]
    assert (found.code, dict(found.values)) == ("bracket_stray", {"bracket": ")", "count": 2})
    assert codes("a:1.5)") == ["bracket_stray"]
    assert codes("(a) [b] \\( \\]") == []


def test_nesting_deeper_than_use_is_right_to_many_digits() -> None:
    depth = EXACT + 30
    (span,) = parse_attention(SourceText.typed("(" * depth + "a" + ")" * depth))[0]
    assert span.weight == pytest.approx(1.1**depth, rel=1e-12)
    mixed = "([" * 3000 + "a" + "])" * 3000
    assert parse_attention(SourceText.typed(mixed))[0][0].weight == pytest.approx(1.0, rel=1e-9)


def test_places_leave_brackets_and_backslashes_out() -> None:
    text = "x (red \\(hair\\):1.3)"
    span = parse_attention(SourceText.typed(text))[0][1]
    assert span.text == "red (hair)"
    assert [text[p.start : p.end] for p in span.places] == ["red ", "(hair", ")"]


@given(st.text() | st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_any_text_gives_finite_weights_and_true_places(text: str) -> None:
    found, _ = parse_attention(SourceText.typed(text))
    assert found
    for span in found:
        assert math.isfinite(span.weight)
        assert abs(span.weight) <= LIMIT
        assert "".join(text[p.start : p.end] for p in span.places) == span.text
    order = [p.start for span in found for p in span.places if p.start < p.end]
    assert order == sorted(order)
