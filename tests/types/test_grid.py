"""`lora_studio.types.grid`: how values are written, what they do to a request, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from lora_studio.errors import InvalidInput
from lora_studio.types import AdapterWeight, GenerateRequest, from_json, to_json
from lora_studio.types.grid import MOST_PICTURES, MOST_VALUES, OF_REQUEST, Axis, pictures_of, read_values

INK, FOG = AdapterWeight("1" * 64, "ink", 0.8, 0.3), AdapterWeight("2" * 64, "fog", 0.5)


def request(**changes: Any) -> GenerateRequest:
    given: dict[str, Any] = {
        "prompt": "a cat", "width": 64, "height": 64, "num_inference_steps": 20, "guidance_scale": 4.0,
        "sampler": "euler", "seed": 7, "num_images": 3, "adapters": (INK, FOG),
    }  # fmt: skip
    return GenerateRequest(**(given | changes))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0, 0.5, 1", [0, 0.5, 1]),
        ("1", [1]),
        ("-0.5；0.5、2", [-0.5, 0.5, 2]),
        ("1-4", [1, 2, 3, 4]),
        ("0-1 (+0.25)", [0, 0.25, 0.5, 0.75, 1]),
        ("1-0 (-0.5)", [1, 0.5, 0]),
        ("0-1 [5]", [0, 0.25, 0.5, 0.75, 1]),
        ("0-1[1]", [0]),
        ("0.1-0.3 (0.1)", [0.1, 0.2, 0.3]),
        ("-1-1", [-1, 0, 1]),
        ("0-1 (+0.5), 2, 1,", [0, 0.5, 1, 2]),
        ("", []),
    ],
)
def test_values_as_a1111_writes_them(text: str, values: list[float]) -> None:
    assert read_values(text) == tuple(values)


@pytest.mark.parametrize("text", ["a", "1-", "1 2", "0-1 (+0)", "1-0", "0-1000", "0-1 [99]", "0-1 [0]", "1e3", "--1"])
def test_what_is_no_value(text: str) -> None:
    with pytest.raises(InvalidInput) as told:
        read_values("0, " + text)
    assert (told.value.code, told.value.values["given"]) == ("grid_unreadable", text)


def test_weights_across_and_seeds_down() -> None:
    """Row by row, one picture each, all else as it is: a weight of its own on the words stays, as by the slider."""
    made = pictures_of(request(), Axis("weight", (0.0, 1.5), INK.sha256), Axis("seed", (3.0, 4.0, 5.0)))
    assert [(one.adapters[0].weight, one.seed) for one in made] == [
        (0.0, 3), (1.5, 3), (0.0, 4), (1.5, 4), (0.0, 5), (1.5, 5),
    ]  # fmt: skip
    for one in made:
        assert one.num_images == 1
        assert one.adapters[0].text_encoder_weight == 0.3
        assert one.adapters[1] == FOG
        assert from_json(GenerateRequest, to_json(one)) == one
    assert made[0].prompt == "a cat"


@pytest.mark.parametrize(
    ("what", "value", "span"),
    [
        ("from", 1, (1, 20)),
        ("from", 6, (6, 20)),
        ("from", 21, None),
        ("to", 5, (1, 5)),
        ("to", 20, (1, 20)),
        ("to", 0, None),
    ],
)
def test_steps_of_an_adapter(what: str, value: float, span: tuple[int, int] | None) -> None:
    (one,) = pictures_of(request(), Axis(what, (value,), INK.sha256), None)
    assert one.adapters[0].span(20) == span
    assert one.adapters[1].span(20) == (1, 20)


def test_steps_of_an_adapter_are_of_the_steps_of_the_cell() -> None:
    """Whichever axis is which: "first step 6" of ten steps is the sixth of ten."""
    axes = Axis("from", (6.0,), INK.sha256), Axis("num_inference_steps", (10.0, 20.0))
    for x, y in (axes, axes[::-1]):
        made = pictures_of(request(), x, y)
        assert [(one.num_inference_steps, one.adapters[0].span(one.num_inference_steps)) for one in made] == [
            (10, (6, 10)), (20, (6, 20)),
        ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "1-1" + " " * 50_000 + "x",
        "0-" + "9" * 400,
        "1-2 (+0." + "0" * 320 + "1)",
        "0-1[" + "9" * 5000 + "]",
        "9" * 5000,
    ],
)
def test_odd_texts_are_refused_at_once(text: str) -> None:
    """Blanks made the search quadratic, and numbers of hundreds of digits were no floats."""
    with pytest.raises(InvalidInput, match="write numbers"):
        read_values(text)


def test_both_ends_of_one_adapter_make_windows() -> None:
    made = pictures_of(request(), Axis("to", (5.0, 20.0), INK.sha256), Axis("from", (1.0, 6.0), INK.sha256))
    assert [one.adapters[0].span(20) for one in made] == [(1, 5), (1, 20), None, (6, 20)]


@pytest.mark.parametrize("what", OF_REQUEST)
def test_fields_of_the_request(what: str) -> None:
    (one,) = pictures_of(request(), Axis(what, (1.0,)), None)
    assert getattr(one, what) == 1


@pytest.mark.parametrize(
    ("x", "y", "code"),
    [
        (("seed", (0.5,), ""), None, "field_number"),
        (("guidance_scale", (0.0,), ""), None, "field_number"),
        (("weight", (11.0,), INK.sha256), None, "field_number"),
        (("from", (2.5,), INK.sha256), None, "grid_step"),
        (("to", (21.0,), INK.sha256), None, "grid_step"),
        (("from", (0.0,), INK.sha256), None, "grid_step"),
        (("weight", (1.0,), "3" * 64), None, "grid_adapter"),
        (("seed", (1.0,), ""), ("seed", (2.0,), ""), "grid_same_axis"),
        (("seed", tuple(map(float, range(9))), ""), ("weight", tuple(map(float, range(8))), INK.sha256), "grid_large"),
        (("prompt", (1.0,), ""), None, "grid_axis"),
        (("seed", (1.0,), INK.sha256), None, "grid_axis"),
        (("seed", (), ""), None, "grid_values"),
        (("seed", tuple(map(float, range(MOST_VALUES + 1))), ""), None, "grid_values"),
    ],
)
def test_what_is_refused(x: Any, y: Any, code: str) -> None:
    with pytest.raises(InvalidInput) as told:
        pictures_of(request(), Axis(*x), None if y is None else Axis(*y))
    assert told.value.code == code
    assert MOST_PICTURES == 64
