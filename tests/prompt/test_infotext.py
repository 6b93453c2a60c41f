"""`lora_studio.prompt.infotext`: layout, order and quoting of A1111's text, and the exact request beside it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_studio import __version__
from lora_studio.errors import InvalidInput
from lora_studio.prompt.infotext import ModelFacts, infotext, number, quote, read_request_chunk, request_chunk
from lora_studio.types import AdapterWeight, GenerateRequest

SHA = "ab" * 32
FACTS = ModelFacts("v1-5-pruned-emaonly", "6ce0161689", {SHA: "1a2b3c4d5e6f"})


def request(**changes: Any) -> GenerateRequest:
    """A whole request with a few values changed."""
    given: dict[str, Any] = {
        "prompt": "1girl, red hair",
        "negative_prompt": "hat",
        "width": 512,
        "height": 768,
        "num_inference_steps": 28,
        "guidance_scale": 7.0,
        "sampler": "dpmpp_2m_karras",
        "seed": 123,
        "adapters": (AdapterWeight(SHA, "nekomimi", 0.8),),
    }
    return GenerateRequest(**(given | changes))


def test_the_whole_text() -> None:
    assert infotext(request(), FACTS) == (
        "1girl, red hair <lora:nekomimi:0.8>\n"
        "Negative prompt: hat\n"
        "Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 123, Size: 512x768, "
        "Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, RNG: CPU, "
        f'Lora hashes: "nekomimi: 1a2b3c4d5e6f", Version: lora-studio {__version__}'
    )


def test_what_is_absent_is_not_written() -> None:
    text = infotext(request(negative_prompt="", adapters=(), sampler="euler_a"), FACTS)
    assert text.splitlines()[0] == "1girl, red hair"
    assert len(text.splitlines()) == 2
    for absent in ("Negative prompt", "Schedule type", "Lora hashes", "<lora", "Denoising strength"):
        assert absent not in text
    assert "Sampler: Euler a, CFG scale" in text


def test_picture_i_has_seed_plus_i() -> None:
    assert "Seed: 126," in infotext(request(num_images=4), FACTS, index=3)


def test_names_that_tags_cannot_hold_lose_those_characters_and_stay_apart() -> None:
    other = "cd" * 32
    adapters = (AdapterWeight(SHA, "a:b,c", 1.0), AdapterWeight(other, "a<b>c", -0.25), AdapterWeight(other, ":", 1.0))
    text = infotext(request(adapters=adapters), ModelFacts("m", "h", {SHA: "1" * 12, other: "2" * 12}))
    assert f"<lora:abc:1> <lora:abc_2:-0.25> <lora:{other[:12]}:1>" in text
    assert '"abc: 111111111111, abc_2: 222222222222, ' in text


def test_an_adapter_without_hash_is_left_out_of_the_hashes() -> None:
    text = infotext(request(), ModelFacts("m", "h"))
    assert "Lora hashes" not in text
    assert "<lora:nekomimi:0.8>" in text


def test_strength_stands_only_with_a_first_picture() -> None:
    assert "Denoising strength: 0.75, RNG" in infotext(request(init_image=SHA, strength=0.75), FACTS)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("plain", "plain"),
        ("a, b", '"a, b"'),
        ("a: b", '"a: b"'),
        ("a\nb", '"a\\nb"'),
        ('say "猫", b', '"say \\"猫\\", b"'),
    ],
)
def test_quoting_is_a_json_string_where_needed(value: str, wanted: str) -> None:
    assert quote(value) == wanted


@pytest.mark.parametrize(
    ("value", "wanted"), [(7.0, "7"), (0.8, "0.8"), (1e-05, "0.00001"), (-1.5, "-1.5"), (100.0, "100"), (0.0, "0")]
)
def test_numbers_have_no_exponent_and_no_idle_digits(value: float, wanted: str) -> None:
    assert number(value) == wanted


@given(st.floats(min_value=-10, max_value=10, allow_nan=False))
def test_numbers_lose_nothing(value: float) -> None:
    assert float(number(value)) == value


def test_the_exact_request_comes_back() -> None:
    asked = request(
        prompt='cat ears, "猫耳" \n second line, Steps: 3, Seed: 4', num_images=3, init_image=SHA, strength=0.5
    )
    assert read_request_chunk(request_chunk(asked, 2)) == (asked, 2)
    assert read_request_chunk(request_chunk(asked)) == (asked, 0)


@pytest.mark.parametrize("text", ["", "no json", "[1]", "{}", "12"])
def test_a_foreign_chunk_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="no request of LoRA Studio"):
        read_request_chunk(text)


def test_a_newer_format_is_refused() -> None:
    data = json.loads(request_chunk(request())) | {"format": 99}
    with pytest.raises(InvalidInput, match="format 99"):
        read_request_chunk(json.dumps(data))
