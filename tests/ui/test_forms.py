"""Forms: texts as typed become values, what is no number reaches the check that quotes it."""

from __future__ import annotations

import pytest

from lora_studio.errors import InvalidInput
from lora_studio.types import GenerateRequest, TrainConfig, from_json
from lora_studio.ui.forms import plan, read

GOOD = {
    "prompt": "a cat",
    "width": "128",
    "height": " 96 ",
    "num_inference_steps": "7",
    "guidance_scale": "3.5",
    "sampler": "euler",
    "seed": "42",
}


def test_texts_become_numbers() -> None:
    values = read(GenerateRequest, GOOD)
    assert (values["width"], values["height"], values["guidance_scale"]) == (128, 96, 3.5)
    assert from_json(GenerateRequest, values).seed == 42


def test_a_prompt_of_digits_stays_a_text() -> None:
    assert read(GenerateRequest, {"prompt": "1"}) == {"prompt": "1"}


def test_empty_is_none_only_where_a_field_may_be_left_out() -> None:
    assert read(TrainConfig, {"alpha": "", "rank": "", "resolution": " "}) == {
        "alpha": None,
        "rank": "",
        "resolution": None,
    }


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("seed", "abc"),
        ("seed", "-1"),
        ("seed", "1.5"),
        ("seed", ""),
        ("width", "wide"),
        ("width", "0"),
        ("height", "99999"),
        ("num_inference_steps", "1e3"),
        ("guidance_scale", "nan"),
        ("guidance_scale", "0,5"),
        ("num_images", "0"),
        ("sampler", "magic"),
    ],
)
def test_what_is_not_allowed_is_quoted(field: str, given: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        from_json(GenerateRequest, read(GenerateRequest, {**GOOD, field: given}))
    assert caught.value.values.get("whole", False) is (field not in ("guidance_scale", "sampler"))
    assert caught.value.values["field"] == field
    shown = given if given in caught.value.message else given.rstrip("0").rstrip(".")
    assert shown in caught.value.message


def test_a_plan_says_all_of_a_field() -> None:
    entries = {entry["name"]: entry for entry in plan(TrainConfig)}
    assert entries["rank"]["kind"] == "number"
    assert entries["rank"]["whole"] is True
    assert entries["learning_rate"]["whole"] is False
    assert entries["flip"]["kind"] == "flag"
    assert entries["layers"]["kind"] == "choice"
    assert entries["trigger"]["kind"] == "text"
    assert entries["alpha"]["doc"] == "Strength is alpha/rank; empty means alpha = rank."
