"""Buckets: pictures of any size go into sizes the base can take, and keep as much as they can."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lora_studio.dataset import Bucket, assign, crop_loss, fit
from lora_studio.errors import DatasetError, InvalidInput

GRIDS = st.sampled_from([(128, 32), (256, 32), (512, 64), (768, 64), (1024, 64), (64, 32)])
SIDES = st.integers(1, 5000)


@given(grid=GRIDS, width=SIDES, height=SIDES)
def test_every_bucket_fits_the_base(grid: tuple[int, int], width: int, height: int) -> None:
    resolution, step = grid
    if max(width, height) > 4 * min(width, height):
        with pytest.raises(DatasetError, match=rf"'picture 1' has {width}x{height} pixels"):
            assign([(width, height)], resolution, step)
        return
    (bucket,) = assign([(width, height)], resolution, step)
    assert bucket.width % step == bucket.height % step == 0
    assert 0 < bucket.width * bucket.height <= resolution**2
    (turned,) = assign([(height, width)], resolution, step)
    if width != height:
        assert math.isclose(crop_loss((width, height), bucket), crop_loss((height, width), turned), abs_tol=1e-9)


@given(
    grid=st.sampled_from([(256, 32), (512, 64), (1024, 64)]),
    width=st.integers(500, 1500),
    height=st.integers(500, 1500),
)
def test_ordinary_pictures_lose_little_at_ordinary_sizes(grid: tuple[int, int], width: int, height: int) -> None:
    (bucket,) = assign([(width, height)], *grid)
    assert crop_loss((width, height), bucket) <= 0.15
    assert bucket.width * bucket.height >= 0.7 * grid[0] ** 2


@pytest.mark.parametrize(
    ("size", "grid", "wanted"),
    [
        ((128, 128), (128, 32), (128, 128)),
        ((4000, 4000), (512, 64), (512, 512)),
        ((1200, 900), (128, 32), (128, 96)),
        ((900, 1200), (128, 32), (96, 128)),
        ((1920, 1080), (512, 64), (640, 384)),
        ((400, 100), (128, 32), (256, 64)),
        ((10, 10), (1024, 64), (1024, 1024)),
    ],
)
def test_known_sizes(size: tuple[int, int], grid: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert assign([size], *grid) == [Bucket(*wanted)]


def test_a_long_picture_is_refused_by_its_name() -> None:
    with pytest.raises(DatasetError, match=r"'strip\.png' has 1000x100 pixels.*crop it"):
        assign([(100, 100), (1000, 100)], 512, 64, names=["a.png", "strip.png"])
    assert assign([(1000, 100)], 512, 64, max_aspect=10)[0].height == 128


def test_a_resolution_below_the_step_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"16.*at least 64"):
        assign([(10, 10)], 16, 64)


@given(width=st.integers(2, 400), height=st.integers(2, 400))
def test_fit_gives_exactly_the_bucket(width: int, height: int) -> None:
    if max(width, height) <= 4 * min(width, height):
        image = Image.new("RGB", (width, height), (10, 200, 30))
        (bucket,) = assign([(width, height)], 64, 32)
        made = fit(image, bucket)
        assert made.size == (bucket.width, bucket.height)
        assert made.getextrema() == ((10, 10), (200, 200), (30, 30))


def test_fit_cuts_both_sides_evenly_and_keeps_proportions() -> None:
    image = Image.new("RGB", (300, 100), "white")
    image.paste("red", (0, 0, 100, 100))
    image.paste("blue", (200, 0, 300, 100))
    made = fit(image, Bucket(64, 64))
    assert made.getpixel((32, 32)) == (255, 255, 255)
    assert made.getpixel((3, 32)) == made.getpixel((60, 32)) == (255, 255, 255), "the middle third is all that is kept"
    wide = fit(image, Bucket(96, 32))
    assert wide.getpixel((10, 16)) == (255, 0, 0)
    assert wide.getpixel((86, 16)) == (0, 0, 255)
    assert crop_loss((300, 100), Bucket(64, 64)) == pytest.approx(2 / 3)
    assert crop_loss((300, 100), Bucket(96, 32)) == 0
