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
    """Row by row, one picture each, everything else as it is; the words get the same weight."""
    made = pictures_of(request(), Axis("weight", (0.0, 1.5), INK.sha256), Axis("seed", (3.0, 4.0, 5.0)))
    assert [(one.adapters[0].weight, one.seed) for one in made] == [
        (0.0, 3), (1.5, 3), (0.0, 4), (1.5, 4), (0.0, 5), (1.5, 5),
    ]  # fmt: skip
    for one in made:
        assert one.num_images == 1
        assert one.adapters[0].text_encoder_weight is None
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
        (("to", (99.0,), INK.sha256), None, "grid_step"),
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
