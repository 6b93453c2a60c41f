"""`lora_studio.types.generate`: names of samplers, and texts that no request may have."""

from __future__ import annotations

from typing import Any

import pytest

from lora_studio.errors import InvalidInput
from lora_studio.types import SAMPLERS, AdapterWeight, EmbeddingUse, GenerateRequest, from_json, parse_sampler, to_json
from lora_studio.types.generate import a1111_sampler, check_texts, known_sampler

HALF = "a \ud83d"


def ask(**changes: Any) -> GenerateRequest:
    given = {"width": 32, "height": 32, "num_inference_steps": 1, "guidance_scale": 4.0, "sampler": "euler", "seed": 1}
    return GenerateRequest(**{"prompt": "a"} | given | changes)


@pytest.mark.parametrize("name", SAMPLERS)
def test_our_names_and_a1111s_are_understood(name: str) -> None:
    assert parse_sampler(name) == name
    assert parse_sampler(" ".join(filter(None, a1111_sampler(name)))) == name


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ("DPM++ 2M", "dpmpp_2m"),
        ("k_dpmpp_2m", "dpmpp_2m"),
        ("DPMSolverMultistep", "dpmpp_2m"),
        ("EulerDiscrete", "euler"),
        ("k_euler_a", "euler_a"),
        ("EulerAncestralDiscrete", "euler_a"),
        ("euler_ancestral", "euler_a"),
        ("DDIM", "ddim"),
        ("DPM++ SDE", None),
        ("PNDM", None),
        ("", None),
    ],
)
def test_names_of_other_programs(given: str, ours: str | None) -> None:
    assert known_sampler(given) == ours
    if ours is None:
        with pytest.raises(InvalidInput, match="is not known"):
            parse_sampler(given)
    else:
        assert parse_sampler(given) == ours


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": HALF},
        {"negative_prompt": HALF},
        {"base": HALF},
        {"init_image": HALF},
        {"styles": (HALF,)},
    ],
)
def test_half_a_character_is_refused_at_the_door(changes: dict[str, Any]) -> None:
    """It came as far as the PNG, where all steps were made and no text could be written, and into the notebook, which
    could never be listed again."""
    with pytest.raises(InvalidInput, match="no valid text") as caught:
        ask(**changes)
    assert caught.value.values["field"] == next(iter(changes))
    with pytest.raises(InvalidInput):
        from_json(GenerateRequest, to_json(ask()) | {key: [HALF] if key == "styles" else HALF for key in changes})


def test_half_a_character_in_names_of_files() -> None:
    for make in (lambda: AdapterWeight("0" * 64, HALF), lambda: EmbeddingUse(HALF, "0" * 64)):
        with pytest.raises(InvalidInput, match="no valid text"):
            make()


def test_texts_are_checked_alone_too() -> None:
    check_texts("a", "")
    with pytest.raises(InvalidInput, match="no valid text"):
        check_texts("a", HALF)
    with pytest.raises(InvalidInput, match="at most 10000"):
        check_texts("a" * 10_001, "")
