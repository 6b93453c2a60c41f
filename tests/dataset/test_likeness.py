"""Twins and blur, on the drawings that come with the app."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import pytest
from PIL import Image, ImageFilter

from lora_studio.dataset.likeness import alike, is_blurry, likeness

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "assets" / "examples").glob("*/*.png"))


def drawings() -> list[Image.Image]:
    return [Image.open(path).convert("RGB") for path in EXAMPLES]


def saved_small(image: Image.Image, quality: int = 60) -> Image.Image:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return Image.open(out).convert("RGB")


@pytest.fixture(scope="module", autouse=True)
def _there_are_examples() -> None:
    assert len(EXAMPLES) >= 40


def test_different_drawings_of_one_kind_are_no_twins() -> None:
    found = [likeness(image) for image in drawings()]
    assert [
        pair for pair in itertools.combinations(range(len(found)), 2) if alike(found[pair[0]], found[pair[1]])
    ] == []


def test_a_picture_saved_small_scaled_or_trimmed_is_a_twin() -> None:
    for image in drawings()[::4]:
        mine = likeness(image)
        assert alike(mine, likeness(saved_small(image)))
        assert alike(mine, likeness(image.resize((300, 300), Image.Resampling.BICUBIC)))
        assert alike(mine, likeness(image.resize((67, 67))))


def test_another_colour_is_no_twin() -> None:
    image = drawings()[0]
    red, green, blue = image.split()
    assert not alike(likeness(image), likeness(Image.merge("RGB", (blue, green, red))))


def test_sharp_drawings_are_not_called_blurry() -> None:
    assert [path.name for path, image in zip(EXAMPLES, drawings(), strict=True) if is_blurry(image)] == []


def test_blurred_drawings_are_called_blurry() -> None:
    assert [
        path.name
        for path, image in zip(EXAMPLES, drawings(), strict=True)
        if not is_blurry(image.filter(ImageFilter.GaussianBlur(2)))
    ] == []


def test_a_sharp_subject_before_a_soft_ground_is_sharp() -> None:
    image = drawings()[0].resize((512, 512), Image.Resampling.NEAREST)
    soft = image.filter(ImageFilter.GaussianBlur(12))
    soft.paste(image.crop((200, 200, 330, 330)), (200, 200))
    assert not is_blurry(soft)
    assert is_blurry(image.filter(ImageFilter.GaussianBlur(12)))


def test_pictures_without_contrast_or_size_are_not_judged() -> None:
    assert not is_blurry(Image.new("RGB", (300, 300), "teal"))
    assert not is_blurry(Image.new("RGB", (8, 8), "teal"))
    assert not is_blurry(Image.linear_gradient("L").resize((1, 1)).convert("RGB"))
