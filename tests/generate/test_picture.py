"""`lora_studio.generate.picture`: pixels as PNG, whatever is in them and in their texts."""

from __future__ import annotations

import io

import pytest
import torch
from PIL import Image

from lora_studio.generate.picture import glimpse_uri, to_image, to_png
from lora_studio.prompt.infotext import CHUNK, PARAMETERS, ModelFacts
from lora_studio.prompt.request_chunk import read_request_chunk
from lora_studio.types import GenerateRequest

REQUEST = GenerateRequest("a 猫", 64, 96, 7, 4.0, "euler", 3)


def test_what_is_no_number_is_black() -> None:
    """numpy makes anything of it, with a warning."""
    pixels = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0]).repeat(3, 1, 1)
    image = to_image(pixels)
    assert [image.getpixel((x, 0))[0] for x in range(4)] == [0, 255, 0, 128]
    assert glimpse_uri(pixels).startswith("data:image/jpeg")


@pytest.mark.parametrize("title", ["base", "modèle", "mod\udce8le", "half \ud83d"])
def test_a_title_that_no_file_can_hold_costs_no_picture(title: str) -> None:
    """The name of a folder on disk need not be UTF-8; the picture failed after its last step."""
    picture = to_png(torch.zeros(3, 96, 64), REQUEST, 0, ModelFacts(title, "0" * 10))
    texts = Image.open(io.BytesIO(picture.png)).text
    assert read_request_chunk(texts[CHUNK]) == (REQUEST, 0)
    assert f"Model: {title.encode('utf-8', 'replace').decode()}" in texts[PARAMETERS]
