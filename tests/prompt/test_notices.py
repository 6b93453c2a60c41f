"""`lora_studio.prompt.notices`: warnings once each, and not more than a person can read."""

from __future__ import annotations

import re
from pathlib import Path

from lora_studio.prompt import notices
from lora_studio.prompt.notices import ALIKE, QUOTED, PromptWarning, gather, quote, warning
from lora_studio.prompt.source import Place

ROOT = Path(__file__).resolve().parents[2]


def test_the_same_warning_is_said_once() -> None:
    once = warning("tag_unknown", Place(0, 3), tag="<a:b>", kind="a")
    assert gather([once, once, PromptWarning("tag_unknown", {"tag": "<a:b>", "kind": "a"})]) == (
        once,
        PromptWarning("tag_unknown", {"tag": "<a:b>", "kind": "a"}),
    )


def test_many_of_a_kind_are_counted() -> None:
    many = [warning("weight_clamped", Place(n, n + 1), given="1e9", used=1e4) for n in range(ALIKE + 5)]
    said = gather(many)
    assert said[:ALIKE] == tuple(many[:ALIKE])
    assert said[ALIKE:] == (warning("more_alike", code="weight_clamped", count=5),)


def test_long_text_is_quoted_by_its_ends() -> None:
    text = "a" * 500 + "b" * 500
    assert len(quote(text)) == QUOTED
    assert quote(text).startswith("aaa")
    assert quote(text).endswith("bbb")
    assert quote("short") == "short"


def test_the_docstring_lists_codes_as_the_parser_says_them() -> None:
    listed = {line.split()[0] for line in (notices.__doc__ or "").splitlines() if line.startswith("    ")}
    assert {"weight_clamped", "schedule_off", "more_alike"} <= listed
    said = set()
    for path in (ROOT / "lora_studio").rglob("*.py"):
        for call in re.findall(r"\b(?:warning|warn)\(\s*(?:code, |\"(\w+)\")", path.read_text(encoding="utf-8")):
            said |= {call} - {""}
    assert said <= listed, "a code that the list does not have"
    assert len(listed) >= 28
