"""`lora_studio.prompt.schedules`: the texts over the steps in both countings, against a slow and simple definition."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_studio.prompt.schedules import Counting, parse_schedule
from lora_studio.prompt.source import SourceText

CASES = json.loads((Path(__file__).parent / "cases.json").read_text(encoding="utf-8"))
NUMBERS = ["3", "0.5", ".25", " 7 ", "1.0", "12", "-1", "0", "1e0", "2."]
PIECES = ["[", "]", "(", ")", ":", "|", "a", " ", "\\", "\\[", "\n", "[a:b:3]", "[x|y]", "[c::2]", *NUMBERS]


def texts(text: str, steps: int = 10, hires_steps: int | None = None, old: bool = False) -> list[list[Any]]:
    """Last step and text of each entry."""
    found = parse_schedule(SourceText.typed(text), Counting(steps, hires_steps, old))[0]
    return [[entry.last_step, entry.words.text] for entry in found]


def warned(text: str, steps: int = 10) -> list[tuple[str, dict[str, Any]]]:
    """Code and values of each warning."""
    return [(w.code, dict(w.values)) for w in parse_schedule(SourceText.typed(text), Counting(steps))[2]]


@pytest.mark.parametrize("case", CASES["schedule"] + CASES["schedule_doctests"], ids=lambda case: case["text"])
def test_published_and_measured_cases(case: dict[str, Any]) -> None:
    assert texts(case["text"], case["steps"], case["hires_steps"], case["old"]) == case["texts"]


def test_the_published_example_that_a1111_does_not_meet() -> None:
    """A1111's documentation claims two texts here; its own grammar gives one, because `|` stands in no alternation."""
    assert texts("a [{b|d{:.5] c") == [[10, "a [{b|d{:.5] c"]]
    assert [code for code, _ in warned("a [{b|d{:.5] c")] == ["schedule_literal"]


def test_new_and_old_counting() -> None:
    for number, new, old in (
        ("1", 1, 1),
        ("1.0", 20, 1),
        ("0.5", 10, 10),
        ("5.5", 20, 5),
        ("5", 5, 5),
        (".99", 19, 19),
    ):
        text = f"[a:b:{number}]"
        assert texts(text, 20)[0][0] == new, number
        assert texts(text, 20, old=True)[0][0] == old, number
    assert texts("[a:b:1e-1]", 20) == [[20, "b"]], "without a point it is a step, and 0.1 steps are none"
    assert texts("[a:b:1e-1]", 20, old=True) == [[2, "a"], [20, "b"]]


def test_the_second_pass_counts_on() -> None:
    assert texts("[a:b:25]", 20, 10) == [[5, "a"], [10, "b"]]
    assert texts("[a:b:1.5]", 20, 10) == [[5, "a"], [10, "b"]]
    assert texts("[a:b:1.5]", 20, 10, old=True) == [[1, "a"], [20, "b"]], "old counting knows no second pass"


def test_brackets_that_are_characters_do_not_hide_schedules() -> None:
    assert texts("(a [b:c:3]") == [[3, "(a b"], [10, "(a c"]]
    assert texts("[a:b:3])") == [[3, "a)"], [10, "b)"]]
    assert texts("[x:[b:c:3]:y:z]") == [[3, "[x:b:y:z]"], [10, "[x:c:y:z]"]]
    assert texts("[a:(b:3]") == [[10, "[a:(b:3]"]]
    assert texts("[a)|b] [c:d:3]") == [[10, "[a)|b] [c:d:3]"]]


def test_one_stray_bar_turns_every_schedule_off_and_is_named() -> None:
    assert texts("a | b [c:d:3]") == [[10, "a | b [c:d:3]"]]
    assert warned("a | b [c:d:3]") == [("schedule_off", {"text": "[c:d:3]", "because": "|"})]
    assert warned("[c:d:3] \\") == [("schedule_off", {"text": "[c:d:3]", "because": "\\"})]
    assert warned("a | b") == []


def test_what_looks_like_a_schedule_and_is_none() -> None:
    assert warned("[from:to]") == [("schedule_literal", {"text": "[from:to]"})]
    assert warned("[a|b:c:3]") == [("schedule_literal", {"text": "[a|b:c:3]"})]
    assert warned("[only] (a:1.2)") == []
    assert texts("[a:b:1e999]") == [[10, "[a:b:1e999]"]]
    assert [code for code, _ in warned("[a:b:1e999]")] == ["schedule_number", "schedule_literal"]
    assert texts("[a:b:1.5e308]") == [[10, "a"]]


def test_a_change_that_never_comes_is_told() -> None:
    assert warned("[x:1.5]", 20) == [("schedule_never", {"text": "[x:1.5]", "step": "1.5", "steps": 20})]
    assert warned("[a:b:19]", 20) == []


def test_changes_for_a_timeline() -> None:
    changes = parse_schedule(SourceText.typed("x [a|b] [c:[d::2]:0.5]"), Counting(10))[1]
    assert [(c.kind, c.step) for c in changes] == [("alternate", 2), ("switch", 5), ("switch", 2)]
    assert [(c.place.start, c.place.end) for c in changes if c.place] == [(2, 7), (8, 22), (11, 17)]


@pytest.mark.slow
def test_no_depth_is_too_deep() -> None:
    depth = 20_000
    assert texts("[a:" * depth + "b" + ":3]" * depth) == [[3, "a"], [10, "b"]]
    found = texts("[" * depth + "b:3" + "]" * depth)
    assert found[0] == [3, "[" * (depth - 1) + "]" * (depth - 1)]
    assert texts("[a|" * depth + "]" * depth, 2) == [[1, "a"], [2, ""]]


def trees() -> st.SearchStrategy[Any]:
    """Understood prompts as trees: words, emphasis, switches, alternations."""
    leaf = st.sampled_from(["a", "b c", ", ", "", "\\[x\\]", "\\|", "猫", "3", "\n"]).map(
        lambda words: ("words", words)
    )

    def branch(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        many = st.lists(inner, max_size=3).map(tuple)
        number = st.sampled_from(NUMBERS)
        return (
            st.tuples(st.just("round"), many)
            | st.tuples(st.just("square"), many)
            | st.tuples(st.just("switch"), many, many, number)
            | st.tuples(st.just("later"), many, number)
            | st.tuples(st.just("turns"), st.lists(many, min_size=2, max_size=3))
        )

    return st.lists(st.recursive(leaf, branch, max_leaves=8), max_size=4)


def typed(tree: Any) -> str:
    """How a tree is typed."""
    if isinstance(tree, (list, tuple)) and not (tree and isinstance(tree[0], str)):
        return "".join(typed(item) for item in tree)
    kind = tree[0]
    if kind == "words":
        return str(tree[1])
    if kind in ("round", "square"):
        return {"round": "({})", "square": "[{}]"}[kind].format(typed(tree[1]))
    if kind == "switch":
        return f"[{typed(tree[1])}:{typed(tree[2])}:{tree[3]}]"
    return f"[{typed(tree[1])}:{tree[2]}]" if kind == "later" else f"[{'|'.join(typed(item) for item in tree[1])}]"


def said(tree: Any, step: int, steps: int) -> str:
    """What a tree says at a step."""
    if isinstance(tree, (list, tuple)) and not (tree and isinstance(tree[0], str)):
        return "".join(said(item, step, steps) for item in tree)
    kind = tree[0]
    if kind == "words":
        return str(tree[1])
    if kind in ("round", "square"):
        return {"round": "({})", "square": "[{}]"}[kind].format(said(tree[1], step, steps))
    if kind == "turns":
        return said(tree[1][(step - 1) % len(tree[1])], step, steps)
    number = float(tree[-1]) * (steps if "." in tree[-1] else 1)
    before = step <= int(number)
    return (
        said(tree[1] if before else tree[2], step, steps)
        if kind == "switch"
        else ""
        if before
        else said(tree[1], step, steps)
    )


@given(trees(), st.integers(1, 12))
def test_it_says_what_the_tree_says(tree: Any, steps: int) -> None:
    text = typed(tree)
    found = texts(text, steps)
    assert found[-1][0] == steps
    for step in range(1, steps + 1):
        now = next(words for last, words in found if step <= last)
        assert now == said(tree, step, steps)


@given(
    st.text() | st.lists(st.sampled_from(PIECES), max_size=25).map("".join),
    st.integers(1, 12),
    st.none() | st.integers(1, 12),
    st.booleans(),
)
def test_any_text_gives_texts_made_of_it(text: str, steps: int, hires_steps: int | None, old: bool) -> None:
    counting = Counting(steps, hires_steps, old)
    found, changes, _ = parse_schedule(SourceText.typed(text), counting)
    last = [entry.last_step for entry in found]
    assert last == sorted(set(last))
    assert last[0] >= 1
    assert last[-1] == counting.total
    for entry in found:
        assert "".join(text[p.start : p.end] for p in entry.words.places()) == entry.words.text
    if not re.search(r"[\[]", text):
        assert found[0].words.text == text
        assert changes == ()
