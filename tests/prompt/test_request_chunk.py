"""`lora_studio.prompt.request_chunk`: the exact request comes back, and nothing else is taken for one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lora_studio.errors import InvalidInput
from lora_studio.prompt.request_chunk import read_request_chunk, request_chunk
from lora_studio.types import AdapterWeight, EmbeddingUse, GenerateRequest

SHA = "ab" * 32


def request(**changes: Any) -> GenerateRequest:
    """A whole request with a few values changed."""
    given: dict[str, Any] = {
        "prompt": "1girl",
        "width": 512,
        "height": 768,
        "num_inference_steps": 28,
        "guidance_scale": 7.0,
        "sampler": "euler",
        "seed": 123,
        "adapters": (AdapterWeight(SHA, "nekomimi", 0.8),),
    }
    return GenerateRequest(**(given | changes))


def test_the_exact_request_comes_back() -> None:
    asked = request(
        prompt='cat ears, "猫耳" \n second line, Steps: 3, Seed: 4',
        num_images=3,
        init_image=SHA,
        strength=0.5,
        adapters=(AdapterWeight(SHA, "a", 0.8, text_encoder_weight=0.0),),
        embeddings=(EmbeddingUse("bad", SHA),),
        clip_skip=2,
        emphasis="compel",
    )
    assert read_request_chunk(request_chunk(asked, 2)) == (asked, 2)
    assert read_request_chunk(request_chunk(asked)) == (asked, 0)


def test_a_request_of_an_older_version_is_read() -> None:
    """Fields that did not exist then have their defaults."""
    data = json.loads(request_chunk(request()))
    for name in ("clip_skip", "emphasis", "embeddings", "styles", "pad_prompts", "old_scheduling", "guidance_rescale"):
        del data["request"][name]
    del data["request"]["adapters"][0]["text_encoder_weight"]
    assert read_request_chunk(json.dumps(data)) == (request(), 0)


@pytest.mark.parametrize("text", ["", "no json", "[1]", "{}", "12", "[" * 100_000])
def test_a_foreign_chunk_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="no request of LoRA Studio"):
        read_request_chunk(text)


def test_a_newer_format_is_refused() -> None:
    data = json.loads(request_chunk(request())) | {"format": 99}
    with pytest.raises(InvalidInput, match="format '99'"):
        read_request_chunk(json.dumps(data))


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": 5},
        {"prompt": "\ud800"},
        {"negative_prompt": None},
        {"adapters": 5},
        {"adapters": [5]},
        {"adapters": [{"sha256": 1, "name": "a"}]},
        {"embeddings": [[]]},
        {"embeddings": {"name": "a"}},
        {"base": []},
        {"init_image": 3},
        {"styles": "a"},
        {"styles": [5]},
        {"width": "wide"},
        {"clip_skip": True},
        {"emphasis": ["comfy"]},
        {"unknown": 1},
    ],
)
def test_values_of_another_kind_are_refused(changes: dict[str, Any]) -> None:
    data = json.loads(request_chunk(request()))
    data["request"] |= changes
    with pytest.raises(InvalidInput):
        read_request_chunk(json.dumps(data))


@pytest.mark.parametrize("index", [-1, 1, "0", None, 1.5])
def test_an_index_beyond_the_pictures_is_refused(index: Any) -> None:
    data = json.loads(request_chunk(request())) | {"index": index}
    with pytest.raises(InvalidInput):
        read_request_chunk(json.dumps(data))
