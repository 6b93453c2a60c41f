"""`lora_studio.types.fields`: values as JSON brings them, and what is refused in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from lora_studio.errors import InvalidInput
from lora_studio.types.fields import check, check_text, from_json, spec


@dataclass(frozen=True)
class Form:
    """One number of each kind."""

    steps: int = spec(1, doc="Steps.", minimum=1, maximum=10)
    share: float = spec(0.5, doc="Share.", minimum=0)
    seed: int | None = spec(None, doc="Seed.", minimum=0)
    lit: bool = False

    def __post_init__(self) -> None:
        check(self)


def test_a_whole_number_written_with_a_point_is_a_whole_number() -> None:
    """20.0 passed the check and stayed a float, at which the job itself then failed."""
    form = from_json(Form, {"steps": 3.0, "share": 1, "seed": 7.0, "lit": True})
    assert form == Form(3, 1.0, 7, True)
    assert [type(value) for value in (form.steps, form.share, form.seed, form.lit)] == [int, float, int, bool]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 3.5),
        ("steps", "3"),
        ("steps", True),
        ("steps", float("inf")),
        ("steps", 10**400),
        ("share", 10**400),
        ("share", -(10**400)),
        ("share", float("nan")),
        ("share", float("inf")),
        ("seed", 10**400),
    ],
)
def test_numbers_that_are_not_allowed_are_refused_in_a_short_sentence(field: str, value: Any) -> None:
    """Of a number of 400 digits nobody heard a sentence: no float holds it, and the check itself failed."""
    with pytest.raises(InvalidInput, match=f"{field} was given as") as caught:
        from_json(Form, {field: value})
    assert caught.value.values["field"] == field
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("value", ["a \ud83d", "\udc00", 5, None, ["a"]])
def test_what_is_no_text_that_can_be_kept(value: Any) -> None:
    with pytest.raises(InvalidInput, match="no valid text") as caught:
        check_text(value, "prompt")
    assert (caught.value.code, caught.value.values["field"]) == ("text_invalid", "prompt")
    caught.value.message.encode()


def test_texts_that_can_be_kept() -> None:
    for text in ("", "a 😀 猫", "\x00", "a" * 10_000):
        check_text(text, "prompt")
    assert from_json(Form, {}) == Form()
